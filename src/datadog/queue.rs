//! Payloads that wait for delivery, bounded by their bytes (spec events-and-leader §5.6).
//!
//! The oldest payload goes out first, so that the events' resume position moves on. What does not fit pushes out the
//! oldest payload of the least important kind. Whoever needs to know what became of a payload keeps a [`Receipt`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What is sent, and where below the base URL; the order is that of importance, the least important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// Metrics.
    Series,
    /// Service checks.
    CheckRuns,
    /// Events.
    Events,
}

/// A body on its way to an intake.
#[derive(Clone, Debug)]
pub struct Payload {
    /// Where it goes.
    pub route: Route,
    /// The bytes as they are sent; all destinations share them.
    pub body: Arc<[u8]>,
    /// Whether the body is a zlib stream.
    pub compressed: bool,
    /// Who waits for its fate.
    pub receipt: Option<Receipt>,
}

/// What has become of a payload; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Receipt(Arc<AtomicU8>);

const WAITING: u8 = 0;
const SENDING: u8 = 1;
const SETTLED: u8 = 2;
const WITHDRAWN: u8 = 3;

/// The payloads of one destination.
#[derive(Debug)]
pub struct Queue {
    limit: usize,
    bytes: usize,
    payloads: VecDeque<Payload>,
}

impl Route {
    /// The path below the base URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::Series => "/api/v1/series",
            Self::CheckRuns => "/api/v1/check_run",
            Self::Events => "/intake/",
        }
    }

    /// The name in telemetry and on the status page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Series => "series_v1",
            Self::CheckRuns => "check_run_v1",
            Self::Events => "intake",
        }
    }
}

impl Receipt {
    /// Whether the payload was accepted, or dropped for good and counted.
    pub fn is_settled(&self) -> bool {
        self.0.load(Ordering::SeqCst) == SETTLED
    }

    /// Takes the payload back, so that it is never sent; false when it is being sent or its fate is settled.
    pub fn withdraw(&self) -> bool {
        let (from, to) = (WAITING, WITHDRAWN);
        let before = self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
        matches!(before, Ok(_) | Err(WITHDRAWN))
    }

    fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::SeqCst) == WITHDRAWN
    }

    fn begin(&self) -> bool {
        self.0.compare_exchange(WAITING, SENDING, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

impl Payload {
    /// The payload has been accepted, or is given up for good.
    pub fn settle(&self) {
        self.set(SETTLED);
    }

    fn set(&self, state: u8) {
        if let Some(receipt) = &self.receipt {
            receipt.0.store(state, Ordering::SeqCst);
        }
    }
}

impl Queue {
    /// An empty queue for at most `limit` bytes of bodies.
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, payloads: VecDeque::new() }
    }

    /// Adds a payload at the end; returns what had to go for it, which may be itself.
    pub fn push(&mut self, payload: Payload) -> Vec<Payload> {
        self.bytes += payload.body.len();
        self.payloads.push_back(payload);
        self.shrink()
    }

    /// Puts a payload that was taken back to the front, to be sent again; returns what had to go for it.
    pub fn put_back(&mut self, payload: Payload) -> Vec<Payload> {
        payload.set(WAITING);
        self.bytes += payload.body.len();
        self.payloads.push_front(payload);
        self.shrink()
    }

    /// Takes the oldest payload whose route is free.
    pub fn take(&mut self, is_free: impl Fn(Route) -> bool) -> Option<Payload> {
        self.forget_withdrawn();
        loop {
            let position = self.payloads.iter().position(|payload| is_free(payload.route))?;
            let payload = self.remove(position)?;
            if payload.receipt.as_ref().is_none_or(Receipt::begin) {
                return Some(payload);
            }
        }
    }

    /// Payloads that wait.
    pub fn len(&self) -> usize {
        self.payloads.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.payloads.is_empty()
    }

    /// Bytes of their bodies.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The routes of what waits.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        self.payloads.iter().map(|payload| payload.route)
    }

    fn shrink(&mut self) -> Vec<Payload> {
        self.forget_withdrawn();
        let mut dropped = Vec::new();
        while self.bytes > self.limit {
            let oldest = self.payloads.iter().enumerate().min_by_key(|(_, payload)| payload.route);
            let Some((position, _)) = oldest else { break };
            if let Some(payload) = self.remove(position) {
                payload.settle();
                dropped.push(payload);
            }
        }
        dropped
    }

    fn forget_withdrawn(&mut self) {
        let is_withdrawn =
            |payload: &Payload| payload.receipt.as_ref().is_some_and(Receipt::is_withdrawn);
        while let Some(position) = self.payloads.iter().position(is_withdrawn) {
            self.remove(position);
        }
    }

    fn remove(&mut self, position: usize) -> Option<Payload> {
        let payload = self.payloads.remove(position)?;
        self.bytes -= payload.body.len();
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(route: Route, name: u8, size: usize) -> Payload {
        let receipt = Some(Receipt::default());
        Payload { route, body: vec![name; size].into(), compressed: false, receipt }
    }

    fn names(payloads: &[Payload]) -> Vec<u8> {
        payloads.iter().map(|payload| payload.body[0]).collect()
    }

    // spec: events_and_leader_25
    #[test]
    fn the_oldest_of_the_least_important_go_first_and_the_bytes_stay_bounded() {
        let mut queue = Queue::new(1 << 20);
        let mut dropped = Vec::new();
        for name in 0..20 {
            let route = if name % 2 == 0 { Route::Events } else { Route::Series };
            dropped.extend(queue.push(payload(route, name, 100 << 10)));
            assert!(queue.bytes() <= 1 << 20);
        }
        assert_eq!(names(&dropped), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
        assert!(
            dropped.iter().all(|payload| payload.receipt.as_ref().is_some_and(Receipt::is_settled))
        );
        let dropped = queue.push(payload(Route::Events, 20, 100 << 10));
        assert_eq!(names(&dropped), [0]);
        assert_eq!(names(&queue.push(payload(Route::Events, 21, 2 << 20))).last(), Some(&21));
        assert!(queue.is_empty(), "what is larger than the queue takes all others with it");
    }

    #[test]
    fn a_blocked_route_does_not_hold_up_the_others() {
        let mut queue = Queue::new(100);
        assert!(queue.push(payload(Route::Events, 1, 1)).is_empty());
        assert!(queue.push(payload(Route::CheckRuns, 2, 1)).is_empty());
        let taken = queue.take(|route| route != Route::Events).expect("one route is free");
        assert_eq!(taken.body[0], 2);
        assert!(queue.take(|route| route != Route::Events).is_none());
        assert_eq!((queue.len(), queue.bytes()), (1, 1));
    }

    #[test]
    fn what_is_taken_back_is_not_sent_unless_it_is_being_sent() {
        let mut queue = Queue::new(100);
        let (first, second) = (payload(Route::Events, 1, 1), payload(Route::Events, 2, 1));
        let receipts =
            [&first, &second].map(|payload| payload.receipt.clone().expect("it has one"));
        queue.push(first);
        queue.push(second);
        let sending = queue.take(|_| true).expect("two wait");
        assert!(!receipts[0].withdraw(), "it is under way");
        assert!(receipts[1].withdraw());
        assert!(queue.take(|_| true).is_none());
        queue.put_back(sending);
        assert!(receipts[0].withdraw());
        assert!(queue.take(|_| true).is_none());
        assert_eq!(queue.bytes(), 0);
    }
}
