//! The raw stage: for each key what every source gives, and which of it counts.
//!
//! Layers are tried from the highest to the lowest: flag, environment names in their order, file, then the same of an
//! older key, then the default. The first that converts counts; what is unusable above it is reported once and
//! skipped (spec config §1.4). Layers below it are kept for `config get -s` and not reported: they do no harm.

use std::{collections::BTreeMap, fmt};

use super::{
    Error, Message,
    convert::{self, Given, Problem, Severity},
    file::ConfigFile,
    keys::{self, Class, Key},
    sources::Sources,
    text::excerpt,
    value::{Value, without_userinfo},
};

/// Where a value comes from, from the lowest to the highest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The table of keys.
    Default,
    /// The configuration file.
    File,
    /// An environment variable, by its name.
    Environment(String),
    /// A flag of the command line.
    Flag,
    /// A change while the program runs.
    Runtime,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment(_) => "env",
            Self::Flag => "cli",
            Self::Runtime => "runtime",
        })
    }
}

/// A key and its usable values.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Row of the table.
    pub key: &'static Key,
    /// Usable values from the highest source to the lowest; the first counts, the last is the default.
    pub layers: Vec<(Source, Value)>,
}

impl Setting {
    /// The value that counts.
    pub fn value(&self) -> &Value {
        &self.layers.first().expect("every setting has a default").1
    }

    /// Where that value comes from.
    pub fn source(&self) -> &Source {
        &self.layers.first().expect("every setting has a default").0
    }
}

/// All settings by key.
#[derive(Clone, Debug)]
pub struct Settings {
    settings: BTreeMap<&'static str, Setting>,
}

impl Settings {
    /// Resolves every key of the table.
    pub fn resolve(
        sources: &Sources,
        file: &ConfigFile,
        messages: &mut Vec<Message>,
    ) -> Result<Self, Error> {
        let settings = keys::all()
            .map(|key| Ok((key.name, resolve(key, sources, file, messages)?)))
            .collect::<Result<_, Error>>()?;
        Ok(Self { settings })
    }

    /// The setting of a key, by its full name without regard to case.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.settings.get(name.to_ascii_lowercase().as_str())
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Setting> {
        self.settings.get_mut(name.to_ascii_lowercase().as_str())
    }

    /// All settings in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.settings.values()
    }
}

fn resolve(
    key: &'static Key,
    sources: &Sources,
    file: &ConfigFile,
    messages: &mut Vec<Message>,
) -> Result<Setting, Error> {
    let mut layers: Vec<(Source, Value)> = Vec::new();
    let mut given = given(key, sources, file);
    if let Some(older) = key.fallback.and_then(keys::find) {
        given.extend(self::given(older, sources, file));
    }
    for candidate in given {
        // Only what counts is worth a message. What has no effect here, or is reported under its newer name, is not.
        let report = layers.is_empty() && key.class == Class::Used && !key.is_older_name();
        if report && convert::has_secret_handle(&candidate.given) {
            return Err(Error::UnresolvedSecret(key.name));
        }
        match convert::convert(key, &candidate.given) {
            Ok(converted) => {
                if report {
                    remark(key, &candidate, converted.remark, messages);
                }
                layers.push((candidate.source, converted.value));
            }
            Err(problem) if report => messages.push(refuse(key, &candidate, problem)?),
            Err(_) => {}
        }
    }
    let default = convert::convert(key, &Given::Text(key.default.to_owned()));
    layers.push((Source::Default, default.expect("the defaults of the table are valid").value));
    Ok(Setting { key, layers })
}

/// What one source gives for a key.
struct Candidate {
    source: Source,
    given: Given,
    deprecated: bool,
}

/// Explicit values of a key from the highest source to the lowest.
fn given(key: &'static Key, sources: &Sources, file: &ConfigFile) -> Vec<Candidate> {
    let mut given = Vec::new();
    if let Some(text) = sources.flags.get(key.name) {
        given.push(Candidate {
            source: Source::Flag,
            given: Given::Text(text.clone()),
            deprecated: false,
        });
    }
    for (name, deprecated) in key.environment_names() {
        if let Some(text) =
            sources.environment.get(&name).filter(|text| !text.is_empty() || key.empty_overrides)
        {
            given.push(Candidate {
                source: Source::Environment(name),
                given: Given::Text(text.clone()),
                deprecated,
            });
        }
    }
    if let Some(node) = file.nodes.get(key.name) {
        given.push(Candidate {
            source: Source::File,
            given: Given::Yaml(node.clone()),
            deprecated: false,
        });
    }
    given
}

/// Says what is odd about a value that counts.
fn remark(key: &Key, candidate: &Candidate, remark: Option<String>, messages: &mut Vec<Message>) {
    if let Some(remark) = remark {
        messages.push(Message::warning(format!(
            "configuration value for key \"{}\": {} {remark}",
            key.name,
            describe(key, candidate)
        )));
    }
    if let (true, Source::Environment(name)) = (candidate.deprecated, &candidate.source) {
        let current = &key.environment_names()[0].0;
        messages.push(Message::warning(format!("{name} is deprecated, please use {current}")));
    }
}

/// What an unusable value costs: a message, or the start of the program.
fn refuse(key: &'static Key, candidate: &Candidate, problem: Problem) -> Result<Message, Error> {
    let (given, reason) = (describe(key, candidate), problem.reason);
    let text = || {
        let key = key.name;
        format!(
            "failed to get configuration value for key \"{key}\": {given} {reason}, the next source counts"
        )
    };
    match problem.severity {
        Severity::Warning => Ok(Message::warning(text())),
        Severity::Error => Ok(Message::error(text())),
        Severity::Fatal => Err(Error::Invalid { key: key.name, given, reason }),
    }
}

/// Source and text of a value for a message; secrets have no text.
fn describe(key: &Key, candidate: &Candidate) -> String {
    let source = match &candidate.source {
        Source::Environment(name) => format!("environment variable {name}"),
        other => other.to_string(),
    };
    if key.may_hold_secret() {
        return format!("the value ({source})");
    }
    let text = match &candidate.given {
        Given::Text(text) => text.clone(),
        Given::Yaml(node) => match convert::scalar_text(node) {
            Some(text) => text,
            None => return format!("the value ({source})"),
        },
    };
    format!("\"{}\" ({source})", excerpt(&without_userinfo(&text)))
}
