//! `diagnose`: what stands between the agent and its work, with a remedy for each (spec cli §8).

use super::Command;
use super::arguments::Flag;
use super::error::Error;
use super::session::{Session, print};
use crate::daemon::kubernetes;
use crate::diagnose;
use crate::kube::Client;
use crate::sync::Stop;

pub(super) const COMMAND: Command = Command {
    name: "diagnose",
    alias: None,
    operands: "",
    summary: "Look for what keeps the agent from its work",
    flags: &[Flag {
        short: &[],
        long: "include",
        value: Some("string"),
        summary: "show these suites only, names or parts of names separated by commas",
    }],
    run,
};

fn run(session: &mut Session<'_>) -> Result<(), Error> {
    let loaded = session.load()?;
    // Pulled when this function ends.
    let (_work, stop) = Stop::new();
    let client = kubernetes::settings(&loaded.config.kubernetes)
        .map_err(|error| error.to_string())
        .and_then(|settings| Client::start(settings, stop).map_err(|error| error.to_string()));
    let mut suites = diagnose::run(&loaded.config, &client);
    if let Some(include) = session.options.value("include") {
        suites.retain(|suite| include.split(',').any(|part| suite.name.contains(part.trim())));
    }
    Ok(print(session.out, &diagnose::render(&suites))?)
}
