//! The replica's part in the leader election: what it is to the node API and to the status page, its two threads, and
//! the release of the lock at the end.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::threads::spawn_restarting;
use crate::config::Config;
use crate::http::{Request, Response, message};
use crate::kube::Client;
use crate::leader::address::{self, Finder, LeaderAddress};
use crate::leader::clock::SystemClock;
use crate::leader::{self, ApiLock, Candidate, Leadership, State};
use crate::node_api::{self, Forwarder};
use crate::sync::{Stop, StopSource};
use crate::{health, status, telemetry};

/// How long the end of the process waits for the release; the election itself gives up after as much.
const RELEASE: Duration = leader::election::RELEASE_ON_STOP;

/// How often it is looked whether the lock is released.
const RELEASE_LOOK: Duration = Duration::from_millis(10);

/// The election of this replica, before and while its threads run.
pub struct Election {
    leadership: Leadership,
    /// Why this replica takes no part although it should.
    obstacle: Option<String>,
    /// What the threads will run; `None` without an election.
    parts: Option<(Candidate, Finder)>,
    telemetry: telemetry::Registry,
}

/// The running thread that holds the lock; everything a leader does must have ended before it is released.
pub struct Holder {
    stop: StopSource,
    thread: JoinHandle<()>,
}

impl Election {
    /// The election as configured, and the way in which the node API takes part in it. Without a client there can be
    /// none, and a replica that cannot tell its own name leaves it to others.
    pub fn new(
        config: &Config,
        client: Option<&Client>,
        telemetry: &telemetry::Registry,
        health: &health::Registry,
    ) -> (Self, Arc<dyn node_api::Leadership>) {
        let telemetry = telemetry.clone();
        if !config.leader_election.enabled {
            leader::thread::show_leading(&telemetry, true);
            let leadership = Leadership::disabled();
            let election = Self { leadership, obstacle: None, parts: None, telemetry };
            return (election, Arc::new(Apart(node_api::Role::Leader)));
        }
        let (publisher, leadership) = Leadership::new(Arc::new(SystemClock));
        let identity = leader::identity::resolve(config.pod_name.as_deref(), Path::new("/proc"));
        let (client, identity) = match (client, identity) {
            (Some(client), Ok(identity)) => (client.clone(), identity),
            (client, identity) => {
                let obstacle = match identity {
                    Err(error) => error.to_string(),
                    Ok(_) => "there is no API server".to_owned(),
                };
                if client.is_some() {
                    log::error!("no leader election: {obstacle}");
                }
                let obstacle = Some(obstacle);
                let election = Self { leadership, obstacle, parts: None, telemetry };
                return (election, Arc::new(Apart(node_api::Role::Unknown)));
            }
        };
        let settings = address::Settings {
            namespace: config.kubernetes.resources_namespace.clone(),
            service: config.cluster_agent.service_name.clone(),
            slices: config.kubernetes.use_endpoint_slices,
            lease: config.leader_election.lease_duration,
        };
        let (finder, address) = LeaderAddress::new(client.clone(), settings, leadership.clone());
        let forwarder = Forwarder::new(
            leadership.clone(),
            address,
            config.listeners.command_port,
            config.cluster_agent.max_leader_connections,
        );
        let candidate = Candidate {
            identity,
            lease: config.leader_election.lease_duration,
            release: config.leader_election.release_on_shutdown,
            open: open(config, client),
            publisher,
            telemetry: telemetry.clone(),
            heartbeat: health.heartbeat("leader-election"),
        };
        let parts = Some((candidate, finder));
        (Self { leadership, obstacle: None, parts, telemetry }, Arc::new(forwarder))
    }

    /// What the status page shows, now and whenever it is asked.
    pub fn facts(&self) -> impl Fn() -> status::LeaderElection + Send + Sync + use<> {
        let (leadership, obstacle) = (self.leadership.clone(), self.obstacle.clone());
        move || record(&leadership, obstacle.as_deref())
    }

    /// The handle that says whether this replica leads.
    pub fn handle(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Starts the threads `leader` and `leader-address`; the latter ends with `stop`, the former is handed out to be
    /// ended last.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn start(self, stop: &Stop) -> io::Result<(Option<Holder>, Option<JoinHandle<()>>)> {
        let Some((candidate, finder)) = self.parts else { return Ok((None, None)) };
        let (source, release) = Stop::new();
        let restarting = (self.telemetry.clone(), release.clone());
        let run = move || candidate.run(&release);
        let thread = spawn_restarting("leader".to_owned(), restarting, run)?;
        let restarting = (self.telemetry, stop.clone());
        let stop = stop.clone();
        let run = move || finder.run(&stop);
        let finder = spawn_restarting("leader-address".to_owned(), restarting, run)?;
        Ok((Some(Holder { stop: source, thread }), Some(finder)))
    }
}

/// A release under way.
pub struct Release {
    thread: JoinHandle<()>,
    deadline: Instant,
}

impl Holder {
    /// Stops leading and begins to give the lock back.
    pub fn release(self) -> Release {
        drop(self.stop);
        Release { thread: self.thread, deadline: Instant::now() + RELEASE }
    }
}

impl Release {
    /// Waits until the lock is free, or it is too late for that: then it runs out by itself.
    pub fn wait(self) {
        while !self.thread.is_finished() && Instant::now() < self.deadline {
            thread::sleep(RELEASE_LOOK);
        }
    }
}

/// A replica outside of any election: it leads alone, or it never learns who does.
struct Apart(node_api::Role);

impl node_api::Leadership for Apart {
    fn role(&self) -> node_api::Role {
        self.0
    }

    fn forward(&self, _request: &Request, _leader: std::net::IpAddr) -> Response {
        message::text(502, "")
    }
}

fn open(config: &Config, client: Client) -> leader::thread::Open {
    let kind = config.leader_election.default_resource;
    let namespace = config.kubernetes.resources_namespace.clone();
    let name = config.leader_election.lease_name.clone();
    Box::new(move || {
        let kind = leader::choose_kind(&client, kind)?;
        Ok((kind, Box::new(ApiLock::new(client.clone(), kind, &namespace, &name))))
    })
}

fn record(leadership: &Leadership, obstacle: Option<&str>) -> status::LeaderElection {
    let knowledge = leadership.knowledge();
    let state = leadership.state();
    let role = match &state {
        State::Disabled => return status::LeaderElection::Disabled,
        State::Unknown => "unknown",
        State::Leader { .. } => "leader",
        State::Follower { .. } => "follower",
    };
    let leads = matches!(state, State::Leader { .. });
    let problem = knowledge.problem.as_deref().or(obstacle).filter(|_| !leads);
    match (&knowledge.record, problem) {
        (Some(record), None) => status::LeaderElection::Running {
            leader: record.holder.clone(),
            acquired: record.acquired.map(|time| time.to_wall()),
            renewed: record.renewed.map(|time| time.to_wall()),
            transitions: u64::try_from(record.transitions).unwrap_or_default(),
            role: role.to_owned(),
            lock: knowledge.lock.clone(),
        },
        (_, problem) => status::LeaderElection::Failing {
            error: problem.unwrap_or("the lock was not read yet").to_owned(),
        },
    }
}
