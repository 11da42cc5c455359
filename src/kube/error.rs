//! Why a request to the API server failed, sorted by what the caller does next.
//!
//! The text names verb, resource, namespace and, for a refusal, the RBAC rule that is missing (design §3 rule 2). It
//! never holds a token or a body that was sent.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::objects::null_as_default;
use super::target::{Target, Verb};

/// Longest part of a server's message that is kept: two log lines' worth.
const MESSAGE_LIMIT: usize = 1024;

/// A failed request.
#[derive(Debug)]
pub struct Error {
    /// What was tried.
    pub verb: Verb,
    /// On what.
    pub target: Box<Target>,
    /// Why it failed.
    pub cause: Cause,
}

/// The result of a request.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// 403: an RBAC rule is missing; tell the user which, and try again later.
    Forbidden {
        /// The server's words.
        message: String,
    },
    /// 401, also after the token was read anew: try again later.
    Unauthorized {
        /// The server's words.
        message: String,
    },
    /// 404: the object does not exist, or (for a list or a watch) the API does not.
    NotFound,
    /// 409: somebody else wrote the object, or it exists already; fetch it and decide anew.
    Conflict {
        /// The server's words.
        message: String,
    },
    /// 410, or a version that the server does not have (yet): list again.
    Gone {
        /// The server's words.
        message: String,
    },
    /// 429: wait.
    TooManyRequests {
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// 5xx: try again later.
    Unavailable {
        /// The status.
        status: u16,
        /// The server's words.
        message: String,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// Any other status: this request will not succeed as it is.
    Rejected {
        /// The status.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// No or half an answer: try again later. A write may have happened all the same.
    Transport(ureq::Error),
    /// No answer in time: try again later. A write may have happened all the same.
    Timeout(ureq::Timeout),
    /// The answer is larger than any that is expected.
    TooLarge {
        /// Bytes that would have been read.
        limit: u64,
    },
    /// The answer is not what the API promises.
    Decode(serde_json::Error),
    /// The credentials or certificates that connections are made with cannot be used.
    Credentials(super::settings::Error),
    /// The program is stopping.
    Stopped,
}

/// The body of an unsuccessful answer, and the object of an `ERROR` event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Status {
    /// HTTP status; 0 when absent.
    #[serde(deserialize_with = "null_as_default")]
    pub code: u16,
    /// For people.
    #[serde(deserialize_with = "null_as_default")]
    pub message: String,
    /// For programs: `Expired`, `AlreadyExists`, …
    #[serde(deserialize_with = "null_as_default")]
    pub reason: String,
    /// More for programs.
    #[serde(deserialize_with = "null_as_default")]
    pub details: StatusDetails,
}

/// Details of a [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusDetails {
    /// Seconds that the server wants to be left alone.
    #[serde(deserialize_with = "null_as_default")]
    pub retry_after_seconds: u64,
}

impl Cause {
    /// The cause behind an answer with the HTTP status `code`.
    ///
    /// `retry_after` is the header of that name, in seconds; the body's own value goes before it.
    pub fn from_status(code: u16, status: Status, retry_after: Option<u64>) -> Self {
        let Status { message, reason, details, .. } = status;
        let message = shortened(message);
        let retry_after = match details.retry_after_seconds {
            0 => retry_after,
            seconds => Some(seconds),
        }
        .map(Duration::from_secs);
        match code {
            401 => Self::Unauthorized { message },
            403 => Self::Forbidden { message },
            404 => Self::NotFound,
            409 => Self::Conflict { message },
            410 => Self::Gone { message },
            429 => Self::TooManyRequests { retry_after },
            // A version from the future: etcd was restored from a backup, or another server of the cluster is ahead.
            _ if reason == "Expired" || message.contains("Too large resource version") => {
                Self::Gone { message }
            }
            500.. => Self::Unavailable { status: code, message, retry_after },
            _ => Self::Rejected { status: code, message },
        }
    }

    /// How long the server wants to be left alone, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after } | Self::Unavailable { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    /// Whether the server's certificate was the problem, so that a changed CA may help.
    pub(super) fn is_untrusted_server(&self) -> bool {
        match self {
            Self::Transport(ureq::Error::Rustls(_) | ureq::Error::Tls(_)) => true,
            // rustls reports a failed handshake through the I/O layer.
            Self::Transport(ureq::Error::Io(error)) => {
                error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
            }
            _ => false,
        }
    }
}

impl From<ureq::Error> for Cause {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(budget) => Self::Timeout(budget),
            ureq::Error::BodyExceedsLimit(limit) => Self::TooLarge { limit },
            error => Self::Transport(error),
        }
    }
}

impl Error {
    /// `verb` on `target` failed because of `cause`.
    pub(super) fn new(verb: Verb, target: &Target, cause: Cause) -> Self {
        Self { verb, target: Box::new(target.clone()), cause }
    }

