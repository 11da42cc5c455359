//! One round of queries: which are asked, in which requests, and what becomes of each (spec external-metrics §11).
//!
//! A request that Datadog rejects is cut in halves until the query is found that spoils it; that one is parked with a
//! growing pause, the others keep their values. A request that fails for a reason that is no query's fault says nothing
//! about its queries: their values stay while they are young enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::batches;
use super::point::{NoPoint, Point, choose};
use super::query;
use crate::datadog::answer::{Failure, Series, Source};
use crate::retry::Random;

/// Requests that finding bad queries may cost in one round: five bad ones among 35 take 50. What is not found is found
/// in the next rounds.
const SEARCH_LIMIT: usize = 100;

/// Requests without any answer after which the rest of the round is given up: each costs up to 25 s.
const SILENCE_LIMIT: usize = 2;

/// First pause of a query that was rejected; it doubles with each further rejection.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1800);

/// What became of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The point that counts, of any age.
    Point(Point),
    /// Datadog has no usable value for it.
    Nothing(String),
    /// It was not answered.
    Unanswered(String),
}

/// Outcomes by query text.
pub type Outcomes = BTreeMap<String, Outcome>;

/// What is remembered between rounds.
#[derive(Debug)]
pub struct Rounds {
    /// The window of the queries, for messages.
    window: Duration,
    /// Queries in one request.
    most: usize,
    parked: BTreeMap<String, Parked>,
    /// Counts rounds, so that a request that hangs is not always the first one.
    number: usize,
    random: Random,
}

#[derive(Debug)]
struct Parked {
    rejections: u32,
    until: Instant,
    reason: String,
}

struct Round<'a, S> {
    source: &'a mut S,
    window: Duration,
    searches: usize,
    silent: usize,
    /// Why nothing more is asked.
    given_up: Option<String>,
    rejected: Vec<(String, String)>,
    outcomes: Outcomes,
}

impl Rounds {
    /// No query is parked.
    pub fn new(window: Duration, most: usize, random: Random) -> Self {
        Self { window, most, parked: BTreeMap::new(), number: 0, random }
    }

    /// Asks for all `queries`; there is an outcome for each.
    pub fn run(
        &mut self,
        queries: BTreeSet<String>,
        source: &mut impl Source,
        now: Instant,
    ) -> Outcomes {
        self.parked.retain(|query, _| queries.contains(query));
        self.number = self.number.wrapping_add(1);
        let mut round = Round {
            source,
            window: self.window,
            searches: 0,
            silent: 0,
            given_up: None,
            rejected: Vec::new(),
            outcomes: Outcomes::new(),
        };
        let mut together = Vec::new();
        let mut alone = Vec::new();
        for query in queries {
            if let Err(problem) = query::check(&query) {
                round.nothing(&query, format!("invalid query {query:?}: {problem}"));
            } else if let Some(parked) = self.parked.get(&query) {
                let wait = parked.until.saturating_duration_since(now);
                if wait.is_zero() {
                    alone.push(query);
                } else {
                    let wait = wait.as_secs();
                    let reason = format!("{}, will be asked again in {wait} s", parked.reason);
                    round.nothing(&query, reason);
                }
            } else {
                together.push(query);
            }
        }
        let mut cut = batches::cut(together, self.most);
        for query in cut.too_long {
            log::error!("Query is too long, could yield a server side error. Dropping: {query}");
            round.nothing(&query, "the query is too long".to_owned());
        }
        let first = self.number % cut.requests.len().max(1);
        cut.requests.rotate_left(first);
        for request in &cut.requests {
            round.ask(request);
        }
        for query in &alone {
            round.ask(std::slice::from_ref(query));
        }
        let Round { rejected, outcomes, .. } = round;
        for query in
            alone.iter().filter(|query| matches!(outcomes.get(*query), Some(Outcome::Point(_))))
        {
            self.parked.remove(query);
        }
        for (query, reason) in rejected {
            self.park(query, reason, now);
        }
        outcomes
    }

