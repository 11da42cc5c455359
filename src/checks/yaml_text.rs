//! YAML text in the form that upstream's encoder gives it, so that instance IDs are equal to upstream's (spec
//! cluster-checks §4.4): sorted keys, block style, list items at the indentation of their key, plain scalars where they
//! read back as the same text, long texts folded after column 80.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde_yaml::{Mapping, Number, Value};

/// A blank after this column is where a long plain or quoted text continues on the next line.
const BEST_WIDTH: usize = 80;
const INDENT: usize = 2;

/// Bytes up to which a text may stand before its colon on one line.
const MAXIMUM_KEY: usize = 128;

/// The text of a value, ending with a line feed.
pub fn to_text(value: &Value) -> String {
    let mut writer = Writer::default();
    writer.node(value, 0, Place::Top);
    writer.text
}

/// Where a node stands, which decides what separates it from what is before it.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Top,
    AfterKey,
    AfterDash,
}

#[derive(Default)]
struct Writer {
    text: String,
    column: usize,
}

impl Writer {
    fn node(&mut self, value: &Value, indent: usize, place: Place) {
        match value {
            Value::Mapping(mapping) if !mapping.is_empty() => self.mapping(mapping, indent, place),
            Value::Sequence(items) if !items.is_empty() => self.sequence(items, indent, place),
            scalar => {
                if place == Place::AfterKey {
                    self.put(" ");
                }
                self.scalar(scalar, if place == Place::Top { 0 } else { indent });
                self.line_feed();
            }
        }
    }

    fn mapping(&mut self, mapping: &Mapping, indent: usize, place: Place) {
        if place == Place::AfterKey {
            self.line_feed();
        }
        let mut entries: Vec<(&Value, &Value)> = mapping.iter().collect();
        entries.sort_by(|(left, _), (right, _)| key_order(left, right));
        for (index, (key, value)) in entries.into_iter().enumerate() {
            if index > 0 || place != Place::AfterDash {
                self.indentation(indent);
            }
            if let Value::String(text) = key
                && is_complex_key(text)
            {
                self.put("? ");
                self.node(key, indent + INDENT, Place::AfterDash);
                self.indentation(indent);
                self.put(": ");
                self.node(value, indent + INDENT, Place::AfterDash);
                continue;
            }
            self.key(key);
            // A list under a key is not indented; a map is. A scalar's continuation lines are.
            let deeper = if matches!(value, Value::Sequence(_)) { indent } else { indent + INDENT };
            self.node(value, deeper, Place::AfterKey);
        }
    }

    fn sequence(&mut self, items: &[Value], indent: usize, place: Place) {
        if place == Place::AfterKey {
            self.line_feed();
        }
        for (index, item) in items.iter().enumerate() {
            if index > 0 || place != Place::AfterDash {
                self.indentation(indent);
            }
            self.put("- ");
            self.node(item, indent + INDENT, Place::AfterDash);
        }
    }

