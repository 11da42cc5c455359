//! Why the agent cannot run: the texts are what `start` prints (spec cli §3).

use std::fmt;
use std::io;

use super::hostname::NoHostname;
use crate::http::certificate;

/// What ends the process at its start.
#[derive(Debug)]
pub enum Error {
    /// The node API cannot listen.
    NodeApi(io::Error),
    /// The health port was asked for and cannot listen.
    Health(io::Error),
    /// There is no certificate to serve with.
    Certificate(certificate::Error),
    /// Key and certificate do not fit together.
    Tls(rustls::Error),
    /// Nothing gives this replica a name.
    Hostname(NoHostname),
    /// A thread that owns state which cannot be rebuilt beside the others has panicked.
    Panicked(&'static str),
    /// A thread or a signal handler could not be started.
    Start(&'static str, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeApi(error) => {
                write!(
                    formatter,
                    "Error while starting agent API, exiting: unable to create the api server: {error}"
                )
            }
            Self::Health(error) => {
                write!(formatter, "Error starting health port, exiting: {error}")
            }
            Self::Certificate(error) => {
                write!(formatter, "Error while starting agent API, exiting: {error}")
            }
            Self::Tls(error) => {
                write!(formatter, "Error while starting agent API, exiting: {error}")
            }
            Self::Hostname(error) => {
                write!(formatter, "Error while getting hostname, exiting: {error}")
            }
            Self::Panicked(name) => {
                write!(formatter, "thread {name} panicked, exiting: a new process begins anew")
            }
            Self::Start(what, error) => {
                write!(formatter, "{what} could not be started, exiting: {error}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NodeApi(error) | Self::Health(error) | Self::Start(_, error) => Some(error),
            Self::Certificate(error) => Some(error),
            Self::Tls(error) => Some(error),
            Self::Hostname(error) => Some(error),
            Self::Panicked(_) => None,
        }
    }
}
