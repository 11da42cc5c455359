//! Turns what a layer holds, a text of the environment or a node of the file, into a checked [`Value`].
//!
//! Both forms meet early: a YAML scalar is read like the text it stands for, and JSON text like the YAML it is a
//! subset of. What is accepted is spec config §1.4, and of that what the [`rules`] of the table let pass. The caller
//! decides what a [`Problem`] costs, and never shows the text of a secret.

use std::collections::BTreeMap;

use serde_yaml::Value as Yaml;

use super::{
    keys::{Key, Kind},
    rules, text,
    url::Url,
    value::Value,
};
use crate::secret::Secret;

/// A value and, where something about it should be said, a remark.
#[derive(Debug)]
pub struct Converted {
    /// The value.
    pub value: Value,
    /// What was odd about it, as the rest of the sentence `"<text>" …`.
    pub remark: Option<String>,
}

/// Why a value is not accepted.
#[derive(Debug)]
pub struct Problem {
    /// What it costs.
    pub severity: Severity,
    /// The rest of the sentence `"<text>" …`.
    pub reason: String,
}

/// What an unusable value costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// A warning, and the next lower layer counts.
    Warning,
    /// An error in the log, and the next lower layer counts.
    Error,
    /// The program does not start.
    Fatal,
}

pub(super) type Outcome = Result<Converted, Problem>;

/// What one layer holds for a key.
#[derive(Clone, Debug)]
pub enum Given {
    /// Text of the environment, a flag or the table's default.
    Text(String),
    /// A node of the file.
    Yaml(Yaml),
}

/// Converts and checks one value.
pub fn convert(key: &Key, given: &Given) -> Outcome {
    let converted = match given {
        Given::Text(text) => from_text(key.kind, text),
        Given::Yaml(node) => from_yaml(key.kind, node),
    }?;
    rules::apply(key.rule, converted)
}

/// Whether some text of it still asks a secret backend.
pub fn has_secret_handle(given: &Given) -> bool {
    fn node_has(node: &Yaml) -> bool {
        match node {
            Yaml::String(text) => text::is_secret_handle(text),
            Yaml::Sequence(items) => items.iter().any(node_has),
            Yaml::Mapping(map) => map.values().any(node_has),
            _ => false,
        }
    }
    match given {
        Given::Text(text) if text.trim_start().starts_with(['[', '{']) => {
            serde_json::from_str::<Yaml>(text).is_ok_and(|node| node_has(&node))
        }
        Given::Text(text) => {
            text::is_secret_handle(text) || text.split_whitespace().any(text::is_secret_handle)
        }
        Given::Yaml(node) => node_has(node),
    }
}

fn from_text(kind: Kind, given: &str) -> Outcome {
    match kind {
        Kind::List => list_from_text(given),
        Kind::CommaList => match given.trim_start().starts_with('[') {
            true => list_from_text(given),
            false => plain(Value::List(
                given
                    .split([',', ' ', '\t', '\n'])
                    .filter(|item| !item.is_empty())
                    .map(str::to_owned)
                    .collect(),
            )),
        },
        Kind::Map | Kind::NestedMap | Kind::Endpoints | Kind::Objects => {
            if given.trim().is_empty() {
                return from_yaml(kind, &Yaml::Null);
            }
            let form =
                if kind == Kind::Objects { "a JSON array of objects" } else { "a JSON object" };
            // The parser's own message may quote the text, which may hold a secret.
            let node = serde_json::from_str(given)
                .map_err(|problem| error(format!("is not {form}: column {}", problem.column())))?;
            from_yaml(kind, &node)
        }
        scalar => scalar_from_text(scalar, given),
    }
}

