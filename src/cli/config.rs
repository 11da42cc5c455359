//! `config`: the settings of the running agent, and the change of those that can be changed (spec cli §9).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Command;
use super::arguments::{Flag, UsageError};
use super::client::{self, Client, percent_encoded};
use super::error::Error;
use super::session::{Session, print};
use crate::config;

pub(super) const COMMAND: Command = Command {
    name: "config",
    alias: None,
    operands: "[list-runtime | get SETTING | set SETTING VALUE]",
    summary: "Print the runtime configuration of a running agent",
    flags: &[
        Flag {
            short: &['s'],
            long: "source",
            value: None,
            summary: "print every source and its value",
        },
        // For the page in the repository: it is made from the table of keys.
        Flag { short: &[], long: "documentation", value: None, summary: "" },
    ],
    run,
};

/// What a setting is, and what each source says about it.
#[derive(Deserialize)]
struct Setting {
    value: Value,
    #[serde(default)]
    sources_value: Vec<SourceValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SourceValue {
    source: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    description: String,
}

fn run(session: &mut Session<'_>) -> Result<(), Error> {
    if session.options.has("documentation") {
        return Ok(session.out.write_all(config::documentation().as_bytes())?);
    }
    let operands = std::mem::take(&mut session.options.operands);
    match operands.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let answer = ask(session, |client| client.get("/config"))?;
            Ok(print(session.out, &answer)?)
        }
        ["list-runtime", ..] => list(session),
        ["get", name] => get(session, name),
        ["get", ..] => Err(Error::Operands("a single setting name must be specified")),
        ["set", name, value] => set(session, name, value),
        ["set", ..] => Err(Error::Operands(
            "exactly two parameters are required: the setting name and its value",
        )),
        [unknown, ..] => Err(UsageError::UnknownCommand {
            name: unknown.to_owned(),
            program: format!("{} config", session.program),
        }
        .into()),
    }
}

fn list(session: &mut Session<'_>) -> Result<(), Error> {
    let answer = ask(session, |client| client.get("/config/list-runtime"))?;
    let settings: BTreeMap<String, Description> =
        serde_json::from_str(&answer).map_err(Error::Answer)?;
    writeln!(session.out, "=== Settings that can be changed at runtime ===")?;
    for (name, Description { description }) in settings {
        writeln!(session.out, "{name:<30} {description}")?;
    }
    Ok(())
}

fn get(session: &mut Session<'_>, name: &str) -> Result<(), Error> {
    let with_sources = session.options.has("source");
    let query = if with_sources { "?sources=true" } else { "" };
    let path = format!("/config/{}{query}", percent_encoded(name));
    let answer = ask(session, |client| client.get(&path))?;
    let setting: Setting = serde_json::from_str(&answer).map_err(Error::Answer)?;
    writeln!(session.out, "{name} is set to: {}", shown(&setting.value))?;
    if with_sources {
        writeln!(session.out, "sources and their value:")?;
        for SourceValue { source, value } in &setting.sources_value {
            writeln!(session.out, "  {source}: {}", shown(value))?;
        }
    }
    Ok(())
}

fn set(session: &mut Session<'_>, name: &str, value: &str) -> Result<(), Error> {
    let path = format!("/config/{}", percent_encoded(name));
    let escaped = html_escaped(value);
    ask(session, |client| client.post_value(&path, &escaped))?;
    writeln!(session.out, "Configuration setting {name} is now set to: {value}")?;
    Ok(())
}

fn ask(
    session: &Session<'_>,
    question: impl FnOnce(&Client) -> Result<String, client::Error>,
) -> Result<String, Error> {
    let answer = session.client().and_then(|client| Ok(question(&client)?));
    answer.map_err(|error| match error {
        Error::Agent(client::Error::Refused(refusal)) => client::Error::Refused(refusal).into(),
        Error::Agent(error) => Error::Unreachable {
            what: "Could not reach datadog-cluster-agent",
            error,
            advice: "Make sure the datadog-cluster-agent is running before requesting the runtime configuration and \
                     contact support if you continue having issues",
        },
        other => other,
    })
}

/// Texts as they are, everything else as JSON.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The five characters that upstream's client escapes, and its server takes back.
fn html_escaped(text: &str) -> String {
    let escapes = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&#34;"), ("'", "&#39;")];
    escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
