//! The running agent: start order, named threads, shutdown order (spec cli §3).
//!
//! ```text
//! signals ─ logging ─ telemetry ─ health ─ node API ─┬─ dispatcher ◀─ watch-*      until SIGTERM, SIGINT, POST /stop
//!                                                    ├─ cluster-id, leader, leader-address
//!                                                    ├─ external-metrics and its listener, where they are on
//!                                                    └─ api-server (says when it is reached)
//! ```
//!
//! The listeners come up before the API server is asked for anything, so that `status` works and probes pass while it
//! is away. At the end readiness goes first, then the work, then, after a moment in which other parts of the cluster
//! learn of it, the listeners. The whole of it takes less than the 10 s that are left to it.

mod checks;
mod dispatcher;
mod election;
mod error;
mod external_metrics;
mod hostname;
mod identity;
pub mod kubernetes;
mod listeners;
mod message;
mod operator;
mod outbound;
mod signals;
mod threads;
mod watches;

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender};

pub use error::Error;

use crate::config::{Config, Loaded};
use crate::grpc::{self, Grpc};
use crate::health::Probe;
use crate::kube::Client;
use crate::node_api::{self, ClusterId, Gate, NodeApi, NodeStreams, Parts, tokens};
use crate::retry::{Backoff, Throttle};
use crate::sync::{Published, Stop};
use crate::{health, logging, metadata, scrub, telemetry, version};
use checks::{CheckRoutes, Duty};
use dispatcher::Cores;
use election::{Election, Holder};
use message::Message;
use operator::Facts;
use outbound::Outbound;
use signals::Reason;
use watches::{Form, Wanted, Watches};

/// How often the main thread looks whether everything was listed, while it was not.
const SETTLING: Duration = Duration::from_millis(50);

/// How often it beats afterwards; a third of the 15 s in which it must.
const BEAT: Duration = Duration::from_secs(5);

/// How long a replica that was ready goes on serving after it said that it is not: endpoints need that long to leave
/// the services.
const LINGER: Duration = Duration::from_secs(2);

/// How long threads may take to end: watches are cut at once, a short request may be waiting for its answer.
const JOIN: Duration = Duration::from_secs(3);

/// How often it is looked whether one has ended.
const JOIN_LOOK: Duration = Duration::from_millis(10);

/// How long requests that are being answered may take at the end.
const DRAIN: Duration = Duration::from_secs(3);

/// The condition that holds readiness back until every resource was listed once.
const SYNCED: &str = "metadata-sync";

