//! The pure half of a watch: which request comes next, from what the last ones gave.
//!
//! ```text
//!  Empty ──first page──▶ InitPage ──last page──▶ InitListed ──answered──▶ Watching
//!    ▲                      │                     ▲   │                      │
//!    └──── any failure ─────┘                     │   │    ended, cut, stalled, garbage
//!    ▲                                            └───┼──────────────────────┤
//!    └───── 410, refused version, relist due ─────────┴──────────────────────┘
//! ```
//!
//! Every failure leads back to a state from which it goes on; none is final. Pauses grow from 1 to 15 s with jitter and
//! shrink again only after a watch has brought something: a list that succeeds proves nothing about the watch after it.

use std::time::{Duration, Instant};

use super::line::{Change, Line};
use crate::kube::error::Cause;
use crate::kube::list::Page;
use crate::retry::{Backoff, Random};

/// Longest time for which the server is asked to keep a watch open: below the 5 minutes after which load balancers
/// cut connections and after which servers cut watches anyway.
const WATCH_TIME: Duration = Duration::from_secs(290);

/// The time asked for is shorter by up to this, so that watches which began together do not end together.
const WATCH_JITTER: Duration = Duration::from_secs(30);

/// A watch that its server should have ended this long ago is dead.
const GRACE: Duration = Duration::from_secs(40);

/// Silence after which a watch is dead whose server sends bookmarks: two and a half times the minute in which one is
/// sent. A machine that dies without a word is noticed that way; servers before 1.15 have no bookmarks.
const BOOKMARK_SILENCE: Duration = Duration::from_secs(150);

/// A watch that lasted this long without one bookmark and one event says nothing about the version it began at: a
/// server whose data was set back keeps such a watch open in silence. The list is fetched anew.
const PROOF_TIME: Duration = Duration::from_secs(180);

/// A watch that the server ends sooner counts as failed, so that a server which ends each at once is not asked in a
/// loop without pauses.
const SHORTEST: Duration = Duration::from_secs(1);

/// First and longest pause between attempts. One request in 15 s from each watch is no load, and an outage is over for
/// clients soon after it is over for the API server.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// A server that asks for more is asked again after this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// What is known of the resource, and so what has to be asked next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Nothing: list.
    Empty,
    /// Some pages of a list: fetch the next one, or start over when that fails.
    InitPage { continue_token: String },
    /// Everything up to `version`: watch from there.
    InitListed { version: String },
    /// A watch is open; it has brought everything up to `version`.
    Watching { version: String, opened: Instant, heard: Option<Instant>, ends: Instant },
}

/// What the thread does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Fetch a page: the first without a token.
    List { continue_token: Option<String> },
    /// Open a watch after `version` and ask the server to end it after `time`.
    Watch { version: String, time: Duration },
    /// Wait, then ask again.
    Pause(Duration),
}

/// What becomes of a line.
#[derive(Debug)]
pub(super) enum Heard {
    /// Its object goes to the consumer.
    Deliver(Change),
    /// It was a bookmark, or nothing that is known.
    Nothing,
    /// The server has failed: close the watch.
    Failed(Cause),
}

/// How a watch came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The server closed it properly.
    Closed,
    /// It was cut, fell silent, or brought something that is no line.
    Broken,
}

/// The state of one watched resource.
#[derive(Debug)]
pub(super) struct Machine {
    state: State,
    relist_every: Option<Duration>,
    relist_at: Option<Instant>,
    pause_until: Option<Instant>,
    has_bookmarks: bool,
    backoff: Backoff,
    random: Random,
}

impl Machine {
    /// A resource of which nothing is known, to be listed anew each `relist_every`.
    pub(super) fn new(relist_every: Option<Duration>, random: Random) -> Self {
        Self {
            state: State::Empty,
            relist_every,
            relist_at: None,
            pause_until: None,
            has_bookmarks: false,
            backoff: Backoff::new(PAUSES.0, PAUSES.1),
            random,
        }
    }

    /// The same, for a consumer that knows everything up to `version`: it is not listed until the server has forgotten
    /// that version.
    pub(super) fn resuming(self, version: String) -> Self {
        Self { state: State::InitListed { version }, ..self }
    }

    /// What to do at `now`.
    pub(super) fn next(&mut self, now: Instant) -> Action {
        if let Some(left) = self.pause_until.and_then(|until| until.checked_duration_since(now))
            && !left.is_zero()
        {
            return Action::Pause(left);
        }
        self.pause_until = None;
        let is_due = self.relist_at.is_some_and(|at| at <= now);
        match &self.state {
            State::InitPage { continue_token } => {
                Action::List { continue_token: Some(continue_token.clone()) }
            }
            State::InitListed { version } if !is_due => {
                Action::Watch { version: version.clone(), time: self.watch_time(now) }
            }
            _ => {
                self.state = State::Empty;
                Action::List { continue_token: None }
            }
        }
    }

