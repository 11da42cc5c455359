//! Label selectors in their text form: `app=web,tier in (a,b),!canary` (spec external-metrics §7.1).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Requirements in one selector; requests that carry more are refused instead of being matched at length.
const REQUIREMENT_LIMIT: usize = 64;

/// Longest name part of a key, and longest value.
const NAME_LIMIT: usize = 63;

/// Requirements that all have to hold; none means everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    Missing,
    Equals(String),
    Differs(String),
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Greater(i64),
    Less(i64),
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(String);

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "unable to parse requirement: {}", self.0)
    }
}

impl std::error::Error for Invalid {}

impl Selector {
    /// Reads a selector; an empty text selects everything.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut rest = text.trim();
        let mut requirements = Vec::new();
        while !rest.is_empty() {
            let (requirement, after) = requirement(rest)?;
            requirements.push(requirement);
            if requirements.len() > REQUIREMENT_LIMIT {
                return Err(Invalid(format!("more than {REQUIREMENT_LIMIT} requirements")));
            }
            rest = match after.trim_start().strip_prefix(',') {
                Some(after) if after.trim().is_empty() => {
                    return Err(Invalid("found '', expected: identifier after ','".to_owned()));
                }
                Some(after) => after.trim_start(),
                None if after.trim().is_empty() => "",
                None => {
                    return Err(Invalid(format!(
                        "found '{}', expected: ',' or 'end of string'",
                        word(after.trim_start())
                    )));
                }
            };
        }
        Ok(Self(requirements))
    }

    /// Whether an object with `labels` is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.operator {
                Operator::Exists => value.is_some(),
                Operator::Missing => value.is_none(),
                Operator::Equals(wanted) => value == Some(wanted),
                Operator::Differs(unwanted) => value != Some(unwanted),
                Operator::In(wanted) => value.is_some_and(|value| wanted.contains(value)),
                Operator::NotIn(unwanted) => !value.is_some_and(|value| unwanted.contains(value)),
                Operator::Greater(bound) => number(value).is_some_and(|value| value > *bound),
                Operator::Less(bound) => number(value).is_some_and(|value| value < *bound),
            }
        })
    }

    /// The label set that this selector spells out, when it consists of equalities only.
    pub fn equalities(&self) -> Option<BTreeMap<String, String>> {
        let pairs = self.0.iter().map(|requirement| match &requirement.operator {
            Operator::Equals(value) => Some((requirement.key.clone(), value.clone())),
            _ => None,
        });
        pairs.collect()
    }
}

fn number(value: Option<&String>) -> Option<i64> {
    value?.parse().ok()
}

/// Takes one requirement off the front.
fn requirement(text: &str) -> Result<(Requirement, &str), Invalid> {
    if let Some(rest) = text.strip_prefix('!') {
        let (key, rest) = key(rest.trim_start())?;
        return Ok((Requirement { key, operator: Operator::Missing }, rest));
    }
    let (key, rest) = key(text)?;
    let rest = rest.trim_start();
    let (operator, rest) = operator(rest)?;
    Ok((Requirement { key, operator }, rest))
}

