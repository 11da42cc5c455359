//! What a handler takes and gives: a whole request in memory, and a response in `tiny_http`'s vocabulary.

use std::borrow::Cow;
use std::io::{self, Cursor, Read};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use serde::Serialize;
use tiny_http::{Header, Method, StatusCode};

/// A response whose body is in memory.
pub type Response = tiny_http::Response<Body>;

/// Answers requests; called from many connection threads at once, and expected to return within a second.
pub trait Handler: Send + Sync {
    /// The answer to one request. A panic here costs the connection and is answered with 500.
    fn handle(&self, request: &Request) -> Response;
}

/// One request, complete with its body (bounded by the server's limits).
#[derive(Clone, Debug)]
pub struct Request {
    /// The method as sent; HEAD arrives as GET, and the server leaves the body of the answer out.
    pub method: Method,
    /// The request target as sent: path and query, not decoded.
    pub target: String,
    /// Header fields in the order of their arrival, names as sent; values are trimmed and free of CR, LF and NUL.
    pub headers: Vec<(String, String)>,
    /// The body, empty when there was none.
    pub body: Vec<u8>,
    /// The peer's address.
    pub peer: SocketAddr,
    /// The peer's certificates, its own first, where the listener asks for them and the peer sent some. The peer has
    /// the key of the first one; what else is known of them is up to the verifier of the listener's TLS settings.
    pub certificate: Option<Arc<[CertificateDer<'static>]>>,
}

/// A body that is owned by the response or shared with a cache.
#[derive(Debug)]
pub enum Body {
    /// Made for this response.
    Owned(Cursor<Vec<u8>>),
    /// Kept elsewhere and sent many times; nothing is copied before the socket.
    Shared(Cursor<Arc<[u8]>>),
}

impl Request {
    /// The path part of the target, not decoded.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The query part of the target without the `?`, not decoded; empty when there is none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The percent-decoded path segments; repeated slashes are one (spec node-api §1.5), and bytes that are not UTF-8
    /// become replacement characters, which match no route and no object.
    pub fn segments(&self) -> Vec<Cow<'_, str>> {
        self.path().split('/').filter(|segment| !segment.is_empty()).map(percent_decoded).collect()
    }

    /// The decoded values of a query parameter, in order.
    pub fn query_values(&self, name: &str) -> Vec<String> {
        let pairs = self.query().split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(|(key, _)| percent_decoded(&key.replace('+', " ")) == name)
            .map(|(_, value)| percent_decoded(&value.replace('+', " ")).into_owned())
            .collect()
    }

    /// The first header of this name, compared without case; `None` when absent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A text answer in the style of Go's `http.Error`: the message, a line feed, and `nosniff` (spec node-api §1.5).
pub fn text(status: u16, message: &str) -> Response {
    let body = format!("{message}\n").into_bytes();
    owned(status, "text/plain; charset=utf-8", body)
        .with_header(header("X-Content-Type-Options", "nosniff"))
}

/// A JSON answer; the value is serialised without a line feed at the end.
pub fn json(status: u16, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => owned(status, "application/json", body),
        // Only a map with non-text keys or a failing Serialize gets here; both are faults of ours, not of the peer.
        Err(error) => text(500, &format!("the answer could not be encoded: {error}")),
    }
}

/// An answer from bytes made for it.
pub fn owned(status: u16, content_type: &str, body: Vec<u8>) -> Response {
    let length = body.len();
    response(status, content_type, Body::Owned(Cursor::new(body)), length)
}

/// An answer from bytes that a cache keeps.
pub fn shared(status: u16, content_type: &str, body: Arc<[u8]>) -> Response {
    let length = body.len();
    response(status, content_type, Body::Shared(Cursor::new(body)), length)
}

/// A header field.
///
/// # Panics
/// When the name or value is not ASCII or holds CR, LF or NUL; values that a peer can influence go through
/// [`try_header`].
pub fn header(name: &str, value: &str) -> Header {
    try_header(name, value).expect("the program's own header fields are plain ASCII")
}

/// A header field from text that a peer can influence; `None` where it must not go on the wire.
pub fn try_header(name: &str, value: &str) -> Option<Header> {
    if value.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) {
        return None;
    }
    Header::from_bytes(name.as_bytes(), value.as_bytes()).ok()
}

/// Decodes `%XX`; text without an escape is passed through, and a malformed escape stays as it is.
pub fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escape = (byte == b'%' && tail.len() >= 2)
            .then(|| Some(hex(tail[0])? << 4 | hex(tail[1])?))
            .flatten();
        decoded.push(escape.unwrap_or(byte));
        rest = if escape.is_some() { &tail[2..] } else { tail };
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// Encodes everything outside RFC 3986's unreserved set as `%XX`, so that the text can stand as one value in a URL.
pub fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len() + text.len() / 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn response(status: u16, content_type: &str, body: Body, length: usize) -> Response {
    let headers = vec![header("Content-Type", content_type)];
    tiny_http::Response::new(StatusCode(status), headers, body, Some(length), None)
}

impl Body {
    /// What is left of the body.
    pub fn bytes(&self) -> &[u8] {
        let (bytes, position) = match self {
            Body::Owned(cursor) => (cursor.get_ref().as_slice(), cursor.position()),
            Body::Shared(cursor) => (cursor.get_ref().as_ref(), cursor.position()),
        };
        usize::try_from(position)
            .ok()
            .and_then(|position| bytes.get(position..))
            .unwrap_or_default()
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Body::Owned(bytes) => bytes.read(buffer),
            Body::Shared(bytes) => bytes.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str) -> Request {
        Request {
            method: Method::Get,
            target: target.to_owned(),
            headers: vec![("X-Real-Ip".to_owned(), "10.0.0.1".to_owned())],
            body: Vec::new(),
            peer: ([127, 0, 0, 1], 1).into(),
            certificate: None,
        }
    }

    #[test]
    fn segments_are_decoded_and_empty_ones_dropped() {
        let request = request("//api/v1/tags/node/node%2Fa%zz?x=/y");
        assert_eq!(request.segments(), ["api", "v1", "tags", "node", "node/a%zz"]);
        assert_eq!(request.query(), "x=/y");
    }

    #[test]
    fn query_values_are_decoded_and_repeatable() {
        let request = request("/annotations?filter=a%2Fb&other=1&filter=c+d&filter");
        assert_eq!(request.query_values("filter"), ["a/b", "c d", ""]);
    }

    #[test]
    fn header_names_compare_without_case() {
        assert_eq!(request("/").header("x-real-ip"), Some("10.0.0.1"));
    }

    #[test]
    fn a_value_with_a_line_break_is_no_header() {
        assert!(try_header("Location", "a\r\nSet-Cookie: b").is_none());
        assert!(try_header("Location", "a b").is_some());
    }
}
