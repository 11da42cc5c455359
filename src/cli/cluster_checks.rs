//! `clusterchecks`: which node runs which check (spec cluster-checks §9.3).

use std::io;

use super::Command;
use super::arguments::Flag;
use super::client;
use super::error::Error;
use super::session::{Session, print};
use crate::checks::report::{self, ClusterState, ConfigurationList};

pub(super) const COMMAND: Command = Command {
    name: "clusterchecks",
    alias: None,
    operands: "",
    summary: "Print the active cluster check configurations",
    flags: &[Flag {
        short: &[],
        long: "check",
        value: Some("string"),
        summary: "show configurations of this check only",
    }],
    run,
};

fn run(session: &mut Session<'_>) -> Result<(), Error> {
    let loaded = session.load()?;
    if !loaded.config.cluster_checks.enabled {
        return Ok(print(session.out, "Cluster-checks are not enabled")?);
    }
    let only = session.options.value("check").map(str::to_owned);
    let state: ClusterState = ask(session, "/api/v1/clusterchecks")?;
    print(session.out, &report::cluster_checks(&state, only.as_deref()))?;
    if loaded.config.autodiscovery.providers.contains("kube_endpoints") {
        let list: ConfigurationList = ask(session, "/api/v1/endpointschecks/configs")?;
        print(session.out, &report::endpoint_checks(&list, only.as_deref()))?;
    }
    Ok(())
}

/// What the running agent answers; a failure is told on standard output too, as users know it.
fn ask<T: serde::de::DeserializeOwned>(session: &mut Session<'_>, path: &str) -> Result<T, Error> {
    match session.client().and_then(|client| Ok(client.get(path)?)) {
        Ok(answer) => serde_json::from_str(&answer).map_err(Error::Answer),
        Err(error) => {
            tell(session, &error)?;
            Err(error)
        }
    }
}

fn tell(session: &mut Session<'_>, error: &Error) -> io::Result<()> {
    match error {
        Error::Agent(client::Error::Refused(refusal)) => {
            writeln!(
                session.out,
                "The agent ran into an error while checking config: {}",
                refusal.body
            )
        }
        error => writeln!(session.out, "Failed to query the agent (running?): {error}"),
    }
}
