//! Values of configuration keys after conversion, and how they are shown.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Map, Value as Json};

use crate::secret::Secret;

/// Length from which the end of a secret may be shown without giving a useful part of it away.
const TAIL_FROM: usize = 16;

/// A converted value; its variant follows from the key's [`Kind`](super::keys::Kind).
#[derive(Clone)]
pub enum Value {
    /// Text, word or URL.
    Text(String),
    /// A key, a token or the URL of a proxy.
    Secret(Secret),
    /// True or false.
    Boolean(bool),
    /// A number, a port, seconds or bytes.
    Integer(i64),
    /// A number with a fraction.
    Number(f64),
    /// A Go duration.
    Duration(Duration),
    /// Texts in the given order.
    List(Vec<String>),
    /// Text to text.
    Map(BTreeMap<String, String>),
    /// Text to text to text.
    NestedMap(BTreeMap<String, BTreeMap<String, String>>),
    /// URL to API keys.
    Endpoints(BTreeMap<String, Vec<Secret>>),
    /// Maps in the given order.
    Objects(Vec<Map<String, Json>>),
}

impl Value {
    /// The value as it may be shown: secrets are masked, durations and sizes are in the form a file would have.
    pub fn shown(&self) -> Json {
        match self {
            Self::Text(text) => Json::from(without_userinfo(text)),
            Self::Secret(secret) => Json::from(masked(secret)),
            Self::Boolean(on) => Json::from(*on),
            Self::Integer(number) => Json::from(*number),
            Self::Number(number) => Json::from(*number),
            Self::Duration(duration) => Json::from(duration_text(*duration)),
            Self::List(list) => Json::from(list.as_slice()),
            Self::Map(map) => {
                map.iter().map(|(name, text)| (name.clone(), Json::from(text.as_str()))).collect()
            }
            Self::NestedMap(maps) => maps
                .iter()
                .map(|(name, map)| (name.clone(), Self::Map(map.clone()).shown()))
                .collect(),
            Self::Endpoints(endpoints) => endpoints
                .iter()
                .map(|(url, keys)| {
                    (without_userinfo(url), Json::from(keys.iter().map(masked).collect::<Vec<_>>()))
                })
                .collect(),
            Self::Objects(objects) => objects.iter().map(masked_object).collect(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.shown())
    }
}

/// A secret as dumps show it: nothing of a short one, the last four characters of a long one (spec config §7); of a
/// proxy URL everything but its credentials.
pub fn masked(secret: &Secret) -> String {
    let text = secret.expose();
    if text.is_empty() {
        return String::new();
    }
    if text.starts_with("http://") {
        return without_userinfo(text);
    }
    let count = text.chars().count();
    if count < TAIL_FROM {
        return "********".to_owned();
    }
    format!("***{}", text.chars().skip(count - 4).collect::<String>())
}

/// A URL with its credentials masked (spec events-and-leader §6.4).
pub fn without_userinfo(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.find(['/', '?', '#']).map_or(rest, |end| &rest[..end]);
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://*****:*****@{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

/// A duration in Go's form without zero parts: `1h30m`, `10s`, `500ms`, `0s`.
pub fn duration_text(duration: Duration) -> String {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 && nanoseconds != 0 {
        return match nanoseconds {
            n if n % 1_000_000 == 0 => format!("{}ms", n / 1_000_000),
            n if n % 1_000 == 0 => format!("{}us", n / 1_000),
            n => format!("{n}ns"),
        };
    }
    let mut text = String::new();
    if seconds >= 3600 {
        text.push_str(&format!("{}h", seconds / 3600));
    }
    if seconds / 60 % 60 > 0 {
        text.push_str(&format!("{}m", seconds / 60 % 60));
    }
    if nanoseconds > 0 {
        let fraction = format!("{nanoseconds:09}");
        text.push_str(&format!("{}.{}s", seconds % 60, fraction.trim_end_matches('0')));
    } else if seconds % 60 > 0 || text.is_empty() {
        text.push_str(&format!("{}s", seconds % 60));
    }
    text
}

/// A map whose members named like keys are masked.
fn masked_object(object: &Map<String, Json>) -> Json {
    let shown = |(name, value): (&String, &Json)| {
        let lower = name.to_ascii_lowercase();
        let secret = ["key", "token", "password", "secret"].iter().any(|word| lower.contains(word));
        let value = match value {
            Json::String(text) if secret => Json::from(masked(&Secret::new(text.as_str()))),
            _ if secret => Json::from("********"),
            other => other.clone(),
        };
        (name.clone(), value)
    };
    Json::Object(object.iter().map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_show_at_most_their_last_four_characters() {
        assert_eq!(masked(&Secret::new("")), "");
        assert_eq!(masked(&Secret::new("short")), "********");
        assert_eq!(masked(&Secret::new("0123456789abcdef0123456789abcdef")), "***cdef");
        assert_eq!(
            masked(&Secret::new("http://user:pass@proxy:3128")),
            "http://*****:*****@proxy:3128"
        );
        assert_eq!(masked(&Secret::new("http://proxy:3128")), "http://proxy:3128");
    }

    #[test]
    fn objects_hide_members_named_like_keys() {
        let object =
            serde_json::json!({"url": "https://a", "api_key": "0123456789abcdef", "app_key": 5});
        let Json::Object(object) = object else { unreachable!() };
        let shown = Value::Objects(vec![object]).shown();
        assert_eq!(
            shown,
            serde_json::json!([{"url": "https://a", "api_key": "***cdef", "app_key": "********"}])
        );
    }

    #[test]
    fn durations_are_written_in_go_form() {
        for (milliseconds, text) in [
            (0, "0s"),
            (500, "500ms"),
            (1_500, "1.5s"),
            (10_000, "10s"),
            (600_000, "10m"),
            (5_400_000, "1h30m"),
            (3_601_000, "1h1s"),
        ] {
            assert_eq!(duration_text(Duration::from_millis(milliseconds)), text);
        }
    }
}
