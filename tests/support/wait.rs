//! Waiting for a condition instead of for a time.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Returns when `condition` holds; panics with `what` when it does not within `limit`.
#[track_caller]
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    some(what, limit, || condition().then_some(()));
}

/// Returns the first `Some`; panics with `what` when none comes within `limit`.
#[track_caller]
pub fn some<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "not within {limit:?}: {what}");
        thread::sleep(LOOK_INTERVAL);
    }
}
