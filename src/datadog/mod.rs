//! Everything that leaves the cluster: payloads for the intake, their delivery, and the way there.
//!
//! ```text
//!  payloads ──▶ one queue and thread for each URL and key ──(proxy)──▶ intake
//! ```
//!
//! Nothing here is waited for by the rest of the program: handing over a payload never blocks, and neither an intake
//! that refuses nor a proxy that is down touches health or readiness (spec events-and-leader §5.7).

pub mod agent;
pub mod breaker;
pub mod endpoints;
pub mod forwarder;
pub mod intake;
pub mod proxy;
pub mod queue;
pub mod statistics;

pub use forwarder::Forwarder;
