//! What leaves the cluster: the forwarder, and the threads that have something to send.
//!
//! Readiness does not depend on any of it (spec events-and-leader §5.7). The producers end with the others; the
//! forwarder has a stop token of its own, so that it can deliver what they handed over last.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::kubernetes;
use super::threads::spawn_restarting;
use crate::config::Config;
use crate::datadog::Forwarder;
use crate::events::collector::{Collector, Counters};
use crate::events::control_plane::{self, ControlPlane};
use crate::events::tags::Context;
use crate::events::{Instance, Report, own};
use crate::kube::Client;
use crate::leader::{Leadership, State};
use crate::sync::{Stop, StopSource};
use crate::{health, status, telemetry};

/// Where charts mount check files; it wins over `confd_path`.
const MOUNTED: &str = "/conf.d";

/// The check's files below each root, best first.
const FILES: [&str; 5] = [
    "kubernetes_apiserver.d/kubernetes_apiserver.yaml",
    "kubernetes_apiserver.d/conf.yaml",
    "kubernetes_apiserver.d/conf.yml",
    "kubernetes_apiserver.yaml",
    "kubernetes_apiserver.yml",
];

/// Seconds between two runs of the check.
const INTERVAL: u64 = 15;

/// How often the end of the delivery is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// Time for the last delivery beyond `forwarder_stop_timeout`: a request that was begun before.
const GRACE: Duration = Duration::from_millis(100);

/// What the sending threads need of the process.
pub struct Surroundings<'a> {
    /// The API server, when there is one.
    pub api: Option<Client>,
    /// Whether this replica leads.
    pub leading: Leadership,
    /// The program's own host.
    pub hostname: String,
    /// Where deliveries are counted.
    pub telemetry: &'a telemetry::Registry,
    /// Where the threads show that they live.
    pub health: &'a health::Registry,
}

/// The running delivery.
pub struct Outbound {
    forwarder: Forwarder,
    report: Arc<Report>,
    stop: StopSource,
    threads: Vec<JoinHandle<()>>,
    patience: Duration,
}

/// What the status page sees of it.
#[derive(Clone)]
pub struct Facts {
    /// Deliveries.
    pub forwarder: Forwarder,
    /// The check `kubernetes_apiserver`.
    pub report: Arc<Report>,
}

/// A delivery that is about to end.
pub struct Finishing {
    threads: Vec<JoinHandle<()>>,
    deadline: Instant,
}

impl Outbound {
    /// Starts the forwarder, and the threads that use it; those end with `stop`.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn start(
        config: &Arc<Config>,
        surroundings: &Surroundings<'_>,
        stop: &Stop,
    ) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (source, end) = Stop::new();
        let (forwarder, threads) = Forwarder::start(config, surroundings.telemetry, &end)?;
        let report = Arc::new(Report::default());
        let outbound = Self {
            forwarder,
            report,
            stop: source,
            threads,
            patience: config.forwarder.stop_timeout + GRACE,
        };
        let senders = outbound.start_senders(config, surroundings, stop)?;
        Ok((outbound, senders))
    }

    /// What the status page sees.
    pub fn facts(&self) -> Facts {
        Facts { forwarder: self.forwarder.clone(), report: self.report.clone() }
    }

    /// Begins the last delivery; everybody who hands over payloads must have ended.
    pub fn finish(self) -> Finishing {
        drop(self.stop);
        Finishing { threads: self.threads, deadline: Instant::now() + self.patience }
    }

    fn start_senders(
        &self,
        config: &Arc<Config>,
        surroundings: &Surroundings<'_>,
        stop: &Stop,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let spawn = |name: &str, body: Box<dyn FnMut() + Send>| {
            let restarting = (surroundings.telemetry.clone(), stop.clone());
            spawn_restarting(name.to_owned(), restarting, body)
        };
        let mut threads = Vec::new();

        let (forwarder, settings) = (self.forwarder.clone(), config.forwarder.clone());
        let (hostname, token) = (surroundings.hostname.clone(), stop.clone());
        let heartbeat = surroundings.health.heartbeat("aggregator");
        let run = move || own::run(&forwarder, &settings, &hostname, &heartbeat, &token);
        threads.push(spawn("aggregator", Box::new(run))?);

        let (Some(api), Ok(server)) = (&surroundings.api, kubernetes::settings(&config.kubernetes))
        else {
            return Ok(threads);
        };
        let instance = instance(config);
        let is_alone = surroundings.leading.state() == State::Disabled;
        if is_alone && !instance.skip_leader_election {
            log::info!(
                "Leader Election not enabled. Not running Kubernetes API Server check or collecting Kubernetes Events."
            );
            return Ok(threads);
        }
        let leadership = (!instance.skip_leader_election).then(|| surroundings.leading.clone());
        let interval =
            Duration::from_secs(instance.min_collection_interval.unwrap_or(INTERVAL).max(1));

        let check = ControlPlane {
            client: api.within(control_plane::READ),
            leadership: leadership.clone(),
            forwarder: self.forwarder.clone(),
            is_sent: config.forwarder.send_service_checks,
            use_component_status: instance.use_component_status.unwrap_or(true),
            interval,
            tags: instance.tags.clone(),
            hostname: surroundings.hostname.clone(),
        };
        let (report, token) = (self.report.clone(), stop.clone());
        let heartbeat = surroundings.health.heartbeat("control-plane");
        let run = move || check.run(&report, &heartbeat, &token);
        threads.push(spawn("control-plane", Box::new(run))?);

        let is_collecting = instance.collect_events.unwrap_or(config.events.collect);
        if is_collecting && config.forwarder.send_events {
            let collector = Collector {
                server,
                leadership,
                forwarder: self.forwarder.clone(),
                backlog: usize::try_from(config.forwarder.retry_queue_size / 2)
                    .unwrap_or(usize::MAX),
                context: context(config, &instance, &surroundings.hostname),
                instance,
                interval,
                token: (
                    config.kubernetes.resources_namespace.clone(),
                    config.cluster_agent.resume_token_name.clone(),
                ),
            };
            let counters = Counters::new(surroundings.telemetry);
            let (report, token) = (self.report.clone(), stop.clone());
            let heartbeat = surroundings.health.heartbeat("events");
            let run = move || collector.run(&counters, &report, &heartbeat, &token);
            threads.push(spawn("events", Box::new(run))?);
        }
        Ok(threads)
    }
}