fn scalar_from_text(kind: Kind, given: &str) -> Outcome {
    match kind {
        Kind::Text => plain(Value::Text(given.to_owned())),
        Kind::Secret => {
            let unwanted = |c: char| c.is_whitespace() || c.is_control();
            let trimmed = given.trim_matches(unwanted);
            let remark = (trimmed.len() != given.len())
                .then(|| "has white space around it, which is removed".into());
            Ok(Converted { value: Value::Secret(Secret::new(trimmed)), remark })
        }
        Kind::Url => plain(Value::Text(given.trim().trim_end_matches('/').to_owned())),
        Kind::ProxyUrl => proxy_from_text(given.trim()),
        Kind::Boolean => match text::boolean(given) {
            Some(on) => plain(Value::Boolean(on)),
            None => Err(warning("is not a boolean")),
        },
        Kind::Integer | Kind::Seconds => match text::integer(given) {
            Some(number) => plain(Value::Integer(number)),
            None => Err(warning("is not a whole number")),
        },
        Kind::Number => match text::number(given) {
            Some(number) => plain(Value::Number(number)),
            None => Err(warning("is not a number")),
        },
        Kind::Size => match text::size(given) {
            Some(bytes) => plain(Value::Integer(bytes)),
            None => Err(warning("is not a size such as 10Mb")),
        },
        Kind::Duration => duration_from_text(given),
        Kind::List
        | Kind::CommaList
        | Kind::Map
        | Kind::NestedMap
        | Kind::Endpoints
        | Kind::Objects => {
            unreachable!("compound kinds are not read as scalars")
        }
    }
}

/// A duration; a bare number is taken as seconds. The official agent reads nanoseconds there, which nobody means.
fn duration_from_text(given: &str) -> Outcome {
    if let Some(duration) = text::duration(given) {
        return plain(Value::Duration(duration));
    }
    let seconds = format!("{}s", given.trim());
    match text::duration(&seconds) {
        Some(duration) if text::integer(given).is_some() => {
            let remark = Some(format!("has no unit and is taken as {seconds}"));
            Ok(Converted { value: Value::Duration(duration), remark })
        }
        _ => Err(warning("is not a duration such as 10m or 1h30m")),
    }
}

/// The URL of an HTTP proxy, with `http://` where no scheme is given (spec events-and-leader §6.4). What is wrong
/// with it ends the program: going around the proxy silently could break a closed network's rules.
fn proxy_from_text(given: &str) -> Outcome {
    if given.is_empty() {
        return plain(Value::Secret(Secret::default()));
    }
    let text = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    let scheme = text.split("://").next().unwrap_or_default().to_ascii_lowercase();
    if scheme != "http" {
        return Err(fatal(format!(
            "is no proxy this build can use: only http:// proxies are, not {scheme}://"
        )));
    }
    match Url::parse(&text) {
        Ok(_) => plain(Value::Secret(Secret::new(text))),
        Err(problem) => Err(fatal(problem.to_string())),
    }
}

/// A JSON array of texts, or texts between blanks.
///
/// A text that begins like an array but is none is split at blanks too, if only its punctuation is wrong: charts and
/// people build such values by hand.
fn list_from_text(given: &str) -> Outcome {
    let given = given.trim();
    if !given.starts_with('[') {
        return plain(Value::List(given.split_whitespace().map(str::to_owned).collect()));
    }
    if let Ok(node) = serde_json::from_str::<Yaml>(given) {
        return from_yaml(Kind::List, &node);
    }
    let unwanted = |c: char| matches!(c, '[' | ']' | '"' | '\'' | ',');
    let items: Vec<String> = given
        .split_whitespace()
        .map(|item| item.trim_matches(unwanted))
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect();
    let is_tag = |item: &String| {
        item.split_once(':').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty())
            && !item.contains(unwanted)
    };
    if items.iter().all(is_tag) && !items.is_empty() {
        let remark = Some("is not a valid JSON array and is split at blanks".to_owned());
        return Ok(Converted { value: Value::List(items), remark });
    }
    Err(error("is not a valid JSON array of texts"))
}

