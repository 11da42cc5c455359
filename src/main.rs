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

/// The other names in the image.
const OTHERS: [&str; 6] =
    ["cat", "cp", "entrypoint.sh", "readsecret.sh", "readsecret_multiple_providers.sh", "tar"];

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_else(|| COMMAND_LINE[0].into());
    dispatch(program, words.collect())
}

/// Runs `program` with the words that follow its name.
fn dispatch(program: OsString, mut words: Vec<OsString>) -> ExitCode {
    match base_name(&program) {
        Some("entrypoint.sh") => entry_point(words),
        Some("cat") => ExitCode::from(applets::cat::run(words)),
        Some("cp") => ExitCode::from(applets::copy::run(words)),
        Some("tar") => ExitCode::from(applets::tar::run(words)),
        Some("readsecret.sh") => read_secrets(words),
        Some("readsecret_multiple_providers.sh") => {
            words.push("--with-provider-prefixes".into());
            read_secrets(words)
        }
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
        is_command_line(word) || base_name(word).is_some_and(|name| OTHERS.contains(&name))
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

/// What the scripts of those names did: the secret helper of the command line, for use as a secret backend.
fn read_secrets(mut words: Vec<OsString>) -> ExitCode {
    words.splice(0..0, ["secret-helper".into(), "read".into()]);
    cli::run(COMMAND_LINE[0], words)
}

fn is_command_line(word: &OsString) -> bool {
    base_name(word).is_some_and(|name| COMMAND_LINE.contains(&name))
}

fn base_name(program: &OsStr) -> Option<&str> {
    Path::new(program).file_name()?.to_str()
}
