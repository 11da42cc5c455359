//! The one table of what is served on 5005: path, who may ask, where it is answered, and by what (spec node-api §3).
//!
//! Class and handler stand in the same line, so a new route for nodes cannot be forgotten in a second list
//! (spec node-api §13 item 10).

use std::borrow::Cow;

use tiny_http::Method;

use super::NodeApi;
use super::auth::Class::{self, External, Internal};
use super::handlers::{checks, cluster, flare, local, namespaces, nodes, pods, version};
use crate::http::{Request, Response};

/// One line of the table.
pub(super) struct Route {
    /// The only method of this line.
    pub(super) verb: Verb,
    /// Literal segments, and `{names}` that match any segment. Where two patterns match, the first one counts.
    pub(super) pattern: &'static str,
    /// Which token opens it.
    pub(super) class: Class,
    /// Where it is answered.
    pub(super) place: Place,
    /// The `handler` label of `api_requests` (spec node-api §11).
    pub(super) name: &'static str,
    /// What answers it.
    pub(super) answer: fn(&NodeApi, &Call<'_>) -> Response,
}

/// The methods that are served; HEAD arrives as GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Reads.
    Get,
    /// Changes something, or hands something in.
    Post,
}

/// Which replica answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The one that was asked.
    Here,
    /// The leader; others forward to it. Only while cluster checks are on: without them the one that was asked
    /// refuses (spec node-api §3).
    Leader,
}

/// A request that matched a route.
pub(super) struct Call<'a> {
    /// The request itself.
    pub(super) request: &'a Request,
    /// The decoded segments that stood for `{names}`, in order.
    pub(super) parameters: Vec<&'a str>,
}

/// What the table says about a path and method.
pub(super) enum Match<'a> {
    /// This route, by its index in the table, with its parameters.
    Found(usize, Vec<&'a str>),
    /// The path is there for other methods: index of the first, and the value of `Allow`.
    OtherMethods(usize, String),
    /// No such path.
    None,
}

impl Verb {
    fn is(self, method: &Method) -> bool {
        match self {
            Verb::Get => *method == Method::Get,
            Verb::Post => *method == Method::Post,
        }
    }
}

type Answer = fn(&NodeApi, &Call<'_>) -> Response;

const fn get(pattern: &'static str, class: Class, name: &'static str, answer: Answer) -> Route {
    Route { verb: Verb::Get, pattern, class, place: Place::Here, name, answer }
}

const fn post(pattern: &'static str, class: Class, name: &'static str, answer: Answer) -> Route {
    Route { verb: Verb::Post, ..get(pattern, class, name, answer) }
}

const fn leader(route: Route) -> Route {
    Route { place: Place::Leader, ..route }
}

/// Everything that is served. The most frequent routes of node Agents stand first.
#[rustfmt::skip]
pub(super) const ROUTES: &[Route] = &[
    get("/api/v1/tags/pod/{node}", External, "getPodMetadataForNode", pods::of_node),
    leader(post("/api/v1/clusterchecks/status/{runner}", External, "postCheckStatus", checks::status)),
    leader(get("/api/v1/clusterchecks/configs/{runner}", External, "getCheckConfigs", checks::configs)),
    leader(get("/api/v1/endpointschecks/configs/{node}", External, "getEndpointsConfigs", checks::endpoint_configs)),
    get("/api/v1/metadata/namespace/{namespace}", External, "getNamespaceMetadata", namespaces::metadata),
    get("/api/v1/tags/namespace/{namespace}", External, "getNamespaceLabels", namespaces::labels),
    get("/api/v1/tags/pod/{node}/{namespace}/{pod}", External, "getPodMetadata", pods::of_pod),
    get("/api/v1/metadata/{node}/{namespace}/{pod}", External, "getPodMetadata", pods::of_pod),
    get("/api/v1/tags/node/{node}", External, "getNodeLabels", nodes::labels),
    get("/api/v1/annotations/node/{node}", External, "getNodeAnnotations", nodes::annotations),
    get("/api/v1/uid/node/{node}", External, "getNodeUID", nodes::uid),
    get("/version", External, "getVersion", version::version),
    get("/api/v1/cluster/id", External, "getClusterID", cluster::id),
    get("/api/v1/cluster/eks-identity", External, "getEKSIdentity", cluster::eks_identity),
    post("/api/v1/languagedetection", External, "postLanguageDetection", cluster::language_detection),

    get("/api/v1/tags/pod", Internal, "getAllMetadata", pods::of_all_nodes),
    get("/api/v1/metadata", Internal, "getAllMetadata", pods::of_all_nodes),
    get("/api/v1/metadata/{node}", Internal, "getPodMetadataForNode", pods::of_node),
    get("/api/v1/clusterchecks", Internal, "getState", checks::state),
    leader(post("/api/v1/clusterchecks/rebalance", Internal, "postRebalanceChecks", checks::rebalance)),
    leader(post("/api/v1/clusterchecks/isolate/check/{check}", Internal, "postIsolateCheck", checks::isolate)),
    get("/api/v1/endpointschecks/configs", Internal, "getAllEndpointsCheckConfigs", checks::all_endpoint_configs),

    get("/hostname", Internal, "getHostname", local::hostname),
    get("/status", Internal, "getStatus", local::status),
    get("/status/health", Internal, "getHealth", local::health),
    get("/status/sections", Internal, "getStatusSections", local::status_sections),
    get("/status/section/{section}", Internal, "getStatusSection", local::status_section),
    get("/config-check", Internal, "getConfigCheck", checks::config_check),
    get("/config", Internal, "getConfig", local::config),
    get("/config/list-runtime", Internal, "getRuntimeSettings", local::runtime_settings),
    get("/config/{setting}", Internal, "getSetting", local::setting),
    post("/config/{setting}", Internal, "postSetting", local::set_setting),
    get("/autoscaler-list", Internal, "getAutoscalers", local::nothing),
    get("/local-autoscaling-check", Internal, "getLocalAutoscaling", local::nothing),
    post("/flare", Internal, "postFlare", flare::make),
    post("/stop", Internal, "postStop", local::stop),
];

/// Looks `segments` up.
pub(super) fn find<'a>(method: &Method, segments: &'a [Cow<'_, str>]) -> Match<'a> {
    let mut others: Option<(usize, Vec<&'static str>)> = None;
    for (index, route) in ROUTES.iter().enumerate() {
        let Some(parameters) = parameters(route.pattern, segments) else { continue };
        if route.verb.is(method) {
            return Match::Found(index, parameters);
        }
        let (_, allowed) = others.get_or_insert_with(|| (index, Vec::new()));
        allowed.push(if route.verb == Verb::Get { "GET, HEAD" } else { "POST" });
    }
    others.map_or(Match::None, |(index, allowed)| Match::OtherMethods(index, allowed.join(", ")))
}

/// The segments that stand for the pattern's `{names}`, when the pattern matches.
fn parameters<'a>(pattern: &str, segments: &'a [Cow<'_, str>]) -> Option<Vec<&'a str>> {
    let mut parameters = Vec::new();
    let mut expected = pattern[1..].split('/');
    for segment in segments {
        let expected = expected.next()?;
        if expected.starts_with('{') {
            parameters.push(&**segment);
        } else if expected != segment {
            return None;
        }
    }
    expected.next().is_none().then_some(parameters)
}
