//! The aggregated API `external.metrics.k8s.io/v1beta1` on 8443: what the autoscaler, kubectl, KEDA and the aggregator
//! ask for (spec external-metrics §3–§8).
//!
//! ```text
//! Request ─▶ Authenticator (front proxy, client certificate, token) ─▶ Authorizer ─▶ route ─▶ Response
//!              401                                                       403, 500      ▲
//!                                                         discovery: constants ────────┤
//!                                                         values: the ServedTable ─────┘
//! ```
//!
//! Discovery is made of constants and is answered whatever else is broken: an API server that cannot discover this
//! group stops deleting namespaces, in the whole cluster. Where a review cannot be had within two seconds, or the
//! certificates that requests are checked against are not known yet, these constants are served unchecked.
//!
//! Limits: only reviews wait for the network, for at most 10 s an attempt; their results are kept for 10 s.

mod attributes;
pub mod authentication;
pub mod authorities;
mod cache;
mod discovery;
mod negotiation;
mod reviews;
mod status;
#[cfg(test)]
mod tests;
pub mod verifier;

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tiny_http::Method;

pub use authentication::Authenticator;
pub use reviews::{ApiReviewer, Authorizer, Reviewer};

use crate::autoscaling::ServedTable;
use crate::http::message::{header, owned, text};
use crate::http::{Handler, Request, Response};
use crate::kube::quantity;
use crate::kube::selector::Selector;
use crate::telemetry::{Counter, Histogram, Registry};
use crate::time_format;
use attributes::Attributes;
use authentication::User;
use discovery::{GROUP, VERSION};

/// Paths that answer everybody: kubelet's probes send no credentials.
const OPEN_PATHS: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// How long a constant waits for a review; the aggregator gives up after 5 s.
const CONSTANT_PATIENCE: Duration = Duration::from_secs(2);

/// How long anything else waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// Default buckets of Prometheus, in seconds.
const BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The service; one for the process, called from all connection threads.
pub struct MetricsApi {
    authenticator: Authenticator,
    authorizer: Authorizer,
    served: ServedTable,
    requests: Counter,
    elapsed: Histogram,
}

impl MetricsApi {
    /// The service over its parts.
    pub fn new(
        authenticator: Authenticator,
        authorizer: Authorizer,
        served: ServedTable,
        telemetry: &Registry,
    ) -> Self {
        let labels = &["handler", "in_error"];
        Self {
            authenticator,
            authorizer,
            served,
            requests: telemetry.counter(
                "external_metrics_api_requests",
                "Requests to the external metrics API",
                labels,
            ),
            elapsed: telemetry.histogram(
                "external_metrics_api_elapsed",
                "Seconds that requests to the external metrics API took",
                labels,
                BUCKETS,
            ),
        }
    }

    /// The refusal, if there is one.
    fn refusal(&self, request: &Request, path: &str) -> Option<Response> {
        let is_constant = discovery::is_constant(path);
        if is_constant && request.certificate.is_some() && !self.authenticator.is_ready() {
            return None;
        }
        let user = match self.authenticator.authenticate(request) {
            Ok(user) => user,
            Err(errors) => {
                log::debug!("refused {} of {}: {}", path, request.peer, errors.join("; "));
                return Some(status::unauthorized());
            }
        };
        if OPEN_PATHS.contains(&path) {
            return None;
        }
        let attributes = Attributes::of(request);
        let patience = if is_constant { CONSTANT_PATIENCE } else { PATIENCE };
        match self.authorizer.decide(&user, &attributes, patience) {
            Ok(decision) if decision.allowed => None,
            Ok(decision) => Some(forbidden(&user, &attributes, &decision.reason)),
            Err(_) if is_constant => None,
            Err(error) => {
                let message = format!("Internal Server Error: {:?}: {error}", request.target);
                Some(text(500, &message))
            }
        }
    }

