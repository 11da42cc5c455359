//! The clock that leadership is measured with.
//!
//! `std::time::Instant` reads `CLOCK_MONOTONIC` on Linux, and that clock stands still while the machine is suspended:
//! a holder whose laptop lid, VM or edge box slept for ten minutes would wake up with a lease that looks seconds old,
//! while another replica took the lock long ago. `CLOCK_BOOTTIME` goes on during suspend, is never stepped, and also
//! counts the time for which the process was stopped (SIGSTOP, cgroup freezer). What no clock of a guest can see is a
//! hypervisor that stops the whole guest together with its clocks; only the `resourceVersion` preconditions of
//! leader-only writes help there.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// A point in time as the duration since the machine's boot (in tests: since any fixed moment). It never goes back, and
/// it means nothing to another machine.
pub type SinceBoot = Duration;

/// Where time comes from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time that leases are measured with.
    fn now(&self) -> SinceBoot;

    /// The calendar, only for the timestamps that people read in the lock object; it may jump.
    fn wall(&self) -> SystemTime;
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SinceBoot {
        // Neither field is negative: the kernel counts up from the boot.
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_the_machine_advances() {
        let start = SystemClock.now();
        assert!(start > Duration::ZERO);
        while SystemClock.now() == start {
            std::hint::spin_loop();
        }
        assert!(SystemClock.now() > start);
    }
}
