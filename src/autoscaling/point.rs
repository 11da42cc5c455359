//! Which point of a series is the value (spec external-metrics §11.4).

use std::fmt;
use std::time::Duration;

/// A point: seconds since 1970 and a finite value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Seconds since 1970.
    pub timestamp: i64,
    /// The value.
    pub value: f64,
}

/// Why a query has no value.
#[derive(Clone, Debug, PartialEq)]
pub enum NoPoint {
    /// The answer has no series for it.
    NoSeries {
        /// The window that was asked for.
        window: Duration,
    },
    /// The answer has more than one.
    ManySeries,
    /// No point has a value.
    OnlyNulls {
        /// How many points there are.
        points: usize,
        /// The window that was asked for.
        window: Duration,
        /// Seconds between two points, as Datadog says.
        interval: u64,
    },
}

impl fmt::Display for NoPoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSeries { window } => write!(
                formatter,
                "no serie returned for this query, check data is available in the last {} seconds",
                window.as_secs()
            ),
            Self::ManySeries => formatter.write_str(
                "multiple series found. Please change your query to return a single serie",
            ),
            Self::OnlyNulls { points, window, interval } => write!(
                formatter,
                "only null values found in API response ({points} points), check data is available in the last {} \
                 seconds (interval was {interval})",
                window.as_secs()
            ),
        }
    }
}

/// The last point but one that has a value, because the last bucket is still filling; the only one where there is one.
pub fn choose(points: &[(f64, Option<f64>)]) -> Option<Point> {
    let usable = |(time, value): &(f64, Option<f64>)| {
        let value = value.filter(|value| value.is_finite())?;
        time.is_finite().then_some(Point { timestamp: (time / 1000.0).floor() as i64, value })
    };
    let mut newest_first = points.iter().rev().filter_map(usable);
    let last = newest_first.next()?;
    Some(newest_first.next().unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: external_metrics_20
    #[test]
    fn the_last_complete_bucket_counts() {
        type Case<'a> = (&'a [(f64, Option<f64>)], Option<f64>);
        let cases: [Case<'_>; 6] = [
            (&[(0.0, Some(1.0)), (30e3, Some(2.0)), (60e3, Some(3.0))], Some(2.0)),
            (&[(0.0, Some(1.0)), (30e3, None), (60e3, None)], Some(1.0)),
            (&[(0.0, Some(1.0))], Some(1.0)),
            (&[(0.0, None), (30e3, None)], None),
            (&[], None),
            (&[(0.0, Some(5.0)), (30e3, Some(f64::NAN)), (60e3, Some(f64::INFINITY))], Some(5.0)),
        ];
        for (points, expected) in cases {
            assert_eq!(choose(points).map(|point| point.value), expected, "{points:?}");
        }
        let point = choose(&[(1_709_634_000_999.0, Some(1.0))]).expect("there is one");
        assert_eq!(point.timestamp, 1_709_634_000);
    }
}
