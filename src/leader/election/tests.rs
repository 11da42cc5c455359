//! The algorithm's cases (spec events-and-leader §11), one replica against a lock in memory.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::leader::record::LockKind;

const LEASE: u64 = 60;

/// One election, its lock, and how the lock behaves.
struct Bench {
    election: Election<u64>,
    now: Duration,
    wall: SystemTime,
    /// `None` when there is no object.
    lock: Option<Contents>,
    version: u64,
    behaviour: fn(&Call<u64>) -> Behaviour,
    /// When each call was sent, and what it was.
    calls: Vec<(Duration, Call<u64>)>,
}

enum Behaviour {
    Answer { after: Duration },
    Refuse,
    Hang,
}

fn prompt(_: &Call<u64>) -> Behaviour {
    Behaviour::Answer { after: Duration::ZERO }
}

fn refusing(_: &Call<u64>) -> Behaviour {
    Behaviour::Refuse
}

fn hanging(_: &Call<u64>) -> Behaviour {
    Behaviour::Hang
}

fn settings(lease: u64) -> Settings {
    Settings {
        identity: "me".to_owned(),
        lease: seconds(lease as f64),
        kind: LockKind::ConfigMap,
        release: true,
    }
}

fn bench(lock: Option<Contents>) -> Bench {
    bench_with(settings(LEASE), lock)
}

fn bench_with(settings: Settings, lock: Option<Contents>) -> Bench {
    let now = seconds(1000.0);
    Bench {
        election: Election::new(settings, Random::from_seed(7), now),
        now,
        wall: UNIX_EPOCH + seconds(1_714_644_000.0),
        lock,
        version: 1,
        behaviour: prompt,
        calls: Vec::new(),
    }
}

fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number)
}

fn record(holder: &str, transitions: i64) -> Record {
    Record {
        holder: holder.to_owned(),
        duration_seconds: LEASE as i64,
        acquired: Timestamp::parse("2024-05-02T10:00:00Z"),
        renewed: Timestamp::parse("2024-05-02T10:00:00Z"),
        transitions,
    }
}

fn held(holder: &str) -> Option<Contents> {
    Some(Contents::Record(record(holder, 4)))
}

impl Bench {
    /// Runs until `end`, or until the election has ended.
    fn run_until(&mut self, end: Duration) {
        while self.now < end {
            match self.election.poll(self.now, self.wall) {
                Action::Finished => return,
                Action::Sleep { until } => self.pass(until.min(end) - self.now),
                Action::Call { call, timeout } => {
                    self.calls.push((self.now, call.clone()));
                    match (self.behaviour)(&call) {
                        Behaviour::Answer { after } if after < timeout => {
                            self.pass(after);
                            let answer = self.perform(call);
                            self.election.answer(self.now, answer);
                        }
                        Behaviour::Refuse => self.election.answer(self.now, Answer::Failed),
                        Behaviour::Answer { .. } | Behaviour::Hang => {
                            self.pass(timeout);
                            self.election.answer(self.now, Answer::Failed);
                        }
                    }
                }
            }
        }
    }

    fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    fn pass(&mut self, duration: Duration) {
        self.now += duration;
        self.wall += duration;
    }

    fn perform(&mut self, call: Call<u64>) -> Answer<u64> {
        match call {
            Call::Get => self.snapshot(),
            Call::Create(_) if self.lock.is_some() => Answer::Conflict,
            Call::Update { .. } if self.lock.is_none() => Answer::Missing,
            Call::Update { object, .. } if object != self.version => Answer::Conflict,
            Call::Create(record) | Call::Update { record, .. } => {
                self.put(record);
                self.snapshot()
            }
        }
    }

    /// Somebody writes the record.
    fn put(&mut self, record: Record) {
        self.version += 1;
        self.lock = Some(Contents::Record(record));
    }

    fn snapshot(&self) -> Answer<u64> {
        let Some(contents) = self.lock.clone() else { return Answer::Missing };
        let fingerprint = format!("{contents:?}");
        Answer::Found(Snapshot { object: self.version, contents, fingerprint })
    }

    fn leads(&self) -> bool {
        matches!(self.election.role(), Role::Leading { until, .. } if self.now < until)
    }

    fn last_write(&self) -> Option<&Record> {
        self.writes().pop()
    }

    /// The records that were sent, in order.
    fn writes(&self) -> Vec<&Record> {
        self.calls
            .iter()
            .filter_map(|(_, call)| match call {
                Call::Get => None,
                Call::Create(record) | Call::Update { record, .. } => Some(record),
            })
            .collect()
    }