    /// After the R-th rejection a pause between 30·2^(R−1) and 30·2^R seconds.
    fn park(&mut self, query: String, reason: String, now: Instant) {
        let rejections = self.parked.get(&query).map_or(1, |parked| parked.rejections + 1);
        let least = FIRST_PAUSE * 2_u32.pow(rejections.min(6) - 1);
        let pause = (least + self.random.up_to(least)).min(LONGEST_PAUSE);
        log::warn!("{reason}, query was: {query}; it is asked again in {} s", pause.as_secs());
        self.parked.insert(query, Parked { rejections, until: now + pause, reason });
    }
}

impl<S: Source> Round<'_, S> {
    fn ask(&mut self, queries: &[String]) {
        if let Some(reason) = self.given_up.clone() {
            return self.unanswered(queries, &reason);
        }
        match self.source.query(queries) {
            Ok(answers) => {
                self.silent = 0;
                if answers.iter().all(Vec::is_empty) {
                    // Documented to users, who search their logs for it.
                    log::error!("Returned series slice empty");
                }
                for (query, series) in queries.iter().zip(answers) {
                    let outcome = match value(&series, self.window) {
                        Ok(point) => Outcome::Point(point),
                        Err(none) => Outcome::Nothing(none.to_string()),
                    };
                    self.outcomes.insert(query.clone(), outcome);
                }
            }
            Err(Failure::Rejected(reason)) => self.search(queries, reason),
            Err(Failure::Unanswered(reason)) => {
                self.silent += 1;
                if self.silent >= SILENCE_LIMIT {
                    self.given_up = Some(reason.clone());
                }
                self.unanswered(queries, &reason);
            }
            Err(Failure::Refused(reason)) => {
                self.given_up = Some(reason.clone());
                self.unanswered(queries, &reason);
            }
        }
    }

    /// Looks for the query that spoils the request.
    fn search(&mut self, queries: &[String], reason: String) {
        if let [query] = queries {
            self.nothing(query, reason.clone());
            self.rejected.push((query.clone(), reason));
        } else if self.searches + 2 > SEARCH_LIMIT {
            self.unanswered(queries, &reason);
        } else {
            self.searches += 2;
            let (first, second) = queries.split_at(queries.len() / 2);
            self.ask(first);
            self.ask(second);
        }
    }

    fn nothing(&mut self, query: &str, reason: String) {
        self.outcomes.insert(query.to_owned(), Outcome::Nothing(reason));
    }

    fn unanswered(&mut self, queries: &[String], reason: &str) {
        for query in queries {
            self.outcomes.insert(query.clone(), Outcome::Unanswered(reason.to_owned()));
        }
    }
}

