//! How the check `kubernetes_apiserver` fares, for the status page (spec cli §4.2).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Shared between the threads of the check, which write, and the status page.
#[derive(Debug, Default)]
pub struct Report(Mutex<Runs>);

/// The runs of this process so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Runs, those that failed included.
    pub total: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Datadog events of the last run and of all.
    pub events: (u64, u64),
    /// Service checks of the last run and of all.
    pub service_checks: (u64, u64),
    /// Time of all runs together.
    pub time: Duration,
    /// When the last run ended.
    pub last: Option<SystemTime>,
    /// When the last successful one ended.
    pub last_success: Option<SystemTime>,
    /// Why the last run failed.
    pub error: Option<String>,
    /// Events that could not be kept until they were sent.
    pub dropped: u64,
}

impl Report {
    /// The runs so far.
    pub fn runs(&self) -> Runs {
        self.lock().clone()
    }

    /// Datadog events were handed over.
    pub fn sent_events(&self, count: usize) {
        let mut runs = self.lock();
        runs.events.0 = count as u64;
        runs.events.1 += count as u64;
    }

    /// Events were lost.
    pub fn dropped_events(&self, count: u64) {
        self.lock().dropped += count;
    }

    /// A run has ended with this many service checks, or with an error.
    pub fn ran(&self, outcome: Result<usize, String>, took: Duration, now: SystemTime) {
        let mut runs = self.lock();
        runs.total += 1;
        runs.time += took;
        runs.last = Some(now);
        match outcome {
            Ok(checks) => {
                runs.service_checks.0 = checks as u64;
                runs.service_checks.1 += checks as u64;
                runs.last_success = Some(now);
                runs.error = None;
            }
            Err(error) => {
                runs.service_checks.0 = 0;
                runs.failed += 1;
                runs.error = Some(error);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
