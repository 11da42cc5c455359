//! `version`: works without configuration and without a running agent (spec cli §6).

use super::error::Error;
use super::{Command, Session};
use crate::version;

pub(super) const COMMAND: Command = Command {
    name: "version",
    alias: None,
    operands: "",
    summary: "Print the version number",
    flags: &[],
    run,
};

fn run(session: &mut Session<'_>) -> Result<(), Error> {
    writeln!(session.out, "{}", version::line())?;
    Ok(())
}
