//! Events in, answers out: the rules of spec node-api §10 on the whole core.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::kube::objects::{EndpointSlice, Endpoints, Namespace, Node};
use crate::kube::watch::Event;

/// A core and the hub it publishes to.
struct Fixture {
    core: Core,
    hub: Hub,
}

impl Fixture {
    /// Synced, with the nodes `node-a` and `node-b` and no endpoints.
    fn synced() -> Self {
        let mut fixture = Self::unsynced();
        fixture.list_nodes(&["node-a", "node-b"]);
        fixture.list_endpoints(&[]);
        fixture
    }

    fn unsynced() -> Self {
        Self { core: Core::new(Settings { collect_services: true }), hub: Hub::default() }
    }

    fn list_nodes(&mut self, names: &[&str]) {
        self.core.apply_node(Event::Init);
        for name in names {
            self.core.apply_node(Event::InitApply(node(name)));
        }
        self.core.apply_node(Event::InitDone);
        self.core.publish(&self.hub);
    }

    fn list_endpoints(&mut self, all: &[Endpoints]) {
        self.core.apply_endpoints(Event::Init);
        for endpoints in all {
            self.core.apply_endpoints(Event::InitApply(endpoints.clone()));
        }
        self.core.apply_endpoints(Event::InitDone);
        self.core.publish(&self.hub);
    }

    fn apply(&mut self, endpoints: Endpoints) {
        self.core.apply_endpoints(Event::Apply(endpoints));
        self.core.publish(&self.hub);
    }

    fn delete(&mut self, endpoints: Endpoints) {
        self.core.apply_endpoints(Event::Delete(endpoints));
        self.core.publish(&self.hub);
    }

    fn apply_slice(&mut self, slice: EndpointSlice) {
        self.core.apply_endpoint_slice(Event::Apply(slice));
        self.core.publish(&self.hub);
    }

    fn delete_slice(&mut self, slice: EndpointSlice) {
        self.core.apply_endpoint_slice(Event::Delete(slice));
        self.core.publish(&self.hub);
    }

    fn services(&self, node: &str, namespace: &str, pod: &str) -> Vec<String> {
        let snapshot = self.hub.snapshot();
        let services = snapshot.services(node).map_or(&[][..], |node| node.of_pod(namespace, pod));
        services.iter().map(|name| (**name).to_owned()).collect()
    }
}

fn node(name: &str) -> Node {
    let object = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
    serde_json::from_value(object).expect("the test's node is valid")
}

fn namespace(name: &str, team: &str) -> Namespace {
    let object = json!({"metadata": {"name": name, "labels": {"team": team}}});
    serde_json::from_value(object).expect("the test's namespace is valid")
}

/// Ready addresses of pods given as `(node, pod)`, in the service's own namespace.
fn endpoints(namespace: &str, service: &str, pods: &[(&str, &str)]) -> Endpoints {
    let addresses: Vec<_> = pods.iter().map(|(node, pod)| address(node, namespace, pod)).collect();
    let object = json!({"metadata": {"name": service, "namespace": namespace},
        "subsets": [{"addresses": addresses}]});
    serde_json::from_value(object).expect("the test's endpoints are valid")
}

fn slice(name: &str, service: &str, family: &str, pods: &[(&str, &str)]) -> EndpointSlice {
    let addresses: Vec<_> = pods.iter().map(|(node, pod)| address(node, "shop", pod)).collect();
    let object = json!({"metadata": {"name": name, "namespace": "shop",
        "labels": {"kubernetes.io/service-name": service}}, "addressType": family, "endpoints": addresses});
    serde_json::from_value(object).expect("the test's slice is valid")
}

