//! `help`, `--help` and the bare program name: what there is and how to call it.

use std::io::{self, Write};

use super::arguments::{Flag, GLOBAL};
use super::error::Error;
use super::{COMMANDS, Command, Session, command};

pub(super) const COMMAND: Command = Command {
    name: "help",
    alias: None,
    operands: "[command]",
    summary: "Help about any command",
    flags: &[],
    run,
};

fn run(session: &mut Session<'_>) -> Result<(), Error> {
    let program = session.program;
    match session.options.operands.first() {
        Some(name) => of_command(program, command(program, name)?, session.out)?,
        None => of_program(program, session.out)?,
    }
    Ok(())
}

/// The help of one command.
pub(super) fn of_command(program: &str, command: &Command, out: &mut dyn Write) -> io::Result<()> {
    let operands =
        if command.operands.is_empty() { String::new() } else { format!(" {}", command.operands) };
    writeln!(out, "{}", command.summary)?;
    writeln!(out, "\nUsage:\n  {program} {}{operands} [flags]", command.name)?;
    if !command.flags.is_empty() {
        writeln!(out, "\nFlags:")?;
        list_flags(command.flags, out)?;
    }
    writeln!(out, "\nGlobal Flags:")?;
    list_flags(&GLOBAL, out)
}

fn of_program(program: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "A small, drop-in Cluster Agent: it stands between the Kubernetes API server and the node Agents of a cluster."
    )?;
    writeln!(out, "\nUsage:\n  {program} [command]\n\nAvailable Commands:")?;
    for command in &COMMANDS {
        writeln!(out, "  {:<13} {}", command.name, command.summary)?;
    }
    writeln!(out, "\nFlags:")?;
    list_flags(&GLOBAL, out)?;
    writeln!(out, "\nUse \"{program} [command] --help\" for more information about a command.")
}

fn list_flags(flags: &[Flag], out: &mut dyn Write) -> io::Result<()> {
    for flag in flags.iter().filter(|flag| !flag.summary.is_empty()) {
        let short = flag.short.first().map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let value = flag.value.map_or(String::new(), |value| format!(" {value}"));
        let forms = format!("{short}--{}{value}", flag.long);
        writeln!(out, "  {forms:<24} {}", flag.summary)?;
    }
    Ok(())
}
