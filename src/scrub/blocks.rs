//! Secrets that span lines: SNMP community lists and PEM blocks, rules M1 and M2.

use std::borrow::Cow;

use super::secrets::MASK;

/// Masks the list under `community_strings:`, as a block of dashes or in brackets (rule M1).
pub(super) fn mask_communities(text: Cow<'_, str>) -> Cow<'_, str> {
    const KEY: &str = "community_strings";
    let mut out = String::new();
    let mut copied = 0;
    while let Some(found) = text[copied..].find(KEY).map(|at| copied + at + KEY.len()) {
        out.push_str(&text[copied..found]);
        copied = found;
        let rest = &text[found..];
        let Some(value) = rest.trim_start().strip_prefix(':') else { continue };
        let Some(length) = list_length(value) else { continue };
        out.push_str(": \"");
        out.push_str(MASK);
        out.push('"');
        copied = text.len() - value.len() + length;
    }
    if copied == 0 {
        return text;
    }
    out.push_str(&text[copied..]);
    out.into()
}

/// Bytes of the list at the start of `value`, without the line feed after it; `None` where there is no list.
fn list_length(value: &str) -> Option<usize> {
    if value.trim_start().starts_with('[') {
        // A list that never ends is masked to the end.
        return Some(value.find(']').map_or(value.len(), |end| end + 1));
    }
    let (first, items) = value.split_once('\n')?;
    let is_item = |line: &&str| line.trim_start().starts_with("- ");
    let items: usize = items.split_inclusive('\n').take_while(is_item).map(str::len).sum();
    let list = value[..first.len() + 1 + items].trim_end_matches('\n').len();
    (first.trim().is_empty() && items > 0).then_some(list)
}

/// Masks PEM blocks, markers included (rule M2). A block without its end, as a bound on a line leaves it, is masked as
/// far as it goes.
pub(super) fn mask_pem(text: Cow<'_, str>) -> Cow<'_, str> {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    const MARKER: &str = "-----";
    let mut out = String::new();
    let mut copied = 0;
    while let Some(start) = text[copied..].find(BEGIN).map(|at| copied + at) {
        out.push_str(&text[copied..start]);
        let label = start + BEGIN.len();
        let body = text[label..].find(MARKER).map(|at| label + at + MARKER.len());
        let Some(body) = body.filter(|body| !text[label..*body].contains('\n')) else {
            out.push_str(BEGIN);
            copied = label;
            continue;
        };
        let rest = &text[body..];
        let base64 = rest.find(|character| !is_base64(character)).unwrap_or(rest.len());
        let end = rest[base64..].strip_prefix(END).and_then(|label| label.find(MARKER));
        copied = body
            + match end {
                Some(end) => base64 + END.len() + end + MARKER.len(),
                None => rest[..base64].trim_end().len(),
            };
        out.push_str(MASK);
    }
    if copied == 0 {
        return text;
    }
    out.push_str(&text[copied..]);
    out.into()
}

/// Base64 and the line breaks between it, also as the escapes they have in JSON.
fn is_base64(character: char) -> bool {
    character.is_ascii_alphanumeric() || "+/=\\".contains(character) || character.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn community_lists_are_masked_in_both_forms() {
        let cases = [
            (
                "a: 1\ncommunity_strings:\n  - x\n  - y\nb: 2",
                "a: 1\ncommunity_strings: \"********\"\nb: 2",
            ),
            ("community_strings: [x,\n y]\nb: 2", "community_strings: \"********\"\nb: 2"),
            ("community_strings:\n- x", "community_strings: \"********\""),
            ("community_strings: none", "community_strings: none"),
            ("about community_strings", "about community_strings"),
        ];
        for (text, expected) in cases {
            assert_eq!(mask_communities(text.into()), expected, "{text}");
        }
    }

    #[test]
    fn pem_blocks_are_masked_with_their_markers() {
        let block = "-----BEGIN EC PRIVATE KEY-----\nAbc+/=\n012\n-----END EC PRIVATE KEY-----";
        assert_eq!(mask_pem(format!("a\n{block}\nb {block}").into()), "a\n********\nb ********");
        let open = "-----BEGIN CERTIFICATE-----\nAbc+/=\n";
        assert_eq!(mask_pem(open.into()), "********\n");
        assert_eq!(mask_pem("-----BEGIN something else".into()), "-----BEGIN something else");
    }
}
