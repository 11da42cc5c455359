//! Which values of the right shape are accepted (spec config §7), and what the others cost.

use super::{
    convert::{Converted, Outcome, error, fatal, warning},
    keys::{Rule, Violation},
    url::Url,
    value::Value,
};

/// Lets a value pass, changes it with a remark, or refuses it.
pub(super) fn apply(rule: Rule, converted: Converted) -> Outcome {
    match rule {
        Rule::Any => Ok(converted),
        Rule::Filled => filled(converted),
        Rule::Range { low, high, below, above } => within(converted, low, high, below, above),
        Rule::Positive => positive(converted),
        Rule::Url { otherwise } => url(converted, otherwise),
        Rule::OneOf { words, otherwise } => one_of(converted, words, otherwise),
    }
}

fn filled(converted: Converted) -> Outcome {
    match &converted.value {
        Value::Text(text) if text.trim().is_empty() => Err(warning("is empty")),
        _ => Ok(converted),
    }
}

fn within(
    converted: Converted,
    low: i64,
    high: i64,
    below: Violation,
    above: Violation,
) -> Outcome {
    let (small, large) = match converted.value {
        Value::Integer(number) => (number < low, number > high),
        // The limits of fractions are small whole numbers.
        Value::Number(number) => (number < low as f64, number > high as f64),
        _ => return Ok(converted),
    };
    let (violation, bound, reason) = match (small, large) {
        (false, false) => return Ok(converted),
        (true, _) => (below, low, format!("is less than {low}")),
        (_, true) => (above, high, format!("is more than {high}")),
    };
    match violation {
        Violation::Clamp => Ok(Converted {
            value: Value::Integer(bound),
            remark: Some(format!("{reason} and is taken as {bound}")),
        }),
        Violation::Exit => Err(fatal(reason)),
        Violation::LowerLayer | Violation::Word(_) => Err(warning(reason)),
    }
}

fn positive(converted: Converted) -> Outcome {
    match converted.value {
        Value::Number(number) if number <= 0.0 => Err(warning("is not more than 0")),
        Value::Duration(duration) if duration.is_zero() => Err(warning("is not more than 0")),
        _ => Ok(converted),
    }
}

fn url(converted: Converted, otherwise: Violation) -> Outcome {
    let problem = match &converted.value {
        Value::Text(text) if !text.is_empty() => Url::parse(text).err(),
        _ => None,
    };
    match (problem, otherwise) {
        (None, _) => Ok(converted),
        (Some(problem), Violation::Exit) => Err(fatal(problem.to_string())),
        (Some(problem), _) => Err(error(problem.to_string())),
    }
}

fn one_of(converted: Converted, words: &[&str], otherwise: Violation) -> Outcome {
    let Value::Text(given) = &converted.value else { return Ok(converted) };
    let word = given.trim().to_ascii_lowercase();
    if words.contains(&word.as_str()) {
        return Ok(Converted { value: Value::Text(word), remark: None });
    }
    let known: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
    let reason = format!("is none of {}", known.join(", "));
    match otherwise {
        Violation::Exit => Err(fatal(reason)),
        Violation::Word(word) => {
            let meaning =
                if word.is_empty() { "left out".to_owned() } else { format!("taken as {word}") };
            Ok(Converted {
                value: Value::Text(word.to_owned()),
                remark: Some(format!("{reason} and is {meaning}")),
            })
        }
        Violation::LowerLayer | Violation::Clamp => Err(warning(reason)),
    }
}
