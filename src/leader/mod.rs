//! Leader election among the replicas: the algorithm, its two locks, and the leader's address.
//!
//! ```text
//!  lock object ◀─GET/PUT/POST─ thread ──poll/answer──▶ election (pure)
//!  (ConfigMap or Lease)          │
//!                                └──publish──▶ Leadership ◀──is_leader()── everything that only a leader may do
//!  EndpointSlices/Endpoints ──GET── address thread ──publish──▶ LeaderAddress ◀── the forwarder of the node API
//! ```
//!
//! # Why there are never two leaders
//!
//! Let L be the lease duration in the record, and let the holder A have *sent* its last successful write at time t.
//!
//! 1. `is_leader()` of A is false from t + 3L/4 on, by A's clock, because it is compared at every call. Nothing that
//!    happens to A afterwards (a slow answer, a hanging thread, SIGSTOP, a partition) moves that moment.
//! 2. The server carried the write out after t, so whoever sees the record that it left has seen it after t. Another
//!    replica B writes only when it read the same record again and L has passed since it first saw it, by B's clock:
//!    later than t + L.
//! 3. B's write carries the `resourceVersion` of the object that it just read. If A's record was renewed in between,
//!    the server refuses the write, and B begins to wait anew.
//! 4. A record cannot be renewed without a change that B notices: each renewal carries a `renewTime` after the one
//!    before, even with a calendar that stands still or steps back.
//! 5. A released lock (`holderIdentity: ""`) may be taken at once; A writes it only after it stopped leading, and only
//!    over a record that names A.
//!
//! Between t + 3L/4 and t + L nobody leads: a margin of L/4 (15 s at L = 60, 3.75 s at L = 15) for actions that were
//! begun in time, and for clocks that run at different rates: A's clock may be slower than B's by a factor of 4/3.
//! Clock *differences* and steps of the calendar do not matter, since no timestamp is ever compared.
//!
//! Leadership is measured with `CLOCK_BOOTTIME` (see [`clock`]), which goes on while the machine is suspended.
//!
//! Limits: somebody who deletes or edits the lock by hand, an etcd that is restored from a backup, or two processes
//! with one identity can still make two leaders for at most 3L/4; there is no fencing token in these lock formats.
//! Writes that only a leader may do therefore carry a `resourceVersion`.
//!
//! # Who leads when nothing is wrong
//!
//! Candidates try every R to 2.2 R (R = L/4). After the death of a leader one of them has the lock after at most
//! 2.2 R (to see the last record) + L (to see it unchanged) + 2.2 R (until the next try) = 2.1 L, usually about 1.3 L;
//! after an orderly shutdown, which releases the lock, after at most 2.2 R = 0.55 L.

pub mod address;
pub mod clock;
pub mod election;
pub mod identity;
pub mod leadership;
pub mod lock;
pub mod record;
pub mod thread;
pub mod timestamp;

pub use address::LeaderAddress;
pub use leadership::{Leadership, State};
pub use lock::{ApiLock, choose_kind};
pub use thread::Candidate;
