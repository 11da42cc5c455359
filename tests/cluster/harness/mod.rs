//! Real clusters for tests, and what tests do with them.
//!
//! ```text
//! prerequisites ─▶ cluster ─┬▶ reaper          takes everything down, whatever happens
//!                           ├▶ network         namespaces, bridge, links to cut
//!                           ├▶ control_plane   etcd, API server, controllers, KWOK ─▶ process, pki
//!                           └▶ namespace       workloads of one test ─▶ api
//!                                └▶ replica    a program that runs as a pod's container would
//! ```

mod api;
mod cluster;
mod control_plane;
mod namespace;
mod network;
mod pki;
mod prerequisites;
mod process;
mod reaper;
mod replica;
mod wait;

pub use api::ApiError;
pub use cluster::{Cluster, NODES};
pub use namespace::Namespace;
pub use replica::{Container, Replica};
pub use wait::{PATIENCE, wait_until};
