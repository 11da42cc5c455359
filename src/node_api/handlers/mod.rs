//! What answers the routes: one file for each family.

pub(super) mod checks;
pub(super) mod cluster;
pub(super) mod flare;
pub(super) mod local;
pub(super) mod namespaces;
pub(super) mod nodes;
pub(super) mod pods;
pub(super) mod version;

use super::NodeApi;
use crate::http::Response;
use crate::http::message::text;

/// While lists are incomplete an error keeps the client's old tags; an empty answer would remove them.
fn not_synced(api: &NodeApi) -> Response {
    text(503, &why_not_synced(api))
}

/// The sentence of that error: what the API server refuses is a matter for its reader.
fn why_not_synced(api: &NodeApi) -> String {
    const NOT_SYNCED: &str = "metadata not synced yet";
    match api.parts.operator.obstacle() {
        Some(obstacle) => format!("{NOT_SYNCED}: {obstacle}"),
        None => NOT_SYNCED.to_owned(),
    }
}
