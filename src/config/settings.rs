//! The raw stage: for each key what every source gives, and which of it counts.
//!
//! Layers are tried from the highest to the lowest: flag, environment names in their order, file, then the same of an
//! older key, then the default. The first that converts counts; what is unusable above it is reported once and
//! skipped (spec config §1.4). Layers below it are kept for `config get -s` and not reported: they do no harm.

use std::{collections::BTreeMap, fmt};

use super::{
    Error, Message,
    convert::{self, Given, Severity},
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
        let counts = layers.is_empty();
        if counts && key.class == Class::Used && convert::has_secret_handle(&candidate.given) {
            return Err(Error::UnresolvedSecret(key.name));
        }
        // Nobody reads what has no effect here, so its mistakes are no news either.
        let report = counts && key.class == Class::Used;
        match convert::convert(key, &candidate.given) {
            Ok(converted) => {
                if let Some(remark) = converted.remark.filter(|_| report) {
                    messages.push(Message::warning(format!(
                        "configuration value for key \"{}\": {} {remark}",
                        key.name,
                        describe(key, &candidate)
                    )));
                }
                if let (true, Source::Environment(name), true) =
                    (candidate.deprecated, &candidate.source, counts)
                {
                    messages.push(Message::warning(format!(
                        "{name} is deprecated, please use {}",
                        key.environment_names()[0].0
                    )));
                }
                layers.push((candidate.source, converted.value));
            }
            Err(problem) if !report => drop(problem),
            Err(problem) if problem.severity == Severity::Fatal => {
                return Err(Error::Invalid {
                    key: key.name,
                    given: describe(key, &candidate),
                    reason: problem.reason,
                });
            }
            Err(problem) => {
                let text = format!(
                    "failed to get configuration value for key \"{}\": {} {}, the next source counts",
                    key.name,
                    describe(key, &candidate),
                    problem.reason
                );
                messages.push(match problem.severity {
                    Severity::Error => Message::error(text),
                    _ => Message::warning(text),
                });
            }
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
