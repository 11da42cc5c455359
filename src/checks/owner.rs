//! What the dispatcher thread owns of the checks: the sources, the assignment, and the requests about both.
//!
//! ```text
//! watch events ─▶ Catalog ─▶ changed sources ─▶ Dispatcher ◀─ reports and questions of nodes (Request)
//! ```
//!
//! Pure: the time and the leadership come in as arguments, and nothing here blocks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::assignment::{Counts, NotServed, Notice, Now, Overview};
use super::catalog::{Catalog, Faults};
use super::configuration::Configuration;
use super::dispatch::Dispatcher;

/// How often what is due by time is looked at.
const TICK: Duration = Duration::from_secs(1);

/// A list with the version that it was read at.
pub type Versioned = (i64, Vec<Arc<Configuration>>);

/// Looks an own environment variable up.
type Environment = Box<dyn Fn(&str) -> Option<String> + Send>;

/// Whether this replica leads, as the dispatcher needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// It does; another term is another leadership.
    Term(u64),
    /// It does not, or nobody knows yet.
    No,
}

/// A question of a connection thread, with the way back for the answer. A sender whose receiver has gone is ignored.
#[derive(Debug)]
pub enum Request {
    /// A node reports.
    Report {
        /// Its name.
        node: String,
        /// Where it can be reached, when it said so.
        address: Option<IpAddr>,
        /// The version it runs.
        last_change: i64,
        /// Whether that is the present one.
        reply: Sender<Result<bool, NotServed>>,
    },
    /// The checks of a node.
    Configurations {
        /// Its name.
        node: String,
        /// They and their version.
        reply: Sender<Result<Versioned, NotServed>>,
    },
    /// The endpoint checks of a node, or of all.
    Endpoints {
        /// `None` for all nodes.
        node: Option<String>,
        /// They.
        reply: Sender<Result<Vec<Arc<Configuration>>, NotServed>>,
    },
    /// The whole assignment.
    State {
        /// It.
        reply: Sender<Overview>,
    },
    /// What the sources yield, before any assignment.
    Sources {
        /// It.
        reply: Sender<Yield>,
    },
}

/// What the sources yield at one moment.
#[derive(Clone, Debug, Default)]
pub struct Yield {
    /// Resolved configurations.
    pub configurations: Vec<Configuration>,
    /// What is wrong with the input.
    pub faults: Faults,
}

/// Sources and assignment.
pub struct Checks {
    catalog: Catalog,
    dispatcher: Dispatcher,
    /// What each source yields now, for `configcheck`.
    resolved: std::collections::BTreeMap<String, Vec<Configuration>>,
    environment: Environment,
    lead: Lead,
    next_tick: Option<Instant>,
}

impl Checks {
    /// Owns `catalog` and `dispatcher`; `environment` looks own variables up for templates.
    pub fn new(
        catalog: Catalog,
        dispatcher: Dispatcher,
        environment: impl Fn(&str) -> Option<String> + Send + 'static,
    ) -> Self {
        Self {
            catalog,
            dispatcher,
            resolved: std::collections::BTreeMap::new(),
            environment: Box::new(environment),
            lead: Lead::No,
            next_tick: None,
        }
    }

    /// The sources, to apply watch events to; [`Checks::advance`] makes use of them.
    pub fn catalog(&mut self) -> &mut Catalog {
        &mut self.catalog
    }

    /// Takes over what changed in the sources, the leadership and time, and says what came of it.
    pub fn advance(&mut self, lead: Lead, now: Now) -> Vec<Notice> {
        if lead != self.lead {
            // Two terms in a row are two leaderships: what was built up in the first is void.
            self.dispatcher.follow();
            if lead != Lead::No {
                self.dispatcher.lead(now);
            }
            self.lead = lead;
        }
        for (source, configurations) in self.catalog.take_changes(&self.environment) {
            self.dispatcher.replace(&source, &configurations, now);
            if configurations.is_empty() {
                self.resolved.remove(&source);
            } else {
                self.resolved.insert(source, configurations);
            }
        }
        if self.catalog.is_complete() {
            self.dispatcher.complete();
        }
        if self.next_tick.is_none_or(|next| now.monotonic >= next) {
            self.next_tick = Some(now.monotonic + TICK);
            self.dispatcher.tick(now);
        }
        self.dispatcher.take_notices()
    }

