//! What readers see: an immutable picture of the map, with the bytes of each node's answer kept beside it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::attributes::{NamespaceMetadata, NodeMetadata, Objects};
use super::bundle::{Bundle, NodesAnswer};
use super::names::Name;

/// Everything that the node API answers from, as it was at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(super) services: Objects<NodeServices>,
    pub(super) nodes: Objects<NodeMetadata>,
    pub(super) namespaces: Objects<NamespaceMetadata>,
    pub(super) state: SyncState,
}

/// Which lists were completed, and which cannot be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncState {
    /// EndpointSlices or Endpoints were listed, or are not collected at all.
    pub endpoints: bool,
    /// Nodes were listed.
    pub nodes: bool,
    /// Reading Nodes is forbidden at present: every node that asks counts as known.
    pub nodes_forbidden: bool,
    /// Namespaces were listed.
    pub namespaces: bool,
    /// Reading Namespaces is forbidden at present.
    pub namespaces_forbidden: bool,
}

/// The pods of one node that are behind at least one service.
#[derive(Debug)]
pub struct NodeServices {
    node: Name,
    /// Sorted by namespace and pod.
    pods: Box<[PodServices]>,
    /// The answer of `/api/v1/tags/pod/{node}`, made when it is first asked for: nodes on a stream never ask.
    answer: OnceLock<Arc<[u8]>>,
}

/// A pod and the services that select it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodServices {
    /// The pod's namespace.
    pub namespace: Name,
    /// The pod's name.
    pub pod: Name,
    /// Sorted names of the services, never empty.
    pub services: Box<[Name]>,
}

impl Snapshot {
    /// Whether endpoints and nodes are complete (spec node-api §10.2); before that every data route answers 503.
    pub fn is_synced(&self) -> bool {
        self.state.endpoints && (self.state.nodes || self.state.nodes_forbidden)
    }

    /// Whether a stream may send its full state: namespaces belong to it where they can be had at all.
    pub fn is_stream_ready(&self) -> bool {
        self.is_synced() && (self.state.namespaces || self.state.namespaces_forbidden)
    }

    /// Which lists were completed.
    pub fn sync_state(&self) -> SyncState {
        self.state
    }

    /// Whether this node exists; while Nodes cannot be read, every node does.
    pub fn knows_node(&self, node: &str) -> bool {
        self.state.nodes_forbidden || self.nodes.contains_key(node)
    }

    /// The services of a node's pods; `None` when no service selects anything there.
    pub fn services(&self, node: &str) -> Option<&Arc<NodeServices>> {
        self.services.get(node)
    }

    /// All known nodes with their pods, sorted by name.
    pub fn all_services(&self) -> BTreeMap<&str, Bundle<'_>> {
        let known = self.nodes.keys().map(|node| (&**node, Bundle(&[])));
        let mut all: BTreeMap<&str, Bundle<'_>> = known.collect();
        for (node, services) in self.services.iter().filter(|(node, _)| self.knows_node(node)) {
            all.insert(node, Bundle(services.pods()));
        }
        all
    }

    /// Labels, annotations and UID of a node.
    pub fn node(&self, node: &str) -> Option<&NodeMetadata> {
        self.nodes.get(node).map(|node| &**node)
    }

    /// Labels and annotations of a namespace.
    pub fn namespace(&self, namespace: &str) -> Option<&NamespaceMetadata> {
        self.namespaces.get(namespace).map(|namespace| &**namespace)
    }

    /// All namespaces by name; an unchanged namespace is the same allocation in the next snapshot.
    pub fn namespaces(&self) -> &Arc<BTreeMap<Name, Arc<NamespaceMetadata>>> {
        &self.namespaces
    }

    /// Number of known nodes and of pods behind a service, for the status page.
    pub fn counts(&self) -> (usize, usize) {
        (self.nodes.len(), self.services.values().map(|node| node.pods.len()).sum())
    }
}

impl NodeServices {
    /// The pods of `node`, sorted by namespace and name.
    pub(super) fn new(node: Name, pods: Box<[PodServices]>) -> Self {
        Self { node, pods, answer: OnceLock::new() }
    }

    /// The pods, sorted by namespace and name.
    pub fn pods(&self) -> &[PodServices] {
        &self.pods
    }

    /// The services of one pod, sorted; empty for a pod that is not there.
    pub fn of_pod(&self, namespace: &str, pod: &str) -> &[Name] {
        let found = self
            .pods
            .binary_search_by(|entry| (&*entry.namespace, &*entry.pod).cmp(&(namespace, pod)));
        found.map_or(&[], |position| &self.pods[position].services)
    }

    /// The body of `/api/v1/tags/pod/{node}` (spec node-api §4.2).
    pub fn answer(&self) -> Arc<[u8]> {
        let answer = self.answer.get_or_init(|| {
            let nodes = BTreeMap::from([(&*self.node, Bundle(self.pods()))]);
            NodesAnswer { nodes, warnings: Vec::new() }.to_json().into()
        });
        Arc::clone(answer)
    }
}
