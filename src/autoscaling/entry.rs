//! One external metric of one autoscaler, with its last value.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::hpa::Wanted;

/// Label names and values, in the order of their names.
pub type Labels = BTreeMap<String, String>;

/// The object that wants a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// `horizontal`, or `watermark` in entries that another build has written.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// A metric, who wants it, and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The metric's name, case kept.
    pub metric: String,
    /// The tags it is restricted to.
    pub labels: Labels,
    /// Who wants it.
    pub reference: Reference,
    /// The last value; finite.
    pub value: f64,
    /// Time of the point, or of the moment in which it became invalid; seconds since 1970.
    pub timestamp: i64,
    /// Whether the value may be used.
    pub valid: bool,
    /// Why it may not, as far as this replica knows; never stored.
    pub problem: Option<String>,
}

/// How old a value may be (spec external-metrics §2, §10.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Oldest point that is taken from an answer: `max_age`, but at least three buckets of `rollup`.
    pub age: Duration,
    /// Time between two refreshes, granted on top while serving.
    pub refresh: Duration,
}

impl Reference {
    /// A HorizontalPodAutoscaler.
    pub fn horizontal(namespace: &str, name: &str, uid: &str) -> Self {
        let [namespace, name, uid] = [namespace, name, uid].map(str::to_owned);
        Self { kind: "horizontal".to_owned(), namespace, name, uid }
    }
}

impl Entry {
    /// The place of a metric that was not asked for yet.
    pub fn placeholder(wanted: Wanted, now: SystemTime) -> Self {
        let Wanted { metric, labels, reference } = wanted;
        let problem = Some("not asked for yet".to_owned());
        let timestamp = seconds(now);
        Self { metric, labels, reference, value: 0.0, timestamp, valid: false, problem }
    }

    /// Whether this is the value of `wanted`.
    pub fn is_for(&self, wanted: &Wanted) -> bool {
        self.reference == wanted.reference
            && self.metric == wanted.metric
            && self.labels == wanted.labels
    }

    /// Whether the value may be served now.
    pub fn is_servable(&self, limits: Limits, now: SystemTime) -> bool {
        self.valid && self.age(now) <= limits.age + limits.refresh
    }

    /// How old the value is; a point of the future has no age.
    pub fn age(&self, now: SystemTime) -> Duration {
        Duration::from_secs(u64::try_from(seconds(now) - self.timestamp).unwrap_or_default())
    }
}

impl Limits {
    /// The limits that follow from the configuration.
    pub fn new(max_age: Duration, rollup: Duration, refresh: Duration) -> Self {
        Self { age: max_age.max(3 * rollup), refresh }
    }
}

/// Seconds since 1970.
pub fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_served_until_its_age_and_one_refresh_have_passed() {
        let second = Duration::from_secs(1);
        let limits = Limits::new(120 * second, 30 * second, 30 * second);
        let now = UNIX_EPOCH + 10_000 * second;
        let wanted = Wanted {
            metric: "a".to_owned(),
            labels: Labels::new(),
            reference: Reference::horizontal("shop", "web", "u"),
        };
        let entry = Entry { valid: true, ..Entry::placeholder(wanted, now) };
        assert!(entry.is_servable(limits, now + 150 * second));
        assert!(!entry.is_servable(limits, now + 151 * second));
        assert!(entry.is_servable(limits, now - 60 * second));
        assert!(!Entry { valid: false, ..entry }.is_servable(limits, now));
        assert_eq!(Limits::new(120 * second, 60 * second, second).age, 180 * second);
    }
}
