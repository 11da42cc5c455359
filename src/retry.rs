//! How a loop that must never give up paces its attempts and its complaints.

use std::time::{Duration, Instant};

/// Capped exponential backoff with jitter, reset by a success.
///
/// Each pause is drawn from the upper half of its step (`step/2 ..= step`), so replicas that failed together do not
/// come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    step: Duration,
    random: Random,
}

impl Backoff {
    /// Starts at `base` and doubles up to `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, step: base, random: Random::from_entropy() }
    }

    /// The pause before the next attempt; the one after it is twice as long, up to the cap.
    pub fn next_pause(&mut self) -> Duration {
        let step = self.step;
        self.step = (step * 2).min(self.cap);
        step / 2 + self.random.up_to(step / 2)
    }

    /// Back to the shortest pause, after a success.
    pub fn reset(&mut self) {
        self.step = self.base;
    }
}

/// Lets the first complaint through and then at most one in each period, so that a loop that fails for hours does not
/// flood the log (design §3 rule 2).
#[derive(Clone, Debug)]
pub struct Throttle {
    period: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// One line a minute: what the safety rules ask of every retry loop.
    pub const PERIOD: Duration = Duration::from_secs(60);

    /// A throttle with the given period.
    pub fn new(period: Duration) -> Self {
        Self { period, last: None, suppressed: 0 }
    }

    /// Whether to speak now; `Some(n)` says yes and that `n` complaints were held back since the last one.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < self.period) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }

    /// Forgets the past, after a success: the next failure is a first one again.
    pub fn reset(&mut self) {
        self.last = None;
        self.suppressed = 0;
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new(Self::PERIOD)
    }
}

/// A small generator (xorshift64*) for jitter and sampling; not for secrets.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator with a fixed seed, for tests and model runs; 0 is replaced because xorshift would stay there.
    pub fn from_seed(seed: u64) -> Self {
        Self { state: if seed == 0 { 0x9e37_79b9_7f4a_7c15 } else { seed } }
    }

    /// A generator seeded by the process's random hash keys.
    pub fn from_entropy() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self::from_seed(RandomState::new().hash_one(0_u8))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// An evenly drawn number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// An evenly drawn duration of at most `limit`.
    pub fn up_to(&mut self, limit: Duration) -> Duration {
        let nanoseconds = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.below(nanoseconds.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_reset() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 4 * second);
        for step in [second, 2 * second, 4 * second, 4 * second] {
            let pause = backoff.next_pause();
            assert!(
                pause >= step / 2 && pause <= step,
                "{pause:?} is not in the upper half of {step:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_pause() <= second);
    }

    #[test]
    fn a_throttle_lets_the_first_and_then_one_a_period_through() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        assert_eq!(throttle.admit(start), Some(0));
        assert_eq!(throttle.admit(start + Duration::from_secs(59)), None);
        assert_eq!(throttle.admit(start + Duration::from_secs(60)), Some(1));
        throttle.reset();
        assert_eq!(throttle.admit(start + Duration::from_secs(61)), Some(0));
    }

    #[test]
    fn drawn_numbers_stay_below_the_bound() {
        let mut random = Random::from_seed(0);
        assert!((0..1000).all(|_| random.below(7) < 7));
        assert_eq!(random.below(0), 0);
    }
}
