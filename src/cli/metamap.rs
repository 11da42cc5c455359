//! `metamap`: which services the pods of a node, or of all nodes, belong to (spec cli §5).

use super::Command;
use super::arguments::Flag;
use super::client::{self, percent_encoded};
use super::error::Error;
use super::session::{Session, print};
use crate::status::metadata_mapper::{Answer, render};

pub(super) const COMMAND: Command = Command {
    name: "metamap",
    alias: None,
    operands: "[nodeName]",
    summary: "Print the map between the metadata and the pods associated",
    flags: &[Flag { short: &['j'], long: "json", value: None, summary: "print out raw json" }],
    run,
};

const PURPOSE: &str =
    "Make sure the agent is properly running before requesting the map of services to pods.";

fn run(session: &mut Session<'_>) -> Result<(), Error> {
    let path = match session.options.operands.first() {
        Some(node) => format!("/api/v1/tags/pod/{}", percent_encoded(node)),
        None => "/api/v1/tags/pod".to_owned(),
    };
    let (answer, failure) = match session.get(&path, PURPOSE) {
        // The server's own reason comes as a document of the same form.
        Err(Error::Agent(client::Error::Refused(refusal))) => (refusal.body.clone(), Some(refusal)),
        answer => (answer?, None),
    };
    let document: Answer = match (serde_json::from_str(&answer), failure) {
        (Ok(document), None) => document,
        (Err(error), None) => return Err(Error::Answer(error)),
        (Ok(document), Some(refusal)) => match document.error() {
            Some(_) => document,
            None => return Err(client::Error::Refused(refusal).into()),
        },
        (Err(_), Some(refusal)) => return Err(client::Error::Refused(refusal).into()),
    };
    if session.options.has("json") {
        print(session.out, &answer)?;
    } else {
        print(session.out, &render(&document))?;
    }
    match document.error() {
        Some(error) => Err(Error::NoMap(error.to_owned())),
        None => Ok(()),
    }
}
