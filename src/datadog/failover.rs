//! The query endpoints in the order in which they are tried (spec external-metrics §11.5).
//!
//! An endpoint that fails is skipped for a while that doubles with each failure; when all are to be skipped they are
//! tried anyway. A rejected query is an answer: other endpoints would reject it too.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::answer::{Failure, Series, Source};
use super::query::QueryClient;
use crate::sync::Published;

/// Time for which an endpoint is skipped after a failure, at first and at least.
const SHORTEST_SKIP: Duration = Duration::from_secs(30);

/// The same, at most.
const LONGEST_SKIP: Duration = Duration::from_secs(1800);

/// What an endpoint has done so far, for the status page.
#[derive(Clone, Debug, Default)]
pub struct EndpointState {
    /// Its base URL.
    pub url: String,
    /// When it last failed.
    pub last_failure: Option<SystemTime>,
    /// When it last answered.
    pub last_success: Option<SystemTime>,
    /// Whether the last request was answered; `None` before the first.
    pub answered: Option<bool>,
}

/// The states of all endpoints, in their order; clones share it.
pub type EndpointStates = Arc<Published<Vec<EndpointState>>>;

/// Asks the endpoints, one after the other.
pub struct Failover {
    clients: Vec<QueryClient>,
    skips: Vec<Skip>,
    states: EndpointStates,
    last_used: usize,
}

/// For how long one endpoint is skipped.
#[derive(Clone, Copy, Debug)]
struct Skip {
    interval: Duration,
    failed: Option<Instant>,
}

impl Failover {
    /// Asks `clients` in this order.
    pub fn new(clients: Vec<QueryClient>) -> Self {
        let state = |client: &QueryClient| EndpointState {
            url: client.base().to_owned(),
            ..EndpointState::default()
        };
        Self {
            states: Arc::new(Published::new(clients.iter().map(state).collect())),
            skips: vec![Skip::default(); clients.len()],
            clients,
            last_used: 0,
        }
    }

    /// The states of the endpoints, kept up to date.
    pub fn states(&self) -> EndpointStates {
        self.states.clone()
    }

    fn note(&mut self, index: usize, answered: bool) {
        self.skips[index].note(answered, Instant::now());
        let mut states = (*self.states.get()).clone();
        let state = &mut states[index];
        state.answered = Some(answered);
        let moment = if answered { &mut state.last_success } else { &mut state.last_failure };
        *moment = Some(SystemTime::now());
        self.states.set(states);
    }
}

impl Source for Failover {
    fn query(&mut self, queries: &[String]) -> Result<Vec<Vec<Series>>, Failure> {
        let mut failures = Vec::new();
        for index in order(&self.skips, Instant::now()) {
            let answer = self.clients[index].query(queries);
            let answered = matches!(answer, Ok(_) | Err(Failure::Rejected(_)));
            self.note(index, answered);
            match answer {
                Err(failure) if !answered => failures.push((index, failure)),
                answer => {
                    if self.last_used != index {
                        let url = |index: usize| self.clients[index].base();
                        let (old, new) = (url(self.last_used), url(index));
                        log::warn!(
                            "Switching external metrics source provider from {old} to {new}"
                        );
                        self.last_used = index;
                    }
                    return answer;
                }
            }
        }
        if failures.len() == 1 {
            return Err(failures.remove(0).1);
        }
        let is_refused = failures.iter().all(|(_, failure)| matches!(failure, Failure::Refused(_)));
        let each = failures.iter().map(|(index, failure)| {
            let url = self.clients[*index].base();
            format!("Failed to query metrics on {url}: {}", failure.reason())
        });
        let each: Vec<String> = each.collect();
        let reason = format!("Failed to query metrics on all endpoints, {}", each.join(", "));
        Err(if is_refused { Failure::Refused(reason) } else { Failure::Unanswered(reason) })
    }
}

/// Those that are not skipped, then the others.
fn order(skips: &[Skip], now: Instant) -> Vec<usize> {
    let (mut first, last): (Vec<usize>, Vec<usize>) =
        (0..skips.len()).partition(|index| !skips[*index].is_skipped(now));
    first.extend(last);
    first
}

impl Default for Skip {
    fn default() -> Self {
        Self { interval: SHORTEST_SKIP, failed: None }
    }
}

impl Skip {
    fn is_skipped(&self, now: Instant) -> bool {
        self.failed.is_some_and(|failed| now < failed + self.interval)
    }

    fn note(&mut self, answered: bool, now: Instant) {
        if answered {
            self.interval = (self.interval / 2).max(SHORTEST_SKIP);
            self.failed = None;
        } else {
            self.interval = if self.failed.is_some() {
                (self.interval * 2).min(LONGEST_SKIP)
            } else {
                self.interval
            };
            self.failed = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_fails_goes_behind_the_others_for_a_growing_time() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut skips = [Skip::default(); 2];
        assert_eq!(order(&skips, start), [0, 1]);
        skips[0].note(false, start);
        assert_eq!(order(&skips, start + 29 * second), [1, 0]);
        assert_eq!(order(&skips, start + 30 * second), [0, 1]);
        skips[0].note(false, start + 30 * second);
        assert_eq!(order(&skips, start + 89 * second), [1, 0]);
        skips[1].note(false, start + 89 * second);
        assert_eq!(order(&skips, start + 89 * second), [0, 1], "all are skipped, so all are tried");
        skips[0].note(true, start + 90 * second);
        assert!(!skips[0].is_skipped(start + 90 * second));
        for _ in 0..20 {
            skips[1].note(false, start);
        }
        assert_eq!(skips[1].interval, LONGEST_SKIP);
    }
}
