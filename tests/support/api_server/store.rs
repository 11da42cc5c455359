//! The cluster's objects in memory: one revision counter for all, and a history window that watches resume from.
//!
//! Objects are kept as the JSON text that is sent, so that lists are concatenations; what selectors ask for is kept
//! beside the text. Paged lists read the past: the history is undone down to the revision of their first page.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

/// Changes that are remembered: at 100 a second more than three minutes, about the etcd default of five.
pub const HISTORY_LIMIT: usize = 20_000;

/// One stored object.
#[derive(Debug)]
pub struct Object {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, empty for cluster-wide objects.
    pub namespace: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub revision: u64,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `spec.nodeName`.
    pub node: Option<String>,
    /// The JSON object without `kind` and `apiVersion`, which items of a list lack.
    pub text: String,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Added,
    /// It was replaced.
    Modified,
    /// It was deleted.
    Deleted,
}

/// One entry of the history.
#[derive(Clone, Debug)]
pub struct Change {
    /// The revision that this change made.
    pub revision: u64,
    /// The qualified resource name.
    pub resource: Arc<str>,
    /// What happened.
    pub kind: ChangeKind,
    /// The object after it; for a deletion the last state, with the deletion's revision.
    pub object: Arc<Object>,
    /// The object before it.
    pub previous: Option<Arc<Object>>,
}

/// What a write wants.
#[derive(Debug)]
pub enum Edit {
    /// Store this (its metadata gets uid, creation time and resourceVersion).
    Put(Value),
    /// Remove the object.
    Delete,
    /// Leave things as they are.
    Keep,
}

/// The objects and their history.
#[derive(Debug, Default)]
pub struct Store {
    state: Mutex<State>,
    changed: Condvar,
}

/// What is under the store's lock.
#[derive(Debug, Default)]
pub struct State {
    /// The revision of the newest change.
    pub revision: u64,
    /// Nobody may start from before this revision.
    pub compacted: u64,
    /// The revision after which the history is complete.
    complete_after: u64,
    history: VecDeque<Change>,
    objects: HashMap<Arc<str>, BTreeMap<String, Arc<Object>>>,
}

/// The history does not reach back that far; holds the oldest revision that it knows.
#[derive(Debug)]
pub struct Compacted(pub u64);

impl Object {
    /// The parsed object, without `kind` and `apiVersion`.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.text).expect("the store wrote this text")
    }

    /// The text of one object with its kind, as GET and watches send it.
    pub fn text_with_kind(&self, kind: &str, api_version: &str) -> String {
        let inner = self.text.strip_prefix('{').expect("the store keeps JSON objects");
        format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}",{inner}"#)
    }

    fn new(mut value: Value, revision: u64) -> Self {
        let fields = value.as_object_mut().expect("only JSON objects are stored");
        fields.remove("kind");
        fields.remove("apiVersion");
        let node = value["spec"]["nodeName"].as_str().map(str::to_owned);
        let metadata = &mut value["metadata"];
        metadata["resourceVersion"] = json!(revision.to_string());
        let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
        let labels = metadata["labels"].as_object().into_iter().flatten();
        let labels = labels
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        let (name, namespace, uid) = (text("name"), text("namespace"), text("uid"));
        Self { name, namespace, uid, revision, labels, node, text: value.to_string() }
    }
}

impl Store {
    /// The state, for reads that belong together.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change after `revision`, a wake-up, or the deadline.
    pub fn wait_for_change(&self, revision: u64, deadline: Instant) {
        let state = self.lock();
        if state.revision > revision {
            return;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        drop(self.changed.wait_timeout(state, left));
    }

    /// Wakes every waiter, because something other than an object changed.
    pub fn wake(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Changes one object under the lock; `decide` sees the current one. Gives the object after the write; for a
    /// deletion its last state.
    pub fn write<E>(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        decide: impl FnOnce(Option<&Arc<Object>>) -> Result<Edit, E>,
    ) -> Result<Option<Arc<Object>>, E> {
        let mut state = self.lock();
        let key = key(namespace, name);
        let current = state.objects.get(resource).and_then(|objects| objects.get(&key)).cloned();
        let written = match decide(current.as_ref())? {
            Edit::Keep => current,
            Edit::Delete => current.map(|current| state.delete(resource, &key, &current)),
            Edit::Put(value) => Some(state.put(resource, key, value, current)),
        };
        drop(state);
        self.changed.notify_all();
        Ok(written)
    }

    /// Lets new watches and pages from before now get 410. Open watches go on, as they do on the real server.
    pub fn compact(&self) {
        let mut state = self.lock();
        state.compacted = state.revision;
    }
}

impl State {
    /// One object.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.objects.get(resource)?.get(&key(namespace, name)).cloned()
    }

    /// How many objects of a resource there are.
    pub fn count(&self, resource: &str) -> usize {
        self.objects.get(resource).map_or(0, BTreeMap::len)
    }

    /// The objects of a resource in key order, of one namespace or of all.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let Some(objects) = self.objects.get(resource) else { return Vec::new() };
        match namespace {
            None => objects.values().cloned().collect(),
            Some(namespace) => {
                let prefix = format!("{namespace}/");
                let range = objects.range(prefix.clone()..);
                let inside = range.take_while(|(key, _)| key.starts_with(&prefix));
                inside.map(|(_, object)| Arc::clone(object)).collect()
            }
        }
    }

