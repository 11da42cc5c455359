//! What the test layers share: an embedded API server, a runner for the program, and clients that act as Agents.

// Each test binary and example takes its own part of this; the rest is no dead code, only unused there.
#![allow(dead_code, unused_imports, unused_macros)]

pub mod api_server;
pub mod contract;
pub mod intake;
pub mod metadata_stream;
pub mod node_agent;
pub mod program;
pub mod rest;
pub mod scratch;
pub mod tls_client;
pub mod unzip;
pub mod wait;
