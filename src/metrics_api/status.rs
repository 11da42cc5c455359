//! Errors in the form in which Kubernetes clients read them (spec external-metrics §5–§7).

use serde::Serialize;
use serde_json::{Value, json};

use super::discovery::GROUP;
use crate::http::Response;
use crate::http::message::json as json_response;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Value,
    status: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
    code: u16,
}

/// A failure with this code, message, reason and details.
pub(super) fn failure(
    code: u16,
    message: &str,
    reason: Option<&'static str>,
    details: Option<Value>,
) -> Response {
    let status = Status {
        kind: "Status",
        api_version: "v1",
        metadata: json!({}),
        status: "Failure",
        message,
        reason,
        details,
        code,
    };
    json_response(code, &status)
}

pub(super) fn unauthorized() -> Response {
    failure(401, "Unauthorized", Some("Unauthorized"), None)
}

pub(super) fn bad_request(message: &str) -> Response {
    failure(400, message, Some("BadRequest"), None)
}

pub(super) fn not_acceptable() -> Response {
    let message = "only the following media types are accepted: application/json";
    failure(406, message, Some("NotAcceptable"), None)
}

pub(super) fn not_found() -> Response {
    let message = "the server could not find the requested resource";
    failure(404, message, Some("NotFound"), Some(json!({})))
}

pub(super) fn method_not_allowed() -> Response {
    let message = "the server does not allow this method on the requested resource";
    failure(405, message, Some("MethodNotAllowed"), Some(json!({})))
}

pub(super) fn watch_not_supported() -> Response {
    let message = format!("watch is not supported on resources of kind \"*.{GROUP}\"");
    let details = json!({"group": GROUP, "kind": "*"});
    failure(405, &message, Some("MethodNotAllowed"), Some(details))
}

/// There is no table of values that could be trusted.
pub(super) fn metrics_invalid() -> Response {
    failure(500, "external metrics invalid", None, None)
}
