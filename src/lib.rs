//! A small, synchronous, drop-in Datadog Cluster Agent: the library behind the `datadog-cluster-agent` binary.
//!
//! It sits between a Kubernetes API server and the node Agents of a cluster. Watch threads feed one dispatcher
//! thread, which owns all cluster state and publishes immutable snapshots; connection threads answer from those
//! snapshots. `ARCHITECTURE.md` draws the flow and the rooms; each module opens with its own purpose and limits.

pub mod applets;
pub mod autoscaling;
pub mod checks;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod datadog;
pub mod diagnose;
pub mod events;
pub mod flare;
pub mod grpc;
pub mod health;
pub mod http;
pub mod kube;
pub mod leader;
pub mod logging;
pub mod metadata;
pub mod metrics_api;
pub mod node_api;
pub mod retry;
pub mod scrub;
pub mod secret;
pub mod status;
pub mod sync;
pub mod telemetry;
pub mod time_format;
pub mod version;