    fn key(&mut self, key: &Value) {
        match key {
            Value::String(text) => self.one_line_text(text, None),
            other => self.scalar(other, 0),
        }
        self.put(":");
    }

    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.put("null"),
            Value::Bool(value) => self.put(if *value { "true" } else { "false" }),
            Value::Number(number) => self.put(&number_text(number)),
            Value::String(text) if text.contains('\n') => self.block_text(text, indent),
            Value::String(text) => self.one_line_text(text, Some(indent)),
            Value::Tagged(tagged) => self.scalar(&tagged.value, indent),
            Value::Sequence(_) => self.put("[]"),
            Value::Mapping(_) => self.put("{}"),
        }
    }

    /// A text without line feeds; `fold` is the indentation of continuation lines, `None` in a key.
    fn one_line_text(&mut self, text: &str, fold: Option<usize>) {
        if has_special_characters(text) || reads_as_another_type(text) {
            self.double_quoted(text, fold);
        } else if may_be_plain(text) {
            self.folded(text, fold, text.len());
        } else {
            self.put("'");
            self.folded(&text.replace('\'', "''"), fold, text.len());
            self.put("'");
        }
    }

    fn folded(&mut self, text: &str, fold: Option<usize>, length: usize) {
        let characters: Vec<char> = text.chars().collect();
        for (index, character) in characters.iter().enumerate() {
            let blank_before = index > 0 && characters[index - 1] == ' ';
            let blank_after = characters.get(index + 1).is_none_or(|next| *next == ' ');
            let foldable = *character == ' '
                && index > 0
                && index + 1 < length
                && !blank_before
                && !blank_after;
            match fold {
                Some(indent) if foldable && self.column > BEST_WIDTH => {
                    self.line_feed();
                    self.indentation(indent);
                }
                _ => self.put(character.encode_utf8(&mut [0; 4])),
            }
        }
    }

    /// A text with line feeds: a literal block, unless blanks before a line's end or special characters forbid it.
    fn block_text(&mut self, text: &str, indent: usize) {
        if has_special_characters(&text.replace('\n', ""))
            || text.contains(" \n")
            || text.ends_with(' ')
        {
            self.double_quoted(text, Some(indent));
            return;
        }
        self.put("|");
        if text.starts_with([' ', '\n']) {
            let _ = write!(self.text, "{INDENT}");
        }
        if !text.ends_with('\n') {
            self.put("-");
        } else if text.ends_with("\n\n") || text == "\n" {
            self.put("+");
        }
        let body = text.strip_suffix('\n').unwrap_or(text);
        for line in body.split('\n') {
            self.line_feed();
            if !line.is_empty() {
                self.indentation(indent.max(INDENT));
                self.put(line);
            }
        }
    }

    fn double_quoted(&mut self, text: &str, fold: Option<usize>) {
        self.put("\"");
        let mut characters = text.chars().peekable();
        let (mut first, mut after_blank) = (true, false);
        while let Some(character) = characters.next() {
            let next = characters.peek().copied();
            if character == ' '
                && !first
                && !after_blank
                && self.column > BEST_WIDTH
                && let (Some(next), Some(indent)) = (next, fold)
            {
                self.line_feed();
                self.indentation(indent);
                if next == ' ' {
                    self.put("\\");
                }
                after_blank = true;
                continue;
            }
            (first, after_blank) = (false, character == ' ');
            match character {
                '"' => self.put("\\\""),
                '\\' => self.put("\\\\"),
                '\n' => self.put("\\n"),
                '\r' => self.put("\\r"),
                '\t' => self.put("\\t"),
                '\0' => self.put("\\0"),
                '\u{7}' => self.put("\\a"),
                '\u{8}' => self.put("\\b"),
                '\u{b}' => self.put("\\v"),
                '\u{c}' => self.put("\\f"),
                '\u{1b}' => self.put("\\e"),
                '\u{85}' => self.put("\\N"),
                '\u{2028}' => self.put("\\L"),
                '\u{2029}' => self.put("\\P"),
                character if !is_printable(character) => {
                    let code = u32::from(character);
                    let escape = match code {
                        0..=0xff => format!("\\x{code:02X}"),
                        0x100..=0xffff => format!("\\u{code:04X}"),
                        _ => format!("\\U{code:08X}"),
                    };
                    self.put(&escape);
                }
                character => self.put(character.encode_utf8(&mut [0; 4])),
            }
        }
        self.put("\"");
    }

    fn indentation(&mut self, indent: usize) {
        for _ in 0..indent {
            self.put(" ");
        }
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.chars().count();
    }

    fn line_feed(&mut self) {
        self.text.push('\n');
        self.column = 0;
    }
}

/// Numbers by value before all texts; texts in natural order: other characters before letters, digit runs as numbers.
fn key_order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::String(left), Value::String(right)) => natural_order(left, right),
        (Value::Number(left), Value::Number(right)) => {
            left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal)
        }
        _ => rank(left).cmp(&rank(right)),
    }
}

fn rank(key: &Value) -> u8 {
    match key {
        Value::Bool(_) => 0,
        Value::Number(_) => 1,
        Value::String(_) => 2,
        _ => 3,
    }
}

