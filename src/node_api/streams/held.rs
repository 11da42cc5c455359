//! A tagger stream that is held open without entities (spec node-api §8.3).
//!
//! Older cluster-check runners reconnect without a pause when a stream fails after it opened, so an error would become
//! a hot loop; an open stream without entities is what they get from any cluster agent whose tagger is empty.

use std::time::{Duration, Instant};

use crate::grpc::{Next, StreamSource};

/// Silence after which an empty message is sent; clients give up after 10 minutes without one.
const SILENCE: Duration = Duration::from_secs(5 * 60);

/// Sends nothing but signs of life.
pub(super) struct HeldStream {
    last_message: Instant,
}

impl HeldStream {
    /// A stream that opened at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { last_message: now }
    }
}

impl StreamSource for HeldStream {
    fn next(&mut self, now: Instant) -> Next {
        let due = self.last_message + SILENCE;
        if now < due {
            return Next::Idle(due);
        }
        self.last_message = now;
        Next::Message(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_api_31_a_tagger_stream_stays_open_and_shows_life_every_five_minutes() {
        let start = Instant::now();
        let mut stream = HeldStream::new(start);
        assert_eq!(stream.next(start), Next::Idle(start + SILENCE));
        assert_eq!(stream.next(start + Duration::from_secs(61)), Next::Idle(start + SILENCE));
        assert_eq!(stream.next(start + SILENCE), Next::Message(Vec::new()));
        assert_eq!(stream.next(start + SILENCE), Next::Idle(start + 2 * SILENCE));
    }
}
