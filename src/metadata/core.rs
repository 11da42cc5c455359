//! The owner of the state: watch events in, snapshots out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attributes::{Attributes, NamespaceMetadata, NodeMetadata, Objects, Table};
use super::hub::{Concerned, Hub};
use super::index::{Contribution, EndpointIndex, ObjectKey, Target};
use super::names::Names;
use super::snapshot::{NodeServices, Snapshot, SyncState};
use crate::kube::objects::{
    EndpointSlice, Endpoints, Namespace, Node, ObjectMeta, ObjectReference,
};
use crate::kube::watch::Event;

/// What is collected.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether services are mapped to pods at all (`kubernetes_collect_metadata_tags`). When not, no endpoints are
    /// awaited and every node has the empty map.
    pub collect_services: bool,
}

/// A kind of object whose reading the API server may forbid without stopping the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optional {
    /// Without Nodes every node that asks counts as known.
    Nodes,
    /// Without Namespaces streams carry none.
    Namespaces,
}

/// Holds the whole map; lives in one thread, which applies events and publishes when it has none left.
#[derive(Debug)]
pub struct Core {
    names: Names,
    endpoints: EndpointIndex,
    nodes: Table<NodeMetadata>,
    namespaces: Table<NamespaceMetadata>,
    /// The services as they were published last.
    services: Objects<NodeServices>,
    state: SyncState,
    published_state: SyncState,
}

impl Core {
    /// An empty map that waits for its first lists.
    pub fn new(settings: Settings) -> Self {
        let state = SyncState { endpoints: !settings.collect_services, ..SyncState::default() };
        Self {
            names: Names::default(),
            endpoints: EndpointIndex::default(),
            nodes: Table::default(),
            namespaces: Table::default(),
            services: Arc::new(BTreeMap::new()),
            state,
            published_state: SyncState::default(),
        }
    }

    /// A step of the EndpointSlices. Slices and Endpoints share one place: whichever completed a list last is what the
    /// map is made of, so falling back from one to the other is a relist like any other.
    pub fn apply_endpoint_slice(&mut self, event: Event<EndpointSlice>) {
        let names = &mut self.names;
        self.endpoints.apply(event.map(|slice| {
            let service = slice.metadata.labels.get(EndpointSlice::SERVICE_NAME);
            let contribution = service.filter(|service| !service.is_empty()).map(|service| {
                let targets = slice.endpoints.iter().filter_map(|endpoint| {
                    target(names, &endpoint.node_name, endpoint.target_ref.as_ref())
                });
                let targets = targets.collect();
                Contribution::new(names.intern(service), targets)
            });
            (key(names, &slice.metadata), contribution)
        }));
    }

    /// A step of the Endpoints, ready and not ready addresses alike; see [`Core::apply_endpoint_slice`].
    pub fn apply_endpoints(&mut self, event: Event<Endpoints>) {
        let names = &mut self.names;
        self.endpoints.apply(event.map(|endpoints| {
            let addresses = endpoints
                .subsets
                .iter()
                .flat_map(|subset| subset.addresses.iter().chain(&subset.not_ready_addresses));
            let targets = addresses
                .filter_map(|address| {
                    target(names, &address.node_name, address.target_ref.as_ref())
                })
                .collect();
            let key = key(names, &endpoints.metadata);
            let contribution = Contribution::new(Arc::clone(&key.1), targets);
            (key, Some(contribution))
        }));
    }

    /// A step of the Nodes. A deleted node is no longer known; its pods leave the map when their endpoints do.
    pub fn apply_node(&mut self, event: Event<Node>) {
        if event == Event::InitDone {
            self.state.nodes_forbidden = false;
        }
        let names = &mut self.names;
        self.nodes.apply(event.map(|Node { metadata }| {
            let node = NodeMetadata {
                uid: metadata.uid.as_str().into(),
                labels: Attributes::new(names, &metadata.labels),
                annotations: Attributes::new(names, &metadata.annotations),
            };
            (names.intern(&metadata.name), node)
        }));
    }

    /// A step of the Namespaces.
    pub fn apply_namespace(&mut self, event: Event<Namespace>) {
        if event == Event::InitDone {
            self.state.namespaces_forbidden = false;
        }
        let names = &mut self.names;
        self.namespaces.apply(event.map(|Namespace { metadata }| {
            let namespace = NamespaceMetadata {
                labels: Attributes::new(names, &metadata.labels),
                annotations: Attributes::new(names, &metadata.annotations),
            };
            (names.intern(&metadata.name), namespace)
        }));
    }

    /// Says that the API server forbids reading a kind; a completed list of it takes that back. What was read before
    /// stays in use.
    pub fn set_forbidden(&mut self, kind: Optional) {
        match kind {
            Optional::Nodes => self.state.nodes_forbidden = true,
            Optional::Namespaces => self.state.namespaces_forbidden = true,
        }
    }

    /// Publishes what has changed since the last call and wakes those whom it concerns; false when nothing changed.
    ///
    /// Costs one copy of the map's spine (a pointer a node), so a burst of events should share a call.
    pub fn publish(&mut self, hub: &Hub) -> bool {
        let nodes = self.endpoints.publish(&mut self.services);
        let mut state = self.state;
        state.endpoints |= self.endpoints.is_synced();
        state.nodes |= self.nodes.is_synced();
        state.namespaces |= self.namespaces.is_synced();
        let metadata_changed = self.nodes.take_changed();
        let everybody = self.namespaces.take_changed() || state != self.published_state;
        if nodes.is_empty() && !metadata_changed && !everybody {
            return false;
        }
        self.published_state = state;
        let snapshot = Snapshot {
            services: Arc::clone(&self.services),
            nodes: self.nodes.objects(),
            namespaces: self.namespaces.objects(),
            state,
        };
        hub.publish(snapshot, &if everybody { Concerned::All } else { Concerned::Nodes(nodes) });
        true
    }
}

fn key(names: &mut Names, metadata: &ObjectMeta) -> ObjectKey {
    (names.intern(&metadata.namespace), names.intern(&metadata.name))
}

/// The pod behind an address, when it names one completely (spec node-api §10.2); readiness is the node's business.
fn target(names: &mut Names, node: &str, reference: Option<&ObjectReference>) -> Option<Target> {
    let pod = reference.filter(|reference| reference.kind == "Pod")?;
    if node.is_empty() || pod.namespace.is_empty() || pod.name.is_empty() {
        return None;
    }
    Some(Target {
        node: names.intern(node),
        namespace: names.intern(&pod.namespace),
        pod: names.intern(&pod.name),
    })
}
