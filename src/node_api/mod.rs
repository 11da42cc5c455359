//! The HTTPS service on port 5005: what node Agents, cluster-check runners, other replicas and the local command line
//! ask for (spec node-api).
//!
//! Flow of a request: look up the route in the one table of [`routes`], check the token against the route's class,
//! hand leader-only routes to the leader, else call the route's function, which answers from the snapshot of this
//! moment. Every answer is counted.
//!
//! ```text
//! Request ─▶ routes::find ─▶ Tokens::check ─▶ leader-only? ─▶ handlers::* ─▶ Response ─▶ api_requests
//!                              └ 401, 403        └ forwarded to the leader
//! ```
//!
//! Limits: a handler works in memory and takes well under a millisecond; only forwarding waits for the network, for at
//! most 2.5 s. Sizes and deadlines of requests are the `http` room's.

mod auth;
mod checks;
mod cluster_id;
mod forward;
mod handlers;
mod leadership;
mod operator;
mod random;
mod routes;
mod streams;
#[cfg(test)]
mod tests;
pub mod tokens;

use std::sync::{Arc, OnceLock};

pub use auth::{Class, Gate, Refusal, Tokens};
pub use checks::ClusterChecks;
pub use cluster_id::ClusterId;
pub use forward::Forwarder;
pub use leadership::{Leadership, Role};
pub use operator::{Format, Operator, RuntimeSetting, Setting, SettingError};
pub use streams::NodeStreams;

use crate::http::message::{header, text};
use crate::http::{Handler, Request, Response};
use crate::metadata::Hub;
use crate::telemetry::{Counter, CounterSeries, Registry};
use routes::{Call, Match, Place, ROUTES};

/// The `handler` label of requests that match no route.
const NO_ROUTE: &str = "notFound";

/// Marks a request that a follower sent on; a second follower must not send it on again (spec node-api §7).
const FORWARDED_REQUEST: &str = "X-DCA-Follower-Forwarded";

/// Marks an answer that does not come from the replica that was asked, or would not have.
const FORWARDED_ANSWER: &str = "X-DCA-Forwarded";

/// What the answers depend on besides the cluster's state.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `kubernetes_collect_metadata_tags`: when off, every node has the empty map.
    pub collect_services: bool,
    /// `kubernetes_node_annotations_as_host_aliases`: the annotations that nodes get unasked.
    pub host_alias_annotations: Vec<String>,
}

/// The parts that the service stands on.
pub struct Parts {
    /// Who may ask.
    pub gate: Arc<Gate>,
    /// The cluster's state.
    pub metadata: Hub,
    /// The cluster's id, as soon as it is known.
    pub cluster_id: ClusterId,
    /// The process itself.
    pub operator: Arc<dyn Operator>,
    /// Where leader-only requests go.
    pub leadership: Arc<dyn Leadership>,
    /// `None` while cluster checks are off.
    pub checks: Option<Arc<dyn ClusterChecks>>,
    /// Where answers are counted.
    pub telemetry: Registry,
}

/// The service; one for the process, called from all connection threads.
pub struct NodeApi {
    settings: Settings,
    parts: Parts,
    requests: Counter,
    forwarded: Counter,
    /// For each route, the series of answers with 200 from here: nearly all answers.
    answered: Vec<OnceLock<CounterSeries>>,
}

impl NodeApi {
    /// The service over its parts.
    pub fn new(settings: Settings, parts: Parts) -> Self {
        let requests = parts.telemetry.counter(
            "api_requests",
            "Requests answered by the node API",
            &["handler", "status", "forwarded"],
        );
        let forwarded = parts.telemetry.counter(
            "forwarded_requests",
            "Requests sent on to the leader",
            &["handler"],
        );
        let answered = ROUTES.iter().map(|_| OnceLock::new()).collect();
        Self { settings, parts, requests, forwarded, answered }
    }

    /// The answer, and whether the leader gave it.
    fn answer(&self, index: usize, call: &Call<'_>) -> (Response, bool) {
        let route = &ROUTES[index];
        if route.place == Place::Here || self.parts.checks.is_none() {
            return ((route.answer)(self, call), false);
        }
        match self.parts.leadership.role() {
            Role::Leader => ((route.answer)(self, call), false),
            Role::Unknown => (text(503, "Startup in progress"), false),
            Role::Follower(_) if call.request.header(FORWARDED_REQUEST).is_some() => {
                let message = format!("Query was already forwarded from: {}", call.request.peer);
                (text(508, &message).with_header(header(FORWARDED_ANSWER, "true")), false)
            }
            Role::Follower(None) => (text(503, ""), false),
            Role::Follower(Some(leader)) => {
                self.forwarded.increment(&[route.name]);
                let response = self.parts.leadership.forward(call.request, leader);
                (response.with_header(header(FORWARDED_ANSWER, "true")), true)
            }
        }
    }

    fn count(&self, route: Option<usize>, status: u16, forwarded: bool) {
        let name = route.map_or(NO_ROUTE, |index| ROUTES[index].name);
        match route {
            Some(index) if status == 200 && !forwarded => {
                let series = || self.requests.series(&[name, "200", "false"]);
                self.answered[index].get_or_init(series).increment();
            }
            _ => {
                let forwarded = if forwarded { "true" } else { "false" };
                self.requests.increment(&[name, &status.to_string(), forwarded]);
            }
        }
    }
}

impl Handler for NodeApi {
    fn handle(&self, request: &Request) -> Response {
        let segments = request.segments();
        let found = routes::find(&request.method, &segments);
        let route = match &found {
            Match::Found(index, _) | Match::OtherMethods(index, _) => Some(*index),
            Match::None => None,
        };
        // Paths that do not exist want any of the two tokens.
        let class = route.map_or(Class::External, |index| ROUTES[index].class);
        let authorization = request.header("Authorization");
        let what = format_args!("{} {}", request.method, request.path());
        let admitted = self.parts.gate.check(authorization, class, request.peer.ip(), what);
        let (response, forwarded) = match (admitted, found) {
            (Err(refusal), _) => (refusal.response(), false),
            (Ok(()), Match::Found(index, parameters)) => {
                self.answer(index, &Call { request, parameters })
            }
            (Ok(()), Match::OtherMethods(_, allow)) => {
                (text(405, "Method Not Allowed").with_header(header("Allow", &allow)), false)
            }
            (Ok(()), Match::None) => (text(404, "404 page not found"), false),
        };
        let status = response.status_code().0;
        log::debug!("{} {} of {}: {status}", request.method, request.path(), request.peer);
        self.count(route, status, forwarded);
        response
    }
}
