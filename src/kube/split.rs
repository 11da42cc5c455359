//! Cuts the JSON of a list into its items while it arrives, so that one object is in memory at a time.
//!
//! The scanner follows strings and brackets only; each item is then parsed on its own from one piece of memory. That is
//! twice as fast as a parser that reads the whole stream byte by byte (55 MB of pods: 0.15 s against 0.32 s), a bad
//! item costs only itself, and the size of each is bounded. Everything outside `items` is kept (and bounded) as the
//! envelope: it holds the version and the continue token, before or after the items.

use super::client::OBJECT_LIMIT;

/// Envelope of a list: names, a version and a continue token, which holds a key and is under 1 KiB.
pub(super) const ENVELOPE_LIMIT: usize = 64 << 10;

/// Items larger than this give their buffer back, so that one huge object does not stay for ever.
const KEEP: usize = 64 << 10;

/// Position in a list that arrives piece by piece.
#[derive(Debug, Default)]
pub struct Splitter {
    depth: u32,
    in_string: bool,
    escaped: bool,
    in_items: bool,
    in_item: bool,
    key: Vec<u8>,
    item: Vec<u8>,
    skipped: usize,
    envelope: Vec<u8>,
}

/// One item of a list.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Its JSON.
    Whole(&'a [u8]),
    /// It exceeds [`OBJECT_LIMIT`]; its size in bytes.
    TooLarge(usize),
}

/// What is wrong with the list as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// What is not an item exceeds its limit.
    EnvelopeTooLarge,
    /// The text ended within the list.
    Unfinished,
}

impl Splitter {
    /// Takes the next bytes and hands out the items that end in them.
    pub fn feed(&mut self, chunk: &[u8], mut found: impl FnMut(Item<'_>)) -> Result<(), Problem> {
        // First byte of the chunk that belongs to what is being collected now.
        let mut start = 0;
        for (position, &byte) in chunk.iter().enumerate() {
            if self.in_string {
                self.string_byte(byte);
                continue;
            }
            match byte {
                b'"' => {
                    self.in_string = true;
                    if self.depth == 1 {
                        self.key.clear();
                    }
                }
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.in_items && self.depth == 3 && byte == b'{' {
                        self.in_item = true;
                        start = position;
                    } else if self.depth == 2 && byte == b'[' && self.key == b"items" {
                        self.keep_envelope(&chunk[start..=position])?;
                        self.in_items = true;
                    }
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.in_item && self.depth == 2 {
                        self.end_item(&chunk[start..=position], &mut found);
                    } else if self.in_items && self.depth == 1 {
                        self.in_items = false;
                        start = position;
                    }
                }
                _ => {}
            }
        }
        if self.in_item {
            self.keep_item(&chunk[start..]);
        } else if !self.in_items {
            self.keep_envelope(&chunk[start..])?;
        }
        Ok(())
    }

    /// What was around the items, with `items` left empty.
    pub fn finish(self) -> Result<Vec<u8>, Problem> {
        if self.depth > 0 || self.in_string {
            return Err(Problem::Unfinished);
        }
        Ok(self.envelope)
    }

