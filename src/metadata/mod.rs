//! Which services select which pods on which node, and what nodes and namespaces carry (spec node-api §10).
//!
//! Flow: one thread owns the [`Core`]. It applies the events of the watches and, when a burst is over, publishes:
//! [`Core::publish`] puts an immutable [`Snapshot`] into the [`Hub`] and wakes the streams of the nodes that changed.
//! Every other thread reads through [`Hub::snapshot`].
//!
//! ```text
//! Event<EndpointSlice> ─┐
//! Event<Endpoints> ─────┤
//! Event<Node> ──────────┼─▶ Core ──publish──▶ Hub ──Arc<Snapshot>──▶ handlers
//! Event<Namespace> ─────┘                      └────wake────▶ streams
//! ```
//!
//! Limits: nothing here blocks, does I/O or reads a clock. Memory is in proportion to the cluster: about 0.5 KiB for
//! each pod behind two services, with every name held once.

mod attributes;
mod bundle;
mod core;
mod hub;
mod index;
mod names;
mod snapshot;
#[cfg(test)]
mod tests;

pub use attributes::{Attributes, NamespaceMetadata, NodeMetadata};
pub use bundle::{Bundle, NodesAnswer};
pub use core::{Core, Optional, Settings};
pub use hub::{Hub, Subscription, Wake};
pub use names::Name;
pub use snapshot::{NodeServices, PodServices, Snapshot, SyncState};
