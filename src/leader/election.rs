//! The election algorithm as a pure state machine: answers of the lock and the time in, the next action out.
//!
//! Flow: [`Election::poll`] says what to do now (call the lock, sleep, end); the caller does it and hands the outcome to
//! [`Election::answer`]; [`Election::role`] is true at every moment between. There is no I/O and no clock in here, so
//! that the model test can run a hundred thousand schedules through the very code that runs in the cluster.
//!
//! The algorithm is that of spec events-and-leader §1.6 with lease duration L, renew window D = L/2 and retry period
//! R = L/4; the module documentation of [`super`] argues why it never has two leaders. Three points are stricter than
//! what the official agent does:
//!
//! - Leadership is counted from the moment a successful write was *sent*, so a slow answer does not stretch it.
//! - Each renewal writes a `renewTime` that lies after the one before, whatever the calendar does. Followers recognise
//!   a renewal by the record's bytes; with a stuck calendar, a step back, or several renewals in one of the whole
//!   seconds that a ConfigMap carries, they would otherwise miss it and take the lock from a live holder.
//! - A lock object that is missing is not created while a lease seen earlier is still running.

mod vocabulary;

use std::time::{Duration, SystemTime};

use super::clock::SinceBoot;
use super::record::{Contents, Record};
use super::timestamp::Timestamp;
use crate::retry::Random;

pub use vocabulary::{Action, Answer, Call, Role, Settings, Snapshot, Timings};

/// Shutdown waits at most this long for the release (spec events-and-leader §1.6 allows 5 s): with 3 s for other threads
/// before and 3 s for open requests after it, the process ends within 10 s.
pub const RELEASE_ON_STOP: Duration = Duration::from_secs(4);

/// The duration in a released record: whoever judges by the record's duration sees it expire at once.
const RELEASED_DURATION_SECONDS: i64 = 1;

/// Attempts at a release: the second one for a conflict with an edit of the object.
const RELEASE_ATTEMPTS: u8 = 2;

/// The state machine of one replica; `T` is a whole lock object as the lock returned it.
#[derive(Debug)]
pub struct Election<T> {
    settings: Settings,
    timings: Timings,
    random: Random,
    step: Step<T>,
    observed: Option<Observed>,
    /// The object that the last successful write returned, for a renewal without a GET.
    object: Option<T>,
    leading: Option<Leading>,
    /// How often this process became leader.
    term: u64,
    /// Whether the lock may hold this replica's name although no answer said so: a write was sent, and its outcome is
    /// unknown.
    perhaps_ours: bool,
    stopping: bool,
}

#[derive(Debug)]
enum Step<T> {
    /// The next attempt is due at this moment.
    Waiting(SinceBoot),
    /// The next call of an attempt.
    Next(Attempt, Call<T>),
    /// A call of an attempt is out, sent at the given moment.
    Sent(Attempt, SinceBoot, CallKind),
    /// The next call of a release.
    ReleaseNext(Release, Call<T>),
    /// A call of a release is out.
    ReleaseSent(Release),
    /// Over.
    Finished,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    began: SinceBoot,
    /// Whether the object was read in this attempt; before that a failed write leads to a GET.
    read: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum CallKind {
    Get,
    Write,
}

#[derive(Clone, Copy, Debug)]
struct Release {
    deadline: SinceBoot,
    attempts_left: u8,
}

/// The record as last seen, and since when it is unchanged.
#[derive(Debug)]
struct Observed {
    contents: Contents,
    fingerprint: String,
    /// The local time at which the answer with the latest change arrived.
    changed: SinceBoot,
}

#[derive(Clone, Copy, Debug)]
struct Leading {
    until: SinceBoot,
}

impl<T> Election<T> {
    /// An election whose first attempt is due at `now`. The lease is cut to whole seconds, as the record carries it.
    pub fn new(settings: Settings, random: Random, now: SinceBoot) -> Self {
        let lease = Duration::from_secs(settings.lease.as_secs().max(1));
        Self {
            settings,
            timings: Timings::of(lease),
            random,
            step: Step::Waiting(now),
            observed: None,
            object: None,
            leading: None,
            term: 0,
            perhaps_ours: false,
            stopping: false,
        }
    }

