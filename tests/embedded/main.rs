//! The whole program against the embedded API server, and that server against its own contract.

#[path = "../support/mod.rs"]
mod support;

mod cluster_checks;
mod contract;
mod endpoints;
mod events;
mod faults;
mod healing;
mod leader;
mod life;
mod metadata;
mod stage;
