//! Cluster checks between the connection threads and the dispatcher thread (spec cluster-checks §6).
//!
//! A connection thread parses what it can, sends one question through the bounded inbox and waits for its answer; the
//! dispatcher thread owns the state. A dispatcher that does not answer in time costs a 503, not memory.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Sender, bounded};
use serde::{Deserialize, Serialize};

use super::message::Message;
use crate::checks::assignment::{Counts, NotServed, Notice, Now, Overview, Settings};
use crate::checks::catalog::{Catalog, Sources};
use crate::checks::configuration::Configuration;
use crate::checks::dispatch::Dispatcher;
use crate::checks::files::{self, Roots};
use crate::checks::owner::{Checks, Lead, Request, Yield};
use crate::checks::patch::ExtraTags;
use crate::checks::report::ConfigCheck;
use crate::config::Config;
use crate::http::Response;
use crate::http::message::{json, text};
use crate::leader::{Leadership, State};
use crate::node_api::ClusterChecks;
use crate::sync::Published;
use crate::telemetry::{Gauge, Registry};

/// How long a connection thread waits for the dispatcher, of the two seconds that an old client waits for it.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Where charts mount the user's check files.
const MOUNTED: &str = "/conf.d";

/// The label that Datadog joins leader-only metrics on.
const JOIN_LEADER: &str = "true";

/// What a node posts; further keys of newer Agents mean nothing here.
#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    last_change: i64,
}

#[derive(Serialize)]
struct UpToDate {
    #[serde(rename = "isuptodate")]
    is_up_to_date: bool,
}

#[derive(Serialize)]
struct Configurations {
    last_change: i64,
    configs: Vec<Arc<Configuration>>,
}

#[derive(Serialize)]
struct NodeState {
    name: String,
    configs: Vec<Arc<Configuration>>,
}

#[derive(Serialize)]
struct StateDocument {
    not_running: &'static str,
    warmup: bool,
    nodes: Option<Vec<NodeState>>,
    dangling: Vec<Arc<Configuration>>,
}

/// Sources and assignment as the configuration wants them, with the files read; `None` while cluster checks are off.
pub fn build(config: &Config) -> Option<Checks> {
    let settings = &config.cluster_checks;
    if !settings.enabled {
        return None;
    }
    let environment = |name: &str| std::env::var(name).ok();
    let roots = Roots {
        main: config.autodiscovery.confd_path.clone(),
        mounted: MOUNTED.into(),
        ignored_auto_conf: config.autodiscovery.ignored_auto_conf.clone(),
    };
    let found = files::scan(&roots, &environment);
    for error in found.errors.values() {
        log::error!("{error}");
    }
    let cluster = config.cluster_name.as_ref();
    let name = cluster.map(|name| match config.rfc1123_cluster_name_tag {
        true => name.rfc1123(),
        false => name.as_str().to_owned(),
    });
    let tag_name = settings.cluster_tag_name.as_deref().filter(|_| !config.omit_cluster_name_tag);
    let dispatcher = Dispatcher::new(Settings {
        node_expiration: settings.node_expiration,
        warmup: settings.warmup,
        unscheduled_threshold: settings.unscheduled_threshold,
        excluded_checks: settings.excluded_checks.clone(),
        extra_tags: ExtraTags::new(
            &settings.extra_tags,
            name.as_deref(),
            tag_name.unwrap_or_default(),
        ),
    });
    Some(Checks::new(Catalog::new(sources(config), found), dispatcher, environment))
}

/// Which kinds of objects the sources read.
pub fn sources(config: &Config) -> Sources {
    let named = |name: &str| {
        config.autodiscovery.listeners.contains(name)
            && config.autodiscovery.providers.contains(name)
    };
    Sources { services: named("kube_services"), endpoints: named("kube_endpoints") }
}

/// The dispatcher thread's side: what it needs besides the state itself.
pub struct Duty {
    checks: Checks,
    leadership: Leadership,
    counts: Arc<Published<Counts>>,
    gauges: Gauges,
}

struct Gauges {
    nodes: Gauge,
    dangling: Gauge,
    dispatched: Gauge,
    endpoints: Gauge,
}

