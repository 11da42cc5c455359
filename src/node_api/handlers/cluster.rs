//! What belongs to the cluster as a whole (spec node-api §4.9, §4.11, §4.14).

use crate::http::Response;
use crate::http::message::{json, text};
use crate::node_api::NodeApi;
use crate::node_api::routes::Call;

/// The cluster's id as a JSON string; clients keep it for ever, so nothing else is ever answered with 200.
pub fn id(api: &NodeApi, _: &Call<'_>) -> Response {
    match api.parts.cluster_id.get() {
        Ok(id) => json(200, &id.as_ref()),
        Err(reason) => text(500, &reason),
    }
}

/// No identity of a cloud provider: the node then only lacks the tags made of it.
pub fn eks_identity(_: &NodeApi, _: &Call<'_>) -> Response {
    text(503, "EKS identity is not available on the cluster agent")
}

/// Refused before anything else, in particular before forwarding: the feature is not there.
pub fn language_detection(_: &NodeApi, _: &Call<'_>) -> Response {
    text(503, "Language detection feature is disabled on the cluster agent")
}
