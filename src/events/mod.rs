//! Kubernetes events and the state of the control plane on their way to Datadog (spec events-and-leader §2, §3).
//!
//! ```text
//!  watch-events ──Inlet──▶ bounded channel ──▶ events thread ──bundle/single──▶ Forwarder
//!                                                 ▲     │ receipts, in order
//!                                                 └─────┴──▶ datadogtoken ConfigMap (resume position)
//! ```
//!
//! Only the leader collects. The resume position moves on when the intake has accepted what came before it, so a
//! process that is killed repeats at most what was under way at that moment. While the intake does not answer, nothing
//! is thrown away: the channel fills, the watch waits, and it goes on at its position, or with a list when that was
//! forgotten by then.

pub mod bundle;
pub mod collector;
pub mod control_plane;
pub mod filter;
pub mod inlet;
pub mod instance;
pub mod object;
pub mod own;
pub mod report;
pub mod single;
pub mod source;
pub mod tags;
pub mod token;

pub use instance::Instance;
pub use report::Report;