    /// What the user can do about it, if there is something.
    pub fn remedy(&self) -> Option<String> {
        match &self.cause {
            Cause::Forbidden { .. } => Some(format!("grant {}", self.target.rule(self.verb))),
            Cause::Unauthorized { .. } => {
                Some("check that the service account and its token are still valid".to_owned())
            }
            Cause::NotFound if matches!(self.verb, Verb::List | Verb::Watch) => {
                Some(format!("serve {} with resource {}", self.target.api(), self.target.plural()))
            }
            cause if cause.is_untrusted_server() => Some(
                "check that the CA certificate is the one that signed the API server's".to_owned(),
            ),
            Cause::Credentials(_) => {
                Some("check that the service account's token is mounted and readable".to_owned())
            }
            Cause::Transport(_) | Cause::Timeout(_) => {
                Some("check that the API server runs and that network policies allow it".to_owned())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, target, cause } = self;
        match cause {
            Cause::Forbidden { .. } => {
                let rule = target.rule(*verb);
                write!(formatter, "the service account may not {verb} {target}: grant {rule}")
            }
            cause => write!(formatter, "cannot {verb} {target}: {cause}"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { message } => write!(formatter, "not allowed (403): {message}"),
            Self::Unauthorized { message } => {
                write!(formatter, "the API server does not accept the credentials (401): {message}")
            }
            Self::NotFound => formatter.write_str("not found (404)"),
            Self::Conflict { message } => write!(formatter, "conflict (409): {message}"),
            Self::Gone { message } => write!(formatter, "version not available (410): {message}"),
            Self::TooManyRequests { .. } => {
                formatter.write_str("the API server asks to slow down (429)")
            }
            Self::Unavailable { status, message, .. } => {
                write!(formatter, "the API server has a problem ({status}): {message}")
            }
            Self::Rejected { status, message } => {
                write!(formatter, "refused ({status}): {message}")
            }
            Self::Transport(error) => write!(formatter, "{error}"),
            Self::Timeout(budget) => write!(formatter, "no answer in time ({budget})"),
            Self::TooLarge { limit } => write!(formatter, "the answer exceeds {limit} bytes"),
            Self::Decode(error) => write!(formatter, "the answer cannot be read: {error}"),
            Self::Credentials(error) => write!(formatter, "{error}"),
            Self::Stopped => formatter.write_str("the program is stopping"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Transport(error) => Some(error),
            Cause::Decode(error) => Some(error),
            Cause::Credentials(error) => Some(error),
            _ => None,
        }
    }
}

/// The message on one line and not longer than [`MESSAGE_LIMIT`].
fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE_LIMIT {
        let end = (0..=MESSAGE_LIMIT).rev().find(|&end| message.is_char_boundary(end)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    if message.contains(char::is_control) {
        message = message.replace(char::is_control, " ");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::objects::{ConfigMap, EndpointSlice, Node};

    fn error(verb: Verb, target: Target, code: u16, body: &str) -> Error {
        let status = serde_json::from_str(body).unwrap_or_default();
        Error::new(verb, &target, Cause::from_status(code, status, Some(7)))
    }

    #[test]
    fn a_refusal_names_verb_resource_and_the_missing_rule() {
        let refusal =
            error(Verb::List, Target::of::<Node>(), 403, r#"{"message":"nodes is forbidden"}"#);
        assert_eq!(
            refusal.to_string(),
            r#"the service account may not list nodes: grant apiGroups [""] resources ["nodes"] verbs ["list","watch"]"#
        );
        let lock = Target::of::<ConfigMap>().in_namespace("mon").named("lock");
        assert_eq!(
            error(Verb::Update, lock, 403, "{}").to_string(),
            r#"the service account may not update configmaps "lock" in namespace "mon": grant apiGroups [""] resources ["configmaps"] verbs ["update"]"#
        );
    }

    #[test]
    fn each_status_leads_to_its_next_step() {
        type Check = fn(&Cause) -> bool;
        let cases: [(u16, &str, Check); 12] = [
            (401, "{}", |cause| matches!(cause, Cause::Unauthorized { .. })),
            (403, "{}", |cause| matches!(cause, Cause::Forbidden { .. })),
            (404, "404 page not found", |cause| matches!(cause, Cause::NotFound)),
            (409, "{}", |cause| matches!(cause, Cause::Conflict { .. })),
            (410, "{}", |cause| matches!(cause, Cause::Gone { .. })),
            (400, r#"{"reason":"Expired"}"#, |cause| matches!(cause, Cause::Gone { .. })),
            (504, r#"{"message":"Timeout: Too large resource version: 9, current: 4"}"#, |cause| {
                matches!(cause, Cause::Gone { .. })
            }),
            (429, "{}", |cause| cause.retry_after() == Some(Duration::from_secs(7))),
            (503, r#"{"details":{"retryAfterSeconds":2}}"#, |cause| {
                cause.retry_after() == Some(Duration::from_secs(2))
            }),
            (500, r#"{"message":null,"details":null}"#, |cause| {
                matches!(cause, Cause::Unavailable { status: 500, .. })
            }),
            (422, "{}", |cause| matches!(cause, Cause::Rejected { status: 422, .. })),
            (302, "", |cause| matches!(cause, Cause::Rejected { status: 302, .. })),
        ];
        for (code, body, expected) in cases {
            let error = error(Verb::Get, Target::of::<Node>(), code, body);
            assert!(expected(&error.cause), "{code} {body} gave {:?}", error.cause);
        }
    }

    #[test]
    fn other_failures_name_what_was_tried() {
        let missing = error(Verb::List, Target::of::<EndpointSlice>(), 404, "");
        assert_eq!(missing.to_string(), "cannot list endpointslices: not found (404)");
        assert_eq!(
            missing.remedy().as_deref(),
            Some("serve /apis/discovery.k8s.io/v1 with resource endpointslices")
        );
        let hung = Error::new(
            Verb::Get,
            &Target::of::<Node>().named("n1"),
            ureq::Error::Timeout(ureq::Timeout::Global).into(),
        );
        assert_eq!(hung.to_string(), r#"cannot get nodes "n1": no answer in time (global)"#);
    }

    #[test]
    fn a_servers_message_cannot_flood_or_forge_the_log() {
        let long = shortened("ä\n".repeat(5000));
        assert!(long.len() <= MESSAGE_LIMIT + '…'.len_utf8());
        assert!(!long.contains('\n'));
    }
}
