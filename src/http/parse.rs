//! Reads request heads and chunked bodies from bytes; strict where leniency would let two readers disagree.
//!
//! `httparse` splits the head; what is decided here is which requests are refused (spec node-api §1.5): a bare line
//! feed, a missing or repeated `Host`, a repeated or malformed `Content-Length`, one beside `Transfer-Encoding`, and any
//! transfer coding but `chunked`.

use std::str::FromStr;

use tiny_http::Method;

use super::limits::{Limits, MAXIMUM_HEADERS};

/// A line of a chunked body (size and extensions, or one trailer field) may be this long.
const MAXIMUM_CHUNK_LINE: usize = 1024;
/// Trailer fields are read and dropped; more of them are refused.
const MAXIMUM_TRAILERS: usize = 32;

/// A request without its body.
#[derive(Debug, PartialEq)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: BodyLength,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// Whether the client wants to send another request on this connection.
    pub(super) keep_alive: bool,
    /// Whether the client speaks HTTP/1.0, where keeping the connection is the exception.
    pub(super) http_1_0: bool,
    /// Bytes of the head, up to and with the empty line.
    pub(super) length: usize,
}

/// How the end of the body is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum BodyLength {
    /// Known beforehand; 0 without a body.
    Fixed(usize),
    /// Told by the chunks.
    Chunked,
}

/// Why a request is refused; the connection is closed after the answer, because its end is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) reason: &'static str,
}

/// Reads a head from the start of `bytes`; `None` when its end is not there yet.
pub(super) fn head(bytes: &[u8], limits: &Limits) -> Result<Option<Head>, Refusal> {
    let mut slots = [httparse::EMPTY_HEADER; MAXIMUM_HEADERS];
    let mut request = httparse::Request::new(&mut slots[..limits.headers.min(MAXIMUM_HEADERS)]);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= limits.head => length,
        Ok(httparse::Status::Partial) if bytes.len() < limits.head => return Ok(None),
        Ok(_) => return Err(refuse(431, "the request head is too large")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(refuse(431, "the request has too many header fields"));
        }
        Err(httparse::Error::Version) => return Err(refuse(400, "malformed HTTP version")),
        Err(_) => return Err(refuse(400, "malformed request")),
    };
    if has_bare_line_feed(&bytes[..length]) {
        return Err(refuse(400, "a line ends without a carriage return"));
    }
    let http_1_0 = request.version == Some(0);
    let method = Method::from_str(request.method.unwrap_or_default())
        .map_err(|()| refuse(400, "malformed method"))?;
    let target = origin_form(request.path.unwrap_or_default())?;
    let mut fields = Fields::default();
    for header in request.headers.iter() {
        fields.take(header.name, header.value)?;
    }
    if fields.hosts == 0 && !http_1_0 {
        return Err(refuse(400, "missing Host header"));
    }
    Ok(Some(Head {
        method,
        target,
        body: fields.body_length(http_1_0, limits.body)?,
        expects_continue: fields.expects_continue && !http_1_0,
        keep_alive: if http_1_0 { fields.keep_alive } else { !fields.close },
        http_1_0,
        headers: request
            .headers
            .iter()
            .map(|header| {
                (header.name.to_owned(), String::from_utf8_lossy(header.value).trim().to_owned())
            })
            .collect(),
        length,
    }))
}

/// The header fields that steer the connection.
#[derive(Default)]
struct Fields<'a> {
    hosts: usize,
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
    expects_continue: bool,
    close: bool,
    keep_alive: bool,
}

impl<'a> Fields<'a> {
    fn take(&mut self, name: &str, value: &'a [u8]) -> Result<(), Refusal> {
        if name.eq_ignore_ascii_case("host") {
            self.hosts += 1;
            if self.hosts > 1 {
                return Err(refuse(400, "more than one Host header"));
            }
        } else if name.eq_ignore_ascii_case("content-length") {
            if self.length.replace(value).is_some() {
                return Err(refuse(400, "more than one Content-Length header"));
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if self.coding.replace(value).is_some() {
                return Err(refuse(400, "more than one Transfer-Encoding header"));
            }
        } else if name.eq_ignore_ascii_case("expect") {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(refuse(417, "unknown expectation"));
            }
            self.expects_continue = true;
        } else if name.eq_ignore_ascii_case("connection") {
            for option in value.split(|byte| *byte == b',') {
                self.close |= option.trim_ascii().eq_ignore_ascii_case(b"close");
                self.keep_alive |= option.trim_ascii().eq_ignore_ascii_case(b"keep-alive");
            }
        }
        Ok(())
    }

    fn body_length(&self, http_1_0: bool, maximum: usize) -> Result<BodyLength, Refusal> {
        match (self.length, self.coding) {
            (None, None) => Ok(BodyLength::Fixed(0)),
            (Some(_), Some(_)) => {
                Err(refuse(400, "both Content-Length and Transfer-Encoding are given"))
            }
            (Some(length), None) => Ok(BodyLength::Fixed(content_length(length, maximum)?)),
            (None, Some(_)) if http_1_0 => {
                Err(refuse(400, "Transfer-Encoding is not part of HTTP/1.0"))
            }
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(BodyLength::Chunked)
            }
            (None, Some(_)) => Err(refuse(501, "unknown transfer coding")),
        }
    }
}

