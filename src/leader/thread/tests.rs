//! Whole candidates on threads, against a lock in memory, with leases of one second.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;
use serde_json::json;

use super::*;
use crate::health;
use crate::kube::Target;
use crate::leader::clock::SystemClock;
use crate::leader::record;
use crate::leader::{Leadership, State};
use crate::sync::StopSource;

/// Everything here happens within a few leases of one second; a loaded machine gets ten times that.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the API server would keep, and how it behaves.
#[derive(Default)]
struct Shared {
    object: Option<Value>,
    version: u64,
    /// The verbs that are refused with 403.
    forbidden: Vec<Verb>,
    /// Calls wait for this channel to be closed.
    gate: Option<Receiver<()>>,
    calls: Vec<&'static str>,
}

#[derive(Clone, Default)]
struct MemoryLock(Arc<Mutex<Shared>>);

impl MemoryLock {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().expect("no test panics while it holds the lock")
    }

    fn record(&self) -> Option<record::Record> {
        let object = self.shared().object.clone()?;
        match record::read(LockKind::Lease, &object).0 {
            Contents::Record(record) => Some(record),
            _ => None,
        }
    }
}

impl fmt::Display for MemoryLock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("leases \"lock\" in memory")
    }
}

impl Lock for MemoryLock {
    fn call(&self, call: &Call<Value>, timeout: Duration) -> Result<Snapshot<Value>, Error> {
        let target = Target::new(LockKind::Lease.api(), LockKind::Lease.plural()).named("lock");
        let verb = match call {
            Call::Get => Verb::Get,
            Call::Create(_) => Verb::Create,
            Call::Update { .. } => Verb::Update,
        };
        let failure = |cause| Error { verb, target: Box::new(target.clone()), cause };
        let gate = self.shared().gate.clone();
        if let Some(gate) = gate
            && gate.recv_timeout(timeout) == Err(crossbeam_channel::RecvTimeoutError::Timeout)
        {
            return Err(failure(Cause::Timeout(ureq::Timeout::Global)));
        }
        let mut shared = self.shared();
        shared.calls.push(match call {
            Call::Get => "get",
            Call::Create(_) => "create",
            Call::Update { record, .. } if record.holder.is_empty() => "release",
            Call::Update { .. } => "update",
        });
        if shared.forbidden.contains(&verb) {
            return Err(failure(Cause::Forbidden { message: "no".to_owned() }));
        }
        let conflict = || failure(Cause::Conflict { message: String::new() });
        let mut object = match (call, shared.object.clone()) {
            (Call::Get | Call::Update { .. }, None) => return Err(failure(Cause::NotFound)),
            (Call::Create(_), Some(_)) => return Err(conflict()),
            (Call::Get, Some(object)) => object,
            (Call::Create(record), None) => record::created(LockKind::Lease, "ns", "lock", record),
            (Call::Update { object, record }, Some(current)) => {
                if object["metadata"]["resourceVersion"] != current["metadata"]["resourceVersion"] {
                    return Err(conflict());
                }
                record::written(LockKind::Lease, object.clone(), record)
            }
        };
        if !matches!(call, Call::Get) {
            shared.version += 1;
            object["metadata"]["resourceVersion"] = json!(shared.version.to_string());
            shared.object = Some(object.clone());
        }
        let (contents, fingerprint) = record::read(LockKind::Lease, &object);
        Ok(Snapshot { object, contents, fingerprint })
    }
}

/// A candidate on its thread.
struct Replica {
    leadership: Leadership,
    telemetry: Registry,
    stop: Option<StopSource>,
    thread: JoinHandle<()>,
}

fn replica(name: &str, lock: &MemoryLock) -> Replica {
    let lock = lock.clone();
    replica_with(name, Box::new(move || Ok((LockKind::Lease, Box::new(lock.clone())))))
}

fn replica_with(name: &str, open: Open) -> Replica {
    let (publisher, leadership) = Leadership::new(Arc::new(SystemClock));
    let telemetry = Registry::default();
    let (source, stop) = Stop::new();
    let candidate = Candidate {
        identity: name.to_owned(),
        lease: Duration::from_secs(1),
        release: true,
        open,
        publisher,
        telemetry: telemetry.clone(),
        heartbeat: health::Registry::default().heartbeat("leader-election"),
    };
    let thread = std::thread::spawn(move || candidate.run(&stop));
    Replica { leadership, telemetry, stop: Some(source), thread }
}

impl Replica {
    fn leads(&self) -> bool {
        self.leadership.is_leader()
    }

    fn stop(mut self) {
        drop(self.stop.take());
        self.thread.join().expect("the thread ends well");
    }

    fn problem(&self) -> String {
        self.leadership.knowledge().problem.clone().unwrap_or_default()
    }
}

#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn one_leads_the_other_follows_and_takes_over_after_the_release() {
    let lock = MemoryLock::default();
    let first = replica("a", &lock);
    wait_until("a leads", || first.leads());
    let second = replica("b", &lock);
    let follows = State::Follower { leader: Some("a".to_owned()) };
    wait_until("b follows a", || second.leadership.state() == follows);
    let knowledge = second.leadership.knowledge();
    assert_eq!(knowledge.lock, "leases \"lock\" in memory");
    assert_eq!(knowledge.record.as_ref().map(|record| record.holder.as_str()), Some("a"));

    let leadership = first.leadership.clone();
    let watched = lock.clone();
    let order = std::thread::spawn(move || {
        // When the release is in the lock, the leader has long stopped being one.
        wait_until("the release", || watched.record().is_some_and(|record| record.holder != "a"));
        leadership.is_leader()
    });
    first.stop();
    assert!(!order.join().expect("the watcher ends well"));
    wait_until("b leads", || second.leads());
    assert_eq!(
        lock.record().map(|record| (record.holder, record.transitions)),
        Some(("b".to_owned(), 1))
    );
    second.stop();
    assert_eq!(lock.record().map(|record| record.holder), Some(String::new()));
}