fn operator(text: &str) -> Result<(Operator, &str), Invalid> {
    if text.is_empty() || text.starts_with(',') {
        return Ok((Operator::Exists, text));
    }
    type Make = fn(String) -> Result<Operator, Invalid>;
    let compared: [(&str, Make); 5] = [
        ("==", |value| Ok(Operator::Equals(value))),
        ("!=", |value| Ok(Operator::Differs(value))),
        ("=", |value| Ok(Operator::Equals(value))),
        (">", |value| Ok(Operator::Greater(bound(&value)?))),
        ("<", |value| Ok(Operator::Less(bound(&value)?))),
    ];
    for (sign, make) in compared {
        if let Some(rest) = text.strip_prefix(sign) {
            let (value, rest) = value(rest.trim_start())?;
            return Ok((make(value)?, rest));
        }
    }
    let found = word(text);
    let rest = text[found.len()..].trim_start();
    match found {
        "in" => set(rest).map(|(values, rest)| (Operator::In(values), rest)),
        "notin" => set(rest).map(|(values, rest)| (Operator::NotIn(values), rest)),
        other => Err(Invalid(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt"))),
    }
}

fn bound(value: &str) -> Result<i64, Invalid> {
    value.parse().map_err(|_| Invalid(format!("found '{value}', expected: an integer")))
}

/// `(a,b)`.
fn set(text: &str) -> Result<(BTreeSet<String>, &str), Invalid> {
    let unclosed = || Invalid(format!("found '{}', expected: '('", word(text)));
    let (inside, rest) =
        text.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or_else(unclosed)?;
    let values = inside.split(',').map(|text| {
        let (value, rest) = value(text.trim())?;
        if rest.is_empty() {
            Ok(value)
        } else {
            Err(Invalid(format!("found '{rest}', expected: ',' or ')'")))
        }
    });
    Ok((values.collect::<Result<_, _>>()?, rest))
}

/// `[prefix/]name`.
fn key(text: &str) -> Result<(String, &str), Invalid> {
    let end = text.find(|c: char| !is_name(c) && c != '/').unwrap_or(text.len());
    let (found, rest) = text.split_at(end);
    let name = found.rsplit_once('/').map_or(found, |(_, name)| name);
    let prefix = found.rsplit_once('/').map(|(prefix, _)| prefix);
    if name.is_empty()
        || !is_bounded(name)
        || prefix.is_some_and(|prefix| prefix.is_empty() || prefix.contains('/'))
    {
        return Err(Invalid(format!(
            "found '{}', expected: !, identifier, or 'end of string'",
            word(text)
        )));
    }
    Ok((found.to_owned(), rest))
}

/// A value, which may be empty.
fn value(text: &str) -> Result<(String, &str), Invalid> {
    let end = text.find(|c: char| !is_name(c)).unwrap_or(text.len());
    let (found, rest) = text.split_at(end);
    if !found.is_empty() && !is_bounded(found) {
        return Err(Invalid(format!("invalid label value '{found}'")));
    }
    Ok((found.to_owned(), rest))
}

/// Not too long, and a letter or digit at both ends.
fn is_bounded(text: &str) -> bool {
    text.len() <= NAME_LIMIT
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// The first word, for messages.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')'));
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn each_operator_selects() {
        for (selector, object, expected) in [
            ("", "a=b", true),
            ("a=b", "a=b,c=d", true),
            ("a == b , c=d", "a=b,c=d", true),
            ("a=b", "a=c", false),
            ("a=", "a=", true),
            ("a!=b", "", true),
            ("a!=b", "a=b", false),
            ("a in (b, c)", "a=c", true),
            ("a in (b,c)", "", false),
            ("a notin (b)", "", true),
            ("a notin (b),d", "d=1", true),
            ("a", "a=", true),
            ("!a", "a=", false),
            ("! a", "b=", true),
            ("a>5", "a=6", true),
            ("a>5", "a=x", false),
            ("a<5", "a=4", true),
            ("example.com/app=web", "example.com/app=web", true),
        ] {
            let parsed = Selector::parse(selector).expect(selector);
            assert_eq!(parsed.matches(&labels(object)), expected, "{selector} on {object}");
        }
    }

    #[test]
    fn equalities_are_a_label_set_and_others_are_not() {
        let set = Selector::parse("b=c,a==d").expect("valid").equalities();
        assert_eq!(set, Some(labels("a=d,b=c")));
        assert_eq!(Selector::parse("").expect("valid").equalities(), Some(BTreeMap::new()));
        assert_eq!(Selector::parse("a=b,c").expect("valid").equalities(), None);
    }

    #[test]
    fn other_texts_are_refused_with_a_sentence() {
        let text = Selector::parse("a x b").expect_err("no operator").to_string();
        assert_eq!(
            text,
            "unable to parse requirement: found 'x', expected: in, notin, =, ==, !=, gt, lt"
        );
        let long = format!("a={}", "x".repeat(64));
        let many = vec!["a"; REQUIREMENT_LIMIT + 1].join(",");
        for text in [
            "=b", ",", "a=b,", "a in b", "a in (b", "a=-b", "a=b c", "a>x", "/a", "a//b", "é=a",
            &long, &many,
        ] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
