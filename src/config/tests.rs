//! The specification's cases that need no more than loading (spec config §9).

use std::{collections::HashMap, io, path::Path, time::Duration};

use log::Level;

use super::*;

const API_KEY: &str = "0123456789abcdef0123456789abcdef";

/// Loads for the server from variables, with an API key.
fn load_environment(variables: &[(&str, &str)]) -> Loaded {
    try_load(variables, &[], None).expect("the configuration loads")
}

/// Loads for the server from `datadog-cluster.yaml` and variables, with an API key.
fn load_file(yaml: &str, variables: &[(&str, &str)]) -> Loaded {
    try_load(variables, &[("/etc/datadog-agent/datadog-cluster.yaml", yaml)], None)
        .expect("the configuration loads")
}

fn try_load(
    variables: &[(&str, &str)],
    files: &[(&str, &str)],
    path: Option<&str>,
) -> Result<Loaded, Error> {
    let files: HashMap<&Path, &str> =
        files.iter().map(|(path, text)| (Path::new(*path), *text)).collect();
    let read = |path: &Path| match files.get(path) {
        Some(text) => Ok((*text).to_owned()),
        None => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let mut sources = Sources::new(variables.iter().copied()).with_files(&read);
    sources.environment.entry("DD_API_KEY".to_owned()).or_insert_with(|| API_KEY.to_owned());
    sources.path = path.map(Into::into);
    load(&sources)
}

/// The messages of a level that is worth a person's attention.
fn complaints(loaded: &Loaded) -> Vec<&str> {
    loaded
        .messages
        .iter()
        .filter(|message| message.level <= Level::Warn)
        .map(|message| &*message.text)
        .collect()
}

#[test]
fn config_01_an_api_key_is_enough() {
    let config = load_environment(&[("DD_API_KEY", "k")]).config;
    assert_eq!(config.datadog.api_key.expose(), "k");
    assert_eq!(config.listeners.command_port, 5005);
    assert_eq!(config.listeners.telemetry_port, Some(5000));
    assert_eq!(config.listeners.health_port, None);
    assert!(!config.leader_election.enabled);
}

#[test]
fn config_02_the_environment_wins_over_the_file_and_bad_values_over_nothing() {
    let file = "cluster_agent: {cmd_port: 6000}";
    let port = |text| load_file(file, &[("DD_CLUSTER_AGENT_CMD_PORT", text)]);
    assert_eq!(port("7000").config.listeners.command_port, 7000);
    assert_eq!(port("").config.listeners.command_port, 6000);
    let loaded = port("abc");
    assert_eq!(loaded.config.listeners.command_port, 6000);
    let [complaint] = complaints(&loaded)[..] else { panic!("{:?}", loaded.messages) };
    for part in ["cluster_agent.cmd_port", "DD_CLUSTER_AGENT_CMD_PORT", "\"abc\""] {
        assert!(complaint.contains(part), "{complaint}");
    }
}

#[test]
fn every_default_is_valid_and_silent() {
    let loaded = load_environment(&[]);
    assert_eq!(loaded.messages, []);
    assert_eq!(loaded.config.leader_election.lease_duration, Duration::from_secs(60));
    for setting in loaded.settings.iter() {
        assert_eq!(
            setting.layers.len(),
            if setting.key.name == "api_key" { 2 } else { 1 },
            "{}",
            setting.key.name
        );
    }
}
