//! The latest lines, for a flare of a process that logs to no file (spec deploy §3.2).
//!
//! Lines are remembered as they are written: formatted, scrubbed, bounded.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Lines that are remembered.
const LINES: usize = 2000;

/// Bytes of all of them: 2000 lines of the usual 150 bytes are 300 KB, and a few long ones must not push that up.
const BYTES: usize = 512 << 10;

static RECENT: Mutex<Recent> = Mutex::new(Recent { lines: VecDeque::new(), bytes: 0 });

struct Recent {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
}

/// The remembered lines, the oldest first; empty while a file takes them.
pub fn recent() -> String {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).text()
}

/// Remembers a line with its line feed, and forgets the oldest ones.
pub(super) fn remember(line: &[u8]) {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).push(line);
}

impl Recent {
    fn push(&mut self, line: &[u8]) {
        self.bytes += line.len();
        self.lines.push_back(line.into());
        while self.lines.len() > LINES || self.bytes > BYTES {
            self.bytes -= self.lines.pop_front().map_or(self.bytes, |oldest| oldest.len());
        }
    }

    fn text(&self) -> String {
        let bytes: Vec<u8> = self.lines.iter().flat_map(|line| line.iter().copied()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_go_first_by_number_and_by_size() {
        let mut recent = Recent { lines: VecDeque::new(), bytes: 0 };
        for number in 0..LINES + 5 {
            recent.push(format!("line {number}\n").as_bytes());
        }
        let text = recent.text();
        assert_eq!(text.lines().count(), LINES);
        assert!(text.starts_with("line 5\n"), "{}", &text[..20]);

        recent.push(&vec![b'x'; BYTES - 10]);
        assert!(recent.lines.len() <= 2, "{}", recent.lines.len());
        assert!(recent.bytes <= BYTES);
        recent.push(&vec![b'x'; BYTES + 1]);
        assert_eq!((recent.lines.len(), recent.bytes), (0, 0));
    }
}
