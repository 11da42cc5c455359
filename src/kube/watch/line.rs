//! The lines of a watch: cutting them from the stream, within a bound, and telling what they say.

use std::io::{self, BufRead, BufReader, Read};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::kube::client::OBJECT_LIMIT;
use crate::kube::error::Status;
use crate::kube::objects::null_as_default;

/// Longest line that is kept: an object and its type.
const LINE_LIMIT: usize = OBJECT_LIMIT + 1024;

/// A longer line gives its buffer back, so that one huge object does not stay for ever.
const KEEP: usize = 64 << 10;

/// Reads line by line and remembers half a line when a read ends without one.
pub(super) struct Lines<R> {
    stream: BufReader<R>,
    line: Vec<u8>,
    /// Bytes of a line that is too long, dropped so far.
    dropped: usize,
    complete: bool,
}

/// What the stream gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A line without its end.
    Line(&'a [u8]),
    /// A line that is too long to be an object; its size in bytes.
    TooLong(usize),
    /// The stream has ended. Bytes after the last line end are part of an event and are dropped.
    End,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// An object has changed; [`object`] reads it.
    Changed {
        /// How.
        change: Change,
        /// The version after the change.
        version: String,
    },
    /// Nothing has changed up to this version.
    Bookmark {
        /// The version.
        version: String,
    },
    /// The watch has failed and the server is about to end it.
    Failed(Status),
    /// A type that no server sends today.
    Unknown(String),
}

/// How an object has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Added,
    Modified,
    Deleted,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(stream: R) -> Self {
        let stream = BufReader::with_capacity(16 << 10, stream);
        Self { stream, line: Vec::new(), dropped: 0, complete: true }
    }

    /// The next line. After an error the stream may be read again: nothing of it is lost.
    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        if std::mem::take(&mut self.complete) {
            self.line.clear();
            self.line.shrink_to(KEEP);
            self.dropped = 0;
        }
        loop {
            let input = match self.stream.fill_buf() {
                Ok(input) => input,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if input.is_empty() {
                return Ok(Next::End);
            }
            let end = input.iter().position(|&byte| byte == b'\n');
            let piece = &input[..end.unwrap_or(input.len())];
            if self.dropped > 0 || self.line.len() + piece.len() > LINE_LIMIT {
                self.dropped += self.line.len() + piece.len();
                self.line.clear();
            } else {
                self.line.extend_from_slice(piece);
            }
            let used = piece.len() + usize::from(end.is_some());
            self.stream.consume(used);
            if end.is_some() {
                self.complete = true;
                return Ok(match self.dropped {
                    0 => Next::Line(&self.line),
                    size => Next::TooLong(size),
                });
            }
        }
    }
}

/// Tells what a line says, without reading the object in it.
pub(super) fn parse(line: &[u8]) -> serde_json::Result<Line> {
    #[derive(Deserialize)]
    struct Frame {
        #[serde(rename = "type")]
        kind: String,
        object: Head,
    }
    #[derive(Deserialize)]
    struct Head {
        #[serde(default, deserialize_with = "null_as_default")]
        metadata: Version,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Version {
        #[serde(rename = "resourceVersion", deserialize_with = "null_as_default")]
        version: String,
    }
    let Frame { kind, object } = serde_json::from_slice(line)?;
    let version = object.metadata.version;
    let change = match kind.as_str() {
        "ADDED" => Change::Added,
        "MODIFIED" => Change::Modified,
        "DELETED" => Change::Deleted,
        "BOOKMARK" => return Ok(Line::Bookmark { version }),
        "ERROR" => return self::object(line).map(Line::Failed),
        _ => return Ok(Line::Unknown(kind)),
    };
    Ok(Line::Changed { change, version })
}

/// Reads the object in a line.
pub(super) fn object<T: DeserializeOwned>(line: &[u8]) -> serde_json::Result<T> {
    #[derive(Deserialize)]
    struct Frame<T> {
        object: T,
    }
    serde_json::from_slice(line).map(|Frame { object }| object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::objects::Node;

    /// Gives one piece per read, and a failed read for an empty piece.
    struct Pieces(Vec<Vec<u8>>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            if piece.is_empty() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    #[test]
    fn lines_are_whole_wherever_the_reads_end_or_fail() {
        let text = b"{\"a\":1}\n{\"b\":2}\nhalf";
        for size in 1..text.len() {
            let pieces = text.chunks(size).flat_map(|piece| [piece.to_vec(), Vec::new()]).collect();
            let mut lines = Lines::new(Pieces(pieces));
            let mut seen = Vec::new();
            loop {
                match lines.next() {
                    Ok(Next::Line(line)) => seen.push(String::from_utf8_lossy(line).into_owned()),
                    Ok(Next::TooLong(_)) => seen.push("too long".to_owned()),
                    Ok(Next::End) => break,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
                }
            }
            assert_eq!(seen, [r#"{"a":1}"#, r#"{"b":2}"#], "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_read() {
        let mut text = vec![b'x'; LINE_LIMIT + 1];
        text.extend_from_slice(b"\nnext\n");
        let mut lines = Lines::new(text.as_slice());
        assert_eq!(lines.next().expect("memory reads"), Next::TooLong(LINE_LIMIT + 1));
        assert_eq!(lines.next().expect("memory reads"), Next::Line(b"next"));
        assert_eq!(lines.next().expect("memory reads"), Next::End);
    }

    #[test]
    fn types_versions_and_failures_are_told_apart() {
        let changed = |change| Line::Changed { change, version: "9".to_owned() };
        for (line, expected) in [
            (
                r#"{"type":"ADDED","object":{"metadata":{"resourceVersion":"9"}}}"#,
                changed(Change::Added),
            ),
            (
                r#"{"object":{"metadata":{"resourceVersion":"9"}},"type":"MODIFIED"}"#,
                changed(Change::Modified),
            ),
            (
                r#"{"type":"DELETED","object":{"metadata":{"resourceVersion":"9"}}}"#,
                changed(Change::Deleted),
            ),
            (
                r#"{"type":"BOOKMARK","object":{"kind":"Node","metadata":{"resourceVersion":"10","creationTimestamp":null}}}"#,
                Line::Bookmark { version: "10".to_owned() },
            ),
            (
                r#"{"type":"ERROR","object":{"kind":"Status","metadata":{},"status":"Failure","reason":"Expired","code":410}}"#,
                Line::Failed(Status {
                    code: 410,
                    reason: "Expired".to_owned(),
                    ..Status::default()
                }),
            ),
            (r#"{"type":"NEWS","object":{}}"#, Line::Unknown("NEWS".to_owned())),
        ] {
            assert_eq!(parse(line.as_bytes()).expect("the line is whole"), expected, "{line}");
        }
        for garbage in ["", "{", "[]", "null", r#"{"type":"ADDED"}"#, r#"{"object":{}}"#] {
            assert!(parse(garbage.as_bytes()).is_err(), "{garbage}");
        }
    }

    #[test]
    fn an_object_is_read_apart_from_its_line() {
        let line = br#"{"type":"ADDED","object":{"metadata":{"name":"n1"}}}"#;
        assert_eq!(object::<Node>(line).expect("a node").metadata.name, "n1");
        let bad = br#"{"type":"ADDED","object":{"metadata":{"name":3,"resourceVersion":"9"}}}"#;
        assert!(object::<Node>(bad).is_err() && parse(bad).is_ok());
    }
}
