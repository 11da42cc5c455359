//! Notices clients that keep a connection busy without getting work done: floods of PINGs, SETTINGS, resets, empty
//! frames. The protocol allows each of these frames, so only their number tells a flood from a client.
//!
//! Frames are read off the bytes by their nine-byte heads. A frame without work takes from a budget, which time and
//! the messages that we send refill: a client's PINGs and window updates come with what it receives.

use std::time::Instant;

/// Frames that may come at once. A gRPC client sends about ten when it connects.
const BUDGET: u32 = 1000;
/// Refill by time: far more than keep-alives and window updates of quiet streams.
const PER_SECOND: u32 = 20;
/// Refill for each piece of a message that we send: two window updates and a bandwidth probe, and one to spare.
const PER_PIECE: u32 = 4;
/// What a reset takes: each one undid the work of a request, so 100 may come at once and two a second.
const RESET_COST: u32 = 10;
/// The client's opening line, which is not a frame.
const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;

const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// `ACK` of SETTINGS and PING, `END_STREAM` of DATA and HEADERS.
const FIRST_FLAG: u8 = 1;

/// The budget of one connection.
#[derive(Debug)]
pub(super) struct Calm {
    budget: u32,
    refilled: Instant,
    /// Bytes to pass before the next frame's head.
    skip: usize,
    head: [u8; FRAME_HEAD],
    /// Bytes of `head` that are here.
    filled: usize,
}

impl Calm {
    /// A full budget, before the first byte of a connection.
    pub(super) fn new(now: Instant) -> Self {
        let head = [0; FRAME_HEAD];
        Self { budget: BUDGET, refilled: now, skip: PREFACE, head, filled: 0 }
    }

    /// Takes note of received bytes; false when the budget is spent.
    pub(super) fn receive(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.refilled).as_secs();
        if seconds > 0 {
            self.refilled = now;
            self.refill(u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(PER_SECOND));
        }
        let mut within = true;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (FRAME_HEAD - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == FRAME_HEAD {
                let [high, middle, low, kind, flags, ..] = self.head;
                self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.filled = 0;
                within &= self.spend(cost(kind, flags, self.skip));
            }
        }
        within
    }

    /// Takes note of a piece of a message that was sent.
    pub(super) fn sent(&mut self) {
        self.refill(PER_PIECE);
    }

    fn spend(&mut self, cost: u32) -> bool {
        let within = cost <= self.budget;
        self.budget = self.budget.saturating_sub(cost);
        within
    }

    fn refill(&mut self, amount: u32) {
        self.budget = self.budget.saturating_add(amount).min(BUDGET);
    }
}

/// What a frame takes from the budget. HEADERS take one too: the answer to a call gives more back, and a stream that
/// is refused gives nothing.
fn cost(kind: u8, flags: u8, length: usize) -> u32 {
    let first_flag = flags & FIRST_FLAG != 0;
    match kind {
        DATA if length > 0 || first_flag => 0,
        SETTINGS | PING if first_flag => 0,
        RST_STREAM => RESET_COST,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![0, (length >> 8) as u8, length as u8, kind, flags, 0, 0, 0, 1];
        bytes.resize(FRAME_HEAD + length, 0xff);
        bytes
    }

    /// How many of these frames a new connection takes, received in pieces of `piece` bytes.
    fn accepted(frame: &[u8], piece: usize) -> usize {
        let now = Instant::now();
        let mut calm = Calm::new(now);
        assert!(calm.receive(&[b'P'; PREFACE], now));
        let all = |calm: &mut Calm| frame.chunks(piece).all(|bytes| calm.receive(bytes, now));
        (0..5000).take_while(|_| all(&mut calm)).count()
    }

    #[test]
    fn frames_without_work_are_counted_however_they_are_cut() {
        for piece in [1, 4, 9, 100] {
            assert_eq!(accepted(&frame(PING, 0, 8), piece), 1000, "PING");
            assert_eq!(accepted(&frame(SETTINGS, 0, 0), piece), 1000, "SETTINGS");
            assert_eq!(accepted(&frame(9, 0, 0), piece), 1000, "empty CONTINUATION");
            assert_eq!(accepted(&frame(0xee, 0, 300), piece), 1000, "unknown");
            assert_eq!(accepted(&frame(DATA, 0, 0), piece), 1000, "empty DATA");
            assert_eq!(accepted(&frame(RST_STREAM, 0, 4), piece), 100, "RST_STREAM");
        }
    }

    #[test]
    fn work_and_answers_are_free() {
        for frame in
            [frame(DATA, 0, 1), frame(DATA, 1, 0), frame(PING, 1, 8), frame(SETTINGS, 1, 0)]
        {
            assert_eq!(accepted(&frame, 9), 5000);
        }
    }

    #[test]
    fn time_and_sent_messages_refill_the_budget() {
        let start = Instant::now();
        let ping = frame(PING, 0, 8);
        let mut calm = Calm::new(start);
        assert!(calm.receive(&[b'P'; PREFACE], start));
        while calm.receive(&ping, start) {}
        assert!(!calm.receive(&ping, start));
        calm.sent();
        assert!(calm.receive(&ping.repeat(4), start));
        assert!(!calm.receive(&ping, start));
        let later = start + Duration::from_secs(5);
        assert!(calm.receive(&ping.repeat(100), later));
        assert!(!calm.receive(&ping, later));
    }
}
