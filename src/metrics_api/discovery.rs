//! The documents that tell clients what is here; all of them are constants (spec external-metrics §6).
//!
//! The list of resources is never empty, because old clients take that for an error, and its one entry has no verb but
//! `get`, because controllers would list and delete it in every namespace otherwise.

use crate::http::Response;
use crate::http::message::owned;

/// The API group.
pub(super) const GROUP: &str = "external.metrics.k8s.io";

/// Its only version.
pub(super) const VERSION: &str = "v1beta1";

/// Both together.
pub(super) const GROUP_VERSION: &str = "external.metrics.k8s.io/v1beta1";

/// Path and document; all are JSON.
const CONSTANTS: [(&str, &str); 6] = [
    (
        "/",
        r#"{"paths":["/apis","/apis/external.metrics.k8s.io","/apis/external.metrics.k8s.io/v1beta1","/healthz","/livez","/readyz","/version"]}"#,
    ),
    (
        "/apis",
        r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"external.metrics.k8s.io","versions":[{"groupVersion":"external.metrics.k8s.io/v1beta1","version":"v1beta1"}],"preferredVersion":{"groupVersion":"external.metrics.k8s.io/v1beta1","version":"v1beta1"}}]}"#,
    ),
    (
        "/apis/external.metrics.k8s.io",
        r#"{"kind":"APIGroup","apiVersion":"v1","name":"external.metrics.k8s.io","versions":[{"groupVersion":"external.metrics.k8s.io/v1beta1","version":"v1beta1"}],"preferredVersion":{"groupVersion":"external.metrics.k8s.io/v1beta1","version":"v1beta1"}}"#,
    ),
    (
        "/apis/external.metrics.k8s.io/v1beta1",
        r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"external.metrics.k8s.io/v1beta1","resources":[{"name":"externalmetrics","singularName":"","namespaced":true,"kind":"ExternalMetricValueList","verbs":["get"]}]}"#,
    ),
    // Without it the API server logs an error every minute.
    (
        "/openapi/v2",
        r#"{"swagger":"2.0","info":{"title":"Datadog Cluster Agent","version":"v1"},"paths":{}}"#,
    ),
    (
        "/version",
        r#"{"major":"1","minor":"0","gitVersion":"v1.0.0","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":"linux/amd64"}"#,
    ),
];

/// Whether `path` is one of the documents that the aggregator must always get.
pub(super) fn is_constant(path: &str) -> bool {
    path == "/apis" || path.starts_with("/openapi/") || {
        path.strip_prefix("/apis/").is_some_and(|group| group == GROUP || group == GROUP_VERSION)
    }
}

/// The document at `path`.
pub(super) fn constant(path: &str) -> Option<Response> {
    let (_, document) = CONSTANTS.iter().find(|(constant, _)| *constant == path)?;
    Some(owned(200, "application/json", document.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_document_is_json() {
        for (path, document) in CONSTANTS {
            assert!(serde_json::from_str::<Value>(document).is_ok(), "{path}");
        }
        assert!(is_constant("/apis") && is_constant("/apis/external.metrics.k8s.io/v1beta1"));
        assert!(is_constant("/openapi/v2") && !is_constant("/apis/other") && !is_constant("/"));
    }
}