/// A declared length. It may have more digits than any number of ours, and is then too large all the same.
fn content_length(value: &[u8], maximum: usize) -> Result<usize, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(refuse(400, "malformed Content-Length"));
    }
    let length = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
    length.filter(|length| *length <= maximum).ok_or(BODY_TOO_LARGE)
}

const BODY_TOO_LARGE: Refusal = Refusal { status: 413, reason: "the request body is too large" };

/// The path and query of a target; a proxy's `http://host/path` is accepted, as every server has to.
fn origin_form(target: &str) -> Result<String, Refusal> {
    if target.starts_with('/') || target == "*" {
        return Ok(target.to_owned());
    }
    let scheme = ["http://", "https://"].into_iter().find(|scheme| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let Some(scheme) = scheme else { return Err(refuse(400, "malformed request target")) };
    let rest = &target[scheme.len()..];
    Ok(rest.find('/').map_or("/", |slash| &rest[slash..]).to_owned())
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    head.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || head[at - 1] != b'\r'))
}

fn refuse(status: u16, reason: &'static str) -> Refusal {
    Refusal { status, reason }
}

/// Decodes a chunked body piece by piece; extensions and trailers are allowed and dropped.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    maximum: usize,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// A size line comes next.
    Size,
    /// So many bytes of the chunk are still to come.
    Data(usize),
    /// The line end after a chunk's data comes next.
    DataEnd,
    /// After the last chunk: trailer fields, then an empty line.
    Trailers,
    /// The body is complete.
    Done,
}

impl Chunks {
    /// A decoder for a body of at most `maximum` bytes.
    pub(super) fn new(maximum: usize) -> Self {
        Self { state: State::Size, maximum, trailers: 0 }
    }

    /// Whether the body is complete.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Moves what can be decoded from the start of `input` to the end of `body`. What is left in `input` is an
    /// unfinished line, or belongs to the next request once the body is complete.
    pub(super) fn decode(
        &mut self,
        input: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let mut rest = &input[..];
        loop {
            let line = match self.state {
                State::Done => break,
                State::Data(left) => {
                    let (data, after) = rest.split_at(left.min(rest.len()));
                    body.extend_from_slice(data);
                    rest = after;
                    if data.len() < left {
                        self.state = State::Data(left - data.len());
                        break;
                    }
                    self.state = State::DataEnd;
                    continue;
                }
                State::Size | State::DataEnd | State::Trailers => {
                    let Some((line, after)) = line(rest)? else { break };
                    rest = after;
                    line
                }
            };
            self.state = self.after_line(line, body.len())?;
        }
        let taken = input.len() - rest.len();
        input.drain(..taken);
        Ok(())
    }

    fn after_line(&mut self, line: &[u8], received: usize) -> Result<State, Refusal> {
        match self.state {
            State::Size => match chunk_size(line)? {
                0 => Ok(State::Trailers),
                size if size > self.maximum - received => Err(BODY_TOO_LARGE),
                size => Ok(State::Data(size)),
            },
            State::DataEnd if line.is_empty() => Ok(State::Size),
            State::DataEnd => Err(refuse(400, "a chunk is longer than its size")),
            _ if line.is_empty() => Ok(State::Done),
            _ if self.trailers == MAXIMUM_TRAILERS => Err(refuse(431, "too many trailer fields")),
            _ => {
                self.trailers += 1;
                Ok(State::Trailers)
            }
        }
    }
}

/// A line, and what follows it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// Splits off a line without its CR LF; `None` when it is not complete yet.
fn line(bytes: &[u8]) -> Result<Option<Split<'_>>, Refusal> {
    let window = &bytes[..bytes.len().min(MAXIMUM_CHUNK_LINE)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        let full = window.len() == MAXIMUM_CHUNK_LINE;
        return if full { Err(refuse(400, "a line of the body is too long")) } else { Ok(None) };
    };
    let line = bytes[..end]
        .strip_suffix(b"\r")
        .ok_or(refuse(400, "a line of the body ends without a carriage return"))?;
    Ok(Some((line, &bytes[end + 1..])))
}

/// The size of a chunk in hexadecimal digits, before any extension. A size that no number of ours can hold is too
/// large all the same.
fn chunk_size(line: &[u8]) -> Result<usize, Refusal> {
    let end = line.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t'));
    let (digits, extension) = line.split_at(end.unwrap_or(line.len()));
    let extension = extension.trim_ascii_start();
    if digits.is_empty()
        || !digits.iter().all(u8::is_ascii_hexdigit)
        || !(extension.is_empty() || extension.starts_with(b";"))
    {
        return Err(refuse(400, "malformed chunk size"));
    }
    let digits = std::str::from_utf8(digits).unwrap_or_default();
    usize::from_str_radix(digits, 16).map_err(|_| BODY_TOO_LARGE)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
