//! What a namespace carries (spec node-api §4.7, §4.8).

use serde::Serialize;

use super::not_synced;
use crate::http::Response;
use crate::http::message::{json, text};
use crate::metadata::{Attributes, NamespaceMetadata};
use crate::node_api::NodeApi;
use crate::node_api::routes::Call;

/// All labels, for node Agents below 7.55.
pub fn labels(api: &NodeApi, call: &Call<'_>) -> Response {
    with_namespace(api, call, "labels", |namespace| json(200, &namespace.labels))
}

/// Labels and annotations.
pub fn metadata(api: &NodeApi, call: &Call<'_>) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Metadata<'a> {
        name: &'a str,
        /// Always empty: a namespace is in none.
        namespace: &'a str,
        annotations: &'a Attributes,
        labels: &'a Attributes,
    }
    let name = call.parameters[0];
    with_namespace(api, call, "metadata", |namespace| {
        let NamespaceMetadata { annotations, labels } = namespace;
        json(200, &Metadata { name, namespace: "", annotations, labels })
    })
}

fn with_namespace(
    api: &NodeApi,
    call: &Call<'_>,
    what: &str,
    answer: impl FnOnce(&NamespaceMetadata) -> Response,
) -> Response {
    let name = call.parameters[0];
    let snapshot = api.parts.metadata.snapshot();
    let state = snapshot.sync_state();
    match snapshot.namespace(name) {
        Some(namespace) => answer(namespace),
        // While Namespaces cannot be read, not finding one says nothing about it.
        None if state.namespaces && !state.namespaces_forbidden => {
            text(404, &format!("Could not find {what} of the namespace: {name}"))
        }
        None => not_synced(api),
    }
}
