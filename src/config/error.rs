//! Why a configuration is refused.

use std::{error, fmt, io, path::PathBuf};

/// Reasons not to start; everything else is a [`Message`](super::Message) and a working configuration.
#[derive(Debug)]
pub enum Error {
    /// `-c` names a file that does not exist.
    Missing(PathBuf),
    /// A configuration file is there and cannot be read.
    Unreadable(PathBuf, io::Error),
    /// A configuration file is not YAML.
    Malformed(PathBuf, serde_yaml::Error),
    /// A configuration file holds something else than a map of settings.
    NotAMap(PathBuf),
    /// There is no API key.
    NoApiKey,
    /// A value whose replacement by a default would do harm.
    Invalid {
        /// Key in question.
        key: &'static str,
        /// Where the value stands, and its text unless it is a secret.
        given: String,
        /// The rest of the sentence.
        reason: String,
    },
    /// A value that a secret backend would have to resolve.
    UnresolvedSecret(&'static str),
    /// Traffic is to go through a FIPS proxy.
    Fips,
    /// Two listeners want one port.
    SharedPort {
        /// The port.
        port: u16,
        /// Key of one listener.
        first: &'static str,
        /// Key of the other.
        second: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => {
                write!(formatter, "unable to load Datadog config file: {} does not exist", path.display())
            }
            Self::Unreadable(path, problem) => {
                write!(formatter, "cannot access the Datadog config file ({}: {problem})", path.display())
            }
            Self::Malformed(path, problem) => {
                write!(formatter, "unable to load Datadog config file: {}", path.display())?;
                match problem.location() {
                    Some(at) => {
                        write!(formatter, ", line {}, column {}: {problem}", at.line(), at.column())
                    }
                    None => write!(formatter, ": {problem}"),
                }
            }
            Self::NotAMap(path) => write!(
                formatter,
                "unable to load Datadog config file: {}, line 1, column 1: it is not a map of settings",
                path.display()
            ),
            Self::NoApiKey => formatter.write_str("no API key configured, exiting"),
            Self::Invalid { key, given, reason } => {
                write!(formatter, "invalid configuration value for key \"{key}\": {given} {reason}")
            }
            Self::UnresolvedSecret(key) => {
                write!(formatter, "unresolved secret in {key}: secret backends are not supported by this build")
            }
            Self::Fips => formatter.write_str(
                "fips.enabled is true, but this build has no FIPS mode and cannot send through a FIPS proxy",
            ),
            Self::SharedPort { port, first, second } => {
                write!(formatter, "port {port} is wanted by both {first} and {second}")
            }
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Unreadable(_, problem) => Some(problem),
            Self::Malformed(_, problem) => Some(problem),
            _ => None,
        }
    }
}
