//! The values that are served, and which of them answers a request (spec external-metrics §10.3).
//!
//! The caller of the API adds up all items of an answer, so at most one is ever given: two autoscalers that want the
//! same metric must not double it, and one whose labels are part of another's must not get that one's value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::entry::{Entry, Labels, Limits};
use crate::kube::selector::Selector;
use crate::sync::Published;

/// One value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The metric's name, case kept.
    pub metric: String,
    /// The label set of the metric.
    pub labels: Labels,
    /// The value; finite.
    pub value: f64,
}

/// All entries at one moment.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// In any order.
    pub entries: Vec<Entry>,
    /// Until when the copy counts; `None` for the leader's own, whose entries age one by one.
    pub until: Option<Instant>,
    /// Whether values were ever read or made.
    pub ready: bool,
}

/// The table as it is served; clones share it.
#[derive(Clone, Debug)]
pub struct ServedTable {
    table: Arc<Published<Table>>,
    limits: Limits,
}

impl Table {
    /// The value of the metric `name` (lower case) that `selector` means; `None` when there is none, or not exactly one.
    pub fn answer(
        &self,
        name: &str,
        selector: &Selector,
        limits: Limits,
        now: SystemTime,
    ) -> Option<Item> {
        let mut sets: BTreeMap<&Labels, (&Entry, bool)> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.metric.to_lowercase() == name) {
            let servable = entry.is_servable(limits, now);
            let rank = |(entry, servable): (&Entry, bool)| (servable, entry.timestamp);
            let best = sets.entry(&entry.labels).or_insert((entry, servable));
            if rank((entry, servable)) > rank(*best) {
                *best = (entry, servable);
            }
        }
        let exact = selector.equalities().and_then(|labels| sets.get(&labels).copied());
        let (entry, servable) = exact.or_else(|| {
            let mut matching = sets.iter().filter(|(labels, _)| selector.matches(labels));
            let (_, only) = matching.next()?;
            matching.next().is_none().then_some(*only)
        })?;
        servable.then(|| Item {
            metric: entry.metric.clone(),
            labels: entry.labels.clone(),
            value: entry.value,
        })
    }
}

impl ServedTable {
    /// A table that is not ready.
    pub fn new(limits: Limits) -> Self {
        Self { table: Arc::default(), limits }
    }

    /// Replaces it.
    pub fn publish(&self, table: Table) {
        self.table.set(table);
    }

    /// The table of this moment; `None` while there is none, or only a copy that is too old.
    pub fn current(&self) -> Option<Arc<Table>> {
        let table = self.table.get();
        let expired = table.until.is_some_and(|until| Instant::now() >= until);
        (table.ready && !expired).then_some(table)
    }

    /// The table of this moment, however old, for the status page.
    pub fn last(&self) -> Arc<Table> {
        self.table.get()
    }

    /// How old values may be.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The moment until which a copy that was read `now` counts.
    pub fn expiry(now: Instant, refresh_rate: Duration) -> Instant {
        now + 2 * refresh_rate
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::entry::Reference;
    use super::*;

    const NOW: u64 = 10_000;

    fn entry(metric: &str, labels: &[(&str, &str)], value: f64) -> Entry {
        Entry {
            metric: metric.to_owned(),
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            reference: Reference::horizontal("shop", "web", "u"),
            value,
            timestamp: NOW as i64,
            valid: true,
            problem: None,
        }
    }

    fn answer(entries: Vec<Entry>, name: &str, selector: &str, after: u64) -> Option<f64> {
        let second = Duration::from_secs(1);
        let limits = Limits::new(120 * second, 30 * second, 30 * second);
        let table = Table { entries, until: None, ready: true };
        let selector = Selector::parse(selector).expect("the test's selector is valid");
        let now = UNIX_EPOCH + Duration::from_secs(NOW + after);
        table.answer(name, &selector, limits, now).map(|item| item.value)
    }

    #[test]
    fn external_metrics_16_at_most_one_item_and_never_anothers_value() {
        let twice =
            || vec![entry("depth", &[("app", "a")], 1.0), entry("depth", &[("app", "a")], 1.0)];
        assert_eq!(answer(twice(), "depth", "app=a", 0), Some(1.0));

        let mut both = vec![
            entry("depth", &[("app", "a")], 1.0),
            entry("depth", &[("app", "a"), ("env", "p")], 2.0),
        ];
        assert_eq!(answer(both.clone(), "depth", "app=a", 0), Some(1.0));
        assert_eq!(answer(both.clone(), "depth", "", 0), None, "two label sets match");
        assert_eq!(answer(both.clone(), "depth", "env=p", 0), Some(2.0));
        assert_eq!(answer(both.clone(), "depth", "app in (a),env!=p", 0), Some(1.0));
        both[0].valid = false;
        assert_eq!(answer(both.clone(), "depth", "app=a", 0), None);
        assert_eq!(answer(both, "other", "app=a", 0), None);
    }

    #[test]
    fn within_one_label_set_a_valid_value_wins_and_then_the_newest() {
        let mut invalid = entry("depth", &[], 1.0);
        invalid.valid = false;
        invalid.timestamp += 100;
        let mut newer = entry("depth", &[], 3.0);
        newer.timestamp += 10;
        let all = vec![invalid, entry("depth", &[], 2.0), newer];
        assert_eq!(answer(all, "depth", "", 0), Some(3.0));
    }

    #[test]
    fn values_age_out_while_they_are_served() {
        assert_eq!(answer(vec![entry("depth", &[], 2.0)], "depth", "", 150), Some(2.0));
        assert_eq!(answer(vec![entry("depth", &[], 2.0)], "depth", "", 151), None);
    }

    #[test]
    fn a_copy_that_is_too_old_is_no_table() {
        let second = Duration::from_secs(1);
        let served = ServedTable::new(Limits::new(second, second, second));
        assert!(served.current().is_none(), "nothing was read yet");
        served.publish(Table { ready: true, ..Table::default() });
        assert!(served.current().is_some());
        let past = Instant::now();
        served.publish(Table { ready: true, until: Some(past), ..Table::default() });
        assert!(served.current().is_none());
    }
}
