//! Why a command failed; the texts are what users and scripts see after `Error: ` (spec cli §1, §2.3).

use std::path::PathBuf;
use std::{fmt, io};

use super::arguments::UsageError;
use super::client;
use crate::{config, daemon};

/// The failure of a command.
#[derive(Debug)]
pub(super) enum Error {
    /// The command line cannot be understood.
    Usage(UsageError),
    /// Standard output does not take the answer.
    Output(io::Error),
    /// A file that the user named does not take the answer.
    File(PathBuf, io::Error),
    /// The configuration is refused.
    Configuration(config::Error),
    /// The agent cannot run.
    Start(daemon::Error),
    /// The running agent gave no answer.
    Agent(client::Error),
    /// The same, with advice that belongs to the command.
    Unreachable {
        /// What could not be reached.
        what: &'static str,
        /// Why.
        error: client::Error,
        /// What to do about it.
        advice: &'static str,
    },
    /// The agent's answer is not what it should be.
    Answer(serde_json::Error),
    /// So many components are unhealthy.
    Unhealthy(usize),
    /// There is no map of pods, for this reason.
    NoMap(String),
    /// The telemetry port is turned off.
    NoTelemetry,
    /// The archive was not made or not delivered, for this reason.
    Flare(String),
    /// The question about secrets cannot be answered as a whole, for this reason.
    Secrets(String),
    /// The operands of a command that needs them are not what they should be.
    Operands(&'static str),
}

impl From<UsageError> for Error {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

impl From<io::Error> for Error {
    /// Only for writing to standard output: other input and output has variants that say what it was about.
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<config::Error> for Error {
    fn from(error: config::Error) -> Self {
        Self::Configuration(error)
    }
}

impl From<client::Error> for Error {
    fn from(error: client::Error) -> Self {
        Self::Agent(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(formatter),
            Self::Output(error) => write!(formatter, "cannot write to standard output: {error}"),
            Self::File(path, error) => {
                write!(formatter, "cannot write to {}: {error}", path.display())
            }
            Self::Configuration(error) => error.fmt(formatter),
            Self::Start(error) => error.fmt(formatter),
            Self::Agent(error) => error.fmt(formatter),
            // The blank before the line break is upstream's.
            Self::Unreachable { what, error, advice } => {
                write!(formatter, "{what}: {error} \n{advice}")
            }
            Self::Answer(error) => write!(formatter, "error unmarshalling json: {error}"),
            Self::Unhealthy(count) => write!(formatter, "found {count} unhealthy components"),
            Self::NoMap(reason) | Self::Flare(reason) | Self::Secrets(reason) => {
                formatter.write_str(reason)
            }
            Self::NoTelemetry => {
                formatter.write_str("there is no telemetry port: metrics_port is 0")
            }
            Self::Operands(text) => formatter.write_str(text),
        }
    }
}
