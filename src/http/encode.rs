//! Writes responses: status line, header fields, `Date`, `Content-Length` and what becomes of the connection.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::SystemTime;

use super::date::header_date;
use super::message::Response;

/// Bodies up to this size are copied behind the head, for one write and one TLS record; larger ones are sent from
/// where they are.
const JOINED_BODY: usize = 16 << 10;

/// What a response has to say besides its own content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Leave the body out, as the answer to HEAD; its length is still told.
    pub(super) head_only: bool,
    /// Announce that the connection ends after this response.
    pub(super) close: bool,
    /// The request was HTTP/1.0 with `keep-alive`, whose client has to be told that it is granted.
    pub(super) keep_alive_1_0: bool,
}

/// Writes one response. A header field that would break the message apart is left out and logged: a name or value
/// with control characters can only come from a fault of ours.
pub(super) fn write(response: Response, manner: Manner, writer: &mut impl Write) -> io::Result<()> {
    let status = response.status_code();
    let mut head = format!("HTTP/1.1 {} {}\r\n", status.0, status.default_reason_phrase());
    for field in response.headers() {
        let (name, value) = (field.field.as_str().as_str(), field.value.as_str());
        if [name, value].iter().any(|text| text.bytes().any(|byte| byte < 0x20 || byte == 0x7f)) {
            log::error!("response header {name:?} is left out because it holds control characters");
            continue;
        }
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "Date: {}\r\n", header_date(SystemTime::now()));
    if manner.close {
        head.push_str("Connection: close\r\n");
    } else if manner.keep_alive_1_0 {
        head.push_str("Connection: keep-alive\r\n");
    }
    let body = response.into_reader();
    let has_body = !matches!(status.0, 100..200 | 204 | 304);
    let bytes = if has_body { body.bytes() } else { &[] };
    if has_body {
        let _ = write!(head, "Content-Length: {}\r\n", bytes.len());
    }
    head.push_str("\r\n");
    let mut message = head.into_bytes();
    let bytes = if manner.head_only { &[] } else { bytes };
    if bytes.len() <= JOINED_BODY {
        message.extend_from_slice(bytes);
        writer.write_all(&message)?;
    } else {
        writer.write_all(&message)?;
        writer.write_all(bytes)?;
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::message::{header, owned, shared, text};

    const PLAIN: Manner = Manner { head_only: false, close: false, keep_alive_1_0: false };

    fn written(response: Response, manner: Manner) -> String {
        let mut bytes = Vec::new();
        write(response, manner, &mut bytes).expect("a vector takes everything");
        String::from_utf8(bytes).expect("the test bodies are text")
    }

    #[test]
    fn a_text_answer_has_its_fields_and_length() {
        let text = written(text(404, "404 page not found"), PLAIN);
        let (head, body) = text.split_once("\r\n\r\n").expect("an empty line ends the head");
        assert!(
            head.starts_with(
                "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n"
            )
        );
        assert!(head.contains("\r\nX-Content-Type-Options: nosniff\r\n"));
        assert!(head.contains("\r\nDate: "));
        assert!(head.ends_with("\r\nContent-Length: 19"));
        assert!(!head.contains("Connection"));
        assert_eq!(body, "404 page not found\n");
    }

    #[test]
    fn an_answer_to_head_tells_the_length_of_what_it_leaves_out() {
        let text = written(text(200, "ok"), Manner { head_only: true, close: true, ..PLAIN });
        assert!(text.contains("\r\nConnection: close\r\n"));
        assert!(text.ends_with("Content-Length: 3\r\n\r\n"));
    }

    #[test]
    fn an_answer_without_content_has_no_length() {
        let text = written(owned(204, "text/plain", Vec::new()), PLAIN);
        assert!(!text.contains("Content-Length"));
    }

    #[test]
    fn a_large_shared_body_is_complete() {
        let body: Arc<[u8]> = vec![b'x'; 3 * JOINED_BODY].into();
        let text = written(shared(200, "text/plain", body), PLAIN);
        assert!(text.ends_with(&format!("\r\n\r\n{}", "x".repeat(3 * JOINED_BODY))));
    }

    #[test]
    fn a_value_with_a_line_break_is_left_out() {
        let mut field = header("X-A", "1");
        field.value = ascii("1\r\nX-B: 2");
        let text = written(owned(200, "text/plain", Vec::new()).with_header(field), PLAIN);
        assert!(!text.contains("X-A") && !text.contains("X-B"), "{text}");
    }

    /// The vocabulary's text type, which is not named in this crate's dependencies.
    fn ascii<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("the text is ASCII")
    }
}