/// Runs the agent until it is asked to end.
///
/// # Errors
/// What makes a start impossible; once everything runs, nothing does.
pub fn run(loaded: Loaded) -> Result<(), Error> {
    let started = SystemTime::now();
    let (ending, asked_to_end) = crossbeam_channel::bounded(1);
    signals::watch(ending.clone()).map_err(|error| Error::Start("signal handlers", error))?;
    start_logging(&loaded);
    listeners::raise_descriptor_limit();
    let config = Arc::new(loaded.config);

    let telemetry = telemetry::Registry::default();
    let health = health::Registry::default();
    let main = health.heartbeat("healthcheck");
    main.beat(Instant::now());
    health.set_condition(SYNCED, Probe::Ready, false);
    let telemetry_server = listeners::telemetry(&config, &telemetry);
    let health_server = listeners::health(&config, &health, &telemetry)?;

    let (work, stop) = Stop::new();
    let client = connect(&config, &stop)?;
    let api = client.as_ref().ok().cloned();
    let (election, leadership) = Election::new(&config, client.as_ref().ok(), &telemetry, &health);
    let server = client.as_ref().map(|client| client.server().to_owned()).map_err(Clone::clone);
    let (inbox, received) = message::inbox();
    let check_counts = Arc::new(Published::default());
    let check_duty = checks::build(&config)
        .map(|checks| Duty::new(checks, election.handle(), check_counts.clone(), &telemetry));
    let check_routes =
        check_duty.is_some().then(|| Arc::new(CheckRoutes::new(inbox.clone(), election.handle())));
    let facts = Arc::new(Facts {
        config: config.clone(),
        settings: Mutex::new(loaded.settings),
        health: health.clone(),
        hostname: Published::default(),
        server,
        watches: Published::default(),
        leader_election: Box::new(election.facts()),
        leadership: leadership.clone(),
        checks: check_routes.is_some().then_some(check_counts),
        outbound: Published::default(),
        external_metrics: Published::default(),
        started,
        ending: ending.clone(),
        flare_turn: Mutex::new(()),
    });
    let hub = metadata::Hub::default();
    let cluster_id = ClusterId::default();
    let tokens = tokens::load(&token_sources(&config));
    log_notes(&tokens);
    let gate = Arc::new(Gate::new(tokens.tokens));
    let settings = node_api::Settings {
        collect_services: config.metadata.map_services,
        host_alias_annotations: config.metadata.host_alias_annotations.clone(),
    };
    let parts = Parts {
        gate: gate.clone(),
        metadata: hub.clone(),
        cluster_id: cluster_id.clone(),
        operator: facts.clone(),
        leadership,
        checks: check_routes.map(|routes| routes as Arc<dyn node_api::ClusterChecks>),
        telemetry: telemetry.clone(),
    };
    let streams = NodeStreams::new(gate, hub.clone(), config.cluster_agent.max_streams, &telemetry);
    let service = listeners::NodeService {
        requests: Arc::new(NodeApi::new(settings, parts)),
        streams: Arc::new(Grpc::new(Arc::new(streams), grpc::Limits::default())),
    };
    let api_server =
        listeners::node_api(&config, tokens.local_file.as_deref(), service, &telemetry)?;
    log::info!("Listening on {}", api_server.local_address());

    let external_metrics = match &client {
        Ok(client) => external_metrics::start(&external_metrics::Context {
            config: &config,
            client,
            leadership: election.handle(),
            telemetry: &telemetry,
            stop: &stop,
        })?,
        Err(_) => None,
    };
    facts.external_metrics.set(external_metrics.as_ref().map(|running| running.facts.clone()));

    let work_context = Work {
        config: &config,
        health: &health,
        telemetry: &telemetry,
        stop: &stop,
        ending: &ending,
    };
    let mut running = match client {
        Ok(client) => {
            let collect_services = config.metadata.map_services;
            let metadata = metadata::Core::new(metadata::Settings { collect_services });
            let cores = Cores { metadata, checks: check_duty };
            work_context.start(client, cores, (inbox, received), hub, cluster_id)?
        }
        Err(reason) => {
            log::error!("{reason}: nothing of the cluster can be served");
            Running::default()
        }
    };
    let leading = election.handle();
    let (holder, finder) =
        election.start(&stop).map_err(|error| Error::Start("the leader election", error))?;
    running.others.extend(finder);
    let metrics_listener = external_metrics.map(|external_metrics| {
        running.others.extend(external_metrics.threads);
        external_metrics.listener
    });
    facts.watches.set(running.watches.reached());
    name_replica(&config, &facts)?;
    let hostname = facts.hostname.get().name.clone();
    let surroundings =
        outbound::Surroundings { api, leading, hostname, telemetry: &telemetry, health: &health };
    let (outbound, senders) = Outbound::start(&config, &surroundings, &stop)
        .map_err(|error| Error::Start("the delivery to Datadog", error))?;
    running.others.extend(senders);
    facts.outbound.set(Some(outbound.facts()));
    health.set_condition("startup", Probe::Startup, true);
    log::info!("All components started. Cluster Agent now running.");

    let (was_ready, reason) = supervise(&asked_to_end, &health, &main, &facts.watches.get());

    let report = health.report(Probe::Ready, Instant::now());
    if !report.is_healthy() {
        log::warn!("Some components were unhealthy: {:?}", report.unhealthy);
    }
    health.set_condition("shutdown", Probe::Ready, false);
    drop(work);
    running.join(Instant::now() + JOIN);
    // Only now: whatever a leader does has ended. The others take over while this replica lingers.
    let release = holder.map(Holder::release);
    // Nobody hands over payloads any more.
    let delivery = outbound.finish();
    if was_ready {
        thread::sleep(LINGER);
    }
    if let Some(release) = release {
        release.wait();
    }
    delivery.wait();
    if let Some(listener) = metrics_listener {
        listener.drain(Instant::now() + DRAIN);
    }
    api_server.drain(Instant::now() + DRAIN);
    drop((health_server, telemetry_server));
    log::info!("See ya!");
    log::logger().flush();
    match reason {
        Reason::Failure(name) => Err(Error::Panicked(name)),
        Reason::Signal(_) | Reason::Request => Ok(()),
    }
}

/// What the threads that do the work need.
struct Work<'a> {
    config: &'a Config,
    health: &'a health::Registry,
    telemetry: &'a telemetry::Registry,
    stop: &'a Stop,
    ending: &'a Sender<Reason>,
}

/// The threads that do the work.
#[derive(Default)]
struct Running {
    watches: Watches,
    others: Vec<JoinHandle<()>>,
}