fn address(node: &str, namespace: &str, pod: &str) -> serde_json::Value {
    json!({"nodeName": node, "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod}})
}

#[test]
fn node_api_14_a_pod_in_two_services_has_both() {
    let mut fixture = Fixture::synced();
    fixture.apply(endpoints("shop", "b", &[("node-a", "pod")]));
    fixture.apply(endpoints("shop", "a", &[("node-a", "pod")]));
    assert_eq!(fixture.services("node-a", "shop", "pod"), ["a", "b"]);
    let snapshot = fixture.hub.snapshot();
    let answer = snapshot.services("node-a").expect("the node has services").answer();
    assert_eq!(
        String::from_utf8_lossy(&answer),
        r#"{"Nodes":{"node-a":{"services":{"shop":{"pod":{"a":{},"b":{}}}}}}}"#
    );
}

#[test]
fn node_api_16_addresses_that_do_not_name_a_pod_on_a_node_are_ignored() {
    let mut fixture = Fixture::synced();
    let object = json!({"metadata": {"name": "cart", "namespace": "shop"}, "subsets": [{"addresses": [
        {"nodeName": "node-a", "targetRef": null},
        {"nodeName": "node-a"},
        {"nodeName": "node-a", "targetRef": {"kind": "Node", "namespace": "shop", "name": "x"}},
        {"nodeName": "node-a", "targetRef": {"kind": "Pod", "namespace": "shop", "name": ""}},
        {"nodeName": "node-a", "targetRef": {"kind": "Pod", "namespace": "", "name": "x"}},
        {"nodeName": null, "targetRef": {"kind": "Pod", "namespace": "shop", "name": "x"}},
        {"targetRef": {"kind": "Pod", "namespace": "shop", "name": "x"}},
        address("node-a", "shop", "cart-1"),
    ]}]});
    fixture.apply(serde_json::from_value(object).expect("the test's endpoints are valid"));
    let snapshot = fixture.hub.snapshot();
    let pods: Vec<_> = snapshot.services("node-a").expect("one is left").pods().to_vec();
    assert_eq!(pods.len(), 1);
    assert_eq!(&*pods[0].pod, "cart-1");
    assert!(snapshot.services("").is_none());
}

#[test]
fn node_api_17_not_ready_addresses_count_and_empty_objects_change_nothing() {
    let mut fixture = Fixture::synced();
    let object = json!({"metadata": {"name": "cart", "namespace": "shop"},
        "subsets": [{"notReadyAddresses": [address("node-a", "shop", "cart-1")]}]});
    fixture.apply(serde_json::from_value(object).expect("the test's endpoints are valid"));
    assert_eq!(fixture.services("node-a", "shop", "cart-1"), ["cart"]);
    let lock = json!({"metadata": {"name": "leader", "namespace": "shop",
        "annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}});
    fixture
        .core
        .apply_endpoints(Event::Apply(serde_json::from_value(lock).expect("the lock is valid")));
    assert!(!fixture.core.publish(&fixture.hub), "nothing to publish");
}

#[test]
fn node_api_18_a_pod_that_moves_is_on_its_new_node_after_one_event() {
    let mut fixture = Fixture::synced();
    fixture.apply(endpoints("shop", "cart", &[("node-a", "cart-1")]));
    fixture.apply(endpoints("shop", "cart", &[("node-b", "cart-1")]));
    assert!(fixture.hub.snapshot().services("node-a").is_none());
    assert_eq!(fixture.services("node-b", "shop", "cart-1"), ["cart"]);
}

#[test]
fn node_api_19_services_of_one_name_in_two_namespaces_are_apart() {
    let mut fixture = Fixture::synced();
    for namespace in ["x", "y"] {
        fixture.apply(endpoints(namespace, "web", &[("node-a", "web-1"), ("node-b", "web-2")]));
    }
    fixture.delete(endpoints("x", "web", &[]));
    for (node, pod) in [("node-a", "web-1"), ("node-b", "web-2")] {
        assert_eq!(fixture.services(node, "x", pod), Vec::<String>::new());
        assert_eq!(fixture.services(node, "y", pod), ["web"]);
    }
}

#[test]
fn node_api_20_the_slices_of_a_service_are_a_union() {
    let mut fixture = Fixture::synced();
    fixture.apply_slice(slice("cart-1", "cart", "IPv4", &[("node-a", "p1"), ("node-a", "p2")]));
    fixture.apply_slice(slice("cart-2", "cart", "IPv6", &[("node-a", "p2"), ("node-b", "p3")]));
    let pods = |fixture: &Fixture, node: &str| -> Vec<String> {
        let snapshot = fixture.hub.snapshot();
        let pods = snapshot.services(node).map_or(&[][..], |node| node.pods());
        pods.iter().map(|pod| (*pod.pod).to_owned()).collect()
    };
    assert_eq!(pods(&fixture, "node-a"), ["p1", "p2"]);
    assert_eq!(fixture.services("node-a", "shop", "p2"), ["cart"]);
    fixture.delete_slice(slice("cart-1", "cart", "IPv4", &[]));
    assert_eq!(pods(&fixture, "node-a"), ["p2"]);
    fixture.delete_slice(slice("cart-2", "cart", "IPv6", &[]));
    assert!(fixture.hub.snapshot().services.is_empty());

    let mut unlabelled = slice("cart-3", "cart", "IPv4", &[("node-a", "p1")]);
    unlabelled.metadata.labels.clear();
    fixture.apply_slice(unlabelled);
    assert!(fixture.hub.snapshot().services.is_empty());
}

#[test]
fn a_pod_that_one_object_names_twice_goes_with_it() {
    let mut fixture = Fixture::synced();
    fixture.apply(endpoints("shop", "cart", &[("node-a", "p"), ("node-a", "p")]));
    fixture.apply(endpoints("shop", "cart", &[("node-a", "p")]));
    fixture.delete(endpoints("shop", "cart", &[]));
    assert_eq!(fixture.services("node-a", "shop", "p"), Vec::<String>::new());
}

#[test]
fn a_slice_that_changes_its_service_leaves_the_old_one() {
    let mut fixture = Fixture::synced();
    fixture.apply_slice(slice("s", "old", "IPv4", &[("node-a", "p")]));
    fixture.apply_slice(slice("s", "new", "IPv4", &[("node-a", "p")]));
    assert_eq!(fixture.services("node-a", "shop", "p"), ["new"]);
    let mut unlabelled = slice("s", "new", "IPv4", &[("node-a", "p")]);
    unlabelled.metadata.labels.clear();
    fixture.apply_slice(unlabelled);
    assert_eq!(fixture.services("node-a", "shop", "p"), Vec::<String>::new());
}

#[test]
fn node_api_21_a_relist_replaces_everything_at_once() {
    let mut fixture = Fixture::synced();
    let cart = endpoints("shop", "cart", &[("node-a", "cart-1")]);
    fixture.apply(cart.clone());
    fixture.apply(endpoints("shop", "gone", &[("node-b", "gone-1")]));
    let before = fixture.hub.snapshot();

    fixture.core.apply_endpoints(Event::Init);
    fixture.core.publish(&fixture.hub);
    fixture.core.apply_endpoints(Event::InitApply(endpoints("shop", "x", &[("node-b", "x-1")])));
    fixture.core.apply_endpoints(Event::Init);
    fixture.core.apply_endpoints(Event::InitApply(cart));
    assert!(!fixture.core.publish(&fixture.hub), "an unfinished list is not seen");
    assert_eq!(fixture.services("node-b", "shop", "gone-1"), ["gone"]);

    fixture.core.apply_endpoints(Event::InitDone);
    assert!(fixture.core.publish(&fixture.hub));
    let after = fixture.hub.snapshot();
    assert!(after.services("node-b").is_none());
    let kept = |snapshot: &Snapshot| Arc::clone(snapshot.services("node-a").expect("still there"));
    assert!(Arc::ptr_eq(&kept(&before), &kept(&after)), "an unchanged node is not made anew");
}

#[test]
fn nothing_is_synced_before_both_lists_are_complete() {
    let mut fixture = Fixture::unsynced();
    assert!(!fixture.hub.snapshot().is_synced());
    fixture.list_nodes(&["node-a"]);
    assert!(!fixture.hub.snapshot().is_synced());
    let mut fixture = Fixture::unsynced();
    fixture.list_endpoints(&[]);
    assert!(!fixture.hub.snapshot().is_synced());
    fixture.list_nodes(&["node-a"]);
    assert!(fixture.hub.snapshot().is_synced());
    assert!(!fixture.hub.snapshot().is_stream_ready());
    fixture.core.apply_namespace(Event::Init);
    fixture.core.apply_namespace(Event::InitDone);
    fixture.core.publish(&fixture.hub);
    assert!(fixture.hub.snapshot().is_stream_ready());
}

#[test]
fn without_the_right_to_read_nodes_every_node_is_known() {
    let mut fixture = Fixture::unsynced();
    fixture.list_endpoints(&[]);
    fixture.core.set_forbidden(Optional::Nodes);
    fixture.core.publish(&fixture.hub);
    let snapshot = fixture.hub.snapshot();
    assert!(snapshot.is_synced() && snapshot.knows_node("ghost"));
    fixture.list_nodes(&["node-a"]);
    let snapshot = fixture.hub.snapshot();
    assert!(snapshot.knows_node("node-a") && !snapshot.knows_node("ghost"));
}

#[test]
fn a_deleted_node_is_no_longer_known_and_returns_with_its_services() {
    let mut fixture = Fixture::synced();
    fixture.apply(endpoints("shop", "cart", &[("node-a", "cart-1")]));
    fixture.core.apply_node(Event::Delete(node("node-a")));
    fixture.core.publish(&fixture.hub);
    assert!(!fixture.hub.snapshot().knows_node("node-a"));
    assert!(!fixture.hub.snapshot().all_services().contains_key("node-a"));
    fixture.core.apply_node(Event::Apply(node("node-a")));
    fixture.core.publish(&fixture.hub);
    assert!(fixture.hub.snapshot().knows_node("node-a"));
    assert_eq!(fixture.services("node-a", "shop", "cart-1"), ["cart"]);
}

#[test]
fn falling_back_to_endpoints_replaces_the_slices() {
    let mut fixture = Fixture::synced();
    fixture.apply_slice(slice("cart-x", "cart", "IPv4", &[("node-a", "cart-1")]));
    fixture.list_endpoints(&[endpoints("shop", "cart", &[("node-b", "cart-2")])]);
    assert!(fixture.hub.snapshot().services("node-a").is_none());
    assert_eq!(fixture.services("node-b", "shop", "cart-2"), ["cart"]);
}

#[test]
fn only_the_subscribers_of_changed_nodes_are_woken() {
    let mut fixture = Fixture::synced();
    let woken = |hub: &Hub, node: &str| {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let wake = Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        (count, hub.subscribe(node, wake))
    };
    let (on_a, subscription_a) = woken(&fixture.hub, "node-a");
    let (on_b, _subscription_b) = woken(&fixture.hub, "node-b");
    let counts = || (on_a.load(Ordering::Relaxed), on_b.load(Ordering::Relaxed));

    fixture.apply(endpoints("shop", "cart", &[("node-a", "cart-1")]));
    assert_eq!(counts(), (1, 0));
    fixture.core.apply_node(Event::Apply(Node {
        metadata: crate::kube::objects::ObjectMeta {
            uid: "new".to_owned(),
            ..node("node-b").metadata
        },
    }));
    assert!(fixture.core.publish(&fixture.hub));
    assert_eq!(counts(), (1, 0), "a node's labels are on no stream");
    fixture.core.apply_namespace(Event::Apply(namespace("shop", "blue")));
    fixture.core.publish(&fixture.hub);
    assert_eq!(counts(), (2, 1));
    fixture.core.apply_namespace(Event::Apply(namespace("shop", "blue")));
    assert!(!fixture.core.publish(&fixture.hub), "the same again is no change");

    drop(subscription_a);
    assert_eq!(fixture.hub.subscribers(), 1);
    fixture.apply(endpoints("shop", "cart", &[]));
    assert_eq!(counts(), (2, 1));
}

#[test]
fn attributes_are_looked_up_and_serialised_in_key_order() {
    let mut fixture = Fixture::synced();
    let object = json!({"metadata": {"name": "node-a", "uid": "u-1", "labels": {"b": "2", "a": "1", "c": ""}}});
    fixture.core.apply_node(Event::Apply(
        serde_json::from_value(object).expect("the test's node is valid"),
    ));
    fixture.core.publish(&fixture.hub);
    let snapshot = fixture.hub.snapshot();
    let node = snapshot.node("node-a").expect("the node is known");
    assert_eq!((node.labels.get("c"), node.labels.get("d")), (Some(""), None));
    let labels = serde_json::to_string(&node.labels).expect("labels serialise");
    assert_eq!(labels, r#"{"a":"1","b":"2","c":""}"#);
    assert_eq!(&*node.uid, "u-1");
}
