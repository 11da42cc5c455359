//! The name this replica goes by, from the first provider that has one (spec events-and-leader §4).

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Where the name came from and what the providers before it said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hostname {
    /// The name.
    pub name: String,
    /// The provider that gave it.
    pub provider: &'static str,
    /// Why the providers before it gave none.
    pub failed: BTreeMap<String, String>,
}

/// What the providers read.
pub struct Inputs<'a> {
    /// `hostname`.
    pub configured: Option<&'a str>,
    /// `hostname_file`.
    pub file: Option<&'a Path>,
    /// The node that the own pod runs on, or why it is not known.
    pub node: Result<String, String>,
    /// The cluster's name in its RFC 1123 form, appended to the node's name.
    pub cluster: Option<&'a str>,
    /// The operating system's name for this host.
    pub system: Result<String, String>,
}

/// No provider has a usable name.
#[derive(Debug)]
pub struct NoHostname(BTreeMap<String, String>);

impl fmt::Display for NoHostname {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("no provider has a usable hostname, set DD_HOSTNAME")?;
        for (provider, reason) in &self.0 {
            write!(formatter, "; {provider}: {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NoHostname {}

/// Asks the providers in their order; an invalid name is a reason to ask the next.
///
/// # Errors
/// When none has a usable name.
pub fn resolve(inputs: Inputs<'_>) -> Result<Hostname, NoHostname> {
    let configured =
        inputs.configured.map(str::to_owned).ok_or_else(|| "hostname is empty".to_owned());
    let file = inputs.file.ok_or_else(|| "'hostname_file' configuration is not enabled".to_owned());
    let file = file.and_then(|path| {
        std::fs::read_to_string(path)
            .map_err(|error| format!("{} could not be read: {error}", path.display()))
    });
    let node = inputs.node.map(|node| match inputs.cluster {
        Some(cluster) => format!("{node}-{cluster}"),
        None => node,
    });
    let mut failed = BTreeMap::new();
    for (provider, name) in [
        ("'hostname' configuration/environment", configured),
        ("'hostname_file' configuration/environment", file),
        ("container", node),
        ("os", inputs.system),
    ] {
        match name.and_then(|name| valid(name.trim())) {
            Ok(name) => return Ok(Hostname { name, provider: short(provider), failed }),
            Err(reason) => drop(failed.insert(provider.to_owned(), reason)),
        }
    }
    Err(NoHostname(failed))
}

/// The operating system's name for this host.
pub fn system() -> Result<String, String> {
    let name = rustix::system::uname();
    name.nodename().to_str().map(str::to_owned).map_err(|error| error.to_string())
}

fn short(provider: &'static str) -> &'static str {
    match provider {
        "'hostname' configuration/environment" => "configuration",
        "'hostname_file' configuration/environment" => "hostnameFile",
        other => other,
    }
}

/// An RFC 1123 name that does not mean "this machine" everywhere.
fn valid(name: &str) -> Result<String, String> {
    const LOCAL: &[&str] = &[
        "localhost",
        "localhost.localdomain",
        "localhost6",
        "localhost6.localdomain6",
        "ip6-localhost",
    ];
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|character| character.is_ascii_alphanumeric() || character == '-')
    };
    if name.is_empty() {
        Err("hostname is empty".to_owned())
    } else if LOCAL.contains(&name.to_ascii_lowercase().as_str()) {
        Err(format!("{name} is a local hostname"))
    } else if name.len() > 255 {
        Err(format!("it has {} characters and may have 255", name.len()))
    } else if !name.split('.').all(label) {
        Err(format!("{name} is not RFC1123 compliant"))
    } else {
        Ok(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> Inputs<'static> {
        Inputs {
            configured: None,
            file: None,
            node: Err("not in a cluster".to_owned()),
            cluster: None,
            system: Ok("dca-6c9f7".to_owned()),
        }
    }

    #[test]
    fn the_first_provider_with_a_valid_name_wins() {
        let hostname = resolve(Inputs { configured: Some("edge-1"), ..inputs() }).expect("a name");
        assert_eq!((hostname.name.as_str(), hostname.provider), ("edge-1", "configuration"));
        let node = Ok("node-a".to_owned());
        let hostname = resolve(Inputs { node, cluster: Some("lab"), ..inputs() }).expect("a name");
        assert_eq!((hostname.name.as_str(), hostname.provider), ("node-a-lab", "container"));
        let hostname = resolve(inputs()).expect("a name");
        assert_eq!((hostname.name.as_str(), hostname.provider), ("dca-6c9f7", "os"));
        assert_eq!(hostname.failed["container"], "not in a cluster");
    }

    #[test]
    fn an_invalid_name_is_skipped_with_its_reason() {
        for (name, reason) in [
            ("localhost", "localhost is a local hostname"),
            ("under_score", "under_score is not RFC1123 compliant"),
            ("-a", "-a is not RFC1123 compliant"),
        ] {
            let hostname = resolve(Inputs { configured: Some(name), ..inputs() }).expect("a name");
            assert_eq!(hostname.provider, "os");
            assert_eq!(hostname.failed["'hostname' configuration/environment"], reason);
        }
    }

    #[test]
    fn no_name_at_all_names_every_reason() {
        let error = resolve(Inputs { system: Ok("localhost".to_owned()), ..inputs() })
            .expect_err("no name");
        assert!(error.to_string().contains("os: localhost is a local hostname"));
    }
}