impl Facts {
    /// What the status page shows of it.
    pub fn delivery(&self) -> status::Delivery {
        let counts = self.forwarder.statistics().counts();
        let named = |numbers: BTreeMap<&'static str, u64>| {
            numbers.into_iter().map(|(name, number)| (name.to_owned(), number)).collect()
        };
        let runs = self.report.runs();
        let check = (runs.total > 0).then(|| status::CheckRuns {
            runs: runs.total,
            failed: runs.failed,
            events: runs.events,
            service_checks: runs.service_checks,
            average: runs.time.div_f64(runs.total as f64),
            last: runs.last,
            last_success: runs.last_success,
            error: runs.error,
        });
        let destinations = self.forwarder.destinations();
        status::Delivery {
            endpoints: destinations.map(|to| (to.base.clone(), to.key.clone())).collect(),
            check,
            dropped: counts.dropped,
            retried: counts.retried,
            waiting: self.forwarder.waiting() as u64,
            successes: named(counts.successes),
            errors: named(counts.errors),
            refusals: counts.refusals,
        }
    }
}

impl Finishing {
    /// Waits for the last delivery; one that takes too long ends with the process.
    pub fn wait(self) {
        for thread in self.threads {
            while !thread.is_finished() && Instant::now() < self.deadline {
                thread::sleep(LOOK);
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

/// The check's settings from the first file that is there, else the defaults.
fn instance(config: &Config) -> Instance {
    let roots = [Path::new(MOUNTED), &config.autodiscovery.confd_path];
    let candidates = FILES.iter().flat_map(|file| roots.map(|root| root.join(file)));
    let read = |path: PathBuf| std::fs::read_to_string(&path).ok().map(|text| (path, text));
    let Some((path, text)) = candidates.into_iter().find_map(read) else {
        return Instance::default();
    };
    match Instance::parse(&text) {
        Ok((instance, warnings)) => {
            log::info!("the check kubernetes_apiserver is configured by {}", path.display());
            for warning in warnings {
                log::warn!("{}: {warning}", path.display());
            }
            instance
        }
        Err(problem) => {
            log::error!("{} cannot be used: {problem}", path.display());
            Instance::default()
        }
    }
}

/// Global tags are on every event, which users of the official agent miss (spec events-and-leader §10).
fn context(config: &Config, instance: &Instance, hostname: &str) -> Context {
    let mut tags = config.tags.clone();
    let mut host_suffix = String::new();
    if let Some(cluster) = &config.cluster_name {
        host_suffix = cluster.host_suffix();
        let name = if config.rfc1123_cluster_name_tag {
            cluster.rfc1123()
        } else {
            cluster.as_str().to_owned()
        };
        tags.push(format!("kube_cluster_name:{name}"));
        if !config.omit_cluster_name_tag {
            tags.push(format!("cluster_name:{name}"));
        }
    }
    tags.extend(instance.tags.iter().cloned());
    Context {
        tags,
        host_suffix,
        hostname: hostname.to_owned(),
        detect_sources: config.events.detect_sources,
    }
}
