//! The one table of configuration keys: names, types, defaults, rules and descriptions.
//!
//! Loading, validation, the effective-configuration dump, the unknown-setting warnings and
//! `docs/configuration.md` all read this table, so a key is described in exactly one place. Each group of the table
//! is a file of its own; [`names`] holds what is recognised without being a key. Keys whose class is not
//! [`Class::Used`] exist so that a configuration written for the official agent raises no warning storm
//! (spec config §1.4, §6).

mod autodiscovery;
mod core;
mod external_metrics;
mod forwarder;
mod kubernetes;
pub mod names;
mod unsupported;

/// One configuration key: a row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Full name, lower case, levels separated by dots.
    pub name: &'static str,
    /// Shape of its value.
    pub kind: Kind,
    /// Value when nobody sets it, in the form an environment variable would have; empty for an empty value.
    pub default: &'static str,
    /// Environment names in order of precedence; `None` is the regular name alone.
    pub environment: Option<&'static [Name]>,
    /// Whether a variable that is present but empty overrides lower layers (only the proxies, spec config §1.2).
    pub empty_overrides: bool,
    /// Older key whose explicit values count when this one is not set.
    pub fallback: Option<&'static str>,
    /// What this build does with it.
    pub class: Class,
    /// Values that are accepted.
    pub rule: Rule,
    /// One line for the documentation.
    pub description: &'static str,
}

/// An environment name of a key.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// Case-sensitive variable name.
    pub text: &'static str,
    /// Only found in old documents: accepted with a warning.
    pub deprecated: bool,
}

/// A current environment name.
const fn current(text: &'static str) -> Name {
    Name { text, deprecated: false }
}

/// An environment name that only old documents show.
const fn deprecated(text: &'static str) -> Name {
    Name { text, deprecated: true }
}

/// Shape of a value (spec config §1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text that is never shown.
    Secret,
    /// A URL, whose slashes at the end do not count.
    Url,
    /// The URL of an HTTP proxy; never shown, because it may hold a password.
    ProxyUrl,
    /// True or false.
    Boolean,
    /// A whole number.
    Integer,
    /// A number with a fraction.
    Number,
    /// A whole number of seconds.
    Seconds,
    /// A Go duration such as `1h30m`.
    Duration,
    /// A number of bytes such as `10Mb`, in binary multiples.
    Size,
    /// Texts: a JSON array, or separated by blanks.
    List,
    /// Texts: a JSON array, or separated by commas or blanks.
    CommaList,
    /// Text to text: a JSON object.
    Map,
    /// Text to text to text: a JSON object of objects.
    NestedMap,
    /// URL to API keys: a JSON object of arrays.
    Endpoints,
    /// Maps: a JSON array of objects.
    Objects,
}

/// What this build does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Has the effect the official documentation gives it.
    Used,
    /// Accepted and without effect here.
    Ignored,
    /// Switches on a feature that is not in this build; the text names the feature in the one information line.
    Feature(&'static str),
}

/// Values that are accepted, and what happens to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Everything of the right shape.
    Any,
    /// Texts that are not empty.
    Filled,
    /// Numbers from `low` to `high`, both included.
    Range {
        /// Smallest accepted number.
        low: i64,
        /// Largest accepted number.
        high: i64,
        /// What becomes of a smaller one.
        below: Violation,
        /// What becomes of a larger one.
        above: Violation,
    },
    /// Numbers and durations above zero.
    Positive,
    /// Absolute `http` or `https` URLs, or nothing.
    Url {
        /// What becomes of another text.
        otherwise: Violation,
    },
    /// One of these words, compared without case.
    OneOf {
        /// Accepted words, lower case.
        words: &'static [&'static str],
        /// What becomes of another one.
        otherwise: Violation,
    },
}

/// Longest time that is accepted, a year: far below what deadlines can hold.
pub const LONGEST_SECONDS: i64 = 366 * 86_400;

/// What becomes of a value that breaks its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A warning, and the next lower layer counts.
    LowerLayer,
    /// A warning, and the nearest accepted number counts.
    Clamp,
    /// A warning, and this word counts.
    Word(&'static str),
    /// The program does not start.
    Exit,
}

/// A headed part of the table, in the order of the documentation.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Heading in the documentation.
    pub title: &'static str,
    /// Its rows.
    pub keys: &'static [Key],
}

/// All groups.
pub const GROUPS: &[Group] = &[
    Group { title: "Datadog account, identity and tags", keys: core::ACCOUNT },
    Group { title: "Logs", keys: core::LOGGING },
    Group { title: "Listeners and tokens", keys: core::LISTENERS },
    Group { title: "Proxy and TLS towards Datadog", keys: core::NETWORK },
    Group { title: "Kubernetes API server", keys: kubernetes::API_SERVER },
    Group { title: "Leader election and events", keys: kubernetes::LEADERSHIP },
    Group { title: "Metadata and tags of Kubernetes objects", keys: kubernetes::METADATA },
    Group { title: "Cluster checks", keys: autodiscovery::CLUSTER_CHECKS },
    Group { title: "Autodiscovery", keys: autodiscovery::AUTODISCOVERY },
    Group { title: "External metrics", keys: external_metrics::KEYS },
    Group { title: "Delivery to Datadog", keys: forwarder::KEYS },
    Group { title: "Features that are not in this build", keys: unsupported::FEATURES },
    Group { title: "Accepted for compatibility", keys: unsupported::KEYS },
];

