//! `configcheck`: what the sources of checks yield, and what is wrong with them (spec cluster-checks §9.2).

use super::Command;
use super::arguments::Flag;
use super::error::Error;
use super::session::{Session, print};
use crate::checks::report::{self, ConfigCheck};

pub(super) const COMMAND: Command = Command {
    name: "configcheck",
    alias: Some("checkconfig"),
    operands: "",
    summary: "Print all configurations loaded & resolved of a running cluster agent",
    flags: &[Flag {
        short: &['v'],
        long: "verbose",
        value: None,
        summary: "print additional debug info",
    }],
    run,
};

fn run(session: &mut Session<'_>) -> Result<(), Error> {
    let loaded = session.load()?;
    if !loaded.config.cluster_checks.enabled {
        return Ok(print(session.out, "Cluster-checks are not enabled")?);
    }
    let answer = session.client()?.get("/config-check")?;
    let answer: ConfigCheck = serde_json::from_str(&answer).map_err(Error::Answer)?;
    Ok(print(session.out, &report::config_check(&answer, session.options.has("verbose")))?)
}
