//! The messages of the metadata stream (spec node-api §8.4, package `datadog.kubemetadata`).

use std::collections::BTreeMap;

use prost::{Enumeration, Message};

/// What a node Agent opens its stream with.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// The node it runs on.
    #[prost(string, tag = "1")]
    pub node_name: String,
}

/// A full state, or what changed since the last message; fields 4 to 6 belong to a scheduler that is not read here.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// Whether this replaces everything the client knows.
    #[prost(bool, tag = "1")]
    pub is_full_state: bool,
    /// The pods of the node.
    #[prost(message, repeated, tag = "2")]
    pub mappings: Vec<PodServiceMapping>,
    /// The namespaces of the cluster.
    #[prost(message, repeated, tag = "3")]
    pub namespace_metadata: Vec<NamespaceMetadata>,
}

/// The services of one pod.
#[derive(Clone, PartialEq, Message)]
pub struct PodServiceMapping {
    /// The pod's namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// The pod's name.
    #[prost(string, tag = "2")]
    pub pod_name: String,
    /// All its services, also when only one is new.
    #[prost(string, repeated, tag = "3")]
    pub service_names: Vec<String>,
    /// Whether this is what it has now, or it has none any more.
    #[prost(enumeration = "Change", tag = "4")]
    pub change: i32,
}

/// Labels and annotations of one namespace.
#[derive(Clone, PartialEq, Message)]
pub struct NamespaceMetadata {
    /// Its name.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// All its labels.
    #[prost(btree_map = "string, string", tag = "2")]
    pub labels: BTreeMap<String, String>,
    /// All its annotations.
    #[prost(btree_map = "string, string", tag = "3")]
    pub annotations: BTreeMap<String, String>,
    /// Whether this is what it has now, or it is gone.
    #[prost(enumeration = "Change", tag = "4")]
    pub change: i32,
}

/// What a client does with an entry; called `type` on the wire's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
pub enum Change {
    /// Replaces what it had under this name.
    Set = 0,
    /// Forgets it.
    Unset = 1,
}
