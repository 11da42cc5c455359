//! The handle through which the rest of the program asks whether it may act as the leader.
//!
//! The election thread publishes what it knows; readers never wait for it, and what they read ends by itself: the
//! published role carries the moment at which it runs out, and [`Leadership::is_leader`] compares it with the clock at
//! every call. A thread that hangs, an API server that does not answer or a process that was stopped and continued can
//! therefore not leave a leader behind.
//!
//! What no check can cover is the time between the check and the end of the action it allowed. An action asks right
//! before it acts, is short compared with L/4 (the margin before anybody else may lead), and carries a
//! `resourceVersion` where it writes to the API server, so that the write of a leader of the past is refused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::clock::{Clock, SinceBoot};
use super::election::Role;
use super::record::Record;
use crate::sync::Published;

/// Subscribers at most; there are a handful, each a thread of the program.
const MAXIMUM_SUBSCRIBERS: usize = 32;

/// Whether this replica leads; clones share it.
#[derive(Clone, Debug)]
pub struct Leadership {
    shared: Arc<Shared>,
}

/// The side of the election thread.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
}

/// What this replica is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no election: every replica does the leader's work (spec events-and-leader §1.1).
    Disabled,
    /// The lock was not read yet.
    Unknown,
    /// This replica leads.
    Leader {
        /// Two equal terms are one leadership without a gap; what a leader built up is void in the next.
        term: u64,
    },
    /// This replica does not lead.
    Follower {
        /// The pod name of the leader; `None` when there is none, as far as this replica has seen.
        leader: Option<String>,
    },
}

/// What the election thread knows, for the status page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Knowledge {
    /// The pod name of this replica.
    pub identity: String,
    /// The lock in words: kind, name and namespace; empty until the kind is chosen.
    pub lock: String,
    /// The record as last seen.
    pub record: Option<Record>,
    /// Why the last attempt failed, and what would mend it; `None` after a success.
    pub problem: Option<String>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    /// `None`: no election.
    role: Published<Option<Role>>,
    knowledge: Published<Knowledge>,
    /// The highest term that was published.
    terms: AtomicU64,
    subscribers: Mutex<Vec<Sender<()>>>,
}

impl Leadership {
    /// A handle that says `Unknown` until its publisher knows more.
    pub fn new(clock: Arc<dyn Clock>) -> (Publisher, Leadership) {
        let shared = Arc::new(Shared {
            clock,
            role: Published::new(Some(Role::Unknown)),
            knowledge: Published::default(),
            terms: AtomicU64::new(0),
            subscribers: Mutex::default(),
        });
        (Publisher { shared: Arc::clone(&shared) }, Leadership { shared })
    }

    /// The handle of a replica that takes part in no election: it always leads.
    pub fn disabled() -> Leadership {
        let (publisher, leadership) = Self::new(Arc::new(super::clock::SystemClock));
        publisher.shared.role.set(None);
        leadership
    }

    /// Whether this replica may act as the leader at this very moment.
    pub fn is_leader(&self) -> bool {
        matches!(self.state(), State::Leader { .. } | State::Disabled)
    }

    /// What this replica is at this very moment.
    pub fn state(&self) -> State {
        // The role is read before the clock: a pause between the two can only make a leader too modest.
        let role = self.shared.role.get();
        match &*role {
            None => State::Disabled,
            Some(Role::Unknown) => State::Unknown,
            Some(Role::Following { holder }) => State::Follower { leader: holder.clone() },
            Some(Role::Leading { until, term }) if self.shared.clock.now() < *until => {
                State::Leader { term: *term }
            }
            Some(Role::Leading { .. }) => State::Follower { leader: None },
        }
    }

    /// What the election thread knows, for the status page.
    pub fn knowledge(&self) -> Arc<Knowledge> {
        self.shared.knowledge.get()
    }

    /// A channel with one slot that holds a message after the state has changed; what it is then is asked of
    /// [`Leadership::state`]. A leadership that ran out is announced when the election thread notices, which may be
    /// later than [`Leadership::is_leader`].
    ///
    /// # Panics
    /// When the program subscribes more often than it has threads that could.
    pub fn subscribe(&self) -> Receiver<()> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let mut subscribers =
            self.shared.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(subscribers.len() < MAXIMUM_SUBSCRIBERS, "a thread subscribes once");
        subscribers.push(sender);
        receiver
    }
}

impl Publisher {
    /// Publishes the role that follows from the election; subscribers hear of it when it differs in more than its end.
    pub fn publish(&self, role: Role) {
        let same = match (&*self.shared.role.get(), &role) {
            (Some(Role::Leading { term: old, .. }), Role::Leading { term: new, .. }) => old == new,
            (old, new) => old.as_ref() == Some(new),
        };
        if let Role::Leading { term, .. } = role {
            self.shared.terms.fetch_max(term, Ordering::Relaxed);
        }
        self.shared.role.set(Some(role));
        if !same {
            let mut subscribers =
                self.shared.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
            // A full slot is as good as a new message; a subscriber that is gone is forgotten.
            subscribers.retain(|subscriber| {
                !matches!(subscriber.try_send(()), Err(TrySendError::Disconnected(())))
            });
        }
    }

    /// Publishes what the status page shows.
    pub fn explain(&self, knowledge: Knowledge) {
        if *self.shared.knowledge.get() != knowledge {
            self.shared.knowledge.set(knowledge);
        }
    }

    /// The highest term so far, which an election that begins anew goes on from.
    pub fn terms(&self) -> u64 {
        self.shared.terms.load(Ordering::Relaxed)
    }

    /// The clock that the published roles refer to.
    pub fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// The time of that clock.
    pub fn now(&self) -> SinceBoot {
        self.shared.clock.now()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    /// A clock that a test moves.
    #[derive(Debug, Default)]
    struct Hand(Mutex<Duration>);

    impl Clock for Hand {
        fn now(&self) -> SinceBoot {
            *self.0.lock().expect("no test panics while it holds the clock")
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
    }

    fn leading(until: u64, term: u64) -> Role {
        Role::Leading { until: Duration::from_secs(until), term }
    }

    #[test]
    fn leadership_ends_by_itself_while_its_thread_does_nothing() {
        let clock = Arc::new(Hand::default());
        let (publisher, leadership) = Leadership::new(clock.clone());
        assert_eq!(leadership.state(), State::Unknown);
        assert!(!leadership.is_leader());
        publisher.publish(leading(45, 1));
        assert!(leadership.is_leader());
        *clock.0.lock().expect("unpoisoned") = Duration::from_secs(45);
        assert!(!leadership.is_leader());
        assert_eq!(leadership.state(), State::Follower { leader: None });
    }

    #[test]
    fn subscribers_hear_of_gain_and_loss_but_not_of_renewals() {
        let (publisher, leadership) = Leadership::new(Arc::new(Hand::default()));
        let changes = leadership.subscribe();
        publisher.publish(leading(45, 1));
        publisher.publish(Role::Following { holder: None });
        assert_eq!(changes.try_iter().count(), 1, "one slot holds any number of changes");
        publisher.publish(leading(45, 2));
        assert_eq!(changes.try_iter().count(), 1);
        publisher.publish(leading(60, 2));
        assert_eq!(changes.try_iter().count(), 0);
        publisher.publish(leading(75, 3));
        assert_eq!(changes.try_iter().count(), 1, "a new term is a gap");
        assert_eq!(publisher.terms(), 3);
    }

    #[test]
    fn without_an_election_everybody_leads() {
        assert!(Leadership::disabled().is_leader());
        assert_eq!(Leadership::disabled().state(), State::Disabled);
    }
}
