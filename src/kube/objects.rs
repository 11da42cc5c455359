//! Trimmed Kubernetes objects: the fields this program reads, and nothing else.
//!
//! A list is parsed object by object into these shapes, so that fields which nobody asked for (managed fields,
//! container lists, conditions) are skipped by the parser and never held in memory. A consumer that needs even less,
//! or something else, declares its own shape and implements [`Resource`] for it:
//!
//! ```
//! use cluster_agent::kube::objects::{Node, Resource};
//!
//! #[derive(serde::Deserialize)]
//! struct NodeName {
//!     metadata: Name,
//! }
//!
//! #[derive(serde::Deserialize)]
//! struct Name {
//!     name: String,
//! }
//!
//! impl Resource for NodeName {
//!     const API: &str = Node::API;
//!     const PLURAL: &str = Node::PLURAL;
//!     const KIND: &str = Node::KIND;
//! }
//! ```
//!
//! Every field but the names has a default and reads `null` as that default: an object that lacks something is still
//! an object. Such shapes must not be written back (a PUT would erase the fields they left out): writers keep the
//! whole object as a JSON value.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// A kind of object that can be fetched, listed and watched.
pub trait Resource: DeserializeOwned + Send + 'static {
    /// The path of group and version: `/api/v1` or `/apis/discovery.k8s.io/v1`.
    const API: &'static str;
    /// The lower-case plural in URLs and RBAC rules: `endpointslices`.
    const PLURAL: &'static str;
    /// The name in `kind`: `EndpointSlice`.
    const KIND: &'static str;
}

macro_rules! resource {
    ($shape:ty, $api:literal, $plural:literal, $kind:literal) => {
        impl Resource for $shape {
            const API: &'static str = $api;
            const PLURAL: &'static str = $plural;
            const KIND: &'static str = $kind;
        }
    };
}

resource!(ConfigMap, "/api/v1", "configmaps", "ConfigMap");
resource!(Endpoints, "/api/v1", "endpoints", "Endpoints");
resource!(EndpointSlice, "/apis/discovery.k8s.io/v1", "endpointslices", "EndpointSlice");
resource!(Lease, "/apis/coordination.k8s.io/v1", "leases", "Lease");
resource!(Namespace, "/api/v1", "namespaces", "Namespace");
resource!(Node, "/api/v1", "nodes", "Node");
resource!(Pod, "/api/v1", "pods", "Pod");
resource!(Service, "/api/v1", "services", "Service");

/// What every object carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMeta {
    /// Unique within kind and namespace.
    pub name: String,
    /// Empty for objects of the whole cluster.
    #[serde(default, deserialize_with = "null_as_default")]
    pub namespace: String,
    /// Unique in the life of the cluster.
    #[serde(default, deserialize_with = "null_as_default")]
    pub uid: String,
    /// Opaque: sent back as it came, never compared by size.
    #[serde(default, deserialize_with = "null_as_default")]
    pub resource_version: String,
    /// Selectable names and values.
    #[serde(default, deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Free names and values; a value can be up to 256 KiB.
    #[serde(default, deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    /// The objects that this one belongs to.
    #[serde(default, deserialize_with = "null_as_default")]
    pub owner_references: Vec<OwnerReference>,
    /// RFC 3339; set while the object waits for its finalizers or for its containers to end.
    pub deletion_timestamp: Option<String>,
}

/// An object that another one belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OwnerReference {
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner, in the same namespace or of the whole cluster.
    pub name: String,
    /// UID of the owner.
    pub uid: String,
    /// Whether this owner is the managing controller.
    pub controller: bool,
}

/// A machine of the cluster: metadata only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Node {
    /// Name, UID, labels and annotations.
    pub metadata: ObjectMeta,
}

/// A namespace: metadata only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Namespace {
    /// Name, UID, labels and annotations.
    pub metadata: ObjectMeta,
}

/// The addresses behind one service, in the old form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Endpoints {
    /// The name is the service's name.
    pub metadata: ObjectMeta,
    /// Absent for leader-election objects and for services without pods.
    #[serde(default, deserialize_with = "null_as_default")]
    pub subsets: Vec<EndpointSubset>,
}

/// Addresses that share the same ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSubset {
    /// Ready ones.
    #[serde(deserialize_with = "null_as_default")]
    pub addresses: Vec<EndpointAddress>,
    /// Those that are not ready.
    #[serde(deserialize_with = "null_as_default")]
    pub not_ready_addresses: Vec<EndpointAddress>,
    /// Ports of every address above.
    #[serde(deserialize_with = "null_as_default")]
    pub ports: Vec<EndpointPort>,
}

