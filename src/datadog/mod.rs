//! Everything that leaves the cluster: payloads for the intake, their delivery, queries, and the way there.
//!
//! ```text
//!  payloads ──▶ one queue and thread for each URL and key ──(proxy)──▶ intake
//!  queries of external metrics ──▶ failover ──▶ query ──(proxy)──▶ query API
//! ```
//!
//! Nothing here is waited for by the rest of the program: handing over a payload never blocks, queries have a thread
//! of their own, and neither an intake that refuses nor a proxy that is down touches health or readiness (spec
//! events-and-leader §5.7).

pub mod agent;
pub mod answer;
pub mod breaker;
pub mod endpoints;
pub mod failover;
pub mod forwarder;
pub mod intake;
pub mod proxy;
pub mod query;
pub mod queue;
pub mod statistics;

pub use forwarder::Forwarder;
