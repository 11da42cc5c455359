//! Which parts of the program are alive, ready and started (spec events-and-leader §7).
//!
//! A thread registers a component and beats at least every [`PING_PERIOD`]; a liveness component that misses two beats
//! names a stuck or dead thread. Readiness and startup components are conditions that their owner sets. The HTTP side
//! is [`Handler`]; the rest is pure, with the time passed in.

mod handler;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use handler::Handler;

/// How often a component should beat.
pub const PING_PERIOD: Duration = Duration::from_secs(15);

/// Two missed beats: after this a component counts as stuck.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// All components of the process; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    components: Arc<Mutex<BTreeMap<String, State>>>,
}

/// What a probe asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Only stuck or dead threads fail it.
    Live,
    /// Liveness, and everything that must be there before clients are sent here.
    Ready,
    /// Everything that must have happened once.
    Startup,
}

/// The names of the good and the bad, each sorted; serialises to the body of the probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    /// Components that are well.
    pub healthy: Vec<String>,
    /// Components that are not.
    pub unhealthy: Vec<String>,
}

/// A thread's own entry; it disappears when the thread drops it on purpose, and stays and fails when it panics.
#[derive(Debug)]
pub struct Heartbeat {
    registry: Registry,
    name: String,
}

#[derive(Debug)]
enum State {
    /// Last beat, `None` before the first.
    Beating(Option<Instant>),
    Condition {
        probe: Probe,
        met: bool,
    },
}

impl Registry {
    /// Registers a thread under `name`; it is unhealthy until its first beat.
    pub fn heartbeat(&self, name: impl Into<String>) -> Heartbeat {
        let name = name.into();
        self.lock().insert(name.clone(), State::Beating(None));
        Heartbeat { registry: self.clone(), name }
    }

    /// Sets a readiness or startup condition, registering it when it is new.
    pub fn set_condition(&self, name: &str, probe: Probe, met: bool) {
        self.lock().insert(name.to_owned(), State::Condition { probe, met });
    }

    /// The answer to `probe` at `now`.
    pub fn report(&self, probe: Probe, now: Instant) -> Report {
        let mut report = Report::default();
        for (name, state) in self.lock().iter() {
            let well = match state {
                State::Beating(_) if probe == Probe::Startup => continue,
                State::Beating(last) => {
                    last.is_some_and(|last| now.saturating_duration_since(last) <= DEADLINE)
                }
                State::Condition { probe: kind, .. } if *kind != probe => continue,
                State::Condition { met, .. } => *met,
            };
            let list = if well { &mut report.healthy } else { &mut report.unhealthy };
            list.push(name.clone());
        }
        report
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    /// Whether nothing is unhealthy.
    pub fn is_healthy(&self) -> bool {
        self.unhealthy.is_empty()
    }
}

impl Heartbeat {
    /// Says that the thread went round its loop at `now`.
    pub fn beat(&self, now: Instant) {
        self.registry.lock().insert(self.name.clone(), State::Beating(Some(now)));
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.registry.lock().remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_unhealthy_before_its_first_beat_and_after_two_missed_ones() {
        let registry = Registry::default();
        let beat = registry.heartbeat("dispatcher");
        let now = Instant::now();
        assert_eq!(registry.report(Probe::Live, now).unhealthy, ["dispatcher"]);
        beat.beat(now);
        assert!(registry.report(Probe::Live, now + DEADLINE).is_healthy());
        let late = registry.report(Probe::Live, now + DEADLINE + Duration::from_millis(1));
        assert_eq!(late.unhealthy, ["dispatcher"]);
        drop(beat);
        assert!(registry.report(Probe::Live, now).is_healthy());
    }

    #[test]
    fn conditions_count_only_for_their_probe() {
        let registry = Registry::default();
        registry.set_condition("metadata-sync", Probe::Ready, false);
        let now = Instant::now();
        assert!(registry.report(Probe::Live, now).is_healthy());
        assert!(!registry.report(Probe::Ready, now).is_healthy());
        registry.set_condition("metadata-sync", Probe::Ready, true);
        assert_eq!(registry.report(Probe::Ready, now).healthy, ["metadata-sync"]);
    }

    #[test]
    fn the_body_has_capitalised_keys_and_empty_lists() {
        let body = serde_json::to_string(&Report::default()).expect("a report serialises");
        assert_eq!(body, r#"{"Healthy":[],"Unhealthy":[]}"#);
    }
}
