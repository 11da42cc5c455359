//! The leader's entries: what autoscalers want, joined with what is stored, and settled by each round's outcomes (spec
//! external-metrics §10.2).

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::entry::{Entry, Limits, seconds};
use super::hpa::Wanted;
use super::query;
use super::rounds::{Outcome, Outcomes};
use crate::config::Aggregator;

/// How queries are written.
#[derive(Clone, Copy, Debug)]
pub struct Wording {
    /// How points of one bucket become a value.
    pub aggregator: Aggregator,
    /// Seconds of one bucket.
    pub rollup: u64,
}

/// The entries of the leader.
#[derive(Debug)]
pub struct Ledger {
    wording: Wording,
    limits: Limits,
    entries: Vec<Entry>,
    /// UIDs of the autoscalers that were there when it was last looked.
    known: BTreeSet<String>,
}

impl Wording {
    /// The query of an entry.
    pub fn query(&self, entry: &Entry) -> String {
        query::text(self.aggregator, &entry.metric, &entry.labels, self.rollup)
    }
}

impl Ledger {
    /// No entries.
    pub fn new(wording: Wording, limits: Limits) -> Self {
        Self { wording, limits, entries: Vec::new(), known: BTreeSet::new() }
    }

    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Takes over entries that another replica, or this one before a restart, has stored; own ones stay.
    pub fn adopt(&mut self, stored: Vec<Entry>) {
        for entry in stored {
            let is_same = |own: &Entry| {
                own.reference == entry.reference
                    && own.metric == entry.metric
                    && own.labels == entry.labels
            };
            match self.entries.iter_mut().find(|own| is_same(own)) {
                // A placeholder knows nothing; a stored value may still be good.
                Some(own) if !own.valid => *own = entry,
                Some(_) => {}
                None => self.entries.push(entry),
            }
        }
    }

    /// Follows what autoscalers want now: new metrics get a place, and what an autoscaler that is there, or was there
    /// before, does not want any more goes. Entries of autoscalers that were never seen stay for [`Ledger::collect`].
    /// Returns whether anything changed.
    pub fn follow(&mut self, wanted: &[Wanted], now: SystemTime) -> bool {
        let present: BTreeSet<String> =
            wanted.iter().map(|wanted| wanted.reference.uid.clone()).collect();
        let before = self.entries.len();
        let known = &self.known;
        self.entries.retain(|entry| {
            let uid = &entry.reference.uid;
            let is_judged = present.contains(uid) || known.contains(uid);
            !is_judged || wanted.iter().any(|wanted| entry.is_for(wanted))
        });
        let mut changed = self.entries.len() != before;
        for wanted in wanted {
            if !self.entries.iter().any(|entry| entry.is_for(wanted)) {
                self.entries.push(Entry::placeholder(wanted.clone(), now));
                changed = true;
            }
        }
        self.known = present;
        changed
    }

    /// Drops every entry that nobody wants; `wanted` must be complete. Returns how many there were.
    pub fn collect(&mut self, wanted: &[Wanted]) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| wanted.iter().any(|wanted| entry.is_for(wanted)));
        before - self.entries.len()
    }

    /// Forgets everything: a term as the leader has ended.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.known.clear();
    }

    /// The queries to ask, each once.
    pub fn queries(&self) -> BTreeSet<String> {
        self.entries.iter().map(|entry| self.wording.query(entry)).collect()
    }

    /// Gives each entry the outcome of its query.
    pub fn settle(&mut self, outcomes: &Outcomes, now: SystemTime) {
        for entry in &mut self.entries {
            if let Some(outcome) = outcomes.get(&self.wording.query(entry)) {
                settle(entry, outcome, self.limits, now);
            }
        }
    }
}

fn settle(entry: &mut Entry, outcome: &Outcome, limits: Limits, now: SystemTime) {
    match outcome {
        Outcome::Point(point) => {
            entry.value = point.value;
            entry.timestamp = point.timestamp;
            entry.valid = true;
            entry.problem = None;
            let age = entry.age(now);
            if age > limits.age {
                invalidate(entry, outdated(age, limits), now);
            }
        }
        Outcome::Nothing(reason) => {
            entry.value = 0.0;
            invalidate(entry, reason.clone(), now);
        }
        Outcome::Unanswered(reason) => {
            entry.problem = Some(reason.clone());
            if !entry.valid || entry.age(now) > limits.age {
                invalidate(entry, reason.clone(), now);
            }
        }
    }
}