    /// The same election, whose first leadership is one after `terms` earlier ones of this process.
    pub fn after_terms(self, terms: u64) -> Self {
        Self { term: terms, ..self }
    }

    /// What this replica is; `Leading` holds only until its `until`.
    pub fn role(&self) -> Role {
        if let Some(Leading { until }) = self.leading {
            return Role::Leading { until, term: self.term };
        }
        match self.contents() {
            None => Role::Unknown,
            Some(Contents::Record(record))
                if !record.holder.is_empty() && !self.is_mine(record) =>
            {
                Role::Following { holder: Some(record.holder.clone()) }
            }
            Some(_) => Role::Following { holder: None },
        }
    }

    /// What the lock said last; `None` before the first answer.
    pub fn contents(&self) -> Option<&Contents> {
        self.observed.as_ref().map(|observed| &observed.contents)
    }

    /// The periods of this election.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// Ends the election: [`Election::role`] leads no more, the lock is released if that is wanted, and then
    /// [`Election::poll`] says `Finished`. To be called between two calls, when all work that only a leader may do has
    /// ended.
    pub fn stop(&mut self, now: SinceBoot) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        let ours = self.leading.take().is_some()
            || self.perhaps_ours
            || matches!(self.contents(), Some(Contents::Record(record)) if self.is_mine(record));
        self.step = if ours && self.settings.release {
            Step::releasing(now + self.timings.window.min(RELEASE_ON_STOP))
        } else {
            Step::Finished
        };
    }

    /// What to do at `now`; `wall` is only written into records. While a call is out there is nothing to do.
    pub fn poll(&mut self, now: SinceBoot, wall: SystemTime) -> Action<T> {
        self.lose_what_expired(now);
        self.begin_what_is_due(now);
        match std::mem::replace(&mut self.step, Step::Finished) {
            Step::Waiting(due) => {
                self.step = Step::Waiting(due);
                Action::Sleep { until: self.leading.map_or(due, |leading| due.min(leading.until)) }
            }
            Step::Next(attempt, call) => {
                let timeout = match self.leading {
                    Some(Leading { until }) => self.timings.renewal_timeout().min(until - now),
                    None => self.timings.acquire_timeout(),
                };
                let call = self.stamped(call, wall);
                let kind = CallKind::of(&call);
                self.perhaps_ours |= kind == CallKind::Write;
                self.step = Step::Sent(attempt, now, kind);
                Action::Call { call, timeout }
            }
            Step::ReleaseNext(release, call) => {
                let left = release.deadline.saturating_sub(now);
                if left.is_zero() {
                    self.step = self.released(now);
                    return self.poll(now, wall);
                }
                self.step = Step::ReleaseSent(release);
                Action::Call {
                    call: self.stamped(call, wall),
                    timeout: vocabulary::CALL_TIMEOUT.min(left),
                }
            }
            Step::Finished => Action::Finished,
            out @ (Step::Sent(..) | Step::ReleaseSent(..)) => {
                self.step = out;
                Action::Sleep { until: now + self.timings.retry }
            }
        }
    }

    /// Takes the outcome, arrived at `now`, of the call that [`Election::poll`] asked for.
    pub fn answer(&mut self, now: SinceBoot, answer: Answer<T>) {
        self.step = match std::mem::replace(&mut self.step, Step::Finished) {
            Step::Sent(attempt, _, CallKind::Get) => self.read(now, attempt, answer),
            Step::Sent(attempt, sent, CallKind::Write) => match answer {
                Answer::Found(snapshot) => self.won(now, sent, snapshot),
                // The object was written or removed by somebody else, or the effect of the write is unknown.
                _ if !attempt.read => Step::Next(Attempt { read: true, ..attempt }, Call::Get),
                _ => self.failed(now, attempt),
            },
            Step::ReleaseSent(release) => self.release_answered(now, release, answer),
            step => step,
        };
    }

