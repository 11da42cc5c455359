//! What stands between the program and its work: a verdict and a remedy for each thing it needs (spec cli §8).
//!
//! Suites are run one after the other by the command itself, so that a process which does not come up can be diagnosed
//! too. Every network access has its own short time limit; nothing is changed anywhere.

mod datadog;
mod directories;
mod kubernetes;
mod report;

pub use report::{Finding, Suite, Verdict, render};

use crate::config::Config;
use crate::kube::Client;

/// Runs every suite. `client` is the way to the API server, or why there is none.
pub fn run(config: &Config, client: &Result<Client, String>) -> Vec<Suite> {
    vec![
        datadog::suite(config),
        kubernetes::connectivity(client),
        kubernetes::permissions(config, client),
        directories::suite(config),
    ]
}
