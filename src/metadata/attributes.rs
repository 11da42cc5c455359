//! Labels, annotations and identity of nodes and namespaces, and the table that holds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::names::{Name, Names};
use crate::kube::watch::Event;

/// Labels or annotations: sorted by key, keys and values shared with every other object that has the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Box<[(Name, Name)]>);

/// What is kept of a Node object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMetadata {
    /// `metadata.uid`; empty when the object had none.
    pub uid: Box<str>,
    /// All labels, unfiltered.
    pub labels: Attributes,
    /// All annotations, unfiltered.
    pub annotations: Attributes,
}

/// What is kept of a Namespace object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceMetadata {
    /// All labels, unfiltered.
    pub labels: Attributes,
    /// All annotations, unfiltered.
    pub annotations: Attributes,
}

/// Objects by name, in a map that readers may hold on to while the next one is made.
pub(super) type Objects<T> = Arc<BTreeMap<Name, Arc<T>>>;

/// Holds the objects of one kind and the list that may be in progress.
#[derive(Debug)]
pub(super) struct Table<T> {
    current: Objects<T>,
    staged: BTreeMap<Name, Arc<T>>,
    synced: bool,
    /// Whether an object differs from what was last taken by [`Table::take_changed`].
    changed: bool,
}

impl Attributes {
    /// Takes a map of an object's metadata.
    pub(super) fn new(names: &mut Names, map: &BTreeMap<String, String>) -> Self {
        Self(map.iter().map(|(key, value)| (names.intern(key), names.intern(value))).collect())
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        let position = self.0.binary_search_by(|(candidate, _)| (**candidate).cmp(key)).ok()?;
        Some(&self.0[position].1)
    }

    /// Keys and values, sorted by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { current: Arc::default(), staged: BTreeMap::new(), synced: false, changed: false }
    }
}

impl<T: Eq> Table<T> {
    /// One step; objects that did not change keep their place in memory and count as unchanged.
    pub(super) fn apply(&mut self, event: Event<(Name, T)>) {
        match event {
            Event::Init => self.staged.clear(),
            Event::InitApply((name, object)) => {
                let object = match self.current.get(&name) {
                    Some(current) if **current == object => Arc::clone(current),
                    _ => Arc::new(object),
                };
                self.staged.insert(name, object);
            }
            Event::InitDone => {
                let staged = std::mem::take(&mut self.staged);
                if staged != *self.current {
                    self.current = Arc::new(staged);
                    self.changed = true;
                }
                self.synced = true;
            }
            Event::Apply((name, object)) => {
                if self.current.get(&name).is_none_or(|current| **current != object) {
                    Arc::make_mut(&mut self.current).insert(name, Arc::new(object));
                    self.changed = true;
                }
            }
            Event::Delete((name, _)) => {
                if self.current.contains_key(&name) {
                    Arc::make_mut(&mut self.current).remove(&name);
                    self.changed = true;
                }
            }
        }
    }

    /// Whether a list was completed.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    /// Whether anything changed since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The objects of this moment.
    pub(super) fn objects(&self) -> Objects<T> {
        Arc::clone(&self.current)
    }
}
