//! What the check routes need from the part that hands out cluster checks (spec node-api §4.13).

use std::net::IpAddr;

use crate::http::Response;

/// Answers the check routes; called on the leader only, but for the two that say otherwise.
///
/// Bodies and their errors are the implementation's; paths, tokens, leadership and forwarding are settled before.
pub trait ClusterChecks: Send + Sync {
    /// A runner reports; `address` is where it can be reached, when it said so.
    fn status(&self, runner: &str, address: Option<IpAddr>, body: &[u8]) -> Response;

    /// The checks of a runner.
    fn configs(&self, runner: &str) -> Response;

    /// The endpoint checks of a node.
    fn endpoint_configs(&self, node: &str) -> Response;

    /// All endpoint checks, on any replica.
    fn all_endpoint_configs(&self) -> Response;

    /// The state of the assignment, on any replica.
    fn state(&self) -> Response;

    /// What the sources of checks yield, before any assignment, on any replica.
    fn config_check(&self) -> Response;

    /// Spreads the checks anew.
    fn rebalance(&self, body: &[u8]) -> Response;

    /// Gives a check a runner of its own.
    fn isolate(&self, check: &str) -> Response;
}