fn invalidate(entry: &mut Entry, reason: String, now: SystemTime) {
    entry.valid = false;
    entry.timestamp = seconds(now);
    entry.problem = Some(reason);
}

fn outdated(age: Duration, limits: Limits) -> String {
    format!(
        "Query returned outdated result, check MaxAge setting: the last point is {} s old, {} s are allowed",
        age.as_secs(),
        limits.age.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::entry::{Labels, Reference};
    use super::super::point::Point;
    use super::*;

    const START: u64 = 1_709_634_030;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(START + second)
    }

    fn ledger(rollup: u64) -> Ledger {
        let second = Duration::from_secs(1);
        let limits = Limits::new(120 * second, Duration::from_secs(rollup), 30 * second);
        Ledger::new(Wording { aggregator: Aggregator::Average, rollup }, limits)
    }

    fn wanted(uid: &str, metric: &str) -> Wanted {
        let reference = Reference::horizontal("shop", &format!("hpa-{uid}"), uid);
        Wanted { metric: metric.to_owned(), labels: Labels::new(), reference }
    }

    fn point(ledger: &mut Ledger, outcome: Outcome, now: SystemTime) {
        let outcomes = ledger.queries().into_iter().map(|query| (query, outcome.clone())).collect();
        ledger.settle(&outcomes, now);
    }

    #[test]
    fn external_metrics_21_points_are_valid_up_to_their_age() {
        for (rollup, age, valid) in
            [(30, 119, true), (30, 120, true), (30, 121, false), (60, 180, true), (60, 181, false)]
        {
            let mut ledger = ledger(rollup);
            ledger.follow(&[wanted("u", "a")], at(0));
            let outcome = Outcome::Point(Point { timestamp: START as i64, value: 5.0 });
            point(&mut ledger, outcome, at(age));
            let entry = &ledger.entries()[0];
            assert_eq!((entry.valid, entry.value), (valid, 5.0), "{age} s with {rollup}");
            let timestamp = START + if valid { 0 } else { age };
            assert_eq!(entry.timestamp, timestamp as i64);
        }
    }

    #[test]
    fn a_value_outlives_failures_until_its_age_and_nothing_ends_it_at_once() {
        let mut ledger = ledger(30);
        ledger.follow(&[wanted("u", "a")], at(0));
        let value = Outcome::Point(Point { timestamp: START as i64, value: 5.0 });
        point(&mut ledger, value.clone(), at(10));
        point(&mut ledger, Outcome::Unanswered("503".to_owned()), at(120));
        assert!(ledger.entries()[0].valid);
        assert_eq!(ledger.entries()[0].problem.as_deref(), Some("503"));
        point(&mut ledger, Outcome::Unanswered("503".to_owned()), at(121));
        assert!(!ledger.entries()[0].valid);
        point(&mut ledger, value, at(30));
        assert!(ledger.entries()[0].valid);
        point(&mut ledger, Outcome::Nothing("no serie".to_owned()), at(31));
        assert!(!ledger.entries()[0].valid);
    }

    #[test]
    fn deleted_autoscalers_lose_their_entries_at_once_and_unknown_ones_at_a_collection() {
        let mut ledger = ledger(30);
        let stored = Entry { valid: true, ..Entry::placeholder(wanted("gone", "a"), at(0)) };
        ledger.adopt(vec![stored]);
        assert!(ledger.follow(&[wanted("u", "a"), wanted("v", "b")], at(0)));
        assert_eq!(ledger.entries().len(), 3, "who was never seen may not have been listed yet");
        assert!(ledger.follow(&[wanted("v", "c")], at(0)));
        let metrics: Vec<&str> =
            ledger.entries().iter().map(|entry| entry.metric.as_str()).collect();
        assert_eq!(metrics, ["a", "c"], "u is gone and v wants something else");
        assert!(!ledger.follow(&[wanted("v", "c")], at(0)));
        assert_eq!(ledger.collect(&[wanted("v", "c")]), 1);
        assert_eq!(ledger.entries().len(), 1);
    }

    #[test]
    fn stored_values_survive_a_restart() {
        let mut ledger = ledger(30);
        ledger.follow(&[wanted("u", "a")], at(0));
        let stored =
            Entry { valid: true, value: 7.0, ..Entry::placeholder(wanted("u", "a"), at(0)) };
        ledger.adopt(vec![stored]);
        assert_eq!((ledger.entries().len(), ledger.entries()[0].value), (1, 7.0));
        ledger.adopt(vec![Entry::placeholder(wanted("u", "a"), at(0))]);
        assert!(ledger.entries()[0].valid, "an own value is newer than a stored one");
    }
}
