//! Why the running agent gave no answer, in the words users know from Go programs (spec cli §2.1, §2.3).

use std::path::Path;
use std::{fmt, io};

use serde_json::Value;

/// No answer, or one that says no.
#[derive(Debug)]
pub(in crate::cli) enum Error {
    /// Neither token nor certificate can be had; usually nothing ever ran here.
    Artifact {
        /// What is missing.
        what: &'static str,
        /// Why it cannot be used.
        cause: String,
    },
    /// Nobody answered.
    Unreachable {
        /// The whole sentence.
        text: String,
    },
    /// The agent answered that it will not.
    Refused(Refusal),
}

/// An answer with a status of 400 or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Refusal {
    /// The status.
    pub status: u16,
    /// The body as it came.
    pub body: String,
}

impl Error {
    pub(super) fn token(file: &Path, error: &io::Error) -> Self {
        let cause = format!("open {}: {}", file.display(), go_text(error));
        Self::Artifact { what: "auth token", cause }
    }

    pub(super) fn certificate(file: &Path, cause: String) -> Self {
        let cause = format!("{}: {cause}", file.display());
        Self::Artifact { what: "IPC certificate", cause }
    }

    pub(super) fn unreachable(method: &str, url: &str, port: u16, error: ureq::Error) -> Self {
        let method = if method == "POST" { "Post" } else { "Get" };
        let cause = match &error {
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                format!("dial tcp 127.0.0.1:{port}: connect: connection refused")
            }
            ureq::Error::Io(error) => go_text(error),
            ureq::Error::Timeout(_) => {
                "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
                    .to_owned()
            }
            other => other.to_string(),
        };
        Self::Unreachable { text: format!("{method} \"{url}\": {cause}") }
    }
}

impl Refusal {
    /// What the body says; a JSON object with `error` speaks for itself.
    pub(in crate::cli) fn text(&self) -> String {
        let document: Option<Value> = serde_json::from_str(&self.body).ok();
        match document.as_ref().and_then(|document| document["error"].as_str()) {
            Some(error) => error.to_owned(),
            None => format!("status code: {}, body: {}", self.status, self.body.trim_end()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Artifact { what, cause } => write!(
                formatter,
                "unable to fetch {what} (please check that the Agent is running, this file is normally generated \
                 during the first run of the Agent service): {cause}"
            ),
            Self::Unreachable { text } => formatter.write_str(text),
            Self::Refused(refusal) => formatter.write_str(&refusal.text()),
        }
    }
}

/// An error of the system in Go's spelling: lower case, without Rust's number.
fn go_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_speaks_for_itself_where_it_can() {
        let text = |status, body: &str| Refusal { status, body: body.to_owned() }.text();
        assert_eq!(text(400, r#"{"error":"setting x not found"}"#), "setting x not found");
        assert_eq!(
            text(403, "invalid session token\n"),
            "status code: 403, body: invalid session token"
        );
        assert_eq!(text(503, r#"{"Errors":"x"}"#), r#"status code: 503, body: {"Errors":"x"}"#);
    }

    #[test]
    fn nobody_listening_reads_as_from_a_go_client() {
        let cause = ureq::Error::Io(io::ErrorKind::ConnectionRefused.into());
        let error = Error::unreachable("GET", "https://localhost:5005/status", 5005, cause);
        assert_eq!(
            error.to_string(),
            "Get \"https://localhost:5005/status\": dial tcp 127.0.0.1:5005: connect: connection refused"
        );
    }

    #[test]
    fn a_missing_file_reads_as_upstream_has_it() {
        let missing = io::Error::from_raw_os_error(2);
        let error = Error::token(Path::new("/etc/datadog-agent/auth_token"), &missing);
        assert!(
            error.to_string().ends_with(
                "Agent service): open /etc/datadog-agent/auth_token: no such file or directory"
            ),
            "{error}"
        );
    }
}