    fn lose_what_expired(&mut self, now: SinceBoot) {
        let between_calls = matches!(self.step, Step::Waiting(_) | Step::Next(..));
        if between_calls && self.leading.is_some_and(|leading| now >= leading.until) {
            self.leading = None;
            self.step = if self.settings.release {
                Step::releasing(now + self.timings.window)
            } else {
                self.waiting(now)
            };
        }
    }

    fn begin_what_is_due(&mut self, now: SinceBoot) {
        if !matches!(self.step, Step::Waiting(due) if now >= due) {
            return;
        }
        let mine = match self.contents() {
            Some(Contents::Record(record)) if self.leading.is_some() && self.is_mine(record) => {
                Some(self.renewal_of(record))
            }
            _ => None,
        };
        // The object is used up here: after a failed write it is no longer known to be current.
        let (read, call) = match (self.object.take(), mine) {
            (Some(object), Some(record)) => (false, Call::Update { object, record }),
            _ => (true, Call::Get),
        };
        self.step = Step::Next(Attempt { began: now, read }, call);
    }

    /// The answer to the GET of an attempt.
    fn read(&mut self, now: SinceBoot, attempt: Attempt, answer: Answer<T>) -> Step<T> {
        match answer {
            Answer::Found(snapshot) => {
                let object = snapshot.object;
                self.observe(now, snapshot.contents, snapshot.fingerprint);
                self.perhaps_ours = false;
                match self.claim(now) {
                    Some(record) => Step::Next(attempt, Call::Update { object, record }),
                    None => {
                        if self.role_is_taken() {
                            self.leading = None;
                        }
                        self.failed(now, attempt)
                    }
                }
            }
            Answer::Missing if !self.is_held_by_other(now) => {
                Step::Next(attempt, Call::Create(self.new_record(0)))
            }
            Answer::Missing | Answer::Conflict | Answer::Failed => self.failed(now, attempt),
        }
    }

    /// The record to write over the one observed, or `None` when it must be left alone.
    fn claim(&self, now: SinceBoot) -> Option<Record> {
        match self.contents()? {
            _ if self.is_held_by_other(now) => None,
            Contents::Record(record) if self.is_mine(record) => Some(self.renewal_of(record)),
            Contents::Record(record) => Some(self.new_record(record.transitions.saturating_add(1))),
            Contents::Empty | Contents::Invalid(_) => Some(self.new_record(1)),
        }
    }

    /// Whether the record as last observed, at `now`, still protects somebody else. What is no record protects
    /// whoever wrote it for a whole lease.
    fn is_held_by_other(&self, now: SinceBoot) -> bool {
        let Some(observed) = &self.observed else { return false };
        let duration = match &observed.contents {
            Contents::Empty => return false,
            Contents::Record(record) if record.holder.is_empty() || self.is_mine(record) => {
                return false;
            }
            Contents::Record(record) => match u64::try_from(record.duration_seconds) {
                Ok(seconds @ 1..) => Duration::from_secs(seconds),
                _ => self.timings.lease,
            },
            Contents::Invalid(_) => self.timings.lease,
        };
        observed.changed.saturating_add(duration) > now
    }

    fn role_is_taken(&self) -> bool {
        matches!(self.contents(), Some(Contents::Record(record)) if !self.is_mine(record))
    }

    fn observe(&mut self, now: SinceBoot, contents: Contents, fingerprint: String) {
        match &mut self.observed {
            Some(observed)
                if observed.fingerprint == fingerprint && observed.contents == contents => {}
            observed => *observed = Some(Observed { contents, fingerprint, changed: now }),
        }
    }

    /// A write of this replica's record, sent at `sent`, succeeded.
    fn won(&mut self, now: SinceBoot, sent: SinceBoot, snapshot: Snapshot<T>) -> Step<T> {
        self.object = Some(snapshot.object);
        self.observed = Some(Observed {
            contents: snapshot.contents,
            fingerprint: snapshot.fingerprint,
            changed: now,
        });
        self.perhaps_ours = false;
        let until = sent + self.timings.allowed;
        if now >= until {
            // The answer outlived its lease, which only a stopped process sees: start again as a candidate.
            self.leading = None;
            return self.waiting(now);
        }
        if self.leading.is_none_or(|leading| now >= leading.until) {
            self.term += 1;
        }
        self.leading = Some(Leading { until });
        Step::Waiting(sent + self.timings.retry)
    }