fn value(series: &[Series], window: Duration) -> Result<Point, NoPoint> {
    match series {
        [] => Err(NoPoint::NoSeries { window }),
        [Series { points, interval }] => choose(points).ok_or(NoPoint::OnlyNulls {
            points: points.len(),
            window,
            interval: *interval,
        }),
        _ => Err(NoPoint::ManySeries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers 1 to each query, but rejects a list with a bad one, and fails as it is told.
    #[derive(Default)]
    struct Scripted {
        bad: Vec<String>,
        failure: Option<Failure>,
        series: usize,
        asked: Vec<Vec<String>>,
    }

    impl Source for Scripted {
        fn query(&mut self, queries: &[String]) -> Result<Vec<Vec<Series>>, Failure> {
            self.asked.push(queries.to_vec());
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            if queries.iter().any(|query| self.bad.contains(query)) {
                return Err(Failure::Rejected("API returned error: bad query".to_owned()));
            }
            let one = || Series { interval: 30, points: vec![(1000.0, Some(1.0))] };
            let series = |query: &String| {
                if query == "m1" { self.series } else { 1 }
            };
            Ok(queries.iter().map(|query| (0..series(query)).map(|_| one()).collect()).collect())
        }
    }

    fn queries(count: usize) -> BTreeSet<String> {
        (0..count).map(|number| format!("m{number}")).collect()
    }

    fn rounds() -> Rounds {
        Rounds::new(Duration::from_secs(300), 35, Random::from_seed(1))
    }

    fn valid(outcomes: &Outcomes) -> usize {
        outcomes.values().filter(|outcome| matches!(outcome, Outcome::Point(_))).count()
    }

    #[test]
    fn external_metrics_23_a_bad_query_is_found_and_parked() {
        let start = Instant::now();
        let mut rounds = rounds();
        let mut source = Scripted { bad: vec!["m3".to_owned()], series: 1, ..Scripted::default() };
        let outcomes = rounds.run(queries(8), &mut source, start);
        assert_eq!(valid(&outcomes), 7);
        assert_eq!(outcomes["m3"], Outcome::Nothing("API returned error: bad query".to_owned()));
        assert!(source.asked.len() <= 7, "{:?}", source.asked);

        source.asked.clear();
        let outcomes = rounds.run(queries(8), &mut source, start + Duration::from_secs(29));
        assert_eq!((valid(&outcomes), source.asked.len()), (7, 1));
        assert!(!source.asked[0].contains(&"m3".to_owned()));
        assert!(matches!(&outcomes["m3"], Outcome::Nothing(reason) if reason.contains("again in")));

        source.asked.clear();
        source.bad.clear();
        let outcomes = rounds.run(queries(8), &mut source, start + Duration::from_secs(61));
        assert_eq!((valid(&outcomes), source.asked.len()), (8, 2), "asked alone at first");
        source.asked.clear();
        rounds.run(queries(8), &mut source, start + Duration::from_secs(91));
        assert_eq!(source.asked.len(), 1, "and with the others again");
    }

    #[test]
    fn five_hundred_queries_with_a_bad_one_leave_the_others_valid() {
        let mut source =
            Scripted { bad: vec!["m321".to_owned()], series: 1, ..Scripted::default() };
        let outcomes = rounds().run(queries(500), &mut source, Instant::now());
        assert_eq!((outcomes.len(), valid(&outcomes)), (500, 499));
        // 15 requests of at most 35, and the search among 35: two for each of at most six halvings.
        assert!(source.asked.len() <= 15 + 12, "{}", source.asked.len());
    }

    #[test]
    fn looking_for_bad_queries_is_bounded() {
        let mut source =
            Scripted { bad: queries(500).into_iter().collect(), ..Scripted::default() };
        let outcomes = rounds().run(queries(500), &mut source, Instant::now());
        assert_eq!(outcomes.len(), 500);
        assert!(source.asked.len() <= 15 + SEARCH_LIMIT, "{}", source.asked.len());
    }

    #[test]
    fn external_metrics_22_two_series_spoil_their_query_only() {
        let mut source = Scripted { series: 2, ..Scripted::default() };
        let outcomes = rounds().run(queries(3), &mut source, Instant::now());
        let reason = "multiple series found. Please change your query to return a single serie";
        assert_eq!(outcomes["m1"], Outcome::Nothing(reason.to_owned()));
        assert_eq!(valid(&outcomes), 2);
    }

    #[test]
    fn failures_that_are_no_querys_fault_say_nothing_about_the_queries() {
        for (failure, requests) in [
            (Failure::Refused("API error 429 Too Many Requests: ".to_owned()), 1),
            (Failure::Unanswered("timeout".to_owned()), 2),
        ] {
            let mut source = Scripted { failure: Some(failure), ..Scripted::default() };
            let outcomes = rounds().run(queries(105), &mut source, Instant::now());
            assert!(outcomes.values().all(|outcome| matches!(outcome, Outcome::Unanswered(_))));
            assert_eq!((outcomes.len(), source.asked.len()), (105, requests));
        }
    }

    #[test]
    fn a_hanging_request_is_not_always_the_first() {
        let mut rounds = rounds();
        let mut source = Scripted { series: 1, ..Scripted::default() };
        rounds.run(queries(70), &mut source, Instant::now());
        rounds.run(queries(70), &mut source, Instant::now());
        assert_ne!(source.asked[0], source.asked[2]);
    }
}
