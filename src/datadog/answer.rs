//! What the query API answers, sorted by query (spec external-metrics §11.3, §11.4).

use serde::Deserialize;

use crate::kube::objects::null_as_default;

/// A series as Datadog gives it: milliseconds since 1970 and a value, which may be missing.
pub type Points = Vec<(f64, Option<f64>)>;

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Seconds between two points.
    pub interval: u64,
    /// In the order of time.
    pub points: Points,
}

/// Why a request has no answer, by what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Something in it is at fault: look for the query.
    Rejected(String),
    /// Datadog did not answer, or could not: try the other requests.
    Unanswered(String),
    /// Datadog does not want to be asked now, or not with these keys: do not ask on.
    Refused(String),
}

/// Answers lists of queries.
pub trait Source {
    /// The series of each query, in their order.
    ///
    /// # Errors
    /// Why there are none.
    fn query(&mut self, queries: &[String]) -> Result<Vec<Vec<Series>>, Failure>;
}

impl Failure {
    /// The reason, whatever comes next.
    pub fn reason(&self) -> &str {
        match self {
            Self::Rejected(reason) | Self::Unanswered(reason) | Self::Refused(reason) => reason,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    #[serde(deserialize_with = "null_as_default")]
    status: String,
    #[serde(deserialize_with = "null_as_default")]
    error: String,
    #[serde(deserialize_with = "null_as_default")]
    series: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    query_index: Option<usize>,
    interval: Option<f64>,
    #[serde(rename = "pointlist", deserialize_with = "null_as_default")]
    points: Points,
}

/// Sorts the series of a successful answer to `count` queries; an empty body is an empty answer.
///
/// # Errors
/// When Datadog rejects the queries, or the answer does not fit them.
pub fn sort(body: &[u8], count: usize) -> Result<Vec<Vec<Series>>, Failure> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| Failure::Unanswered(format!("the answer cannot be read: {error}")))?;
    if answer.status == "error" || (answer.status.is_empty() && !answer.error.is_empty()) {
        return Err(Failure::Rejected(format!("API returned error: {}", answer.error)));
    }
    let mut sorted = vec![Vec::new(); count];
    for Entry { query_index, interval, points } in answer.series {
        let index = query_index.or((count == 1).then_some(0));
        let Some(place) = index.and_then(|index| sorted.get_mut(index)) else {
            return Err(Failure::Rejected(
                "Datadog API response did not match the submitted query batch".to_owned(),
            ));
        };
        place.push(Series { interval: interval.unwrap_or_default() as u64, points });
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: &str = r#"{"metric":"queue.depth","query_index":1,"interval":30,"length":2,"aggr":"avg","pointlist":[[1709634000000.0,40.0],[1709634030000.0,null]]}"#;

    #[test]
    fn series_go_to_their_queries() {
        let body = format!(r#"{{"status":"ok","series":[{SERIES}]}}"#);
        let sorted = sort(body.as_bytes(), 2).expect("the answer is sound");
        assert_eq!(sorted[0], []);
        let points = vec![(1_709_634_000_000.0, Some(40.0)), (1_709_634_030_000.0, None)];
        assert_eq!(sorted[1], [Series { interval: 30, points }]);
        let without = body.replace("\"query_index\":1,", "");
        assert_eq!(sort(without.as_bytes(), 1).expect("there is one query")[0].len(), 1);
        assert_eq!(sort(b"", 1), Ok(vec![Vec::new()]));
        assert_eq!(sort(br#"{"status":"ok","series":null}"#, 1), Ok(vec![Vec::new()]));
    }

    #[test]
    fn answers_that_do_not_fit_are_failures() {
        let body = format!(r#"{{"status":"ok","series":[{SERIES}]}}"#);
        for (body, count, expected) in [
            (
                r#"{"status":"error","error":"bad query"}"#.to_owned(),
                1,
                Failure::Rejected("API returned error: bad query".to_owned()),
            ),
            (
                body.clone(),
                1,
                Failure::Rejected(
                    "Datadog API response did not match the submitted query batch".to_owned(),
                ),
            ),
            (
                body.replace("\"query_index\":1,", ""),
                2,
                Failure::Rejected(
                    "Datadog API response did not match the submitted query batch".to_owned(),
                ),
            ),
        ] {
            assert_eq!(sort(body.as_bytes(), count), Err(expected));
        }
        assert!(matches!(sort(b"<html>", 1), Err(Failure::Unanswered(_))));
    }
}
