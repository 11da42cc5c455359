//! `docs/configuration.md`, written from the table of keys.

use super::keys::{self, Class, Key, Kind, Rule, Violation, names};

/// Text above the tables.
const INTRODUCTION: &str = "\
# Configuration

<!-- Written by `datadog-cluster-agent config --documentation`; a test compares. Change src/config/keys instead. -->

Settings come from the file `datadog-cluster.yaml` in `/etc/datadog-agent` (or where `-c` points: a directory that is
searched first, or a file when the name ends in `.yaml` or `.yml`) and from environment variables. A flag wins over the
environment, the environment over the file, the file over the default, for each key alone. In the file, levels of a
key are nested maps; names are not case-sensitive there. A variable that is empty counts as not set, except those of
the proxies, where it switches off what the file says.

A value that cannot be used is reported with its key and source, and the next source counts. The program only refuses
to start without an API key, with a file that is not YAML, an unknown log level, an invalid `dd_url` or proxy, a value
`ENC[…]` that a secret backend would have to resolve, `fips.enabled`, or two listeners on one port.

| type | in a variable | in the file |
|---|---|---|
| text | as it is | any scalar |
| boolean | `true`, `false`, `1`, `0`, `yes`, `no`, `on`, `off`, … | the same |
| whole number, seconds | decimal | number or its text |
| duration | `10m`, `1h30m`, `500ms`; without a unit, seconds | the same |
| size | `10Mb`, `512 kb` or bytes, in binary multiples | the same |
| list | a JSON array, or separated by blanks | list |
| map | a JSON object | map |
| list of maps | a JSON array of objects | list of maps |

The keys, in the order of the groups:
";

/// Text above the list of sections.
const SECTIONS_HEADING: &str = "
## Sections without effect

Keys and variables of these sections and prefixes are accepted silently, so that a configuration of the official agent
can be kept: ";

/// Text above the list of variables.
const ENVIRONMENT_HEADING: &str = "
## Variables that belong to no key

Read: `DD_POD_NAME` (name of the own pod), `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT` (API server),
`SSL_CERT_FILE` and `SSL_CERT_DIR` (trusted roots of Datadog traffic). Accepted without effect: ";

/// The whole document. Write it to the repository with
/// `datadog-cluster-agent config --documentation > docs/configuration.md`.
pub fn documentation() -> String {
    let mut text = INTRODUCTION.to_owned();
    for group in keys::GROUPS {
        text.push_str(&format!(
            "\n## {}\n\n| key | variable | type | default | meaning |\n|---|---|---|---|---|\n",
            group.title
        ));
        for key in group.keys {
            text.push_str(&row(key));
        }
    }
    text.push_str(SECTIONS_HEADING);
    text.push_str(&enumeration(names::SECTIONS.iter().map(|section| format!("{section}*"))));
    text.push_str(ENVIRONMENT_HEADING);
    let read = |name: &&&str| **name == "DD_POD_NAME";
    text.push_str(&enumeration(
        names::ENVIRONMENT.iter().filter(|name| !read(name)).map(|name| (*name).to_owned()),
    ));
    text
}

fn row(key: &Key) -> String {
    let variables: Vec<String> = key
        .environment_names()
        .into_iter()
        .map(|(name, deprecated)| match deprecated {
            true => format!("`{name}` (deprecated)"),
            false => format!("`{name}`"),
        })
        .collect();
    let variables = if variables.is_empty() { "–".to_owned() } else { variables.join(", ") };
    let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
    let effect = match key.class {
        Class::Used => "",
        Class::Ignored => " (no effect here)",
        Class::Feature(_) => " (not in this build)",
    };
    format!(
        "| `{}` | {variables} | {} | {default} | {}{effect} |\n",
        key.name,
        type_of(key),
        key.description
    )
}

fn type_of(key: &Key) -> String {
    let kind = match key.kind {
        Kind::Text => "text",
        Kind::Secret => "secret",
        Kind::Url | Kind::ProxyUrl => "URL",
        Kind::Boolean => "boolean",
        Kind::Integer => "whole number",
        Kind::Number => "number",
        Kind::Seconds => "seconds",
        Kind::Duration => "duration",
        Kind::Size => "size",
        Kind::List => "list",
        Kind::CommaList => "list, also separated by commas",
        Kind::Map => "map",
        Kind::NestedMap => "map of maps",
        Kind::Endpoints => "map of lists",
        Kind::Objects => "list of maps",
    };
    match key.rule {
        Rule::Range { low, high: i64::MAX | keys::LONGEST_SECONDS, .. } => match low {
            0 => kind.to_owned(),
            low => format!("{kind}, at least {low}"),
        },
        Rule::Range { low, high, above, .. } => {
            let beyond = if above == Violation::Clamp { "; more is taken as that" } else { "" };
            format!("{kind}, {low}–{high}{beyond}")
        }
        Rule::Positive => format!("{kind}, more than 0"),
        Rule::OneOf { words, .. } => {
            let words: Vec<String> = words
                .iter()
                .filter(|word| !word.is_empty())
                .map(|word| format!("`{word}`"))
                .collect();
            words.join(", ")
        }
        Rule::Any | Rule::Filled | Rule::Url { .. } => kind.to_owned(),
    }
}

fn enumeration(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    format!("{}.\n", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_document_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in == documentation(),
            "write it again: cargo run -- config --documentation > docs/configuration.md"
        );
    }

    #[test]
    fn no_cell_breaks_its_table() {
        for line in documentation().lines().filter(|line| line.starts_with("| `")) {
            assert_eq!(line.matches('|').count(), 6, "{line}");
        }
    }
}