    /// An attempt ended without success.
    fn failed(&mut self, now: SinceBoot, attempt: Attempt) -> Step<T> {
        match self.leading {
            Some(_) => Step::Waiting(attempt.began + self.timings.retry),
            None => self.waiting(now),
        }
    }

    /// A candidate's pause: R to 2.2 R, so that replicas that failed together do not come back together.
    fn waiting(&mut self, now: SinceBoot) -> Step<T> {
        let jitter = self.timings.retry * 12 / 10;
        let jitter = self.random.up_to(jitter.saturating_sub(Duration::from_nanos(1)));
        Step::Waiting(now + self.timings.retry + jitter)
    }

    fn release_answered(&mut self, now: SinceBoot, release: Release, answer: Answer<T>) -> Step<T> {
        match answer {
            // The answer to the GET, while the lock is still ours; a blanked record ends up below.
            Answer::Found(Snapshot { object, contents: Contents::Record(record), fingerprint })
                if self.is_mine(&record) =>
            {
                let blank = Record {
                    holder: String::new(),
                    duration_seconds: RELEASED_DURATION_SECONDS,
                    acquired: None,
                    renewed: record.renewed,
                    transitions: record.transitions,
                };
                self.observe(now, Contents::Record(record), fingerprint);
                Step::ReleaseNext(release, Call::Update { object, record: blank })
            }
            Answer::Found(snapshot) => {
                self.observe(now, snapshot.contents, snapshot.fingerprint);
                self.released(now)
            }
            Answer::Conflict if release.attempts_left > 1 => {
                let attempts_left = release.attempts_left - 1;
                Step::ReleaseNext(Release { attempts_left, ..release }, Call::Get)
            }
            Answer::Missing | Answer::Conflict | Answer::Failed => self.released(now),
        }
    }

    fn released(&mut self, now: SinceBoot) -> Step<T> {
        if self.stopping { Step::Finished } else { self.waiting(now) }
    }

    fn is_mine(&self, record: &Record) -> bool {
        record.holder == self.settings.identity
    }

    /// This replica's next record after `record`, which is its own.
    fn renewal_of(&self, record: &Record) -> Record {
        Record { duration_seconds: self.duration_seconds(), ..record.clone() }
    }

    /// This replica's first record.
    fn new_record(&self, transitions: i64) -> Record {
        Record {
            holder: self.settings.identity.clone(),
            duration_seconds: self.duration_seconds(),
            acquired: None,
            renewed: None,
            transitions,
        }
    }

    fn duration_seconds(&self) -> i64 {
        i64::try_from(self.timings.lease.as_secs()).unwrap_or(i64::MAX)
    }

    /// `call` with the times of its record: `renewed` holds the previous renewal and becomes a later moment, `acquired`
    /// is filled in where it is absent.
    fn stamped(&self, mut call: Call<T>, wall: SystemTime) -> Call<T> {
        if let Call::Create(record) | Call::Update { record, .. } = &mut call {
            let calendar = self.settings.kind.written_time(Timestamp::from_wall(wall));
            let after_previous = record.renewed.and_then(Timestamp::next);
            let renewed = after_previous.map_or(calendar, |earliest| calendar.max(earliest));
            record.renewed = Some(renewed);
            record.acquired.get_or_insert(renewed);
        }
        call
    }
}

impl CallKind {
    fn of<T>(call: &Call<T>) -> Self {
        if matches!(call, Call::Get) { CallKind::Get } else { CallKind::Write }
    }
}

impl<T> Step<T> {
    fn releasing(deadline: SinceBoot) -> Self {
        Step::ReleaseNext(Release { deadline, attempts_left: RELEASE_ATTEMPTS }, Call::Get)
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
