//! Waits for a condition with a deadline: the only way tests of this layer wait.
//!
//! Conditions are polled every 20 ms, never slept for, so a fast machine is fast and a loaded one is patient.

use std::time::{Duration, Instant};

/// Time between two looks at a condition. Each look is at most a few requests to a local API server.
const POLL: Duration = Duration::from_millis(20);

/// What a control plane on a loaded two-core machine may take to react: it takes 3 s after a start and well
/// below 1 s later, so this only ever runs out when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Polls `look` until it gives a value and returns it. Panics with `what` and the last reason after `deadline`.
#[track_caller]
pub fn wait_until<T, R: std::fmt::Display>(
    deadline: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, R>,
) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(reason) if started.elapsed() >= deadline => {
                panic!("no {what} within {:.1} s: {reason}", deadline.as_secs_f32())
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}
