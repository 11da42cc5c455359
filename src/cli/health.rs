//! `health`: which components of the running agent are well; fit for an exec probe (spec cli §6).

use std::time::Duration;

use super::Command;
use super::arguments::Flag;
use super::client;
use super::error::Error;
use super::session::{Color, Session};
use crate::health::Report;

pub(super) const COMMAND: Command = Command {
    name: "health",
    alias: None,
    operands: "",
    summary: "Print the current agent health",
    flags: &[Flag {
        short: &['t'],
        long: "timeout",
        value: Some("int"),
        summary: "timeout in seconds to query the Agent (default 20)",
    }],
    run,
};

/// How long the agent may take to answer.
const LIMIT: u64 = 20;

/// No sensible time-out is longer, and the sum with the present time must not overflow.
const LONGEST_LIMIT: u64 = 24 * 60 * 60;

fn run(session: &mut Session<'_>) -> Result<(), Error> {
    let limit = session.options.number("timeout")?.unwrap_or(LIMIT).min(LONGEST_LIMIT);
    let client = session.client().map_err(advised)?;
    let answer = client
        .get_within("/status/health", Duration::from_secs(limit))
        .map_err(|error| advised(error.into()))?;
    let report: Report = serde_json::from_str(&answer).map_err(Error::Answer)?;
    let (color, result) =
        if report.is_healthy() { (Color::Green, "PASS") } else { (Color::Red, "FAIL") };
    let result = session.paint(color, result);
    writeln!(session.out, "Agent health: {result}")?;
    let unhealthy = report.unhealthy.len();
    for (kind, mut names) in [("healthy", report.healthy), ("unhealthy", report.unhealthy)] {
        if !names.is_empty() {
            names.sort();
            let count = names.len();
            writeln!(session.out, "=== {count} {kind} components ===\n{}", names.join(", "))?;
        }
    }
    if unhealthy > 0 { Err(Error::Unhealthy(unhealthy)) } else { Ok(()) }
}

fn advised(error: Error) -> Error {
    match error {
        Error::Agent(
            error @ (client::Error::Artifact { .. } | client::Error::Unreachable { .. }),
        ) => Error::Unreachable {
            what: "could not reach agent",
            error,
            advice: "Make sure the agent is running before requesting the status and contact support if you \
                         continue having issues",
        },
        other => other,
    }
}
