//! The check routes up to the point where the dispatcher of cluster checks takes over (spec node-api §4.13).

use std::net::IpAddr;

use crate::http::Response;
use crate::http::message::{owned, text};
use crate::node_api::routes::Call;
use crate::node_api::{ClusterChecks, NodeApi};

/// A runner reports its state. `X-Real-Ip` is where it can be reached; clients send it empty when they do not know.
pub fn status(api: &NodeApi, call: &Call<'_>) -> Response {
    with_checks(api, |checks| {
        let address = call.request.header("X-Real-Ip").filter(|address| !address.is_empty());
        let address = match address.map(|address| address.parse::<IpAddr>().map_err(|_| address)) {
            None => None,
            Some(Ok(address)) => Some(address),
            Some(Err(text_sent)) => {
                return text(500, &format!("cannot parse CLC runner address: {text_sent}"));
            }
        };
        checks.status(call.parameters[0], address, &call.request.body)
    })
}

/// The checks of a runner.
pub fn configs(api: &NodeApi, call: &Call<'_>) -> Response {
    with_checks(api, |checks| checks.configs(call.parameters[0]))
}

/// The endpoint checks of a node.
pub fn endpoint_configs(api: &NodeApi, call: &Call<'_>) -> Response {
    with_checks(api, |checks| checks.endpoint_configs(call.parameters[0]))
}

/// All endpoint checks.
pub fn all_endpoint_configs(api: &NodeApi, _: &Call<'_>) -> Response {
    with_checks(api, |checks| checks.all_endpoint_configs())
}

/// The state of the assignment.
pub fn state(api: &NodeApi, _: &Call<'_>) -> Response {
    with_checks(api, |checks| checks.state())
}

/// What the sources of checks yield.
pub fn config_check(api: &NodeApi, _: &Call<'_>) -> Response {
    with_checks(api, |checks| checks.config_check())
}

/// Spreads the checks anew.
pub fn rebalance(api: &NodeApi, call: &Call<'_>) -> Response {
    with_checks(api, |checks| checks.rebalance(&call.request.body))
}

/// Gives a check a runner of its own.
pub fn isolate(api: &NodeApi, call: &Call<'_>) -> Response {
    with_checks(api, |checks| checks.isolate(call.parameters[0]))
}

fn with_checks(api: &NodeApi, answer: impl FnOnce(&dyn ClusterChecks) -> Response) -> Response {
    match &api.parts.checks {
        Some(checks) => answer(&**checks),
        None => {
            let message = b"Cluster-checks are not enabled".to_vec();
            owned(404, "text/plain; charset=utf-8", message)
        }
    }
}
