//! The thread `leader`: runs the election against the lock and publishes what follows.
//!
//! Flow: choose the kind of lock (until that works: backoff 1 s to 5 min), then poll the election, do what it says, hand
//! it the answer, publish the role. The body is [`Candidate::run`]; it ends when its stop token is pulled and the lock
//! is released, and may be run again after a panic: leadership published before runs out by itself.
//!
//! Failures never end the thread. The first of a kind is logged with what would mend it, then one line a minute; the
//! latest is in [`Leadership::knowledge`] until an attempt succeeds.
//!
//! [`Leadership::knowledge`]: super::Leadership::knowledge

use std::time::{Duration, Instant};

use log::{error, info};
use serde_json::Value;

use super::election::{Action, Call, Election, Role, Settings, Snapshot};
use super::leadership::{Knowledge, Publisher};
use super::lock::{self, Lock};
use super::record::{Contents, LockKind};
use crate::health::Heartbeat;
use crate::kube::{Cause, Error, Verb};
use crate::retry::{Backoff, Random, Throttle};
use crate::sync::Stop;
use crate::telemetry::{Counter, Gauge, Registry};

/// Pauses while the kind of the lock cannot be found out (spec events-and-leader §1.5).
const CHOICE_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Sleeps are cut into pieces of this length, so that the heartbeat (every 15 s) is not missed.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// How the lock is opened: its kind is chosen, perhaps by asking the server.
pub type Open = Box<dyn Fn() -> Result<(LockKind, Box<dyn Lock>), Error> + Send>;

/// One replica's part in the election.
pub struct Candidate {
    /// The pod name of this replica; not empty.
    pub identity: String,
    /// The lease duration L.
    pub lease: Duration,
    /// Whether the lock is released at the end.
    pub release: bool,
    /// Opens the lock.
    pub open: Open,
    /// Where the role is published.
    pub publisher: Publisher,
    /// Where it is shown and failures are counted.
    pub telemetry: Registry,
    /// Shows that the thread lives.
    pub heartbeat: Heartbeat,
}

/// The running election and what is told about it.
struct Run<'a> {
    candidate: &'a Candidate,
    election: Election<Value>,
    lock: Box<dyn Lock>,
    metrics: Metrics,
    role: Role,
    problem: Option<String>,
    /// Whether the last call succeeded, until that is looked at: an attempt counts by its last call.
    succeeded: bool,
    complaints: Throttle,
    /// The record that was complained about.
    garbled: Option<String>,
}

struct Metrics {
    is_leader: Gauge,
    changes: Counter,
    failures: Counter,
}

/// Shows in the metrics what this replica is, where there is no election to show it.
pub fn show_leading(telemetry: &Registry, leads: bool) {
    Metrics::new(telemetry).show(leads);
}

impl Candidate {
    /// Takes part in the election until `stop`, then releases the lock. All work that only a leader may do must have
    /// ended before that token is pulled.
    pub fn run(&self, stop: &Stop) {
        let metrics = Metrics::new(&self.telemetry);
        metrics.show(false);
        let Some((kind, lock)) = self.open_lock(stop) else { return };
        info!("Starting leader election process for \"{}\" on {lock}...", self.identity);
        let settings = Settings {
            identity: self.identity.clone(),
            lease: self.lease,
            kind,
            release: self.release,
        };
        let mut run = Run {
            candidate: self,
            election: Election::new(settings, Random::from_entropy(), self.publisher.now())
                .after_terms(self.publisher.terms()),
            lock,
            metrics,
            role: Role::Unknown,
            problem: None,
            succeeded: false,
            complaints: Throttle::default(),
            garbled: None,
        };
        while run.turn(stop) {}
    }

    /// The lock, as soon as its kind is known; `None` when the thread has to end before.
    fn open_lock(&self, stop: &Stop) -> Option<(LockKind, Box<dyn Lock>)> {
        let mut backoff = Backoff::new(CHOICE_PAUSES.0, CHOICE_PAUSES.1);
        let mut complaints = Throttle::default();
        loop {
            self.heartbeat.beat(Instant::now());
            let problem = match (self.open)() {
                Ok(opened) => return Some(opened),
                Err(problem) => explained(&problem),
            };
            if let Some(more) = complaints.admit(Instant::now()) {
                error!(
                    "the lock of the leader election cannot be chosen: {problem}{}",
                    held_back(more)
                );
            }
            self.publisher.explain(Knowledge {
                identity: self.identity.clone(),
                problem: Some(problem),
                ..Knowledge::default()
            });
            let end = Instant::now() + backoff.next_pause();
            while Instant::now() < end {
                self.heartbeat.beat(Instant::now());
                if stop.wait_until(end.min(Instant::now() + LONGEST_SLEEP)) {
                    return None;
                }
            }
        }
    }
}

