//! Which program this is, by the name it was called with, and its exit code (spec cli §3.1).
//!
//! The image holds one binary and links to it. The name of the link decides; the name of the binary itself decides
//! nothing, so it may be called anything.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use cluster_agent::{applets, cli};

/// The names under which the command line is known, the first one for messages where none was typed.
const COMMAND_LINE: [&str; 3] = ["datadog-cluster-agent", "agent", "cluster-agent"];

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_else(|| COMMAND_LINE[0].into());
    dispatch(program, words.collect())
}

/// Runs `program` with the words that follow its name.
fn dispatch(program: OsString, mut words: Vec<OsString>) -> ExitCode {
    match base_name(&program) {
        Some("entrypoint.sh") => entry_point(words),
        Some("cp") => ExitCode::from(applets::copy::run(words)),
        _ => {
            if words.first().is_some_and(is_command_line) {
                words.remove(0);
            }
            cli::run(&program.to_string_lossy(), words)
        }
    }
}

/// What the shell script of that name did last: `exec` its arguments; without any, start the agent.
fn entry_point(mut words: Vec<OsString>) -> ExitCode {
    let names_a_program = words.first().is_some_and(|word| {
        is_command_line(word) || matches!(base_name(word), Some("entrypoint.sh" | "cp"))
    });
    if names_a_program {
        let program = words.remove(0);
        return dispatch(program, words);
    }
    if words.is_empty() {
        words.push("start".into());
    }
    cli::run(COMMAND_LINE[0], words)
}

fn is_command_line(word: &OsString) -> bool {
    base_name(word).is_some_and(|name| COMMAND_LINE.contains(&name))
}

fn base_name(program: &OsStr) -> Option<&str> {
    Path::new(program).file_name()?.to_str()
}
