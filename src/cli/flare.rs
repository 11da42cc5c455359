//! `flare`: makes the archive for support, in the running agent or, when it is down, here, and sends it (spec cli §7).

use std::fs::OpenOptions;
use std::io::{self, BufRead, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Command;
use super::arguments::{Flag, UsageError};
use super::client::{self, Client};
use super::error::Error;
use super::session::{Color, Session};
use crate::config::Loaded;
use crate::flare::{self, Document, Making, Sending};

pub(super) const COMMAND: Command = Command {
    name: "flare",
    alias: None,
    operands: "[caseID]",
    summary: "Collect a flare and send it to Datadog",
    flags: &[
        Flag { short: &['e'], long: "email", value: Some("string"), summary: "your email" },
        Flag {
            short: &['s'],
            long: "send",
            value: None,
            summary: "automatically send flare (don't prompt for confirmation)",
        },
        Flag {
            short: &[],
            long: "no-upload",
            value: None,
            summary: "make the archive and keep it",
        },
        Flag {
            short: &[],
            long: "output",
            value: Some("string"),
            summary: "write the archive to this file and keep it, - is standard output",
        },
        Flag {
            short: &['p'],
            long: "profile",
            value: Some("int"),
            summary: "accepted and ignored: there are no profiles",
        },
        Flag { short: &['M'], long: "profile-mutex", value: None, summary: "" },
        Flag { short: &[], long: "profile-mutex-fraction", value: Some("int"), summary: "" },
        Flag { short: &['B'], long: "profile-blocking", value: None, summary: "" },
        Flag { short: &[], long: "profile-blocking-rate", value: Some("int"), summary: "" },
    ],
    run,
};

/// The value of `--profile` that asks for none.
const NO_PROFILE: i64 = -1;

/// Upstream's shortest profile, in seconds.
const SHORTEST_PROFILE: i64 = 30;

fn run(session: &mut Session<'_>) -> Result<(), Error> {
    if !is_profile_sensible(session)? {
        return Ok(());
    }
    let loaded = session.load()?;
    if let Some(target) = session.options.value("output").map(str::to_owned) {
        return export(session, &loaded, &target);
    }
    let upload = !session.options.has("no-upload");
    let email = if upload { email(session)? } else { String::new() };
    let banner = "Asking the Cluster Agent to build the flare archive.";
    writeln!(session.out, "{}", session.paint(Color::Blue, banner))?;
    let asked = Client::new(&loaded.config)
        .and_then(|client| Ok((client.post_flare("/flare")?, hostname(&client))));
    let (path, hostname) = match asked {
        Ok((path, hostname)) => (PathBuf::from(String::from_utf8_lossy(&path).trim()), hostname),
        Err(error) => {
            let notice = session.paint(Color::Yellow, LOCALLY);
            writeln!(session.out, "{}\n{notice}", reason(&error))?;
            (local(session, &loaded, &error, flare::file)?, system_name(&loaded))
        }
    };
    let shown = session.paint(Color::Yellow, &path.display().to_string());
    if !upload {
        writeln!(session.out, "{shown} is complete and was not uploaded")?;
        return Ok(());
    }
    writeln!(session.out, "{shown} is going to be uploaded to Datadog")?;
    if !session.options.has("send") && !is_confirmed(session)? {
        writeln!(session.out, "Aborting. (You can still use {shown})")?;
        return Ok(());
    }
    let case = session.options.operands.first().cloned();
    let sending =
        Sending { archive: &path, case: case.as_deref(), email: &email, hostname: &hostname };
    match flare::send(&loaded.config, &sending) {
        Ok(sentence) => Ok(writeln!(session.out, "{sentence}")?),
        Err(failure) => {
            if let Some(advice) = failure.advice {
                writeln!(session.out, "{advice}")?;
            }
            Err(Error::Flare(failure.error))
        }
    }
}

const LOCALLY: &str = "Initiating flare locally, some logs will be missing.";

/// Whether the flags about profiles can be passed over; a value that upstream refuses is refused.
fn is_profile_sensible(session: &mut Session<'_>) -> Result<bool, Error> {
    let Some(value) = session.options.value("profile") else { return Ok(true) };
    let seconds: i64 = value
        .parse()
        .map_err(|_| UsageError::InvalidValue { flag: "profile", value: value.to_owned() })?;
    if seconds == NO_PROFILE {
        return Ok(true);
    }
    if seconds < SHORTEST_PROFILE {
        let refusal = format!(
            "Invalid value for profiling: {seconds}. Please enter an integer of at least {SHORTEST_PROFILE}."
        );
        writeln!(session.out, "{}", session.paint(Color::Red, &refusal))?;
        return Ok(false);
    }
    warn("profiles are not supported by this build, the flare is made without them")?;
    Ok(true)
}

/// Puts the archive where the user wants it, and everything that is to be said on standard error.
fn export(session: &mut Session<'_>, loaded: &Loaded, target: &str) -> Result<(), Error> {
    let asked =
        Client::new(&loaded.config).and_then(|client| client.post_flare("/flare?form=bytes"));
    let bytes = match asked {
        Ok(bytes) => bytes,
        Err(error) => {
            warn(&reason(&error))?;
            warn(LOCALLY)?;
            local(session, loaded, &error, flare::bytes)?
        }
    };
    if target == "-" {
        return Ok(session.out.write_all(&bytes)?);
    }
    let path = Path::new(target);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(&bytes))
        .map_err(|error| Error::File(path.to_owned(), error))
}

