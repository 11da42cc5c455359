//! What a request wants to do, in the words of Kubernetes' authorisation (spec external-metrics §5).

use tiny_http::Method;

use crate::http::Request;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attributes {
    /// A resource of an API group.
    Resource {
        /// The group.
        group: String,
        /// The version.
        version: String,
        /// The namespace, unless it is the whole cluster.
        namespace: Option<String>,
        /// The resource: here the metric's name.
        resource: String,
        /// What is done with it.
        verb: &'static str,
    },
    /// Anything else.
    Path {
        /// The path as sent.
        path: String,
        /// The method in lower case.
        verb: String,
    },
}

impl Attributes {
    pub(super) fn of(request: &Request) -> Self {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let (group, version, namespace, resource) = match segments[..] {
            ["apis", group, version, "namespaces", namespace, resource, ..] => {
                (group, version, Some(namespace.to_owned()), resource)
            }
            ["apis", group, version, resource, ..] => (group, version, None, resource),
            _ => {
                let verb = request.method.as_str().to_ascii_lowercase();
                return Self::Path { path: request.path().to_owned(), verb };
            }
        };
        let [group, version, resource] = [group, version, resource].map(str::to_owned);
        let watch = request.query_values("watch");
        let verb = match &request.method {
            Method::Get if watch.first().is_some_and(|watch| is_true(watch)) => "watch",
            Method::Get | Method::Head => "list",
            Method::Post => "create",
            Method::Put => "update",
            Method::Patch => "patch",
            Method::Delete => "deletecollection",
            _ => "",
        };
        Self::Resource { group, version, namespace, resource, verb }
    }
}

/// `true` or `1`.
pub(super) fn is_true(text: &str) -> bool {
    matches!(text, "true" | "1")
}
