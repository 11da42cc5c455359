//! From the steps of a watch to new events in the order of their versions: pure (spec events-and-leader §2.3).
//!
//! A list is held until it is complete, because its objects come in no order: an event handed over too early would
//! move the resume position past older ones.

use std::collections::BTreeMap;

use super::object::ClusterEvent;
use crate::kube::watch::Event;

/// Events of one list that are held; the oldest go first (10,000 × about 600 bytes are 6 MB, for a moment).
const LISTED: usize = 10_000;

/// What follows from a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A new event.
    Event(Box<ClusterEvent>),
    /// Everything up to this version has been handed over.
    Position(u64),
}

/// The state between two steps.
#[derive(Debug, Default)]
pub struct Inlet {
    /// Everything up to here was handed over; `None` on a fresh start, which takes the present for read.
    position: Option<u64>,
    listing: BTreeMap<u64, ClusterEvent>,
    dropped: u64,
}

impl Inlet {
    /// An inlet for what comes after `position`.
    pub fn new(position: Option<u64>) -> Self {
        Self { position, ..Self::default() }
    }

    /// Takes one step; `list_version` is the version of the list that is complete with [`Event::InitDone`].
    pub fn take(
        &mut self,
        step: Event<ClusterEvent>,
        list_version: impl Fn() -> u64,
    ) -> Vec<Arrival> {
        match step {
            Event::Init => self.listing.clear(),
            Event::InitApply(event) => self.hold(event),
            Event::InitDone => return self.end_list(list_version()),
            Event::Apply(event) => {
                let version = event.version();
                if self.position.is_none_or(|position| version > position) {
                    self.position = Some(version);
                    return vec![Arrival::Event(Box::new(event))];
                }
            }
            // Events run out by themselves; that they are gone is no news.
            Event::Delete(_) => {}
        }
        Vec::new()
    }

    /// Events that had to be left out because a list was too long, since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn hold(&mut self, event: ClusterEvent) {
        if self.position.is_none() {
            return;
        }
        self.listing.insert(event.version(), event);
        if self.listing.len() > LISTED
            && let Some((version, _)) = self.listing.pop_first()
            && self.position.is_some_and(|position| version > position)
        {
            self.dropped += 1;
        }
    }

    fn end_list(&mut self, version: u64) -> Vec<Arrival> {
        let listing = std::mem::take(&mut self.listing);
        // A list that is older than the position comes from a cluster whose data was set back: all of it is new.
        let known = self.position.filter(|position| *position <= version).unwrap_or_default();
        self.position = Some(version);
        let new = listing.into_iter().filter(|(version, _)| *version > known);
        let events = new.map(|(_, event)| Arrival::Event(Box::new(event)));
        events.chain([Arrival::Position(version)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(version: u64) -> ClusterEvent {
        let metadata = json!({"name": "e", "resourceVersion": version.to_string()});
        serde_json::from_value(json!({"metadata": metadata})).expect("it has the shape of an event")
    }

    fn feed(inlet: &mut Inlet, steps: Vec<Event<ClusterEvent>>, list_version: u64) -> Vec<u64> {
        let mut found = Vec::new();
        for step in steps {
            found.extend(inlet.take(step, || list_version).into_iter().map(
                |arrival| match arrival {
                    Arrival::Event(event) => event.version(),
                    Arrival::Position(version) => version * 1_000,
                },
            ));
        }
        found
    }

    fn list(versions: &[u64]) -> Vec<Event<ClusterEvent>> {
        let items = versions.iter().map(|version| Event::InitApply(event(*version)));
        [Event::Init].into_iter().chain(items).chain([Event::InitDone]).collect()
    }

    #[test]
    fn a_fresh_start_takes_the_present_for_read() {
        let mut inlet = Inlet::new(None);
        assert_eq!(feed(&mut inlet, list(&[5, 7]), 9), [9_000]);
        assert_eq!(feed(&mut inlet, vec![Event::Apply(event(10))], 0), [10]);
    }

    // spec: events_and_leader_15
    #[test]
    fn after_a_gap_exactly_what_is_newer_than_the_position_is_new() {
        let mut inlet = Inlet::new(Some(100));
        let versions: Vec<u64> = (90..=120).rev().collect();
        let expected: Vec<u64> = (101..=120).chain([125_000]).collect();
        assert_eq!(feed(&mut inlet, list(&versions), 125), expected);
        assert_eq!(feed(&mut inlet, list(&versions), 125), [125_000]);
    }

    // spec: events_and_leader_16
    #[test]
    fn deleted_events_are_no_news() {
        let mut inlet = Inlet::new(Some(1));
        let steps = vec![Event::Delete(event(5)), Event::Apply(event(6)), Event::Apply(event(6))];
        assert_eq!(feed(&mut inlet, steps, 0), [6]);
    }

    #[test]
    fn a_cluster_that_was_set_back_is_read_from_its_beginning() {
        let mut inlet = Inlet::new(Some(1_000));
        assert_eq!(feed(&mut inlet, list(&[3, 2]), 4), [2, 3, 4_000]);
        assert_eq!(feed(&mut inlet, vec![Event::Apply(event(5))], 0), [5]);
    }

    #[test]
    fn a_list_that_begins_anew_forgets_its_first_half_and_a_long_one_its_oldest() {
        let mut inlet = Inlet::new(Some(1));
        let mut steps = vec![Event::Init, Event::InitApply(event(2))];
        steps.extend(list(&[3]));
        assert_eq!(feed(&mut inlet, steps, 3), [3, 3_000]);
        let versions: Vec<u64> = (4..4 + LISTED as u64 + 5).collect();
        let found = feed(&mut inlet, list(&versions), 20_000);
        assert_eq!((found.len(), found[0]), (LISTED + 1, 9));
        assert_eq!(inlet.take_dropped(), 5);
    }
}
