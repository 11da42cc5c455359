//! Why a command failed; the texts are what users and scripts see after `Error: ` (spec cli §1, §2.3).

use std::{fmt, io};

use super::arguments::UsageError;

/// The failure of a command.
#[derive(Debug)]
pub(super) enum Error {
    /// The command line cannot be understood.
    Usage(UsageError),
    /// Standard output does not take the answer.
    Output(io::Error),
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

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(formatter),
            Self::Output(error) => write!(formatter, "cannot write to standard output: {error}"),
        }
    }
}
