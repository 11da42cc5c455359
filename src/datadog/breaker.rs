//! When a route to an intake may be used, from how its last requests ended: pure, with the time passed in (spec
//! events-and-leader §5.6).
//!
//! An error blocks the route for a time that doubles with each further one. When the time is over one payload is sent
//! as a test; a success makes up for some of the errors, and while errors are left the route stays paced.

use std::time::{Duration, Instant};

use crate::config::Forwarder;
use crate::retry::Random;

/// The state of one route.
#[derive(Clone, Debug)]
pub struct Breaker {
    pacing: Pacing,
    errors: u32,
    blocked_until: Option<Instant>,
    random: Random,
}

/// How long errors block; in seconds and numbers of errors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pacing {
    factor: f64,
    base: f64,
    longest: f64,
    recovery: u32,
}

impl Pacing {
    /// The pacing of the configuration, which holds only values that make sense.
    pub fn new(settings: &Forwarder) -> Self {
        let recovery = if settings.recovery_reset { u32::MAX } else { settings.recovery_interval };
        Self {
            factor: settings.backoff_factor,
            base: settings.backoff_base,
            longest: settings.backoff_max,
            recovery,
        }
    }

    /// Errors that count: one more would not block for longer.
    fn most_errors(&self) -> u32 {
        let steps = (self.longest / self.base).log2().floor() + 1.0;
        // A float that is no number of steps becomes the nearest one.
        steps.max(1.0) as u32
    }

    fn backoff(&self, errors: u32, random: &mut Random) -> Duration {
        let ceiling = self.base * 2_f64.powi(i32::try_from(errors).unwrap_or(i32::MAX));
        if ceiling > self.longest {
            return Duration::from_secs_f64(self.longest);
        }
        let ceiling = Duration::from_secs_f64(ceiling);
        let least = ceiling.div_f64(self.factor);
        least + random.up_to(ceiling - least)
    }
}

impl Breaker {
    /// A route without errors.
    pub fn new(pacing: Pacing, random: Random) -> Self {
        Self { pacing, errors: 0, blocked_until: None, random }
    }

    /// Until when nothing may be sent; `None` when something may at `now`.
    pub fn blocked(&self, now: Instant) -> Option<Instant> {
        self.blocked_until.filter(|until| *until > now)
    }

    /// A request has failed in a way that another one may mend.
    pub fn failed(&mut self, now: Instant) {
        self.errors = self.errors.saturating_add(1).min(self.pacing.most_errors());
        self.block(now);
    }

    /// The intake has answered as it should, or has refused the payload for good.
    pub fn succeeded(&mut self, now: Instant) {
        self.errors = self.errors.saturating_sub(self.pacing.recovery);
        if self.errors == 0 {
            self.blocked_until = None;
        } else {
            self.block(now);
        }
    }

    fn block(&mut self, now: Instant) {
        self.blocked_until = Some(now + self.pacing.backoff(self.errors, &mut self.random));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn breaker(reset: bool) -> Breaker {
        let settings = Forwarder { recovery_reset: reset, ..Config::default().forwarder };
        Breaker::new(Pacing::new(&settings), Random::from_seed(7))
    }

    fn pause(breaker: &Breaker, now: Instant) -> f64 {
        breaker.blocked(now).map_or(0.0, |until| (until - now).as_secs_f64())
    }

    // spec: events_and_leader_24
    #[test]
    fn five_errors_in_a_row_double_the_pause() {
        for seed in 1..100 {
            let now = Instant::now();
            let mut breaker = Breaker { random: Random::from_seed(seed), ..breaker(false) };
            for ceiling in [4.0, 8.0, 16.0, 32.0, 64.0] {
                breaker.failed(now);
                let pause = pause(&breaker, now);
                assert!((ceiling / 2.0..=ceiling).contains(&pause), "{pause} of {ceiling}");
            }
            for _ in 0..50 {
                breaker.failed(now);
                assert_eq!(pause(&breaker, now), 64.0);
            }
        }
    }

    #[test]
    fn a_success_makes_up_for_two_errors_or_for_all() {
        let now = Instant::now();
        let mut slow = breaker(false);
        let mut fast = breaker(true);
        for _ in 0..4 {
            slow.failed(now);
            fast.failed(now);
        }
        slow.succeeded(now);
        assert!((4.0..=8.0).contains(&pause(&slow, now)));
        slow.succeeded(now);
        assert_eq!(slow.blocked(now), None);
        fast.succeeded(now);
        assert_eq!(fast.blocked(now), None);
    }

    #[test]
    fn a_block_ends_by_itself() {
        let now = Instant::now();
        let mut breaker = breaker(false);
        breaker.failed(now);
        let until = breaker.blocked(now).expect("it is blocked");
        assert_eq!(breaker.blocked(until), None);
    }
}
