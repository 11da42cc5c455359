//! `cat`: what users run to see a log file in a pod, `kubectl exec POD -- cat FILE` (spec deploy §4.3).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};

use super::reason;

/// Runs `cat` with the words after its name and returns the exit code: 0, or 1 after any error. `-`, or nothing, is
/// standard input; there are no flags.
pub fn run(words: Vec<OsString>) -> u8 {
    let words = if words.is_empty() { vec!["-".into()] } else { words };
    let mut code = 0;
    for word in &words {
        if let Err(error) = copy(word, &mut io::stdout().lock()) {
            // A reader that has seen enough is no error.
            if error.kind() == io::ErrorKind::BrokenPipe {
                return code;
            }
            let _ = writeln!(io::stderr(), "cat: {}: {}", word.display(), reason(&error));
            code = 1;
        }
    }
    code
}

fn copy(word: &OsStr, out: &mut dyn Write) -> io::Result<()> {
    match word.to_str() {
        Some("-") => io::copy(&mut io::stdin().lock(), out)?,
        _ => io::copy(&mut File::open(word)?, out)?,
    };
    out.flush()
}
