//! The command line: one file per command (spec cli §1).
//!
//! [`run`] finds the command in one table, reads the flags it declares, and turns its result into an exit code: 0, or
//! 255 with the error on standard error. A reader that closes the pipe early is no error. Output goes to standard
//! output alone, log lines to standard error.

mod arguments;
mod client;
mod cluster_checks;
mod config;
mod config_check;
mod diagnose;
mod error;
mod flare;
mod health;
mod help;
mod metamap;
mod secret_helper;
mod session;
mod start;
mod status;
mod telemetry;
mod version;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use arguments::{Arguments, Flag, Options, UsageError};
use error::Error;
use session::Session;

/// Every error of every command (spec cli §1).
const FAILURE: u8 = 255;

/// The commands, in the order of the help.
const COMMANDS: [Command; 13] = [
    start::COMMAND,
    cluster_checks::COMMAND,
    config::COMMAND,
    config_check::COMMAND,
    diagnose::COMMAND,
    flare::COMMAND,
    health::COMMAND,
    help::COMMAND,
    metamap::COMMAND,
    secret_helper::COMMAND,
    status::COMMAND,
    telemetry::COMMAND,
    version::COMMAND,
];

/// What a command declares.
struct Command {
    name: &'static str,
    /// Another name it answers to.
    alias: Option<&'static str>,
    /// The operands as the help shows them.
    operands: &'static str,
    /// One line for the help.
    summary: &'static str,
    flags: &'static [Flag],
    run: fn(&mut Session<'_>) -> Result<(), Error>,
}

/// Runs the command that `words` ask for and returns the process's exit code. `program` is the name that the user
/// typed; messages repeat it.
pub fn run(program: &str, words: Vec<OsString>) -> ExitCode {
    // Not locked: `start` runs as long as the agent does, and its threads log to the same stream.
    let mut out = io::stdout();
    let result = execute(program, words, &mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // What was printed before the error must stand before it; and nobody is left to hear that this failed.
            let _ = out.flush();
            let _ = writeln!(io::stderr(), "Error: {error}");
            ExitCode::from(FAILURE)
        }
    }
}

fn execute(program: &str, words: Vec<OsString>, out: &mut dyn Write) -> Result<(), Error> {
    const VERSION: Flag = Flag { short: &[], long: "version", value: None, summary: "" };
    let mut arguments = Arguments::new(words);
    let mut options = Options::default();
    let name = arguments.next_operand(&[VERSION], &mut options)?;
    let command = match &name {
        Some(name) => command(program, name)?,
        None if options.has("version") => &version::COMMAND,
        None => &help::COMMAND,
    };
    while let Some(operand) = arguments.next_operand(command.flags, &mut options)? {
        options.operands.push(operand);
    }
    if name.is_some() && options.has("help") {
        return Ok(help::of_command(program, command, out)?);
    }
    let color = !options.has("no-color") && io::stdout().is_terminal();
    (command.run)(&mut Session { program, options, out, color })
}

/// The command of this name.
fn command(program: &str, name: &str) -> Result<&'static Command, UsageError> {
    let unknown =
        || UsageError::UnknownCommand { name: name.to_owned(), program: program.to_owned() };
    COMMANDS
        .iter()
        .find(|command| command.name == name || command.alias == Some(name))
        .ok_or_else(unknown)
}
