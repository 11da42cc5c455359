//! What answers the routes: one file for each family.

pub(super) mod checks;
pub(super) mod cluster;
pub(super) mod local;
pub(super) mod namespaces;
pub(super) mod nodes;
pub(super) mod pods;
pub(super) mod version;

use crate::http::Response;
use crate::http::message::text;

/// While lists are incomplete an error keeps the client's old tags; an empty answer would remove them.
fn not_synced() -> Response {
    text(503, "metadata not synced yet")
}
