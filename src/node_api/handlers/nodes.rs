//! What a node carries: labels, annotations, UID (spec node-api §4.5, §4.6, §4.10).

use std::collections::BTreeMap;

use serde::Serialize;

use super::not_synced;
use crate::http::Response;
use crate::http::message::{json, text};
use crate::metadata::NodeMetadata;
use crate::node_api::NodeApi;
use crate::node_api::routes::Call;

/// All labels.
pub fn labels(api: &NodeApi, call: &Call<'_>) -> Response {
    with_node(api, call, "labels", |node| json(200, &node.labels))
}

/// The annotations that may be host aliases, or those that `?filter=KEY` (repeatable) asks for.
pub fn annotations(api: &NodeApi, call: &Call<'_>) -> Response {
    with_node(api, call, "annotations", |node| {
        let asked = call.request.query_values("filter");
        let keys = if asked.is_empty() { &api.settings.host_alias_annotations } else { &asked };
        let annotations: BTreeMap<&str, &str> =
            keys.iter().filter_map(|key| Some((&**key, node.annotations.get(key)?))).collect();
        json(200, &annotations)
    })
}

/// The UID of the Node object.
pub fn uid(api: &NodeApi, call: &Call<'_>) -> Response {
    #[derive(Serialize)]
    struct Uid<'a> {
        uid: &'a str,
    }
    with_node(api, call, "UID", |node| json(200, &Uid { uid: &node.uid }))
}

fn with_node(
    api: &NodeApi,
    call: &Call<'_>,
    what: &str,
    answer: impl FnOnce(&NodeMetadata) -> Response,
) -> Response {
    let name = call.parameters[0];
    let snapshot = api.parts.metadata.snapshot();
    let state = snapshot.sync_state();
    match snapshot.node(name) {
        Some(node) => answer(node),
        // While Nodes cannot be read, not finding one says nothing about it.
        None if state.nodes && !state.nodes_forbidden => {
            text(404, &format!("Could not find {what} on the node: {name}"))
        }
        None => not_synced(api),
    }
}
