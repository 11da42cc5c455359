//! The Kubernetes API: client, list and watch, trimmed objects.
//!
//! Flow: a watch thread per resource lists and watches through the client and hands [`watch::Event`]s of trimmed
//! [`objects`] to its consumer; short requests (lock objects, reviews) go through the same client's other connection
//! pool. Nothing here reads the environment or knows what the objects are used for.

pub mod client;
mod credentials;
pub mod error;
pub mod kubeconfig;
pub mod list;
pub mod objects;
pub mod quantity;
pub mod selector;
pub mod settings;
pub mod split;
pub mod status;
pub mod target;
mod transport;
pub mod watch;

pub use client::Client;
pub use error::{Cause, Error};
pub use settings::Settings;
pub use target::{Target, Verb};
