//! The Kubernetes API: client, list and watch, trimmed objects.
//!
//! Flow: a watch thread per resource lists and watches through the client and hands [`watch::Event`]s of trimmed
//! [`objects`] to its consumer; short requests (lock objects, reviews) go through the same client's other agent.
//! Nothing here reads the environment or knows what the objects are used for.

pub mod objects;
pub mod watch;
