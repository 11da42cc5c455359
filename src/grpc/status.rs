//! Status codes and how they travel in header fields.

use std::borrow::Cow;
use std::fmt::Write as _;

/// How a call ended, by the numbers of the gRPC protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// It succeeded.
    Ok = 0,
    /// The request makes no sense whatever the state of the server.
    InvalidArgument = 3,
    /// The time for it ran out.
    DeadlineExceeded = 4,
    /// What was asked for does not exist.
    NotFound = 5,
    /// The caller is known and may not do this.
    PermissionDenied = 7,
    /// A bound is reached.
    ResourceExhausted = 8,
    /// The method does not exist here; node Agents fall back to polling on it.
    Unimplemented = 12,
    /// A fault of the server or of the message.
    Internal = 13,
    /// Not now; a retry may succeed.
    Unavailable = 14,
    /// The caller is not known.
    Unauthenticated = 16,
}

/// A code with a message for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The code.
    pub code: Code,
    /// One sentence; empty for success.
    pub message: Cow<'static, str>,
}

impl Status {
    /// Success.
    pub const OK: Status = Status { code: Code::Ok, message: Cow::Borrowed("") };

    /// A code with its message.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// The header fields `grpc-status` and, unless it is empty, `grpc-message`.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("grpc-status", (self.code as u8).to_string())];
        if !self.message.is_empty() {
            fields.push(("grpc-message", percent_encoded(&self.message)));
        }
        fields
    }
}

/// Messages are UTF-8 with everything but printable ASCII, and the percent sign itself, escaped.
fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_escaped() {
        let status = Status::new(Code::Unavailable, "50 % für\nalle");
        assert_eq!(
            status.fields(),
            [
                ("grpc-status", "14".to_owned()),
                ("grpc-message", "50 %25 f%C3%BCr%0Aalle".to_owned()),
            ]
        );
        assert_eq!(Status::OK.fields(), [("grpc-status", "0".to_owned())]);
    }
}
