//! One node's metadata stream: full state first, then what changes (spec node-api §8.4).
//!
//! ```text
//! Waiting ──lists complete──▶ full state ──▶ Following ─┬─ changed: wait 250 ms, then one increment
//!                                                       └─ nothing for 9 min: an empty message
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::difference::{Kind, Known};
use super::permits::Permit;
use crate::grpc::{Next, StreamSource};
use crate::metadata::{Hub, Subscription};

/// How long the first change waits for company: a deployment changes many pods within moments, and the change must
/// still reach the node within a second.
const GATHERING: Duration = Duration::from_millis(250);

/// Silence after which an empty message is sent; clients give up after 10 minutes without one.
const SILENCE: Duration = Duration::from_secs(9 * 60);

/// How long a stream that has nothing to wait for sleeps; a change of the lists wakes it.
const LONG: Duration = Duration::from_secs(3600);

/// Tells one node Agent what its node's pods and all namespaces are.
pub(super) struct MetadataStream {
    node: String,
    hub: Hub,
    /// Wakes the connection; ends with the stream.
    _subscription: Subscription,
    /// The stream's share of the budget.
    _permit: Permit,
    /// Messages to be sent before anything is compared again.
    queue: VecDeque<Vec<u8>>,
    /// `None` until the full state was made.
    following: Option<Following>,
}

/// A stream whose client has its full state.
struct Following {
    /// What the client knows when the queue is empty.
    known: Known,
    /// When the first change that it was not told was noticed.
    changed: Option<Instant>,
    /// When the last message was given out.
    last_message: Instant,
}

impl MetadataStream {
    /// A stream for `node`; `subscription` must be older than the first look at the hub.
    pub(super) fn new(node: String, hub: Hub, subscription: Subscription, permit: Permit) -> Self {
        let queue = VecDeque::new();
        Self { node, hub, _subscription: subscription, _permit: permit, queue, following: None }
    }

    /// Fills the queue, or says until when there is nothing to send.
    fn look(&mut self, now: Instant) -> Option<Instant> {
        let snapshot = self.hub.snapshot();
        let Some(following) = &mut self.following else {
            // An incomplete full state would take tags away from the node's pods: nothing at all is better.
            if !snapshot.is_stream_ready() {
                return Some(now + LONG);
            }
            let known = Known::of(&snapshot, &self.node);
            self.queue = Known::default().messages_to(&known, Kind::FullState);
            self.following = Some(Following { known, changed: None, last_message: now });
            return None;
        };
        let present = Known::of(&snapshot, &self.node);
        if following.known.is_same(&present) {
            following.changed = None;
        } else {
            let ready = *following.changed.get_or_insert(now) + GATHERING;
            if now < ready {
                return Some(ready);
            }
            self.queue = following.known.messages_to(&present, Kind::Increment);
            (following.known, following.changed) = (present, None);
        }
        if self.queue.is_empty() && now >= following.last_message + SILENCE {
            self.queue.push_back(Vec::new());
        }
        self.queue.is_empty().then(|| following.last_message + SILENCE)
    }
}

impl StreamSource for MetadataStream {
    fn next(&mut self, now: Instant) -> Next {
        if self.queue.is_empty()
            && let Some(due) = self.look(now)
        {
            return Next::Idle(due);
        }
        if let Some(following) = &mut self.following {
            following.last_message = now;
        }
        Next::Message(self.queue.pop_front().unwrap_or_default())
    }
}