impl Work<'_> {
    fn start(
        &self,
        client: Client,
        cores: Cores,
        (inbox, received): (Sender<Message>, Receiver<Message>),
        hub: metadata::Hub,
        cluster_id: ClusterId,
    ) -> Result<Running, Error> {
        let sources = checks::sources(self.config);
        let with_checks = cores.checks.is_some();
        let heartbeat = self.health.heartbeat("dispatcher");
        let mut running = Running::default();
        let stop = self.stop.clone();
        let owner = move || dispatcher::run(cores, &hub, &received, &heartbeat, &stop);
        let owner = threads::spawn_vital("dispatcher", self.ending.clone(), owner);
        running.others.push(owner.map_err(|error| Error::Start("dispatcher", error))?);
        let context = watches::Context {
            client: client.clone(),
            inbox,
            health: self.health.clone(),
            telemetry: self.telemetry.clone(),
            relist_every: self.config.kubernetes.resync_period,
            stop: self.stop.clone(),
        };
        let form =
            if self.config.kubernetes.use_endpoint_slices { Form::Slices } else { Form::Endpoints };
        let endpoints = self.config.metadata.map_services || (with_checks && sources.endpoints);
        let wanted = Wanted {
            endpoints: endpoints.then_some(form),
            services: with_checks && (sources.services || sources.endpoints),
        };
        running.watches = Watches::start(&context, wanted)
            .map_err(|error| Error::Start("a watch thread", error))?;

        let (own, stop) = (client.clone(), self.stop.clone());
        let namespace = self.config.kubernetes.own_namespace.clone();
        running.spawn("cluster-id", move || cluster_id.run(&own, &namespace, &stop))?;
        let stop = self.stop.clone();
        running.spawn("api-server", move || announce(&client, &stop))?;
        Ok(running)
    }
}

impl Running {
    fn spawn(
        &mut self,
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        self.others.push(thread.map_err(|error| Error::Start(name, error))?);
        Ok(())
    }

    /// Waits for all threads until `deadline`; the stop token must have been pulled. One that waits for an answer which
    /// an API server owes it is left behind: it ends with the process.
    fn join(self, deadline: Instant) {
        self.watches.join();
        for thread in self.others {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(JOIN_LOOK);
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

fn start_logging(loaded: &Loaded) {
    let settings = &loaded.config.logging;
    scrub::register_all(&loaded.config);
    logging::start(logging::Settings {
        level: settings.level,
        style: logging::Style { json: settings.json, rfc3339: settings.rfc3339 },
        console: settings.console.then_some(logging::Console::Output),
        file: settings.file.clone().map(|path| logging::File {
            path,
            maximum_size: settings.file_size_limit,
            maximum_rolls: settings.rolled_files,
        }),
    });
    log::info!("Starting Cluster Agent v{}", version::number());
    for message in &loaded.messages {
        log::log!(message.level, "{}", message.text);
    }
}

/// The client of the API server, or one sentence that says why there is none.
fn connect(config: &Config, stop: &Stop) -> Result<Result<Client, String>, Error> {
    let settings = match kubernetes::settings(&config.kubernetes) {
        Ok(settings) => settings,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let client = Client::start(settings, stop.clone());
    client.map(Ok).map_err(|error| Error::Start("the API server's client", error))
}

/// Says when the API server is reached for the first time; the watches try on their own.
fn announce(client: &Client, stop: &Stop) {
    log::info!("Waiting to obtain APIClient connection");
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15));
    let mut complaints = Throttle::default();
    loop {
        match client.fetch("/version") {
            Ok(_) => return log::info!("Got APIClient connection"),
            Err(error) if complaints.admit(Instant::now()).is_some() => {
                log::warn!("the API server at {} is not reached: {error}", client.server());
            }
            Err(_) => {}
        }
        if stop.wait(backoff.next_pause()) {
            return;
        }
    }
}

fn token_sources(config: &Config) -> tokens::Sources {
    tokens::Sources {
        configured: Some(config.cluster_agent.auth_token.clone()).filter(|token| !token.is_empty()),
        shared_file: config.directory.join("cluster_agent.auth_token"),
        local_files: config.session_token_files(),
    }
}

fn log_notes(tokens: &tokens::Loaded) {
    scrub::register(tokens.tokens.shared.expose());
    scrub::register(tokens.tokens.local.expose());
    for (level, text) in &tokens.notes {
        log::log!(*level, "{text}");
    }
}

fn name_replica(config: &Config, facts: &Facts) -> Result<(), Error> {
    let cluster = config.cluster_name.as_ref().map(|name| name.rfc1123());
    let inputs = hostname::Inputs {
        configured: config.hostname.as_deref(),
        file: config.hostname_file.as_deref(),
        node: Err("the node of the own pod is not read".to_owned()),
        cluster: cluster.as_deref(),
        system: hostname::system(),
    };
    let hostname = hostname::resolve(inputs).map_err(Error::Hostname)?;
    log::info!("Hostname is: {}", hostname.name);
    facts.hostname.set(hostname);
    Ok(())
}

/// Waits for the end; says whether the replica was ready before it, and who asked for it.
fn supervise(
    asked_to_end: &Receiver<Reason>,
    health: &health::Registry,
    main: &health::Heartbeat,
    reached: &watches::Reached,
) -> (bool, Reason) {
    let mut ready = false;
    loop {
        main.beat(Instant::now());
        if !ready && reached.is_settled() {
            ready = true;
            health.set_condition(SYNCED, Probe::Ready, true);
        }
        // The other end lives as long as this function's caller, so an error is a time-out.
        if let Ok(reason) = asked_to_end.recv_timeout(if ready { BEAT } else { SETTLING }) {
            log::info!("asked to end by {reason:?}");
            return (ready, reason);
        }
    }
}