/// Every key of the table.
pub fn all() -> impl Iterator<Item = &'static Key> {
    GROUPS.iter().flat_map(|group| group.keys)
}

/// The row of a key, by its full lower-case name.
pub fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

impl Key {
    const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default,
            environment: None,
            empty_overrides: false,
            fallback: None,
            class: Class::Used,
            rule: Rule::Any,
            description,
        }
    }

    /// Environment names in order of precedence: `DD_` plus the upper-case key with `_` for `.`, unless the table
    /// gives others (spec config §1.2).
    pub fn environment_names(&self) -> Vec<(String, bool)> {
        match self.environment {
            None => vec![(regular_name(self.name), false)],
            Some(names) => {
                names.iter().map(|name| (name.text.to_owned(), name.deprecated)).collect()
            }
        }
    }

    /// Whether the text of its value may hold a secret, and must not be quoted.
    pub fn may_hold_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::ProxyUrl | Kind::Endpoints | Kind::Objects)
    }

    /// Whether a newer key has taken its place.
    pub fn is_older_name(&self) -> bool {
        all().any(|newer| newer.fallback == Some(self.name))
    }

    const fn text(name: &'static str, default: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Text, default, description)
    }

    /// A name that something must have.
    const fn name(name: &'static str, default: &'static str, description: &'static str) -> Self {
        Self { rule: Rule::Filled, ..Self::text(name, default, description) }
    }

    const fn secret(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Secret, "", description)
    }

    const fn boolean(name: &'static str, default: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Boolean, default, description)
    }

    /// A whole number that must not be negative.
    const fn integer(name: &'static str, default: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Integer, default, description).within(0, i64::MAX)
    }

    /// Seconds, neither negative nor so many that a deadline overflows.
    const fn seconds(name: &'static str, default: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Seconds, default, description).within(0, LONGEST_SECONDS)
    }

    /// A TCP port that is always in use.
    const fn port(name: &'static str, default: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Integer, default, description).within(1, 65_535)
    }

    /// A TCP port where 0 switches the listener off.
    const fn port_or_off(
        name: &'static str,
        default: &'static str,
        description: &'static str,
    ) -> Self {
        Self::new(name, Kind::Integer, default, description).within(0, 65_535)
    }

    const fn list(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::List, "", description)
    }

    const fn map(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Map, "", description)
    }

    /// Raises the smallest accepted number to one.
    const fn nonzero(self) -> Self {
        match self.rule {
            Rule::Range { high, .. } => self.within(1, high),
            _ => self.within(1, i64::MAX),
        }
    }

    const fn positive(mut self) -> Self {
        self.rule = Rule::Positive;
        self
    }

    const fn url(mut self, otherwise: Violation) -> Self {
        self.rule = Rule::Url { otherwise };
        self
    }

    const fn within(mut self, low: i64, high: i64) -> Self {
        self.rule =
            Rule::Range { low, high, below: Violation::LowerLayer, above: Violation::LowerLayer };
        self
    }

    const fn clamped(mut self, low: i64, high: i64) -> Self {
        self.rule = Rule::Range { low, high, below: Violation::Clamp, above: Violation::Clamp };
        self
    }

    const fn clamped_above(mut self, low: i64, high: i64) -> Self {
        self.rule =
            Rule::Range { low, high, below: Violation::LowerLayer, above: Violation::Clamp };
        self
    }

    const fn one_of(mut self, words: &'static [&'static str], otherwise: Violation) -> Self {
        self.rule = Rule::OneOf { words, otherwise };
        self
    }

    const fn environment(mut self, names: &'static [Name]) -> Self {
        self.environment = Some(names);
        self
    }

    const fn empty_overrides(mut self) -> Self {
        self.empty_overrides = true;
        self
    }

    const fn fallback(mut self, key: &'static str) -> Self {
        self.fallback = Some(key);
        self
    }

    const fn ignored(mut self) -> Self {
        self.class = Class::Ignored;
        self
    }

    const fn feature(mut self, feature: &'static str) -> Self {
        self.class = Class::Feature(feature);
        self
    }
}

/// The environment name that follows from a key.
pub fn regular_name(key: &str) -> String {
    format!("DD_{}", key.to_ascii_uppercase().replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_lower_case() {
        let mut keys = BTreeSet::new();
        let mut environment = BTreeSet::new();
        for key in all() {
            assert_eq!(key.name, key.name.to_ascii_lowercase());
            assert!(keys.insert(key.name), "{} stands twice in the table", key.name);
            for (name, _) in key.environment_names() {
                assert!(environment.insert(name.clone()), "{name} stands twice in the table");
            }
        }
    }

    #[test]
    fn every_key_has_one_line_of_description() {
        for key in all() {
            assert!(!key.description.is_empty() && !key.description.contains('\n'), "{}", key.name);
            assert!(!key.description.ends_with('.'), "{}: no full stop in a table cell", key.name);
        }
    }

    #[test]
    fn fallbacks_are_keys_of_the_same_kind() {
        for key in all() {
            if let Some(fallback) = key.fallback {
                assert_eq!(find(fallback).map(|older| older.kind), Some(key.kind), "{}", key.name);
            }
        }
    }
}
