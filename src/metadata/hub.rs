//! Where the owner of the state and its readers meet: the published snapshot, and who wants to hear of changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::names::Name;
use super::snapshot::Snapshot;
use crate::sync::Published;

/// Called when a subscriber should look at the snapshot again; must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Holds the current snapshot and the subscribers of each node; clones share it.
#[derive(Clone, Default)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// A place in the list of those who are woken; gone when dropped.
pub struct Subscription {
    shared: Arc<Shared>,
    node: Name,
    number: u64,
}

/// Which subscribers a new snapshot concerns.
pub(super) enum Concerned {
    /// Those of these nodes.
    Nodes(Vec<Name>),
    /// Everybody: a namespace or the state of the lists changed.
    All,
}

#[derive(Default)]
struct Shared {
    snapshot: Published<Snapshot>,
    subscribers: Mutex<Subscribers>,
}

/// Bounded by the number of streams that the gRPC side admits.
#[derive(Default)]
struct Subscribers {
    next_number: u64,
    by_node: HashMap<Name, Vec<(u64, Wake)>>,
}

impl Hub {
    /// The state of this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.get()
    }

    /// Calls `wake` after every snapshot in which `node`'s services, a namespace, or the completeness of the lists
    /// differs; a change between taking a snapshot and subscribing is missed, so subscribe first.
    pub fn subscribe(&self, node: &str, wake: Wake) -> Subscription {
        let node: Name = node.into();
        let mut subscribers = self.shared.subscribers();
        let number = subscribers.next_number;
        subscribers.next_number += 1;
        subscribers.by_node.entry(Arc::clone(&node)).or_default().push((number, wake));
        drop(subscribers);
        Subscription { shared: Arc::clone(&self.shared), node, number }
    }

    /// Number of subscriptions, for telemetry.
    pub fn subscribers(&self) -> usize {
        self.shared.subscribers().by_node.values().map(Vec::len).sum()
    }

    pub(super) fn publish(&self, snapshot: Snapshot, concerned: &Concerned) {
        self.shared.snapshot.set(snapshot);
        let subscribers = self.shared.subscribers();
        let wakes: Vec<Wake> = match concerned {
            Concerned::All => subscribers.by_node.values().flatten().map(wake_of).collect(),
            Concerned::Nodes(nodes) => {
                let lists = nodes.iter().filter_map(|node| subscribers.by_node.get(node));
                lists.flatten().map(wake_of).collect()
            }
        };
        // Outside the lock: a woken reader may drop its subscription at once.
        drop(subscribers);
        for wake in wakes {
            wake();
        }
    }
}

impl Shared {
    fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscribers = self.shared.subscribers();
        if let Some(list) = subscribers.by_node.get_mut(&self.node) {
            list.retain(|(number, _)| *number != self.number);
            if list.is_empty() {
                subscribers.by_node.remove(&self.node);
            }
        }
    }
}

fn wake_of((_, wake): &(u64, Wake)) -> Wake {
    Arc::clone(wake)
}
