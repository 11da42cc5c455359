//! Real clusters for tests, and what tests do with them.
//!
//! ```text
//! prerequisites ─▶ cluster ─┬▶ reaper          takes everything down, whatever happens
//!                           ├▶ network         namespaces, bridge, links to cut
//!                           ├▶ control_plane   etcd, API server, controllers, KWOK ─▶ process, pki
//!                           └▶ namespace       workloads of one test ─▶ api
//!                                └▶ replica    a program that runs as a pod's container would ─▶ container,
//!                                              manifests
//! ```

// Tests and the demonstration take a part each.
#![allow(dead_code, unused_imports)]

mod api;
mod cluster;
mod container;
mod control_plane;
mod manifests;
mod namespace;
mod network;
mod pki;
mod prerequisites;
mod process;
mod reaper;
mod replica;
mod wait;

pub use api::{Api, ApiError, path_of};
pub use cluster::{Cluster, NODES};
pub use container::Command;
pub use manifests::{
    AUTH_TOKEN, NAME, base as base_manifests, component, example, install, install_component,
};
pub use namespace::{Namespace, pod_spec};
pub use replica::Replica;
pub use wait::{PATIENCE, wait_until};