    /// When the attempts since `start` began: calls that follow one another at once are one.
    fn attempts_since(&self, start: Duration) -> Vec<Duration> {
        let mut times: Vec<Duration> =
            self.calls.iter().map(|(time, _)| *time).filter(|time| *time > start).collect();
        times.dedup();
        times
    }
}

#[test]
fn events_and_leader_01_an_absent_lock_is_created_and_held() {
    let mut bench = bench(None);
    assert_eq!(bench.election.role(), Role::Unknown);
    bench.run_for(seconds(1.0));
    let (_, Call::Create(record)) = &bench.calls[1] else { panic!("{:?}", bench.calls) };
    assert_eq!(
        (record.holder.as_str(), record.duration_seconds, record.transitions),
        ("me", 60, 0)
    );
    assert_eq!(record.renewed, Timestamp::parse("2024-05-02T10:00:00Z"));
    assert_eq!(record.acquired, record.renewed);
    assert_eq!(bench.election.role(), Role::Leading { until: seconds(1045.0), term: 1 });
}

#[test]
fn events_and_leader_02_an_empty_lock_gets_its_first_transition() {
    let mut bench = bench(Some(Contents::Empty));
    bench.run_for(seconds(1.0));
    assert!(bench.leads());
    assert_eq!(bench.last_write().map(|record| record.transitions), Some(1));
}

#[test]
fn events_and_leader_03_a_silent_holder_is_left_alone_for_a_whole_lease() {
    for renewed in ["2024-05-02T10:00:00Z", "2024-05-02T11:00:00Z", "2024-05-02T09:00:00Z"] {
        let renewed = Timestamp::parse(renewed);
        let mut bench = bench(Some(Contents::Record(Record { renewed, ..record("other", 4) })));
        bench.run_for(seconds(60.0));
        assert_eq!(bench.last_write(), None);
        assert_eq!(bench.election.role(), Role::Following { holder: Some("other".to_owned()) });
        bench.run_for(seconds(33.0));
        assert!(bench.leads());
        assert_eq!(bench.last_write().map(|record| record.transitions), Some(5));
    }
}

#[test]
fn events_and_leader_04_a_holder_that_renews_keeps_the_lock() {
    let mut bench = bench(held("other"));
    for round in 0..40 {
        let renewed = Timestamp::parse(&format!("2024-05-02T10:{round:02}:00Z"));
        bench.put(Record { renewed, ..record("other", 4) });
        bench.run_for(seconds(15.0));
        assert_eq!(bench.last_write(), None);
    }
}

#[test]
fn events_and_leader_05_a_released_lock_is_taken_at_the_next_attempt() {
    let mut bench = bench(held("other"));
    bench.run_for(seconds(1.0));
    bench.put(Record { duration_seconds: 1, ..record("", 4) });
    bench.run_for(seconds(33.0));
    assert!(bench.leads());
    assert_eq!(bench.last_write().map(|record| record.transitions), Some(5));
}

#[test]
fn events_and_leader_06_a_leader_without_a_server_tries_twice_and_stops_at_three_quarters() {
    let mut bench = bench_with(Settings { release: false, ..settings(LEASE) }, None);
    bench.run_for(seconds(1.0));
    let won = seconds(1000.0);
    bench.behaviour = refusing;
    bench.run_until(won + seconds(44.9));
    assert_eq!(bench.attempts_since(won), [won + seconds(15.0), won + seconds(30.0)]);
    assert!(bench.leads());
    bench.run_until(won + seconds(45.0));
    assert!(!bench.leads());
    bench.run_for(seconds(600.0));
    let later = bench.attempts_since(won + seconds(31.0));
    assert!(later.len() >= 18);
    let mut previous = won + seconds(45.0);
    for attempt in later {
        let pause = attempt - previous;
        assert!(pause >= seconds(15.0) && pause <= seconds(33.0), "a pause of {pause:?}");
        previous = attempt;
    }
    bench.behaviour = prompt;
    bench.run_for(seconds(33.0));
    assert!(bench.leads(), "the lock still names this replica, which takes it at once");
    assert!(matches!(bench.election.role(), Role::Leading { term: 2, .. }));
    assert_eq!(bench.last_write().map(|record| record.transitions), Some(0));
}

