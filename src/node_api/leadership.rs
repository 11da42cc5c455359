//! Where leader-only requests go (spec node-api §7).

use std::net::IpAddr;

use crate::http::{Request, Response};

/// What this replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first round of the election is not over.
    Unknown,
    /// It leads: requests are answered here.
    Leader,
    /// Another one leads, at this address when it is known.
    Follower(Option<IpAddr>),
}

/// Says what this replica is, and reaches the leader.
pub trait Leadership: Send + Sync {
    /// The role of this moment; a leader that could not renew in time is none.
    fn role(&self) -> Role;

    /// Sends the request to the replica at `leader` and gives its answer, within the patience of a node Agent.
    fn forward(&self, request: &Request, leader: IpAddr) -> Response;
}