    fn string_byte(&mut self, byte: u8) {
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.in_string = false;
            return;
        }
        // Long enough to tell `items` from every other key.
        if self.depth == 1 && self.key.len() <= b"items".len() {
            self.key.push(byte);
        }
    }

    fn keep_envelope(&mut self, piece: &[u8]) -> Result<(), Problem> {
        if self.envelope.len() + piece.len() > ENVELOPE_LIMIT {
            return Err(Problem::EnvelopeTooLarge);
        }
        self.envelope.extend_from_slice(piece);
        Ok(())
    }

    fn keep_item(&mut self, piece: &[u8]) {
        if self.skipped > 0 || self.item.len() + piece.len() > OBJECT_LIMIT {
            self.skipped += self.item.len() + piece.len();
            self.item.clear();
        } else {
            self.item.extend_from_slice(piece);
        }
    }

    fn end_item(&mut self, last: &[u8], found: &mut impl FnMut(Item<'_>)) {
        self.in_item = false;
        if self.item.is_empty() && self.skipped == 0 && last.len() <= OBJECT_LIMIT {
            // The usual case of a small object within one read: no copy.
            return found(Item::Whole(last));
        }
        self.keep_item(last);
        match std::mem::take(&mut self.skipped) {
            0 => found(Item::Whole(&self.item)),
            size => found(Item::TooLarge(size)),
        }
        self.item.clear();
        self.item.shrink_to(KEEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The items and the envelope of `json` when it arrives in pieces of `size` bytes.
    fn split(json: &str, size: usize) -> (Vec<String>, Result<String, Problem>) {
        let mut splitter = Splitter::default();
        let mut items = Vec::new();
        for chunk in json.as_bytes().chunks(size) {
            let fed = splitter.feed(chunk, |item| {
                items.push(match item {
                    Item::Whole(json) => String::from_utf8_lossy(json).into_owned(),
                    Item::TooLarge(size) => format!("{size} bytes"),
                });
            });
            if let Err(problem) = fed {
                return (items, Err(problem));
            }
        }
        let envelope = splitter.finish();
        (items, envelope.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    #[test]
    fn items_and_envelope_are_the_same_wherever_the_reads_end() {
        let cases: [(&str, &[&str], &str); 7] = [
            (
                r#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[{"a":1},{"b":{"c":[2,{}]}}]}"#,
                &[r#"{"a":1}"#, r#"{"b":{"c":[2,{}]}}"#],
                r#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[]}"#,
            ),
            (
                r#"{ "items" : [ {"a":"}]\"{"} , {"b":"\\"} ] , "metadata":{"continue":"[x"}}"#,
                &[r#"{"a":"}]\"{"}"#, r#"{"b":"\\"}"#],
                r#"{ "items" : [] , "metadata":{"continue":"[x"}}"#,
            ),
            (r#"{"items":null,"x":1}"#, &[], r#"{"items":null,"x":1}"#),
            (r#"{"items":[]}"#, &[], r#"{"items":[]}"#),
            (
                r#"{"kind":"items","other":[{"a":1}],"itemsx":[{}],"meta":{"items":[{}]}}"#,
                &[],
                r#"{"kind":"items","other":[{"a":1}],"itemsx":[{}],"meta":{"items":[{}]}}"#,
            ),
            (r#"{"items":[null,1,"{",[{"a":1}],{"b":1}]}"#, &[r#"{"b":1}"#], r#"{"items":[]}"#),
            ("<html>", &[], "<html>"),
        ];
        for (json, items, envelope) in cases {
            for size in 1..=json.len() {
                let found = split(json, size);
                assert_eq!(found.0, items, "{json} in pieces of {size}");
                assert_eq!(found.1.as_deref(), Ok(envelope), "{json} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_cut_list_is_not_a_list() {
        let json = r#"{"items":[{"a":1}],"metadata":{"resourceVersion":"7"}}"#;
        for end in 1..json.len() {
            assert_eq!(split(&json[..end], 5).1, Err(Problem::Unfinished), "cut at {end}");
        }
    }

    #[test]
    fn a_huge_item_costs_only_itself() {
        let huge = "x".repeat(OBJECT_LIMIT);
        let json = format!(r#"{{"items":[{{"a":"{huge}"}},{{"b":1}}]}}"#);
        let size = format!("{} bytes", OBJECT_LIMIT + r#"{"a":""}"#.len());
        for pieces in [64 << 10, json.len()] {
            assert_eq!(split(&json, pieces).0, [size.as_str(), r#"{"b":1}"#]);
        }
    }

    #[test]
    fn an_endless_envelope_is_refused() {
        let json = format!(r#"{{"metadata":"{}""#, "x".repeat(ENVELOPE_LIMIT));
        assert_eq!(split(&json, 4096).1, Err(Problem::EnvelopeTooLarge));
    }
}