/// One address of an [`Endpoints`] object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointAddress {
    /// IPv4 or IPv6.
    pub ip: String,
    /// The node that the address is on; empty when unknown.
    #[serde(deserialize_with = "null_as_default")]
    pub node_name: String,
    /// The object behind the address, usually a pod.
    pub target_ref: Option<ObjectReference>,
}

/// A part of the addresses behind one service, in the newer form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    /// The label [`EndpointSlice::SERVICE_NAME`] names the service.
    pub metadata: ObjectMeta,
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub address_type: String,
    /// At most 1,000.
    #[serde(default, deserialize_with = "null_as_default")]
    pub endpoints: Vec<Endpoint>,
    /// Ports of every endpoint above.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ports: Vec<EndpointPort>,
}

impl EndpointSlice {
    /// The label whose value is the name of the slice's service.
    pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
}

/// One endpoint of an [`EndpointSlice`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// All of the same endpoint; consumers take the first.
    #[serde(deserialize_with = "null_as_default")]
    pub addresses: Vec<String>,
    /// Readiness of the endpoint.
    #[serde(deserialize_with = "null_as_default")]
    pub conditions: EndpointConditions,
    /// The node that the endpoint is on; empty when unknown.
    #[serde(deserialize_with = "null_as_default")]
    pub node_name: String,
    /// The object behind the endpoint, usually a pod.
    pub target_ref: Option<ObjectReference>,
}

/// Readiness of an [`Endpoint`]; an unknown condition counts as true, as the API defines it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// `None` means ready.
    pub ready: Option<bool>,
    /// `None` means that it is not.
    pub terminating: Option<bool>,
}

/// A port that endpoints offer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EndpointPort {
    /// Empty when the service has a single unnamed port.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// 1–65535; `None` in a slice means every port.
    pub port: Option<u16>,
    /// `TCP`, `UDP` or `SCTP`; empty means `TCP`.
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: String,
}

/// A pointer from an address to the object behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ObjectReference {
    /// `Pod` for all that matters here.
    #[serde(deserialize_with = "null_as_default")]
    pub kind: String,
    /// Namespace of the object.
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: String,
    /// Name of the object.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// UID of the object.
    #[serde(deserialize_with = "null_as_default")]
    pub uid: String,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Service {
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// Addresses and ports.
    #[serde(default, deserialize_with = "null_as_default")]
    pub spec: ServiceSpec,
}

/// Addresses and ports of a [`Service`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// The virtual address; `None` as text for headless services, empty for external names.
    #[serde(rename = "clusterIP", deserialize_with = "null_as_default")]
    pub cluster_ip: String,
    /// What the service listens on.
    #[serde(deserialize_with = "null_as_default")]
    pub ports: Vec<ServicePort>,
}

/// A port of a [`Service`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServicePort {
    /// Empty when the service has a single unnamed port.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// 1–65535.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`; empty means `TCP`.
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: String,
}

/// A pod, as far as its place in the cluster is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Pod {
    /// Name, UID, labels, annotations and owners.
    pub metadata: ObjectMeta,
    /// Where it runs.
    #[serde(default, deserialize_with = "null_as_default")]
    pub spec: PodSpec,
    /// How it is reached.
    #[serde(default, deserialize_with = "null_as_default")]
    pub status: PodStatus,
}

/// Where a [`Pod`] runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Empty until it is scheduled.
    #[serde(deserialize_with = "null_as_default")]
    pub node_name: String,
}

/// How a [`Pod`] is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    #[serde(deserialize_with = "null_as_default")]
    pub phase: String,
    /// Empty until the network is set up.
    #[serde(rename = "podIP", deserialize_with = "null_as_default")]
    pub pod_ip: String,
}

/// Named texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ConfigMap {
    /// Name and annotations (the leader lock is one of them).
    pub metadata: ObjectMeta,
    /// At most 1 MiB in all.
    #[serde(default, deserialize_with = "null_as_default")]
    pub data: BTreeMap<String, String>,
}

/// A lock object of the coordination API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Lease {
    /// Name, namespace and version.
    pub metadata: ObjectMeta,
    /// Who holds it, and since when.
    #[serde(default, deserialize_with = "null_as_default")]
    pub spec: LeaseSpec,
}

/// Who holds a [`Lease`] (spec events-and-leader §1.4); everything may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseSpec {
    /// Empty means released.
    #[serde(deserialize_with = "null_as_default")]
    pub holder_identity: String,
    /// Seconds.
    pub lease_duration_seconds: Option<i64>,
    /// RFC 3339 with microseconds.
    pub acquire_time: Option<String>,
    /// RFC 3339 with microseconds.
    pub renew_time: Option<String>,
    /// How often the holder changed.
    pub lease_transitions: Option<i64>,
}

