//! The text of a Datadog query, and whether a text can stand in a list of queries (spec external-metrics §11.1, §11.2).

use super::entry::Labels;
use crate::config::Aggregator;

/// `avg:queue.depth{env:prod,queue:orders}.rollup(30)`: tags in bytewise order, `*` without any.
pub fn text(aggregator: Aggregator, metric: &str, labels: &Labels, rollup: u64) -> String {
    let mut tags: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    tags.sort_unstable();
    let tags = if tags.is_empty() { "*".to_owned() } else { tags.join(",") };
    format!("{}:{metric}{{{tags}}}.rollup({rollup})", aggregator.as_str())
}

/// Whether the query keeps to itself: in a list joined by commas a stray comma or an open brace of one query would
/// move the results of all that follow.
///
/// # Errors
/// What is wrong with it.
pub fn check(query: &str) -> Result<(), &'static str> {
    if query.trim().is_empty() {
        return Err("it is empty");
    }
    let mut open = Vec::new();
    let mut quote = None;
    for character in query.chars() {
        if let Some(end) = quote {
            quote = (character != end).then_some(end);
            continue;
        }
        match character {
            '"' | '\'' => quote = Some(character),
            '(' => open.push(')'),
            '{' => open.push('}'),
            '[' => open.push(']'),
            ')' | '}' | ']' if open.pop() != Some(character) => {
                return Err("its brackets do not match");
            }
            ',' if open.is_empty() => return Err("it has a comma outside of brackets"),
            _ => {}
        }
    }
    match (quote, open.is_empty()) {
        (Some(_), _) => Err("a quote is not closed"),
        (None, false) => Err("its brackets do not match"),
        (None, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn external_metrics_18_query_texts() {
        let tags = labels(&[("queue", "orders"), ("env", "prod")]);
        for (aggregator, metric, tags, rollup, expected) in [
            (
                Aggregator::Average,
                "queue.depth",
                &tags,
                30,
                "avg:queue.depth{env:prod,queue:orders}.rollup(30)",
            ),
            (
                Aggregator::Average,
                "queue.depth",
                &Labels::new(),
                30,
                "avg:queue.depth{*}.rollup(30)",
            ),
            (
                Aggregator::Maximum,
                "Queue.Depth",
                &Labels::new(),
                60,
                "max:Queue.Depth{*}.rollup(60)",
            ),
            // Tags are ordered as whole texts: a hyphen comes before the colon, which comes before letters.
            (
                Aggregator::Sum,
                "a",
                &labels(&[("env", "x"), ("env-b", "y")]),
                30,
                "sum:a{env-b:y,env:x}.rollup(30)",
            ),
        ] {
            assert_eq!(text(aggregator, metric, tags, rollup), expected);
        }
    }

    #[test]
    fn a_query_that_would_move_others_is_refused() {
        for sound in ["avg:a{b,c}.rollup(30)", "a(b,[c,{d}])", "default_zero(avg:a{x:\"y,(\"})"] {
            assert_eq!(check(sound), Ok(()), "{sound}");
        }
        for unsound in ["", " ", "a,b", "a{b", "a}b", "a{b)", "a{\"b}", "a{b:'c}"] {
            assert!(check(unsound).is_err(), "{unsound}");
        }
    }
}