#[test]
fn leadership_ends_while_the_thread_hangs_in_a_call() {
    let lock = MemoryLock::default();
    let replica = replica("a", &lock);
    wait_until("a leads", || replica.leads());
    let (gate, closed) = crossbeam_channel::bounded(0);
    lock.shared().gate = Some(closed);
    wait_until("a stops leading", || !replica.leads());
    wait_until("the problem is known", || replica.problem().contains("no answer in time"));
    drop(gate);
    wait_until("a leads again", || replica.leads());
    assert_eq!(replica.problem(), "");
    assert!(matches!(replica.leadership.state(), State::Leader { term } if term > 1));
    replica.stop();
}

#[test]
fn a_refusal_is_explained_counted_and_heals() {
    let lock = MemoryLock::default();
    lock.shared().forbidden = vec![Verb::Create];
    let replica = replica("a", &lock);
    wait_until("the refusal is known", || !replica.problem().is_empty());
    assert_eq!(
        replica.problem(),
        "the service account may not create leases \"lock\": grant apiGroups [\"coordination.k8s.io\"] \
         resources [\"leases\"] verbs [\"create\"]; until then this replica cannot become the leader"
    );
    assert!(replica.telemetry.total("leader_election_failed_calls_total") >= 1.0);
    assert!(!replica.leads());
    lock.shared().forbidden.clear();
    wait_until("a leads", || replica.leads());
    wait_until("the problem is gone", || replica.problem().is_empty());
    // A renewal that is refused while reading works is a problem all the time.
    lock.shared().forbidden = vec![Verb::Update];
    wait_until("the refusal is known", || replica.problem().contains("may not update"));
    wait_until("a stops leading", || !replica.leads());
    let calls = lock.shared().calls.len();
    wait_until("two more attempts", || lock.shared().calls.len() >= calls + 4);
    assert!(replica.problem().contains("may not update"));
    replica.stop();
}

#[test]
fn a_thread_that_begins_anew_leads_in_a_new_term() {
    let lock = MemoryLock::default();
    let (publisher, leadership) = Leadership::new(Arc::new(SystemClock));
    let opened = lock.clone();
    let mut candidate = Candidate {
        identity: "a".to_owned(),
        lease: Duration::from_secs(1),
        release: false,
        open: Box::new(move || Ok((LockKind::Lease, Box::new(opened.clone())))),
        publisher,
        telemetry: Registry::default(),
        heartbeat: health::Registry::default().heartbeat("leader-election"),
    };
    for term in 1..=2 {
        let (source, stop) = Stop::new();
        let thread = std::thread::spawn(move || {
            candidate.run(&stop);
            candidate
        });
        wait_until("the term begins", || leadership.state() == State::Leader { term });
        drop(source);
        candidate = thread.join().expect("the thread ends well");
    }
}

#[test]
fn exactly_one_series_says_what_this_replica_is() {
    let lock = MemoryLock::default();
    let first = replica("a", &lock);
    wait_until("a leads", || first.leads());
    let second = replica("b", &lock);
    let series = |replica: &Replica| {
        let text = replica.telemetry.render();
        let lines = text.lines().filter(|line| line.starts_with("leader_election_is_leader"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let leads = r#"leader_election_is_leader{join_leader="true",is_leader="true"} 1"#;
    let follows = r#"leader_election_is_leader{join_leader="true",is_leader="false"} 0"#;
    wait_until("a shows that it leads", || series(&first) == [leads]);
    wait_until("b shows that it follows", || series(&second) == [follows]);
    first.stop();
    wait_until("b shows that it leads", || series(&second) == [leads]);
    second.stop();
}

#[test]
fn the_kind_is_asked_for_again_until_it_is_known() {
    let lock = MemoryLock::default();
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let opened = lock.clone();
    let replica = replica_with(
        "a",
        Box::new(move || {
            let mut count = count.lock().expect("unpoisoned");
            *count += 1;
            if *count == 1 {
                let target = Box::new(Target::new(LockKind::Lease.api(), LockKind::Lease.plural()));
                let cause = Cause::Timeout(ureq::Timeout::Global);
                return Err(Error { verb: Verb::Get, target, cause });
            }
            Ok((LockKind::Lease, Box::new(opened.clone())))
        }),
    );
    wait_until("the problem is known", || replica.problem().contains("no answer in time"));
    assert_eq!(replica.leadership.state(), State::Unknown);
    wait_until("a leads", || replica.leads());
    assert_eq!(*asked.lock().expect("unpoisoned"), 2);
    replica.stop();
}

#[test]
fn a_stop_ends_a_candidate_that_never_got_a_lock() {
    let target = || Box::new(Target::new(LockKind::Lease.api(), LockKind::Lease.plural()));
    let failing = move || Err(Error { verb: Verb::Get, target: target(), cause: Cause::NotFound });
    let replica = replica_with("a", Box::new(failing));
    wait_until("the problem is known", || !replica.problem().is_empty());
    replica.stop();
}