impl Duty {
    /// Assigns checks while `leadership` says so; numbers go to `counts` and `telemetry`.
    pub fn new(
        checks: Checks,
        leadership: Leadership,
        counts: Arc<Published<Counts>>,
        telemetry: &Registry,
    ) -> Self {
        let gauges = Gauges {
            nodes: telemetry.gauge(
                "cluster_checks_nodes_reporting",
                "Nodes that report",
                &["join_leader"],
            ),
            dangling: telemetry.gauge(
                "cluster_checks_configs_dangling",
                "Check configurations that no node runs",
                &["join_leader"],
            ),
            dispatched: telemetry.gauge(
                "cluster_checks_configs_dispatched",
                "Check configurations of each node",
                &["join_leader", "node"],
            ),
            endpoints: telemetry.gauge(
                "endpoint_checks_configs_dispatched",
                "Endpoint check configurations of each node",
                &["join_leader", "node"],
            ),
        };
        Self { checks, leadership, counts, gauges }
    }

    /// The state, to apply events and questions to.
    pub fn checks(&mut self) -> &mut Checks {
        &mut self.checks
    }

    /// Answers a question of a connection thread.
    pub fn answer(&mut self, request: Request) {
        self.advance();
        self.checks.answer(request, now());
    }

    /// Takes over what changed, and logs what came of it.
    pub fn advance(&mut self) {
        let lead = match self.leadership.state() {
            State::Disabled => Lead::Term(0),
            State::Leader { term } => Lead::Term(term),
            State::Unknown | State::Follower { .. } => Lead::No,
        };
        for notice in self.checks.advance(lead, now()) {
            say(&notice);
        }
    }

    /// Publishes the numbers.
    pub fn count(&self) {
        let counts = self.checks.counts();
        let before = self.counts.get();
        for (node, _) in &before.dispatched {
            self.gauges.dispatched.remove(&[JOIN_LEADER, node]);
        }
        for (node, _) in &before.endpoints {
            self.gauges.endpoints.remove(&[JOIN_LEADER, node]);
        }
        self.gauges.nodes.set(&[JOIN_LEADER], counts.dispatched.len() as f64);
        self.gauges.dangling.set(&[JOIN_LEADER], counts.dangling as f64);
        for (node, number) in &counts.dispatched {
            self.gauges.dispatched.set(&[JOIN_LEADER, node], *number as f64);
        }
        for (node, number) in &counts.endpoints {
            self.gauges.endpoints.set(&[JOIN_LEADER, node], *number as f64);
        }
        self.counts.set(counts);
    }
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        monotonic: Instant::now(),
        unix_nanoseconds: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
    }
}

fn say(notice: &Notice) {
    match notice {
        Notice::Leading(warmup) => {
            log::info!("Becoming leader, waiting {}s for node-agents to report", warmup.as_secs())
        }
        Notice::Active => log::info!("Warmup phase finished, starting to serve configurations"),
        Notice::Following => log::info!("Lost leadership, reverting to follower"),
        Notice::Dispatched(name, digest, node) => {
            log::info!("Dispatching configuration {name}:{digest} to node {node}");
        }
        Notice::NoNode(name, digest) => {
            log::warn!("No available node to dispatch {name}:{digest} on, will retry later");
        }
        Notice::Expired(node, age) => {
            log::info!(
                "Expiring out node {node}, last status report {} seconds ago",
                age.as_secs()
            );
        }
        Notice::NoNodes => log::warn!("No nodes reporting, cluster checks will not run"),
        Notice::Unscheduled(name, source) => {
            log::warn!("Detected unscheduled check config. Name:{name}, Source:{source}");
        }
        Notice::Unusable(name, source, reason) => {
            log::error!("Cannot patch configuration {name} of {source}: {reason}");
        }
        Notice::Excluded(name) => log::info!("Excluding check due to config: {name}"),
    }
}

/// The connection threads' side.
pub struct CheckRoutes {
    inbox: Sender<Message>,
    leadership: Leadership,
}

impl CheckRoutes {
    /// Asks the dispatcher behind `inbox`.
    pub fn new(inbox: Sender<Message>, leadership: Leadership) -> Self {
        Self { inbox, leadership }
    }

