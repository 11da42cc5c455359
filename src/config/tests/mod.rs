//! The specification's cases that need no more than loading (spec config §9), and what else loading promises.

mod deployments;
mod sources;
mod table;
mod validation;
mod values;

use std::{collections::HashMap, io, path::Path};

use log::Level;

use super::*;

const API_KEY: &str = "0123456789abcdef0123456789abcdef";

const FILE: &str = "/etc/datadog-agent/datadog-cluster.yaml";

/// Loads for the server from variables, with an API key.
#[track_caller]
fn load_environment(variables: &[(&str, &str)]) -> Loaded {
    try_load(variables, &[], None).expect("the configuration loads")
}

/// Loads for the server from `datadog-cluster.yaml` and variables, with an API key.
#[track_caller]
fn load_file(yaml: &str, variables: &[(&str, &str)]) -> Loaded {
    try_load(variables, &[(FILE, yaml)], None).expect("the configuration loads")
}

/// Loads for the server from variables, files and the argument of `-c`, with an API key unless one is given.
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
    let in_files = files.values().any(|text| text.contains("api_key:"));
    if !in_files {
        sources.environment.entry("DD_API_KEY".to_owned()).or_insert_with(|| API_KEY.to_owned());
    }
    sources.path = path.map(Into::into);
    load(&sources)
}

/// The error of variables and a file that do not load.
#[track_caller]
fn refusal(yaml: &str, variables: &[(&str, &str)]) -> String {
    try_load(variables, &[(FILE, yaml)], None)
        .expect_err("the configuration is refused")
        .to_string()
}

/// The messages that are worth a person's attention.
fn complaints(loaded: &Loaded) -> Vec<&str> {
    let worrying = |message: &&Message| message.level <= Level::Warn;
    loaded.messages.iter().filter(worrying).map(|message| message.text.as_str()).collect()
}

/// The only complaint.
#[track_caller]
fn complaint(loaded: &Loaded) -> &Message {
    let [_] = complaints(loaded)[..] else { panic!("not one complaint: {:?}", loaded.messages) };
    loaded.messages.iter().find(|message| message.level <= Level::Warn).expect("there is one")
}

#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "\"{part}\" is missing in: {text}");
    }
}