    /// Answers a question.
    pub fn answer(&mut self, request: Request, now: Now) {
        match request {
            Request::Report { node, address, last_change, reply } => {
                let _ = reply.send(self.dispatcher.report(&node, address, last_change, now));
            }
            Request::Configurations { node, reply } => {
                let _ = reply.send(self.dispatcher.configurations(&node));
            }
            Request::Endpoints { node: Some(node), reply } => {
                let _ = reply.send(self.dispatcher.endpoint_configurations(&node));
            }
            Request::Endpoints { node: None, reply } => {
                let _ = reply.send(self.dispatcher.all_endpoint_configurations());
            }
            Request::State { reply } => {
                let _ = reply.send(self.dispatcher.overview());
            }
            Request::Sources { reply } => {
                let configurations = self.resolved.values().flatten().cloned().collect();
                let _ = reply.send(Yield { configurations, faults: self.catalog.faults() });
            }
        }
    }

    /// What telemetry and the status page count.
    pub fn counts(&self) -> Counts {
        self.dispatcher.counts()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::assignment::Settings;
    use super::super::catalog::Sources;
    use super::super::files::{self, Found};
    use super::super::patch::ExtraTags;
    use super::*;

    fn checks() -> Checks {
        let mut file =
            files::parse("redisdb", "cluster_check: true\ninstances: [{port: 1}]", &|_| None)
                .expect("the file is valid");
        file.configuration.source = "file:/etc/datadog-agent/conf.d/redisdb.yaml".to_owned();
        let found = Found { files: vec![file], ..Found::default() };
        let settings = Settings {
            node_expiration: Duration::from_secs(30),
            warmup: Duration::from_secs(30),
            unscheduled_threshold: Duration::from_secs(60),
            excluded_checks: BTreeSet::new(),
            extra_tags: ExtraTags::default(),
        };
        Checks::new(Catalog::new(Sources::default(), found), Dispatcher::new(settings), |_| None)
    }

    fn at(start: Instant, seconds: u64) -> Now {
        Now {
            monotonic: start + Duration::from_secs(seconds),
            unix_nanoseconds: 1_700_000_000_000_000_000 + seconds as i64 * 1_000_000_000,
        }
    }

    fn report(checks: &mut Checks, now: Now) -> Result<bool, NotServed> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        checks.answer(
            Request::Report { node: "a".to_owned(), address: None, last_change: 5, reply },
            now,
        );
        answer.try_recv().expect("the question is answered")
    }

    #[test]
    fn a_leader_serves_its_files_after_the_warm_up_and_a_follower_nothing() {
        let start = Instant::now();
        let mut checks = checks();
        checks.advance(Lead::No, at(start, 0));
        assert_eq!(report(&mut checks, at(start, 0)), Err(NotServed::StartingUp));
        checks.advance(Lead::Term(1), at(start, 1));
        assert_eq!(report(&mut checks, at(start, 1)), Ok(true));
        checks.advance(Lead::Term(1), at(start, 31));
        assert_eq!(report(&mut checks, at(start, 31)), Ok(false));
        let (reply, answer) = crossbeam_channel::bounded(1);
        checks.answer(Request::Configurations { node: "a".to_owned(), reply }, at(start, 31));
        let (_, list) = answer.try_recv().expect("answered").expect("the node is known");
        assert_eq!(list[0].name, "redisdb");
        checks.advance(Lead::Term(2), at(start, 32));
        assert_eq!(report(&mut checks, at(start, 32)), Ok(true), "a new term warms up anew");
    }

    #[test]
    fn the_sources_are_shown_whoever_leads() {
        let mut checks = checks();
        checks.advance(Lead::No, at(Instant::now(), 0));
        let (reply, answer) = crossbeam_channel::bounded(1);
        checks.answer(Request::Sources { reply }, at(Instant::now(), 0));
        let shown = answer.try_recv().expect("answered");
        assert_eq!(shown.configurations[0].name, "redisdb");
        assert!(shown.configurations[0].cluster_check, "before any patch");
    }
}
