//! The JSON in which clients read the services of nodes (spec node-api §4.2).
//!
//! A set is an object whose values are empty objects. `services` is always written, also when it is empty: a missing one
//! makes older node Agents ask once for each pod, and a `null` crashes them.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::snapshot::PodServices;

/// The answer of the routes below `/api/v1/tags/pod`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodesAnswer<'a> {
    /// Bundles by node name; left out when there is none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<&'a str, Bundle<'a>>,
    /// Sentences for a person; left out when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The pods of one node, sorted by namespace and name: `{"services":{"namespace":{"pod":{"service":{}}}}}`.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a>(pub &'a [PodServices]);

struct Namespaces<'a>(&'a [PodServices]);

struct Pods<'a>(&'a [PodServices]);

struct Services<'a>(&'a PodServices);

#[derive(Serialize)]
struct Empty {}

impl NodesAnswer<'_> {
    /// The answer as it goes on the wire.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text keys and values always serialise")
    }
}

impl Serialize for Bundle<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("services", Namespaces(self.0))])
    }
}

impl Serialize for Namespaces<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let namespaces = self.0.chunk_by(|left, right| left.namespace == right.namespace);
        serializer.collect_map(namespaces.map(|pods| (&*pods[0].namespace, Pods(pods))))
    }
}

impl Serialize for Pods<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|pod| (&*pod.pod, Services(pod))))
    }
}

impl Serialize for Services<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.services.len()))?;
        for service in &self.0.services {
            map.serialize_entry(&**service, &Empty {})?;
        }
        map.end()
    }
}
