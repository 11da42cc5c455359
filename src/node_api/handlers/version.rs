//! `GET /version` (spec node-api §4.1).

use crate::http::Response;
use crate::http::message::json;
use crate::node_api::NodeApi;
use crate::node_api::routes::Call;
use crate::version;

/// The numbers by which clients choose their features.
pub fn version(_: &NodeApi, _: &Call<'_>) -> Response {
    json(200, &version::CURRENT)
}