impl Run<'_> {
    /// One step of the election; false after the last one.
    fn turn(&mut self, stop: &Stop) -> bool {
        let clock = self.candidate.publisher.clock();
        if stop.is_stopped() {
            self.election.stop(clock.now());
        }
        let action = self.election.poll(clock.now(), clock.wall());
        // Published before anything is done: not leading any more comes before the release.
        self.publish();
        self.candidate.heartbeat.beat(Instant::now());
        match action {
            Action::Finished => return false,
            Action::Sleep { until } => {
                if std::mem::take(&mut self.succeeded) && self.problem.take().is_some() {
                    self.complaints.reset();
                    self.publish();
                }
                let pause = until.saturating_sub(clock.now());
                stop.wait(pause.min(LONGEST_SLEEP));
            }
            Action::Call { call, timeout } => {
                let outcome = self.lock.call(&call, timeout);
                self.note(&call, &outcome);
                self.election.answer(clock.now(), lock::answer(&outcome));
            }
        }
        true
    }

    /// Publishes the role and says what changed.
    fn publish(&mut self) {
        let role = self.election.role();
        self.candidate.publisher.publish(role.clone());
        self.candidate.publisher.explain(Knowledge {
            identity: self.candidate.identity.clone(),
            lock: self.lock.to_string(),
            record: match self.election.contents() {
                Some(Contents::Record(record)) => Some(record.clone()),
                _ => None,
            },
            problem: self.problem.clone(),
        });
        let old = std::mem::replace(&mut self.role, role);
        let (was, is) = (term(&old), term(&self.role));
        if old == Role::Unknown
            && let Some(leader) = known_leader(&self.role, &self.candidate.identity)
        {
            info!("Leader election running, current leader is {leader:?}");
        }
        if was == is {
            if old != self.role
                && let Role::Following { holder: Some(holder) } = &self.role
            {
                // A name from the lock is anybody's text: it is written with its escapes.
                info!("New leader {holder:?}");
            }
            return;
        }
        let me = &self.candidate.identity;
        if was.is_some() {
            info!("Stopped leading \"{me}\"");
            self.metrics.changes.increment(&["lost"]);
        }
        if is.is_some() {
            info!("New leader \"{me}\"");
            info!("Started leading as \"{me}\"...");
            self.metrics.changes.increment(&["gained"]);
        } else {
            info!("Leader election lost");
        }
        self.metrics.show(is.is_some());
    }

    /// Keeps what a call says about the state of the lock.
    fn note(&mut self, call: &Call<Value>, outcome: &Result<Snapshot<Value>, Error>) {
        self.succeeded = outcome.is_ok();
        let problem = match outcome {
            Ok(snapshot) => return self.note_contents(snapshot),
            Err(Error { cause: Cause::Conflict { .. }, .. }) => return,
            Err(Error { cause: Cause::NotFound, .. }) if !matches!(call, Call::Create(_)) => return,
            Err(problem) => problem,
        };
        self.metrics.failures.increment(&[cause(problem)]);
        let text = explained(problem);
        if let Some(more) = self.complaints.admit(Instant::now()) {
            error!("leader election: {text}{}", held_back(more));
        }
        self.problem = Some(text);
    }

    fn note_contents(&mut self, snapshot: &Snapshot<Value>) {
        match &snapshot.contents {
            Contents::Invalid(reason) if self.garbled.as_ref() != Some(&snapshot.fingerprint) => {
                error!(
                    "the record in {} cannot be read ({reason}); it is replaced when it stays unchanged for {:?}",
                    self.lock, self.candidate.lease
                );
                self.garbled = Some(snapshot.fingerprint.clone());
            }
            Contents::Invalid(_) => {}
            Contents::Empty | Contents::Record(_) => self.garbled = None,
        }
    }
}

impl Metrics {
    fn new(telemetry: &Registry) -> Self {
        Self {
            is_leader: telemetry.gauge(
                "leader_election_is_leader",
                "1 in the one series that says what this replica is",
                &["join_leader", "is_leader"],
            ),
            changes: telemetry.counter(
                "leader_election_changes_total",
                "How often this replica became the leader or stopped being it",
                &["change"],
            ),
            failures: telemetry.counter(
                "leader_election_failed_calls_total",
                "Calls on the lock object that failed, conflicts left out",
                &["cause"],
            ),
        }
    }

    /// Only one of the two series exists at a time (spec events-and-leader §1.7).
    fn show(&self, leads: bool) {
        let (shown, hidden, value) =
            if leads { ("true", "false", 1.0) } else { ("false", "true", 0.0) };
        self.is_leader.remove(&["true", hidden]);
        self.is_leader.set(&["true", shown], value);
    }
}

/// The leader that a role implies for the replica `me`.
fn known_leader<'a>(role: &'a Role, me: &'a str) -> Option<&'a str> {
    match role {
        Role::Leading { .. } => Some(me),
        Role::Following { holder } => holder.as_deref(),
        Role::Unknown => None,
    }
}

fn term(role: &Role) -> Option<u64> {
    match role {
        Role::Leading { term, .. } => Some(*term),
        Role::Unknown | Role::Following { .. } => None,
    }
}

fn cause(problem: &Error) -> &'static str {
    match problem.cause {
        Cause::Forbidden { .. } => "forbidden",
        Cause::Unauthorized { .. } => "unauthorized",
        Cause::NotFound => "not_found",
        Cause::Timeout(_) => "timeout",
        Cause::Transport(_) => "transport",
        Cause::TooManyRequests { .. } | Cause::Unavailable { .. } => "unavailable",
        _ => "other",
    }
}

/// The failure, what it means here, and what would mend it.
fn explained(problem: &Error) -> String {
    let mut text = problem.to_string();
    if matches!(problem.cause, Cause::Forbidden { .. }) {
        text.push_str("; until then this replica cannot become the leader");
        if problem.verb == Verb::Create && problem.target.plural() == LockKind::ConfigMap.plural() {
            text.push_str(", unless the object is made by hand with kubectl create configmap");
        }
    } else if let Some(remedy) = problem.remedy() {
        text.push_str("; ");
        text.push_str(&remedy);
    }
    text
}

fn held_back(more: u64) -> String {
    if more == 0 { String::new() } else { format!(" ({more} more since the last such line)") }
}

#[cfg(test)]
mod tests;