/// Reads `null` as the default: Go writes nil slices and maps of some types that way.
pub fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<T: Resource>(json: &str) -> T {
        serde_json::from_str(json).expect("the test's object is valid")
    }

    #[test]
    fn null_and_absent_read_as_empty() {
        let bare: Endpoints = parse(r#"{"metadata":{"name":"web"}}"#);
        let nulls: Endpoints = parse(
            r#"{"kind":"Endpoints","metadata":{"name":"web","namespace":null,"uid":null,"labels":null,
                "annotations":null,"ownerReferences":null,"deletionTimestamp":null},"subsets":null}"#,
        );
        assert_eq!(bare, nulls);
        let subset: Endpoints =
            parse(r#"{"metadata":{"name":"web"},"subsets":[{"addresses":null,"ports":null}]}"#);
        assert_eq!(subset.subsets, [EndpointSubset::default()]);
    }

    #[test]
    fn an_object_without_a_name_is_refused() {
        assert!(serde_json::from_str::<Node>(r#"{"metadata":{}}"#).is_err());
        assert!(serde_json::from_str::<Node>("{}").is_err());
    }

    #[test]
    fn a_slice_keeps_node_target_and_service() {
        let slice: EndpointSlice = parse(
            r#"{"metadata":{"name":"web-x2","namespace":"shop","labels":{"kubernetes.io/service-name":"web"}},
                "addressType":"IPv4","ports":[{"name":"http","port":8080,"protocol":"TCP","appProtocol":null}],
                "endpoints":[{"addresses":["10.0.0.7"],"conditions":{"ready":false,"serving":true},"nodeName":"n1",
                  "targetRef":{"kind":"Pod","namespace":"shop","name":"web-1","uid":"u1"},"zone":"a"}]}"#,
        );
        assert_eq!(slice.metadata.labels[EndpointSlice::SERVICE_NAME], "web");
        let endpoint = &slice.endpoints[0];
        assert_eq!(endpoint.node_name, "n1");
        assert_eq!(endpoint.conditions.ready, Some(false));
        assert_eq!(endpoint.target_ref.as_ref().map(|pod| pod.name.as_str()), Some("web-1"));
        assert_eq!(slice.ports[0].port, Some(8080));
    }

    #[test]
    fn addresses_keep_their_readiness() {
        let endpoints: Endpoints = parse(
            r#"{"metadata":{"name":"web"},"subsets":[{
                "addresses":[{"ip":"10.0.0.7","nodeName":"n1","targetRef":{"kind":"Pod","name":"a","namespace":"s"}}],
                "notReadyAddresses":[{"ip":"10.0.0.8"}]}]}"#,
        );
        let subset = &endpoints.subsets[0];
        assert_eq!(subset.addresses[0].node_name, "n1");
        assert_eq!(subset.not_ready_addresses[0].target_ref, None);
    }

    #[test]
    fn a_lease_that_was_created_empty_is_released() {
        let lease: Lease = parse(r#"{"metadata":{"name":"lock"},"spec":{}}"#);
        assert_eq!(lease.spec, LeaseSpec::default());
        let held: Lease = parse(
            r#"{"metadata":{"name":"lock"},"spec":{"holderIdentity":"a","leaseDurationSeconds":60,
                "renewTime":"2024-05-02T10:03:15.250000Z","leaseTransitions":4}}"#,
        );
        assert_eq!(held.spec.holder_identity, "a");
        assert_eq!(held.spec.lease_transitions, Some(4));
    }

    #[test]
    fn services_pods_and_config_maps_keep_what_is_read() {
        let service: Service = parse(
            r#"{"metadata":{"name":"web"},"spec":{"type":"ClusterIP","clusterIP":"10.96.0.9",
                "ports":[{"port":80,"targetPort":"http"}]}}"#,
        );
        assert_eq!(service.spec.cluster_ip, "10.96.0.9");
        assert_eq!(service.spec.ports[0].port, 80);
        let pod: Pod = parse(
            r#"{"metadata":{"name":"web-1","ownerReferences":[{"kind":"ReplicaSet","name":"web","uid":"r1",
                "controller":true}]},"spec":{"nodeName":"n1"},"status":{"phase":"Running","podIP":"10.0.0.7"}}"#,
        );
        assert!(pod.metadata.owner_references[0].controller);
        assert_eq!((pod.spec.node_name.as_str(), pod.status.pod_ip.as_str()), ("n1", "10.0.0.7"));
        let map: ConfigMap = parse(r#"{"metadata":{"name":"id"},"data":{"id":"42"}}"#);
        assert_eq!(map.data["id"], "42");
    }
}
