//! What a client has to be told to get from one state to the next, in messages that it accepts.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use prost::Message;
use prost::encoding::encoded_len_varint;

use super::messages::{Change, NamespaceMetadata, PodServiceMapping, Response};
use crate::metadata::{self, Attributes, Name, NodeServices, PodServices, Snapshot};

/// Largest message that is sent: clients refuse more than 4 MiB (`grpc_max_message_size`), and the last entry of a
/// message, a namespace with at most 256 KiB of annotations, must still fit under that.
const LARGEST_MESSAGE: usize = 3 << 20;

/// What a client knows; every part is shared with the snapshot that it came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    services: Option<Arc<NodeServices>>,
    namespaces: Arc<BTreeMap<Name, Arc<metadata::NamespaceMetadata>>>,
}

/// Whether a message replaces or adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Replaces everything the client knows; sent even when it is empty.
    FullState,
    /// Adds to what the client knows; not sent when it is empty.
    Increment,
}

impl Known {
    /// What there is to know about `node`.
    pub(super) fn of(snapshot: &Snapshot, node: &str) -> Self {
        let services = snapshot.services(node).cloned();
        Self { services, namespaces: Arc::clone(snapshot.namespaces()) }
    }

    /// Whether both come from the same state, so that there is nothing to compare.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let services = match (&self.services, &other.services) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        services && Arc::ptr_eq(&self.namespaces, &other.namespaces)
    }

    /// The encoded messages that turn `self` into `next`. A full state that is too large for one message goes on in
    /// increments.
    pub(super) fn messages_to(&self, next: &Self, kind: Kind) -> VecDeque<Vec<u8>> {
        let mut pieces = Pieces::new(kind);
        let pods = |known: &Self| known.services.clone();
        let (old, new) = (pods(self), pods(next));
        differences(
            by_pod(old.as_deref()),
            by_pod(new.as_deref()),
            |(namespace, pod), services| {
                pieces.add_mapping(PodServiceMapping {
                    namespace: namespace.to_owned(),
                    pod_name: pod.to_owned(),
                    service_names: services
                        .unwrap_or_default()
                        .iter()
                        .map(|name| (**name).to_owned())
                        .collect(),
                    change: change(services.is_some()),
                });
            },
        );
        let (old, new) = (self.namespaces.iter(), next.namespaces.iter());
        differences(old, new, |name, namespace| {
            pieces.add_namespace(NamespaceMetadata {
                namespace: (**name).to_owned(),
                labels: namespace.map(|namespace| owned(&namespace.labels)).unwrap_or_default(),
                annotations: namespace
                    .map(|namespace| owned(&namespace.annotations))
                    .unwrap_or_default(),
                change: change(namespace.is_some()),
            });
        });
        pieces.finish()
    }
}

/// Collects entries into messages of bounded size.
struct Pieces {
    current: Response,
    /// Encoded size of `current`, at most.
    size: usize,
    done: VecDeque<Vec<u8>>,
}

impl Pieces {
    fn new(kind: Kind) -> Self {
        let is_full_state = kind == Kind::FullState;
        let current = Response { is_full_state, ..Response::default() };
        Self { current, size: 0, done: VecDeque::new() }
    }

    fn add_mapping(&mut self, mapping: PodServiceMapping) {
        self.make_room(mapping.encoded_len());
        self.current.mappings.push(mapping);
    }

    fn add_namespace(&mut self, namespace: NamespaceMetadata) {
        self.make_room(namespace.encoded_len());
        self.current.namespace_metadata.push(namespace);
    }

    fn make_room(&mut self, length: usize) {
        if self.size > LARGEST_MESSAGE {
            let full = std::mem::take(&mut self.current);
            self.done.push_back(full.encode_to_vec());
            self.size = 0;
        }
        self.size += 1 + encoded_len_varint(length as u64) + length;
    }

    fn finish(mut self) -> VecDeque<Vec<u8>> {
        if self.current != Response::default() {
            self.done.push_back(self.current.encode_to_vec());
        }
        self.done
    }
}

/// Walks two sorted sequences and names each key whose value is new, different (with the new value) or gone (without).
fn differences<K: Ord, V: PartialEq>(
    old: impl IntoIterator<Item = (K, V)>,
    new: impl IntoIterator<Item = (K, V)>,
    mut tell: impl FnMut(K, Option<V>),
) {
    let mut old = old.into_iter().peekable();
    let mut new = new.into_iter().peekable();
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((old, _)), Some((new, _))) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        match (before, after) {
            (Some((key, _)), None) => tell(key, None),
            (Some((_, before)), Some((key, after))) if before != after => tell(key, Some(after)),
            (Some(_), Some(_)) => {}
            (None, Some((key, after))) => tell(key, Some(after)),
            (None, None) => return,
        }
    }
}

fn by_pod(services: Option<&NodeServices>) -> impl Iterator<Item = ((&str, &str), &[Name])> {
    let pods = services.map_or(&[][..], NodeServices::pods);
    pods.iter()
        .map(|PodServices { namespace, pod, services }| ((&**namespace, &**pod), &**services))
}

fn owned(attributes: &Attributes) -> BTreeMap<String, String> {
    attributes.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn change(is_set: bool) -> i32 {
    if is_set { Change::Set.into() } else { Change::Unset.into() }
}