#[test]
fn events_and_leader_07_a_hanging_server_costs_the_lead_in_time() {
    for first_write in [seconds(0.0), seconds(6.0)] {
        let mut bench = bench_with(settings(15), None);
        bench.behaviour = if first_write.is_zero() {
            prompt
        } else {
            |call| match call {
                Call::Get => Behaviour::Answer { after: Duration::ZERO },
                _ => Behaviour::Answer { after: Duration::from_secs(6) },
            }
        };
        bench.run_for(first_write + seconds(0.1));
        let sent = seconds(1000.0);
        assert_eq!(
            bench.election.role(),
            Role::Leading { until: sent + seconds(11.25), term: 1 },
            "counted from when the write was sent"
        );
        bench.behaviour = hanging;
        bench.run_until(sent + seconds(11.25));
        assert_eq!(bench.now, sent + seconds(11.25), "no call outlives the lease");
        assert!(!bench.leads());
        let tries = bench.attempts_since(sent);
        if first_write.is_zero() {
            assert!(tries.len() >= 2, "a hanging call leaves time for another: {tries:?}");
        }
    }
}

#[test]
fn events_and_leader_08_a_conflict_is_decided_by_who_holds_the_lock() {
    let mut bench = bench(None);
    bench.run_for(seconds(1.0));
    // A foreign edit of the object: still ours.
    bench.version += 1;
    bench.run_until(seconds(1015.1));
    assert!(
        matches!(bench.election.role(), Role::Leading { until, term: 1 } if until == seconds(1060.0))
    );
    assert_eq!(bench.attempts_since(seconds(1000.0)), [seconds(1015.0)]);
    // Somebody else's record.
    bench.put(record("other", 9));
    bench.run_until(seconds(1030.1));
    assert_eq!(bench.election.role(), Role::Following { holder: Some("other".to_owned()) });
    let writes = bench.writes().len();
    bench.run_for(seconds(50.0));
    assert_eq!(bench.writes().len(), writes, "another's lease is respected");
}

#[test]
fn events_and_leader_09_a_stop_releases_the_lock_unless_that_is_turned_off() {
    let mut bench = bench(None);
    bench.run_for(seconds(20.0));
    bench.election.stop(bench.now);
    assert!(!bench.leads(), "the lead ends before the lock is touched");
    bench.run_for(seconds(1.0));
    let released = bench.last_write().expect("a release");
    assert_eq!(
        (released.holder.as_str(), released.duration_seconds, released.transitions),
        ("", 1, 0)
    );
    assert_eq!(bench.election.poll(bench.now, bench.wall), Action::Finished);

    let mut quiet = bench_with(Settings { release: false, ..settings(LEASE) }, None);
    quiet.run_for(seconds(20.0));
    let calls = quiet.calls.len();
    quiet.election.stop(quiet.now);
    quiet.run_for(seconds(1.0));
    assert!(!quiet.leads());
    assert_eq!(quiet.calls.len(), calls);
}

#[test]
fn events_and_leader_10_nobody_elses_lock_is_released() {
    let mut bench = bench(None);
    bench.run_for(seconds(1.0));
    let writes = bench.writes().len();
    bench.put(record("other", 9));
    bench.election.stop(bench.now);
    bench.run_for(seconds(1.0));
    assert_eq!(bench.writes().len(), writes);
    assert_eq!(bench.election.poll(bench.now, bench.wall), Action::Finished);
}

#[test]
fn events_and_leader_11_a_garbled_record_is_taken_after_a_lease_without_a_change() {
    let mut bench = bench(Some(Contents::Invalid("not json".to_owned())));
    bench.run_for(seconds(40.0));
    bench.lock = Some(Contents::Invalid("still not".to_owned()));
    bench.run_for(seconds(55.0));
    assert_eq!(bench.last_write(), None);
    assert_eq!(bench.election.role(), Role::Following { holder: None });
    bench.run_for(seconds(80.0));
    assert!(bench.leads());
}

#[test]
fn a_release_that_meets_a_conflict_is_tried_once_more() {
    let mut bench = bench(None);
    bench.run_for(seconds(1.0));
    bench.election.stop(bench.now);
    for _ in 0..2 {
        let Action::Call { call: Call::Get, .. } = bench.election.poll(bench.now, bench.wall)
        else {
            panic!("a release begins with a GET")
        };
        let found = bench.snapshot();
        bench.election.answer(bench.now, found);
        let action = bench.election.poll(bench.now, bench.wall);
        assert!(matches!(action, Action::Call { call: Call::Update { .. }, .. }), "{action:?}");
        bench.election.answer(bench.now, Answer::Conflict);
    }
    assert_eq!(bench.election.poll(bench.now, bench.wall), Action::Finished);
}

