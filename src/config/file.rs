//! The configuration file: where it is searched, and what its tree says for each key (spec config §1.3).

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde_yaml::Value as Yaml;

use super::{
    Error, Message,
    convert::scalar_text,
    keys::{self, Key, names},
    sources::ReadFile,
    text::excerpt,
};

/// Where the image and the charts keep configuration.
pub const DEFAULT_DIRECTORY: &str = "/etc/datadog-agent";

/// Name of the configuration file in its directory.
pub const FILE_NAME: &str = "datadog-cluster.yaml";

/// Name that very old documentation uses for it.
const OLD_FILE_NAME: &str = "datadog.yaml";

/// Unknown keys that are named; a file of another product would otherwise fill the log.
const UNKNOWN_LIMIT: usize = 50;

/// What the file gives for each key of the table, and what it holds besides.
#[derive(Debug, Default)]
pub struct ConfigFile {
    /// The file that was read.
    pub path: Option<PathBuf>,
    /// Nodes by key.
    pub nodes: BTreeMap<&'static str, Yaml>,
}

/// Finds and reads the configuration file. No file at all is fine: an image may have only its environment.
pub fn load(
    path: Option<&Path>,
    read: ReadFile,
    messages: &mut Vec<Message>,
) -> Result<ConfigFile, Error> {
    let Some((path, text)) = find(path, read, messages)? else { return Ok(ConfigFile::default()) };
    let tree = match parse(&text) {
        Ok(tree) => tree,
        Err(problem) => return Err(Error::Malformed(path, problem)),
    };
    let mut file = ConfigFile { path: None, nodes: BTreeMap::new() };
    match tree {
        Yaml::Null => {}
        Yaml::Mapping(_) => {
            let mut unknown = Vec::new();
            collect(&tree, "", &mut file.nodes, &mut unknown, messages);
            report_unknown(&unknown, messages);
        }
        _ => return Err(Error::NotAMap(path)),
    }
    file.path = Some(path);
    Ok(file)
}

fn find(
    path: Option<&Path>,
    read: ReadFile,
    messages: &mut Vec<Message>,
) -> Result<Option<(PathBuf, String)>, Error> {
    let attempt = |path: PathBuf| match read(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(Error::Unreadable(path, problem)),
    };
    let mut directories = Vec::new();
    if let Some(path) = path {
        if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            return attempt(path.to_owned())?
                .map(Some)
                .ok_or_else(|| Error::Missing(path.to_owned()));
        }
        directories.push(path);
    }
    directories.push(Path::new(DEFAULT_DIRECTORY));
    for directory in directories {
        if let Some(found) = attempt(directory.join(FILE_NAME))? {
            return Ok(Some(found));
        }
    }
    let found = attempt(Path::new(DEFAULT_DIRECTORY).join(OLD_FILE_NAME))?;
    if let Some((path, _)) = &found {
        messages.push(Message::warning(format!(
            "reading {}, because there is no {FILE_NAME}; please rename it",
            path.display()
        )));
    }
    Ok(found)
}

fn parse(text: &str) -> Result<Yaml, serde_yaml::Error> {
    let mut tree: Yaml = serde_yaml::from_str(text)?;
    // Maps that include others with `<<` are part of YAML 1.1, which the official agent reads.
    tree.apply_merge()?;
    Ok(tree)
}

/// Walks the tree and sorts its nodes by key. A key may be nested, written with dots, or a mixture.
fn collect(
    tree: &Yaml,
    prefix: &str,
    nodes: &mut BTreeMap<&'static str, Yaml>,
    unknown: &mut Vec<String>,
    messages: &mut Vec<Message>,
) {
    let Yaml::Mapping(map) = tree else { return };
    for (name, node) in map {
        let Some(name) = scalar_text(name) else {
            unknown.push(format!("{prefix}?"));
            continue;
        };
        let path = format!("{prefix}{}", name.to_lowercase());
        if let Some(key) = keys::find(&path) {
            insert(key, node, nodes);
        } else if leads_to_keys(&path) {
            match node {
                Yaml::Mapping(_) => collect(node, &format!("{path}."), nodes, unknown, messages),
                Yaml::Null => {}
                _ if is_in_section(&format!("{path}.")) => {}
                _ => messages.push(Message::warning(format!(
                    "failed to get configuration value for key \"{path}\": it must be a map of settings"
                ))),
            }
        } else if !is_in_section(&path) && !is_in_section(&format!("{path}.")) {
            unknown.push(path);
        }
    }
}

fn insert(key: &'static Key, node: &Yaml, nodes: &mut BTreeMap<&'static str, Yaml>) {
    // A key without a value is how templates write "not set".
    if !node.is_null() {
        nodes.insert(key.name, node.clone());
    }
}

fn leads_to_keys(path: &str) -> bool {
    keys::all().any(|key| key.name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

fn is_in_section(path: &str) -> bool {
    names::SECTIONS.iter().any(|section| path.starts_with(section))
}

fn report_unknown(unknown: &[String], messages: &mut Vec<Message>) {
    for path in unknown.iter().take(UNKNOWN_LIMIT) {
        messages.push(Message::warning(format!("Unknown key in config file: {}", excerpt(path))));
    }
    if unknown.len() > UNKNOWN_LIMIT {
        messages.push(Message::warning(format!(
            "{} more unknown keys in config file",
            unknown.len() - UNKNOWN_LIMIT
        )));
    }
}
