//! What the election takes and gives: settings, periods, actions, answers and roles.

use std::time::Duration;

use crate::leader::clock::SinceBoot;
use crate::leader::record::{Contents, LockKind, Record};

/// A single call to the lock takes at most this long (the client's own limit; shorter near the end of a lease).
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What an election needs to know beforehand.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pod name of this replica.
    pub identity: String,
    /// The lease duration L; whole seconds on the wire, so at least one.
    pub lease: Duration,
    /// The kind of the lock, for the precision of its timestamps.
    pub kind: LockKind,
    /// Whether the lock is released at shutdown and after a loss.
    pub release: bool,
}

/// The periods that follow from the lease duration L (spec events-and-leader §1.1), with sub-second precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// L: how long a record protects its holder.
    pub lease: Duration,
    /// D = L/2: how long renewing is tried.
    pub window: Duration,
    /// R = L/4: from one attempt to the next.
    pub retry: Duration,
    /// R + D = 3L/4: how long a write keeps its writer leading, counted from when it was sent.
    pub allowed: Duration,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<T> {
    /// Do this call now, giving up after `timeout`, and hand the outcome to [`Election::answer`](super::Election::answer).
    Call {
        /// The call.
        call: Call<T>,
        /// Total time for it, connecting included; never zero.
        timeout: Duration,
    },
    /// Nothing before this moment.
    Sleep {
        /// When to poll again.
        until: SinceBoot,
    },
    /// The election was stopped and is over.
    Finished,
}

/// A call to the lock.
#[derive(Clone, Debug, PartialEq)]
pub enum Call<T> {
    /// Read the object.
    Get,
    /// Make the object with this record.
    Create(Record),
    /// Write the record into the object, on the condition that the object is still the one given.
    Update {
        /// The object as it was read.
        object: T,
        /// The record to put into it.
        record: Record,
    },
}

/// The outcome of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<T> {
    /// The object as it is now: read, made or written.
    Found(Snapshot<T>),
    /// There is no such object.
    Missing,
    /// Somebody else wrote or made the object first.
    Conflict,
    /// Anything else; whether a write took effect is unknown.
    Failed,
}

/// A lock object and what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<T> {
    /// The whole object.
    pub object: T,
    /// The record in it.
    pub contents: Contents,
    /// Differs whenever the record was written anew.
    pub fingerprint: String,
}

/// What this replica is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The lock was not read yet.
    Unknown,
    /// The leader.
    Leading {
        /// Not beyond this moment, unless a renewal moves it.
        until: SinceBoot,
        /// How often this replica became leader; two equal terms are one uninterrupted leadership.
        term: u64,
    },
    /// Not the leader.
    Following {
        /// The holder as last seen; `None` when nobody else holds the lock.
        holder: Option<String>,
    },
}

impl Timings {
    /// The periods for a lease of that duration.
    pub fn of(lease: Duration) -> Self {
        Self { lease, window: lease / 2, retry: lease / 4, allowed: lease * 3 / 4 }
    }

    /// The longest single call while leading. With a steady answer time of δ, renewals are sent every max(R, δ) and must
    /// be answered within 3R, so beyond δ = 1.5 R no patience keeps the leadership; giving up there leaves time for
    /// another try on a fresh connection.
    pub(super) fn renewal_timeout(self) -> Duration {
        CALL_TIMEOUT.min(self.retry * 3 / 2)
    }

    /// The longest single call while not leading: a write that takes longer than its effect lasts is of no use.
    pub(super) fn acquire_timeout(self) -> Duration {
        CALL_TIMEOUT.min(self.allowed)
    }
}
