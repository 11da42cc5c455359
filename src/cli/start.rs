//! `start`, and `run`, which people know from the node Agent: the agent itself, until it is told to end.

use super::error::Error;
use super::{Command, Session};
use crate::{config, critical, daemon};

pub(super) const COMMAND: Command = Command {
    name: "start",
    alias: Some("run"),
    operands: "",
    summary: "Start the Cluster Agent",
    flags: &[],
    run,
};

fn run(session: &mut Session<'_>) -> Result<(), Error> {
    let loaded = config::load(&session.sources())?;
    daemon::run(loaded).map_err(|error| {
        // Logs are often kept where standard error is not.
        critical!("{error}");
        Error::Start(error)
    })
}