fn natural_order(left: &str, right: &str) -> Ordering {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let Some(at) = left.iter().zip(&right).position(|(left, right)| left != right) else {
        return left.len().cmp(&right.len());
    };
    match (left[at].is_alphabetic(), right[at].is_alphabetic()) {
        (true, true) => left[at].cmp(&right[at]),
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            // Inside a number its earlier digits are equal: only with a zero here do they decide about leading zeros.
            let in_number = (left[at] == '0' || right[at] == '0')
                && left[..at].iter().rev().take_while(|c| c.is_numeric()).any(|c| *c != '0');
            let (left_number, left_length) = digit_run(&left[at..], in_number);
            let (right_number, right_length) = digit_run(&right[at..], in_number);
            left_number
                .cmp(&right_number)
                .then(left_length.cmp(&right_length))
                .then(left[at].cmp(&right[at]))
        }
    }
}

fn digit_run(characters: &[char], in_number: bool) -> (i64, usize) {
    let digits = characters.iter().map_while(|character| character.to_digit(10));
    digits.fold((i64::from(in_number), 0), |(number, length), digit| {
        (number.wrapping_mul(10).wrapping_add(i64::from(digit)), length + 1)
    })
}

fn number_text(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    if float.is_nan() {
        return ".nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "+.inf" } else { "-.inf" }.to_owned();
    }
    // The shortest digits that read back, with an exponent outside 1e-4..1e6.
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if float != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    float.to_string()
}

/// Whether a plain text would be read back as null, boolean, number, date or merge key.
fn reads_as_another_type(text: &str) -> bool {
    const WORDS: &[&str] = &["", "~", "null", "Null", "NULL", "<<", ".nan", ".NaN", ".NAN"];
    const BOOLEANS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false"];
    if WORDS.contains(&text) {
        return true;
    }
    let lower = text.to_lowercase();
    let capitals = text.chars().filter(|c| c.is_uppercase()).count();
    let usual_case = capitals == 0
        || capitals == text.len()
        || (capitals == 1 && text.starts_with(char::is_uppercase));
    if usual_case && BOOLEANS.contains(&lower.as_str()) {
        return true;
    }
    if matches!(lower.trim_start_matches(['+', '-']), ".inf") {
        return true;
    }
    is_number(text) || is_date(text)
}

fn is_number(text: &str) -> bool {
    if text.starts_with('_') {
        return false;
    }
    let plain = text.replace('_', "");
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !unsigned.contains(|c: char| c.is_ascii_digit())
    {
        return false;
    }
    for (prefix, radix) in [("0x", 16), ("0b", 2), ("0o", 8)] {
        if let Some(digits) = unsigned.strip_prefix(prefix) {
            return !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        }
    }
    // 1:30 and 1:30.5 are base 60 in YAML 1.1.
    let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let sixty = unsigned.rsplit_once(':').is_some_and(|(high, low)| {
        high.split(':').all(digits)
            && low.starts_with(|c: char| c.is_ascii_digit())
            && digits(&low.replace('.', ""))
    });
    sixty
        || (unsigned.chars().all(|c| c.is_ascii_digit() || ".eE+-".contains(c))
            && unsigned.parse::<f64>().is_ok())
}