    /// The objects as they were at `revision`.
    pub fn list_at(
        &self,
        resource: &str,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Vec<Arc<Object>>, Compacted> {
        if revision < self.compacted {
            return Err(Compacted(self.compacted));
        }
        let now = self.list(resource, namespace);
        let later = self.history.iter().rev().take_while(|change| change.revision > revision);
        let mut later = later.filter(|change| &*change.resource == resource).peekable();
        if later.peek().is_none() {
            return Ok(now);
        }
        let mut objects: BTreeMap<String, Arc<Object>> =
            now.into_iter().map(|object| (key(&object.namespace, &object.name), object)).collect();
        for change in later {
            if namespace.is_some_and(|namespace| namespace != change.object.namespace) {
                continue;
            }
            let key = key(&change.object.namespace, &change.object.name);
            match &change.previous {
                Some(previous) => objects.insert(key, Arc::clone(previous)),
                None => objects.remove(&key),
            };
        }
        Ok(objects.into_values().collect())
    }

    /// The changes after `revision`, for a watch that started when this was allowed.
    pub fn changes_after(&self, revision: u64) -> Result<Vec<Change>, Compacted> {
        if revision < self.complete_after {
            return Err(Compacted(self.complete_after));
        }
        let start = self.history.partition_point(|change| change.revision <= revision);
        Ok(self.history.range(start..).cloned().collect())
    }

    fn put(
        &mut self,
        resource: &str,
        key: String,
        mut value: Value,
        current: Option<Arc<Object>>,
    ) -> Arc<Object> {
        let metadata = &mut value["metadata"];
        match &current {
            Some(current) => {
                let kept = &current.value()["metadata"];
                metadata["uid"] = kept["uid"].clone();
                metadata["creationTimestamp"] = kept["creationTimestamp"].clone();
                // A write that changes nothing makes no revision and no event.
                let unchanged = Object::new(value.clone(), current.revision);
                if unchanged.text == current.text {
                    return Arc::clone(current);
                }
            }
            None => {
                metadata["uid"] = json!(new_uid());
                metadata["creationTimestamp"] = json!(timestamp(SystemTime::now()));
            }
        }
        let object = Arc::new(Object::new(value, self.revision + 1));
        let kind = if current.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        let resource = self.record(resource, kind, &object, current);
        self.objects.entry(resource).or_default().insert(key, Arc::clone(&object));
        object
    }

    fn delete(&mut self, resource: &str, key: &str, current: &Arc<Object>) -> Arc<Object> {
        let last = Arc::new(Object::new(current.value(), self.revision + 1));
        let resource = self.record(resource, ChangeKind::Deleted, &last, Some(Arc::clone(current)));
        if let Some(objects) = self.objects.get_mut(&resource) {
            objects.remove(key);
        }
        last
    }

    fn record(
        &mut self,
        resource: &str,
        kind: ChangeKind,
        object: &Arc<Object>,
        previous: Option<Arc<Object>>,
    ) -> Arc<str> {
        let known = self.objects.get_key_value(resource).map(|(name, _)| Arc::clone(name));
        let resource = known.unwrap_or_else(|| resource.into());
        self.revision = object.revision;
        self.history.push_back(Change {
            revision: self.revision,
            resource: Arc::clone(&resource),
            kind,
            object: Arc::clone(object),
            previous,
        });
        if self.history.len() > HISTORY_LIMIT
            && let Some(oldest) = self.history.pop_front()
        {
            self.complete_after = oldest.revision;
            self.compacted = self.compacted.max(oldest.revision);
        }
        resource
    }
}

/// RFC 3339 in UTC with whole seconds, the form of `metadata` times.
pub fn timestamp(time: SystemTime) -> String {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since_1970.as_secs();
    let (mut days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) =
        (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

/// A fresh version 4 UUID; std's randomly keyed hasher is random enough for tests.
pub fn new_uid() -> String {
    let (high, low) = (RandomState::new().hash_one(1), RandomState::new().hash_one(2));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

fn key(namespace: &str, name: &str) -> String {
    // etcd's order: "shop-2/…" stands before "shop/…".
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}
