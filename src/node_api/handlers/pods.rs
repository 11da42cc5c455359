//! Services of pods: one node, one pod, all nodes (spec node-api §4.2–§4.4).

use std::collections::BTreeMap;

use serde::Serialize;

use super::{not_synced, why_not_synced};
use crate::http::Response;
use crate::http::message::{json, owned, shared};
use crate::metadata::{Bundle, NodesAnswer};
use crate::node_api::NodeApi;
use crate::node_api::routes::Call;

/// The pods of a node with their services: the request that most clients repeat every minute.
pub fn of_node(api: &NodeApi, call: &Call<'_>) -> Response {
    let node = call.parameters[0];
    let empty = || {
        let nodes = BTreeMap::from([(node, Bundle(&[]))]);
        json(200, &NodesAnswer { nodes, warnings: Vec::new() })
    };
    if !api.settings.collect_services {
        return empty();
    }
    let snapshot = api.parts.metadata.snapshot();
    if !snapshot.is_synced() {
        return not_synced(api);
    }
    if !snapshot.knows_node(node) {
        let warning = format!(
            "Node {node} could not be added to the metadata map bundle: \
             the key agent/KubernetesMetadataMapping/{node} was not found in the cache"
        );
        return json(200, &NodesAnswer { nodes: BTreeMap::new(), warnings: vec![warning] });
    }
    match snapshot.services(node) {
        Some(services) => shared(200, "application/json", services.answer()),
        None => empty(),
    }
}

/// The services of one pod as tags; what is not known has none.
pub fn of_pod(api: &NodeApi, call: &Call<'_>) -> Response {
    let [node, namespace, pod] = call.parameters[..] else { return json(200, &[""; 0]) };
    let snapshot = api.parts.metadata.snapshot();
    if !snapshot.is_synced() {
        return not_synced(api);
    }
    let services =
        snapshot.services(node).map_or(&[][..], |services| services.of_pod(namespace, pod));
    let tags: Vec<String> =
        services.iter().map(|service| format!("kube_service:{service}")).collect();
    json(200, &tags)
}

/// The pods of all nodes, for the `metamap` command.
pub fn of_all_nodes(api: &NodeApi, _: &Call<'_>) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Failure {
        errors: String,
    }
    let snapshot = api.parts.metadata.snapshot();
    if !snapshot.is_synced() {
        let errors = format!("Failed to get nodes from the API server: {}", why_not_synced(api));
        return json(503, &Failure { errors });
    }
    let answer = NodesAnswer { nodes: snapshot.all_services(), warnings: Vec::new() };
    owned(200, "application/json", answer.to_json())
}