fn is_date(text: &str) -> bool {
    let digits = |part: &str, least: usize, most: usize| {
        (least..=most).contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit())
    };
    let date = text.split(['T', 't', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = date.split('-').collect();
    let is_date = parts.len() == 3
        && digits(parts[0], 4, 4)
        && digits(parts[1], 1, 2)
        && digits(parts[2], 1, 2);
    let rest = &text[date.len()..];
    let time = rest.get(1..).unwrap_or_default().trim_start();
    let is_time = time.starts_with(|c: char| c.is_ascii_digit()) && time.contains(':');
    is_date
        && (rest.is_empty()
            || (is_time && time.chars().all(|c| c.is_ascii_digit() || ":.+-Z ".contains(c))))
}

/// Whether nothing in the text means something to a YAML reader.
fn may_be_plain(text: &str) -> bool {
    let characters: Vec<char> = text.chars().collect();
    let Some(first) = characters.first() else { return false };
    if text.starts_with(' ')
        || text.ends_with(' ')
        || text.starts_with("---")
        || text.starts_with("...")
    {
        return false;
    }
    let blank_at =
        |index: usize| characters.get(index).is_none_or(|character| character.is_whitespace());
    if "#,[]{}&*!|>'\"%@`".contains(*first) || ("-?:".contains(*first) && blank_at(1)) {
        return false;
    }
    !characters.iter().enumerate().skip(1).any(|(index, character)| {
        (*character == ':' && blank_at(index + 1))
            || (*character == '#' && characters[index - 1] == ' ')
    })
}

/// Whether a key needs the `? ` form: it has line breaks or is too long to be seen as a key.
fn is_complex_key(key: &str) -> bool {
    key.len() > MAXIMUM_KEY || key.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
}

fn has_special_characters(text: &str) -> bool {
    text.chars().any(|character| !is_printable(character))
}

fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str) -> String {
        to_text(&serde_yaml::from_str(text).expect("the test's YAML parses"))
    }

    #[test]
    fn maps_lists_and_scalars_take_the_block_form() {
        for (given, text) in [
            ("{}", "{}\n"),
            ("[]", "[]\n"),
            ("~", "null\n"),
            ("{b: [x, y], a: {d: 1, c: {}}}", "a:\n  c: {}\n  d: 1\nb:\n- x\n- \"y\"\n"),
            ("{l: [{b: 1, a: 2}, [1, 2]]}", "l:\n- a: 2\n  b: 1\n- - 1\n  - 2\n"),
            ("{a: null, b: '', c: true}", "a: null\nb: \"\"\nc: true\n"),
        ] {
            assert_eq!(rewritten(given), text, "{given}");
        }
    }

    #[test]
    fn keys_are_sorted_naturally() {
        assert_eq!(
            rewritten("{a10: 1, a9: 1, B: 1, _z: 1, 2: 1, 10: 1}"),
            "2: 1\n10: 1\n_z: 1\nB: 1\na9: 1\na10: 1\n"
        );
    }

    #[test]
    fn texts_are_quoted_only_when_they_would_read_differently() {
        for (value, text) in [
            ("plain words", "plain words"),
            ("true", "\"true\""),
            ("Yes", "\"Yes\""),
            ("yEs", "yEs"),
            ("12", "\"12\""),
            ("0x1F", "\"0x1F\""),
            ("1.50", "\"1.50\""),
            ("12:30", "\"12:30\""),
            ("2024-01-02", "\"2024-01-02\""),
            ("1.2.3", "1.2.3"),
            ("a: b", "'a: b'"),
            ("a #b", "'a #b'"),
            ("- x", "'- x'"),
            ("-x", "-x"),
            ("*x", "'*x'"),
            ("%%host%%", "'%%host%%'"),
            ("it's", "it's"),
            ("'it", "'''it'"),
            (" x", "' x'"),
            ("http://a:80/", "http://a:80/"),
            ("tab\there", "\"tab\\there\""),
            ("naïve", "naïve"),
        ] {
            assert_eq!(to_text(&Value::String(value.to_owned())), format!("{text}\n"), "{value:?}");
        }
    }

    #[test]
    fn line_feeds_make_a_literal_block() {
        for (value, text) in [
            ("a\nb", "k: |-\n  a\n  b\n"),
            ("a\nb\n", "k: |\n  a\n  b\n"),
            ("a\n\n", "k: |+\n  a\n\n"),
            ("a \nb", "k: \"a \\nb\"\n"),
        ] {
            let mut mapping = Mapping::new();
            mapping.insert("k".into(), value.into());
            assert_eq!(to_text(&Value::Mapping(mapping)), text, "{value:?}");
        }
    }

    #[test]
    fn floats_print_their_shortest_digits() {
        for (given, text) in [
            ("1.0", "1"),
            ("1e6", "1e+06"),
            ("1.50", "1.5"),
            ("0.00001", "1e-05"),
            ("123456.5", "123456.5"),
            (".inf", "+.inf"),
        ] {
            assert_eq!(rewritten(given), format!("{text}\n"), "{given}");
        }
    }

    #[test]
    fn long_texts_continue_at_a_blank_after_column_eighty() {
        let words = "select aaaaaaaaaa, bbbbbbbbbb, cccccccccc, dddddddddd, eeeeeeeeee, ffffffffff, gggggggggg from t where x";
        assert_eq!(
            rewritten(&format!("query: {words}")),
            "query: select aaaaaaaaaa, bbbbbbbbbb, cccccccccc, dddddddddd, eeeeeeeeee, ffffffffff,\n  gggggggggg from t where x\n"
        );
    }
}
