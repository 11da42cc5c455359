//! Keys and tokens that are told by their own form, wherever they stand in a line: rules 1 to 5, 9 to 11.

use std::borrow::Cow;

use super::secrets::MASK;

/// Names whose value is a key whatever it looks like, and how many asterisks stand before its last four characters.
const HINTED: [(&str, usize); 5] = [
    ("api_key=", 28),
    ("apikey=", 28),
    ("app_key=", 36),
    ("appkey=", 36),
    ("application_key=", 36),
];

/// What a word turns into: asterisks and so many of its last characters.
struct Masked {
    asterisks: usize,
    tail: usize,
    /// Whether it is put in quotes where YAML would take it for a plain value.
    quoted: bool,
}

/// Masks words that are keys (rules 1 to 4, 9 to 11): those after `api_key=` and its kin, 32 or 40 hexadecimal digits,
/// `Bearer` with 64 of them, `ddapp_…` and `DDRCM_…`.
pub(super) fn mask(line: Cow<'_, str>) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    for (start, end) in words(&line) {
        let Some(masked) = masked(&line[..start], &line[start..end]) else { continue };
        let quote = if masked.quoted && opens_value(&line[..start]) { "\"" } else { "" };
        out.push_str(&line[copied..start]);
        out.push_str(quote);
        out.extend(std::iter::repeat_n('*', masked.asterisks));
        out.push_str(&line[end - masked.tail..end]);
        out.push_str(quote);
        copied = end;
    }
    if copied == 0 {
        return line;
    }
    out.push_str(&line[copied..]);
    out.into()
}

/// Masks what follows `Bearer`, up to the last word of the line or the first asterisk (rule 5).
pub(super) fn mask_bearer(line: Cow<'_, str>) -> Cow<'_, str> {
    const SCHEME: &str = "Bearer";
    let mut out = String::new();
    let mut copied = 0;
    let mut from = 0;
    while let Some(found) = line[from..].find(SCHEME).map(|at| from + at) {
        from = found + SCHEME.len();
        let value = line[from..].trim_start();
        let start = line.len() - value.len();
        if start == from || line[..found].ends_with(is_word) {
            continue;
        }
        let open = &value[..value.find('*').unwrap_or(value.len())];
        let Some(last) = open.rfind(is_word) else { continue };
        out.push_str(&line[copied..from]);
        out.push(' ');
        out.push_str(MASK);
        from = start + last + 1;
        copied = from;
    }
    if copied == 0 {
        return line;
    }
    out.push_str(&line[copied..]);
    out.into()
}

fn masked(before: &str, word: &str) -> Option<Masked> {
    let length = word.len();
    let hexadecimal = || word.bytes().all(|byte| byte.is_ascii_hexdigit());
    if length >= 5 && before.ends_with('=') {
        let hint = HINTED.iter().find(|(name, _)| ends_with_ignoring_case(before, name));
        if let Some((_, asterisks)) = hint {
            return Some(Masked { asterisks: *asterisks, tail: 4, quoted: false });
        }
    }
    match length {
        32 | 40 if hexadecimal() => Some(Masked { asterisks: length - 4, tail: 4, quoted: true }),
        64 if before.ends_with("Bearer ") && hexadecimal() => {
            Some(Masked { asterisks: 59, tail: 5, quoted: false })
        }
        40 if word.starts_with("ddapp_") => Some(Masked { asterisks: 36, tail: 4, quoted: false }),
        12.. if word.strip_prefix("DDRCM_").is_some_and(is_upper_or_digit) => {
            Some(Masked { asterisks: 35, tail: 5, quoted: false })
        }
        _ => None,
    }
}

/// The words of a line: runs of ASCII letters, digits and underscores, as pairs of start and end.
fn words(line: &str) -> impl Iterator<Item = (usize, usize)> {
    let bytes = line.as_bytes();
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + bytes[from..].iter().position(|byte| is_word(char::from(*byte)))?;
        let length = bytes[start..].iter().position(|byte| !is_word(char::from(*byte)));
        from = length.map_or(bytes.len(), |length| start + length);
        Some((start, from))
    })
}

/// Whether a value that begins here follows `-`, `:`, `,`, `[` or `{`, blanks aside.
fn opens_value(before: &str) -> bool {
    before.trim_end().ends_with(['-', ':', ',', '[', '{'])
}

fn ends_with_ignoring_case(text: &str, end: &str) -> bool {
    let (text, end) = (text.as_bytes(), end.as_bytes());
    text.len() >= end.len() && text[text.len() - end.len()..].eq_ignore_ascii_case(end)
}

fn is_upper_or_digit(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// What regular expressions call a word character.
pub(super) fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX32: &str = "0123456789abcdef0123456789ABCDEF";
    const HEX40: &str = "0123456789abcdef0123456789abcdef01234567";
    const HEX64: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn keys_are_masked_but_for_their_end() {
        let cases = [
            (format!("api_key={HEX32}&x"), format!("api_key={}CDEF&x", "*".repeat(28))),
            ("?apikey=abcde".to_owned(), format!("?apikey={}bcde", "*".repeat(28))),
            ("DD_API_KEY=abcdefgh".to_owned(), format!("DD_API_KEY={}efgh", "*".repeat(28))),
            ("api_key=abcd".to_owned(), "api_key=abcd".to_owned()),
            ("app_key=abcdefgh".to_owned(), format!("app_key={}efgh", "*".repeat(36))),
            ("application_key=abcde".to_owned(), format!("application_key={}bcde", "*".repeat(36))),
            (format!("<{HEX32}>"), format!("<{}CDEF>", "*".repeat(28))),
            (format!("a: {HEX32}"), format!("a: \"{}CDEF\"", "*".repeat(28))),
            (format!("[{HEX32},{HEX32}]"), format!("[\"{0}CDEF\",\"{0}CDEF\"]", "*".repeat(28))),
            (format!("- {HEX40}"), format!("- \"{}4567\"", "*".repeat(36))),
            (format!("x{HEX32}"), format!("x{HEX32}")),
            (format!("Bearer {HEX64}"), format!("Bearer {}bcdef", "*".repeat(59))),
            (HEX64.to_owned(), HEX64.to_owned()),
            (format!("ddapp_{}", "a_Z9".repeat(8) + "bc"), format!("{}Z9bc", "*".repeat(36))),
            ("DDRCM_ABC1234567".to_owned(), format!("{}34567", "*".repeat(35))),
            ("DDRCM_abc1234567".to_owned(), "DDRCM_abc1234567".to_owned()),
        ];
        for (line, expected) in cases {
            assert_eq!(mask(line.as_str().into()), expected, "{line}");
        }
    }

    #[test]
    fn bearer_tokens_of_any_form_are_masked_whole() {
        let cases = [
            ("Bearer abc", "Bearer ********"),
            ("Authorization: Bearer  a.b-c=\"", "Authorization: Bearer ********=\""),
            ("Bearer ***********12345", "Bearer ***********12345"),
            ("Bearer abc* Bearer def", "Bearer ********* Bearer ********"),
            ("Bearer", "Bearer"),
            ("ForBearer abc", "ForBearer abc"),
        ];
        for (line, expected) in cases {
            assert_eq!(mask_bearer(line.into()), expected, "{line}");
        }
    }

    #[test]
    fn a_line_without_keys_is_not_copied() {
        assert!(matches!(mask("nodes: 12 listed".into()), Cow::Borrowed(_)));
    }
}
