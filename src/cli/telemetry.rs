//! `telemetry`: the metrics of the running agent as they are (spec cli §6).

use super::Command;
use super::client;
use super::error::Error;
use super::session::{Session, print};

pub(super) const COMMAND: Command = Command {
    name: "telemetry",
    alias: None,
    operands: "",
    summary: "Print the telemetry metrics exposed by the cluster agent",
    flags: &[],
    run,
};

fn run(session: &mut Session<'_>) -> Result<(), Error> {
    let listeners = session.load()?.config.listeners;
    let port = listeners.telemetry_port.ok_or(Error::NoTelemetry)?;
    Ok(print(session.out, &client::metrics(port)?)?)
}