    fn ask<T>(&self, question: impl FnOnce(Sender<T>) -> Request) -> Result<T, Response> {
        let (reply, answer) = bounded(1);
        let deadline = Instant::now() + PATIENCE;
        let sent = self.inbox.send_deadline(Message::Check(question(reply)), deadline);
        let answer = sent.ok().and_then(|()| answer.recv_deadline(deadline).ok());
        answer.ok_or_else(|| text(503, "the dispatcher is busy"))
    }
}

impl ClusterChecks for CheckRoutes {
    fn status(&self, runner: &str, address: Option<IpAddr>, body: &[u8]) -> Response {
        let report: Report = match serde_json::from_slice(body) {
            Ok(report) => report,
            Err(error) if error.is_eof() => return text(500, "EOF"),
            Err(error) => return text(500, &error.to_string()),
        };
        let answer = self.ask(|reply| Request::Report {
            node: runner.to_owned(),
            address,
            last_change: report.last_change,
            reply,
        });
        served(answer, runner, |is_up_to_date| json(200, &UpToDate { is_up_to_date }))
    }

    fn configs(&self, runner: &str) -> Response {
        let answer = self.ask(|reply| Request::Configurations { node: runner.to_owned(), reply });
        served(answer, runner, |(last_change, configs)| {
            json(200, &Configurations { last_change, configs })
        })
    }

    fn endpoint_configs(&self, node: &str) -> Response {
        let answer = self.ask(|reply| Request::Endpoints { node: Some(node.to_owned()), reply });
        served(answer, node, |configs| json(200, &Configurations { last_change: 0, configs }))
    }

    fn all_endpoint_configs(&self) -> Response {
        let answer = self.ask(|reply| Request::Endpoints { node: None, reply });
        served(answer, "", |configs| json(200, &Configurations { last_change: 0, configs }))
    }

    fn state(&self) -> Response {
        let not_running = match self.leadership.state() {
            State::Disabled | State::Leader { .. } => "",
            State::Unknown => "Startup in progress",
            State::Follower { .. } => "currently follower",
        };
        let answer = match not_running {
            "" => self.ask(|reply| Request::State { reply }),
            _ => Ok(Overview::default()),
        };
        match answer {
            Ok(overview) => json(200, &document(overview, not_running)),
            Err(refusal) => refusal,
        }
    }

    fn config_check(&self) -> Response {
        match self.ask(|reply| Request::Sources { reply }) {
            Ok(Yield { configurations, faults }) => {
                let warnings = faults.warnings.into_iter();
                json(
                    200,
                    &ConfigCheck {
                        configs: configurations,
                        resolve_warnings: warnings
                            .map(|(check, warnings)| (check, warnings.into_iter().collect()))
                            .collect(),
                        config_errors: faults.errors,
                    },
                )
            }
            Err(refusal) => refusal,
        }
    }

    fn rebalance(&self, _body: &[u8]) -> Response {
        text(500, "no checks to rebalance: advanced dispatching is not enabled")
    }

    fn isolate(&self, check: &str) -> Response {
        #[derive(Serialize)]
        struct Isolation<'a> {
            check_id: &'a str,
            check_node: &'a str,
            is_isolated: bool,
            reason: &'a str,
        }
        let reason = "advanced dispatching is not enabled";
        json(200, &Isolation { check_id: check, check_node: "", is_isolated: false, reason })
    }
}

fn served<T>(
    answer: Result<Result<T, NotServed>, Response>,
    node: &str,
    encode: impl FnOnce(T) -> Response,
) -> Response {
    match answer {
        Ok(Ok(value)) => encode(value),
        Ok(Err(NotServed::StartingUp)) => text(503, "Startup in progress"),
        Ok(Err(NotServed::UnknownNode)) => text(500, &format!("node {node} is unknown")),
        Err(refusal) => refusal,
    }
}

fn document(overview: Overview, not_running: &'static str) -> StateDocument {
    let nodes: Vec<NodeState> =
        overview.nodes.into_iter().map(|(name, configs)| NodeState { name, configs }).collect();
    StateDocument {
        not_running,
        warmup: overview.warming_up,
        nodes: Some(nodes).filter(|nodes| !nodes.is_empty()),
        dangling: overview.dangling,
    }
}