    /// A page has arrived whole; true when it was the last one.
    pub(super) fn page_done(&mut self, now: Instant, page: Page) -> bool {
        if let Some(continue_token) = page.continue_token {
            self.state = State::InitPage { continue_token };
            return false;
        }
        self.state = State::InitListed { version: page.version };
        self.relist_at = self.relist_every.map(|period| {
            // Up to a tenth later, so that the resources are not all listed at once.
            now + period + self.random.up_to(period / 10)
        });
        true
    }

    /// A page has not arrived, or not whole.
    pub(super) fn list_failed(&mut self, now: Instant, cause: &Cause) {
        self.state = State::Empty;
        self.pause(now, cause.retry_after());
    }

    /// The server has accepted the watch that was to last for `time`.
    pub(super) fn watch_opened(&mut self, now: Instant, version: String, time: Duration) {
        self.state =
            State::Watching { version, opened: now, heard: None, ends: now + time + GRACE };
    }

    /// The server has not accepted the watch.
    pub(super) fn watch_refused(&mut self, now: Instant, cause: &Cause) {
        if is_version_lost(cause) {
            self.state = State::Empty;
        }
        self.pause(now, cause.retry_after());
    }

    /// A line has arrived.
    pub(super) fn line(&mut self, now: Instant, line: Line) -> Heard {
        let State::Watching { version: known, heard, .. } = &mut self.state else {
            return Heard::Nothing;
        };
        let (version, outcome) = match line {
            Line::Changed { change, version } => (version, Heard::Deliver(change)),
            Line::Bookmark { version } => {
                self.has_bookmarks = true;
                (version, Heard::Nothing)
            }
            Line::Unknown(_) => return Heard::Nothing,
            Line::Failed(status) => {
                let cause = Cause::from_status(status.code, status, None);
                if is_version_lost(&cause) {
                    self.state = State::Empty;
                    self.pause(now, None);
                } else {
                    let retry_after = cause.retry_after();
                    self.resume(now, retry_after);
                }
                return Heard::Failed(cause);
            }
        };
        *heard = Some(now);
        if !version.is_empty() {
            *known = version;
        }
        self.backoff.reset();
        outcome
    }

    /// The version up to which everything is known; empty before the first list.
    pub(super) fn version(&self) -> &str {
        match &self.state {
            State::InitListed { version } | State::Watching { version, .. } => version,
            State::Empty | State::InitPage { .. } => "",
        }
    }

    /// Whether an open watch that brings nothing is dead at `now`.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        let State::Watching { opened, heard, ends, .. } = &self.state else { return false };
        let silent = now.saturating_duration_since(heard.unwrap_or(*opened));
        now >= *ends || (self.has_bookmarks && silent >= BOOKMARK_SILENCE)
    }

    /// The open watch has come to its end.
    pub(super) fn watch_ended(&mut self, now: Instant, end: End) {
        let State::Watching { opened, heard, .. } = &self.state else { return };
        let lasted = now.saturating_duration_since(*opened);
        match (end, heard) {
            (End::Closed, None) if lasted >= PROOF_TIME => self.state = State::Empty,
            (End::Closed, _) if lasted >= SHORTEST => self.state = self.listed(),
            _ => self.resume(now, None),
        }
    }

    /// Goes on where the watch ended, after a pause.
    fn resume(&mut self, now: Instant, retry_after: Option<Duration>) {
        self.state = self.listed();
        self.pause(now, retry_after);
    }

    fn listed(&self) -> State {
        State::InitListed { version: self.version().to_owned() }
    }

    fn pause(&mut self, now: Instant, retry_after: Option<Duration>) {
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        self.pause_until = Some(now + self.backoff.next_pause().max(asked));
    }

    /// Whole seconds, because that is what the server takes; not beyond the next list.
    fn watch_time(&mut self, now: Instant) -> Duration {
        let jitter = Duration::from_secs(self.random.below(WATCH_JITTER.as_secs() + 1));
        let left = self.relist_at.map_or(WATCH_TIME, |at| at.saturating_duration_since(now));
        Duration::from_secs((WATCH_TIME - jitter).min(left).as_secs().max(1))
    }
}

/// Whether the server cannot, or will never, continue from the version it was asked for.
fn is_version_lost(cause: &Cause) -> bool {
    matches!(cause, Cause::Gone { .. } | Cause::Rejected { .. })
}

#[cfg(test)]
mod tests;
