//! The program on a real control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler and KWOK
//! nodes in network namespaces.
//!
//! The programs are built once a machine by `tests/cluster/build`; one control plane is started by the first
//! test of a run that needs it and shared by all that break nothing. Needs root and Go.

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod cluster_checks;
mod contract;
mod events;
mod external_metrics;
mod faults;
mod harness;
mod kube_watch;
mod leader;
mod leader_watch;
mod manifests;
mod mapping;
mod metadata;
mod testbed;
