//! What the test layers share: an embedded API server, a runner for the program, and clients that act as Agents.

// Each test binary and example takes its own part of this; the rest is no dead code, only unused there.
#![allow(dead_code, unused_imports)]

pub mod api_server;
pub mod contract;
pub mod rest;
pub mod wait;
