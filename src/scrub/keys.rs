//! Values that are secret because of the name they stand under: rules 6 to 8, 13, 15 to 20.
//!
//! One pass looks left of every colon for a name and asks [`is_secret`]; the first hit masks the rest of the line.

use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

use super::secrets::{MASK, tells_nothing};
use super::words::is_word;

/// Names that are secret as a whole, in lower case: rules 7, 16 and 19.
const EXACT: [&str; 25] = [
    "accesstoken",
    "auth-tenantid",
    "auth_key",
    "authentication_key",
    "authkey",
    "authority",
    "authorization",
    "cainzapp-api-key",
    "cms-svc-api-key",
    "community",
    "community_string",
    "consumer_key",
    "cookie",
    "dd-api-key",
    "kong-admin-token",
    "lodauth",
    "priv_key",
    "privacy_key",
    "private-token",
    "privkey",
    "sec-websocket-key",
    "session_token",
    "statuskey",
    "token_id",
    "x-token",
];

/// Ends of secret names: rules 8, 17 and 18.
const ENDS: [&str; 4] = ["private_key", "_secret", "_secret_id", "access_key"];

/// Ends of secret names that count at the start of a line only: rule 15. In the middle of a sentence, `token:` is more
/// often followed by a reason than by a token.
const ENDS_AT_LINE_START: [&str; 2] = ["token", "jwt"];

/// Parts of secret names: rule 13.
const PARTS: [&str; 2] = ["pass", "pwd"];

/// Ends of names of HTTP headers that begin with `x-`: rule 6.
const HEADER_ENDS: [&str; 4] = ["key", "token", "auth", "secret"];

/// Names from the configuration: rule 20 (`scrubber.additional_keys`).
static ADDITIONAL: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Where a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// First in its line, or the key of a map.
    Start,
    /// After other text.
    Within,
}

/// Masks the values of these names too, from now on.
pub fn add_keys(names: &[String]) {
    let names = names.iter().map(|name| name.to_ascii_lowercase());
    ADDITIONAL.write().unwrap_or_else(PoisonError::into_inner).extend(names);
}

/// Whether what stands under this name is secret.
pub(super) fn is_secret(name: &str, position: Position) -> bool {
    let name = name.to_ascii_lowercase();
    let ends_with = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    EXACT.contains(&name.as_str())
        || ends_with(&ENDS)
        || (position == Position::Start && ends_with(&ENDS_AT_LINE_START))
        || PARTS.iter().any(|part| name.contains(part))
        || (name.starts_with("x-") && ends_with(&HEADER_ENDS))
        || ADDITIONAL.read().unwrap_or_else(PoisonError::into_inner).contains(&name)
}

/// Replaces the rest of the line after the first `name:` with a secret name by `"********"`.
pub(super) fn mask(line: Cow<'_, str>) -> Cow<'_, str> {
    for (colon, _) in line.match_indices(':') {
        let before = line[..colon].trim_end().trim_end_matches(['"', '\'']);
        let start = before
            .rfind(|character| !is_name(character))
            .map_or(0, |last| last + before[last..].chars().next().map_or(1, char::len_utf8));
        let name = before[start..].trim_start_matches('-');
        let first = before[..start].trim_matches([' ', '\t', '-', '"', '\'', '{']).is_empty();
        let position = if first { Position::Start } else { Position::Within };
        let value = &line[colon + 1..];
        if !name.is_empty() && is_secret(name, position) && !tells_nothing(value.trim()) {
            return format!("{}: \"{MASK}\"", &line[..colon]).into();
        }
    }
    line
}

/// What a name in YAML, JSON or an HTTP header is made of.
fn is_name(character: char) -> bool {
    is_word(character) || character == '-' || character == '.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_secret_name_is_masked_to_the_end_of_the_line() {
        let cases = [
            ("password: x", "password: \"********\""),
            ("  - db_password_old : a b", "  - db_password_old : \"********\""),
            ("user_pwd: a", "user_pwd: \"********\""),
            ("cluster_agent_auth_token: zz", "cluster_agent_auth_token: \"********\""),
            ("\"token\": \"zz\"", "\"token\": \"********\""),
            ("jwt: a.b.c", "jwt: \"********\""),
            ("could not read the token: no such file", "could not read the token: no such file"),
            ("X-Auth-Token: a", "X-Auth-Token: \"********\""),
            ("x-forwarded-for: a", "x-forwarded-for: a"),
            ("sent cookie: a=b", "sent cookie: \"********\""),
            ("DD-API-KEY: a", "DD-API-KEY: \"********\""),
            ("tls_private_key: a", "tls_private_key: \"********\""),
            ("consumer_key: a", "consumer_key: \"********\""),
            ("client_secret: a", "client_secret: \"********\""),
            ("aws_secret_access_key: a", "aws_secret_access_key: \"********\""),
            ("community: public", "community: \"********\""),
            ("authKey: a", "authKey: \"********\""),
            ("Authorization: Basic YTpi", "Authorization: \"********\""),
            ("password:", "password:"),
            ("password: ''", "password: ''"),
            ("password: ENC[db]", "password: ENC[db]"),
            ("größe: 1", "größe: 1"),
            ("é: 1, ü password: 2", "é: 1, ü password: \"********\""),
        ];
        for (line, expected) in cases {
            assert_eq!(mask(line.into()), expected, "{line}");
        }
    }

    #[test]
    fn names_from_the_configuration_are_secret_as_a_whole() {
        add_keys(&["Scrub-Test-Key".to_owned()]);
        assert_eq!(mask("scrub-test-key: 1".into()), "scrub-test-key: \"********\"");
        assert_eq!(mask("scrub-test-keys: 1".into()), "scrub-test-keys: 1");
    }
}
