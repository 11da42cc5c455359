//! What a test computes from the API's own objects, to hold the program's answers against.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::harness::{Api, ApiError};

/// Which objects the answers are computed from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// `discovery.k8s.io/v1` EndpointSlices.
    EndpointSlices,
    /// `v1` Endpoints.
    Endpoints,
}

/// For each node the `services` object of its answer: namespace → pod → service → `{}` (spec node-api §10.2).
pub fn by_node(api: &Api, source: Source) -> Result<BTreeMap<String, Value>, ApiError> {
    let mut nodes = BTreeMap::new();
    match source {
        Source::EndpointSlices => {
            for slice in api.list("/apis/discovery.k8s.io/v1/endpointslices")? {
                let service = &slice["metadata"]["labels"]["kubernetes.io/service-name"];
                for endpoint in items(&slice["endpoints"]) {
                    insert(&mut nodes, service, endpoint);
                }
            }
        }
        Source::Endpoints => {
            for endpoints in api.list("/api/v1/endpoints")? {
                for subset in items(&endpoints["subsets"]) {
                    let ready = items(&subset["addresses"]);
                    for address in ready.iter().chain(items(&subset["notReadyAddresses"])) {
                        insert(&mut nodes, &endpoints["metadata"]["name"], address);
                    }
                }
            }
        }
    }
    Ok(nodes)
}

fn insert(nodes: &mut BTreeMap<String, Value>, service: &Value, endpoint: &Value) {
    let target = &endpoint["targetRef"];
    let (Some(node), Some(service), Some("Pod")) =
        (endpoint["nodeName"].as_str(), service.as_str(), target["kind"].as_str())
    else {
        return;
    };
    let text = |field: &str| target[field].as_str().unwrap_or_default();
    let namespaces = nodes.entry(node.to_owned()).or_insert_with(|| json!({}));
    namespaces[text("namespace")][text("name")][service] = json!(Map::new());
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}
