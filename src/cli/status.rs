//! `status`: the status document of the running agent, or a section of it (spec cli §4).

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Command;
use super::arguments::Flag;
use super::client::percent_encoded;
use super::error::Error;
use super::session::{Session, print};

pub(super) const COMMAND: Command = Command {
    name: "status",
    alias: None,
    operands: "[section]",
    summary: "Print the current status",
    flags: &[
        Flag { short: &['j'], long: "json", value: None, summary: "print out raw json" },
        Flag { short: &['p'], long: "pretty-json", value: None, summary: "pretty print JSON" },
        Flag {
            short: &['o', 'f'],
            long: "file",
            value: Some("string"),
            summary: "output the status command to a file",
        },
        Flag {
            short: &['l'],
            long: "list",
            value: None,
            summary: "list all available status sections",
        },
    ],
    run,
};

const PURPOSE: &str = "Make sure the agent is running before requesting the status.";

fn run(session: &mut Session<'_>) -> Result<(), Error> {
    if session.options.has("list") {
        return list(session);
    }
    let pretty = session.options.has("pretty-json");
    let json = pretty || session.options.has("json");
    if !json {
        writeln!(session.out, "Getting the status from the agent.")?;
    }
    let format = if json { "json" } else { "text" };
    let path = match session.options.operands.first() {
        Some(section) => format!("/status/section/{}?format={format}", percent_encoded(section)),
        None => format!("/status?format={format}"),
    };
    let mut answer = session.get(&path, PURPOSE)?;
    if pretty {
        let document: Value = serde_json::from_str(&answer).map_err(Error::Answer)?;
        answer = format!("{document:#}");
    }
    match session.options.value("file").map(Path::new) {
        Some(file) => fs::write(file, answer).map_err(|error| Error::File(file.to_owned(), error)),
        None => Ok(writeln!(session.out, "{answer}")?),
    }
}

fn list(session: &mut Session<'_>) -> Result<(), Error> {
    let answer = session.get("/status/sections", PURPOSE)?;
    let sections: Vec<String> = serde_json::from_str(&answer).map_err(Error::Answer)?;
    let lines: String = sections.iter().map(|section| format!("- \"{section}\"\n")).collect();
    Ok(print(session.out, &lines)?)
}