#[test]
fn a_release_ends_within_its_time_whatever_the_server_does() {
    for (lease, limit) in [(60, 4.0), (4, 2.0)] {
        let mut bench = bench_with(settings(lease), None);
        bench.run_for(seconds(0.5));
        bench.behaviour = hanging;
        let stopped = bench.now;
        bench.election.stop(stopped);
        bench.run_for(seconds(60.0));
        assert!(bench.now <= stopped + seconds(limit), "took {:?}", bench.now - stopped);
    }
}

#[test]
fn a_stop_without_the_lock_sends_nothing() {
    let mut bench = bench(held("other"));
    bench.run_for(seconds(1.0));
    let calls = bench.calls.len();
    bench.election.stop(bench.now);
    bench.run_for(seconds(1.0));
    assert_eq!(bench.calls.len(), calls);
}

#[test]
fn a_write_with_an_unknown_outcome_is_released_at_a_stop() {
    let mut bench = bench(Some(Contents::Empty));
    bench.behaviour = |call| if *call == Call::Get { prompt(call) } else { Behaviour::Hang };
    bench.run_for(seconds(11.0));
    assert!(!bench.leads());
    // It took effect all the same.
    bench.put(record("me", 1));
    bench.behaviour = prompt;
    bench.election.stop(bench.now);
    bench.run_for(seconds(1.0));
    assert_eq!(bench.last_write().map(|record| record.holder.as_str()), Some(""));
}

#[test]
fn a_lost_leader_releases_what_nobody_else_took() {
    let mut bench = bench(None);
    bench.run_for(seconds(1.0));
    bench.behaviour = |call| if *call == Call::Get { prompt(call) } else { Behaviour::Refuse };
    bench.run_until(seconds(1044.9));
    bench.behaviour = prompt;
    bench.run_until(seconds(1045.1));
    assert!(!bench.leads());
    assert_eq!(bench.last_write().map(|record| record.holder.as_str()), Some(""));
    bench.run_for(seconds(33.0));
    assert!(bench.leads());
}

#[test]
fn the_holders_own_name_is_taken_at_once_after_a_restart() {
    let mut bench = bench(held("me"));
    bench.run_for(seconds(1.0));
    assert!(bench.leads());
    let written = bench.last_write().expect("a renewal");
    assert_eq!(written.transitions, 4);
    assert_eq!(written.acquired, record("me", 4).acquired);
}

#[test]
fn every_renewal_differs_from_the_one_before_whatever_the_calendar_does() {
    let mut bench = bench(None);
    let start = bench.wall;
    for _ in 0..20 {
        bench.run_for(seconds(15.0));
        // The calendar stands still, or goes back.
        bench.wall = start - seconds(3600.0);
    }
    let times: Vec<_> = bench.writes().iter().map(|record| record.renewed).collect();
    assert!(times.len() >= 20);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn a_record_without_a_duration_protects_for_the_local_one() {
    for duration_seconds in [0, -5] {
        let mut bench =
            bench(Some(Contents::Record(Record { duration_seconds, ..record("other", 4) })));
        bench.run_for(seconds(60.0));
        assert_eq!(bench.last_write(), None);
        bench.run_for(seconds(33.0));
        assert!(bench.leads());
    }
    let endless = Record { duration_seconds: i64::MAX, ..record("other", 4) };
    let mut bench = bench(Some(Contents::Record(endless)));
    bench.run_for(seconds(600.0));
    assert_eq!(bench.last_write(), None);
}

#[test]
fn a_deleted_lock_is_created_by_its_holder_and_by_nobody_else_for_a_lease() {
    let mut follower = bench(held("other"));
    follower.run_for(seconds(1.0));
    follower.lock = None;
    follower.run_until(seconds(1060.0));
    assert_eq!(follower.last_write(), None);
    follower.run_for(seconds(33.0));
    assert!(follower.leads());

    let mut leader = bench(None);
    leader.run_for(seconds(1.0));
    leader.lock = None;
    leader.run_until(seconds(1015.1));
    assert!(
        matches!(leader.election.role(), Role::Leading { until, term: 1 } if until == seconds(1060.0))
    );
    assert_eq!(leader.last_write().map(|record| record.transitions), Some(0));
}

#[test]
fn periods_follow_from_the_lease_with_parts_of_seconds() {
    let timings = Timings::of(seconds(15.0));
    assert_eq!(timings.window, seconds(7.5));
    assert_eq!(timings.retry, seconds(3.75));
    assert_eq!(timings.allowed, seconds(11.25));
    let shortest =
        Election::<u64>::new(settings(0), Random::from_seed(1), Duration::ZERO).timings();
    assert_eq!(shortest, Timings::of(seconds(1.0)));
}