fn from_yaml(kind: Kind, node: &Yaml) -> Outcome {
    match kind {
        Kind::List | Kind::CommaList => match node {
            Yaml::Null => plain(Value::List(Vec::new())),
            Yaml::Sequence(items) => {
                match items.iter().filter(|item| !item.is_null()).map(scalar_text).collect() {
                    Some(items) => plain(Value::List(items)),
                    None => Err(error("has an entry that is not a text")),
                }
            }
            scalar => match scalar_text(scalar) {
                Some(text) => from_text(kind, &text),
                None => Err(error("is not a list")),
            },
        },
        Kind::Map => text_map(node).map(|map| bare(Value::Map(map))),
        Kind::NestedMap => {
            let mut maps = BTreeMap::new();
            for (name, inner) in entries(node)? {
                maps.insert(name, text_map(&inner)?);
            }
            plain(Value::NestedMap(maps))
        }
        Kind::Endpoints => {
            let mut endpoints = BTreeMap::new();
            for (url, keys) in entries(node)? {
                let keys = match &keys {
                    Yaml::Null => Some(Vec::new()),
                    Yaml::Sequence(items) => {
                        items.iter().filter(|item| !item.is_null()).map(scalar_text).collect()
                    }
                    one => scalar_text(one).map(|key| vec![key]),
                };
                let keys: Vec<String> =
                    keys.ok_or_else(|| error("has an API key that is not a text"))?;
                endpoints.insert(url, keys.iter().map(|key| Secret::new(key.trim())).collect());
            }
            plain(Value::Endpoints(endpoints))
        }
        Kind::Objects => {
            let items = match node {
                Yaml::Null => Vec::new(),
                Yaml::Sequence(items) => items.clone(),
                Yaml::String(text) if text.trim_start().starts_with('[') => {
                    return from_text(kind, text);
                }
                _ => return Err(error("is not a list of maps")),
            };
            let object = |item: &Yaml| match serde_json::to_value(item) {
                Ok(serde_json::Value::Object(object)) => Some(object),
                _ => None,
            };
            match items.iter().map(object).collect() {
                Some(objects) => plain(Value::Objects(objects)),
                None => Err(error("is not a list of maps")),
            }
        }
        scalar => match integral(scalar, node).or_else(|| scalar_text(node)) {
            Some(text) => scalar_from_text(scalar, &text),
            None => Err(warning("is not a single value")),
        },
    }
}

/// The text of a float without a fraction where a whole number is wanted: `60.0` is 60.
fn integral(kind: Kind, node: &Yaml) -> Option<String> {
    let wanted = matches!(kind, Kind::Integer | Kind::Seconds | Kind::Size);
    node.as_f64()
        .filter(|number| wanted && node.is_f64() && number.fract() == 0.0 && number.abs() < 1e15)
        .map(|number| format!("{number:.0}"))
}

/// The members of a map, also of one that is given as JSON text.
fn entries(node: &Yaml) -> Result<Vec<(String, Yaml)>, Problem> {
    match node {
        Yaml::Null => Ok(Vec::new()),
        Yaml::Mapping(map) => map
            .iter()
            .map(|(name, value)| {
                scalar_text(name)
                    .map(|name| (name, value.clone()))
                    .ok_or_else(|| error("has a name that is no text"))
            })
            .collect(),
        Yaml::String(text) if text.trim().is_empty() => Ok(Vec::new()),
        Yaml::String(text) => match serde_json::from_str::<Yaml>(text) {
            Ok(parsed @ Yaml::Mapping(_)) => entries(&parsed),
            _ => Err(error("is not a map")),
        },
        _ => Err(error("is not a map")),
    }
}

fn text_map(node: &Yaml) -> Result<BTreeMap<String, String>, Problem> {
    entries(node)?
        .into_iter()
        .map(|(name, value)| match scalar_text(&value) {
            Some(text) => Ok((name, text)),
            None => Err(error("has a value that is not a text")),
        })
        .collect()
}

/// A scalar as text; nothing for lists, maps and null.
pub(super) fn scalar_text(node: &Yaml) -> Option<String> {
    match node {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Bool(on) => Some(on.to_string()),
        Yaml::Number(number) => Some(number.to_string()),
        Yaml::Tagged(tagged) => scalar_text(&tagged.value),
        Yaml::Null | Yaml::Sequence(_) | Yaml::Mapping(_) => None,
    }
}

fn bare(value: Value) -> Converted {
    Converted { value, remark: None }
}

fn plain(value: Value) -> Outcome {
    Ok(bare(value))
}

pub(super) fn warning(reason: impl Into<String>) -> Problem {
    Problem { severity: Severity::Warning, reason: reason.into() }
}

pub(super) fn error(reason: impl Into<String>) -> Problem {
    Problem { severity: Severity::Error, reason: reason.into() }
}

pub(super) fn fatal(reason: impl Into<String>) -> Problem {
    Problem { severity: Severity::Fatal, reason: reason.into() }
}