fn warn(line: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{line}")
}

fn reason(error: &client::Error) -> String {
    match error {
        client::Error::Refused(refusal) => {
            format!(
                "The agent ran into an error while making the flare: {}",
                refusal.body.trim_end()
            )
        }
        error => format!("The agent was unable to make a full flare: {error}."),
    }
}

/// Makes the archive in this process: what only the agent knows is missing, and says why.
fn local<T>(
    session: &Session<'_>,
    loaded: &Loaded,
    why: &client::Error,
    finish: impl FnOnce(&Making<'_>) -> Result<T, String>,
) -> Result<T, Error> {
    let missing = [
        "cluster-agent-metadatamapper.log",
        "clusterchecks.log",
        "config-check.log",
        "telemetry.log",
    ];
    let mut documents: Vec<Document> =
        missing.iter().map(|name| Document { name, text: Err(why.to_string()) }).collect();
    let dump = Ok(loaded.settings.dump());
    documents.push(Document { name: "runtime_config_dump.yaml", text: dump });
    finish(&Making {
        config: &loaded.config,
        environment: &session.sources().environment,
        hostname: &system_name(loaded),
        documents,
        local: true,
        now: SystemTime::now(),
    })
    .map_err(|error| Error::Flare(format!("The flare zipfile failed to be created: {error}")))
}

/// The name that the running agent goes by.
fn hostname(client: &Client) -> String {
    let answer = client.get("/hostname").unwrap_or_default();
    serde_json::from_str(&answer).unwrap_or_default()
}

/// The name of this host, as far as it is known without the running agent.
fn system_name(loaded: &Loaded) -> String {
    let system = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    loaded.config.hostname.clone().unwrap_or_else(system)
}

fn email(session: &mut Session<'_>) -> Result<String, Error> {
    if let Some(email) = session.options.value("email") {
        return Ok(email.to_owned());
    }
    writeln!(session.out, "Please enter your email: ")?;
    let failed =
        |_| Error::Flare("Error reading email, please retry or contact support".to_owned());
    line().map_err(failed)
}

/// Only a clear yes is one: nobody there to answer says no.
fn is_confirmed(session: &mut Session<'_>) -> Result<bool, Error> {
    writeln!(session.out, "Are you sure you want to upload a flare? [y/N]")?;
    session.out.flush()?;
    Ok(matches!(line().unwrap_or_default().as_str(), "y" | "Y"))
}

/// Bytes of a line that is typed; more is no answer to any question here.
const LONGEST_LINE: u64 = 4 << 10;

fn line() -> io::Result<String> {
    let mut line = String::new();
    io::Read::take(io::stdin().lock(), LONGEST_LINE).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