    fn route(&self, request: &Request, path: &str) -> Response {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let is_get = request.method == Method::Get;
        if let Some(constant) = discovery::constant(path) {
            if !is_get {
                return status::method_not_allowed();
            }
            let accepted = negotiation::accepts_json(request.header("Accept"));
            return if accepted { constant } else { status::not_acceptable() };
        }
        match segments[..] {
            ["healthz" | "livez" | "readyz"] if is_get => probe(request, segments[0]),
            ["healthz" | "livez" | "readyz", "ping"] if is_get => plain("ok"),
            ["apis", GROUP, VERSION, "namespaces", _, metric] if is_get => {
                self.values(request, metric)
            }
            ["apis", GROUP, VERSION, "namespaces", _, _] => status::method_not_allowed(),
            ["apis", GROUP, ..] => status::not_found(),
            _ => text(404, "404 page not found"),
        }
    }

    /// The value of one metric.
    fn values(&self, request: &Request, metric: &str) -> Response {
        let begun = Instant::now();
        let response = self.value_list(request, metric);
        let in_error = if response.status_code().0 < 400 { "false" } else { "true" };
        self.requests.increment(&["get", in_error]);
        self.elapsed.observe(&["get", in_error], begun.elapsed().as_secs_f64());
        response
    }

    fn value_list(&self, request: &Request, metric: &str) -> Response {
        let watch = request.query_values("watch");
        if watch.first().is_some_and(|watch| attributes::is_true(watch)) {
            return status::watch_not_supported();
        }
        if !negotiation::accepts_json(request.header("Accept")) {
            return status::not_acceptable();
        }
        let selector = request.query_values("labelSelector");
        let selector = match Selector::parse(selector.first().map_or("", String::as_str)) {
            Ok(selector) => selector,
            Err(invalid) => return status::bad_request(&invalid.to_string()),
        };
        let Some(table) = self.served.current() else { return status::metrics_invalid() };
        let now = SystemTime::now();
        let item = table.answer(&metric.to_lowercase(), &selector, self.served.limits(), now);
        let item = item.and_then(|item| {
            let value = quantity::text(item.value)?;
            let labels = (!item.labels.is_empty()).then_some(item.labels);
            Some(json!({
                "metricName": item.metric,
                "metricLabels": labels,
                "timestamp": time_format::rfc3339(now),
                "value": value,
            }))
        });
        let items: Vec<Value> = item.into_iter().collect();
        let list = json!({
            "kind": "ExternalMetricValueList",
            "apiVersion": discovery::GROUP_VERSION,
            "metadata": {},
            "items": items,
        });
        crate::http::message::json(200, &list)
    }
}

impl Handler for MetricsApi {
    fn handle(&self, request: &Request) -> Response {
        let path = match request.path().trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        let response = match self.refusal(request, path) {
            Some(refusal) => refusal,
            None => self.route(request, path),
        };
        let status = response.status_code().0;
        log::debug!("{} {} of {}: {status}", request.method, request.path(), request.peer);
        response
    }
}

fn forbidden(user: &User, attributes: &Attributes, reason: &str) -> Response {
    let name = &user.name;
    let (mut message, details) = match attributes {
        Attributes::Resource { group, resource, namespace, verb, .. } => {
            let place = match namespace {
                Some(namespace) => format!("in the namespace {namespace:?}"),
                None => "at the cluster scope".to_owned(),
            };
            let message = format!(
                "{resource}.{group} is forbidden: User {name:?} cannot {verb} resource {resource:?} in API group {group:?} \
                 {place}"
            );
            (message, json!({"group": group, "kind": resource}))
        }
        Attributes::Path { path, verb } => {
            (format!("forbidden: User {name:?} cannot {verb} path {path:?}"), json!({}))
        }
    };
    if !reason.is_empty() {
        message.push_str(": ");
        message.push_str(reason);
    }
    let message = message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    status::failure(403, &message, Some("Forbidden"), Some(details))
        .with_header(header("X-Content-Type-Options", "nosniff"))
}

/// This process answers, so it is well; the list of checks is there for those who ask for it.
fn probe(request: &Request, name: &str) -> Response {
    if request.query_values("verbose").is_empty() {
        return plain("ok");
    }
    let excluded = request.query_values("exclude").iter().any(|check| check == "ping");
    let line = if excluded { "[+]ping excluded: ok" } else { "[+]ping ok" };
    plain(&format!("{line}\n{name} check passed\n"))
}

fn plain(body: &str) -> Response {
    owned(200, "text/plain; charset=utf-8", body.as_bytes().to_vec())
}
