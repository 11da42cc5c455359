//! The facts of which the status document is made: plain data, collected by the caller at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::secret::Secret;

/// Everything the document shows. A later room adds its facts as one more field here.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The moment of the collection.
    pub now: SystemTime,
    /// The process and its configuration files.
    pub header: Header,
    /// The host's name and where it comes from.
    pub hostname: Hostname,
    /// The connection to the API server and the resources read over it.
    pub kubernetes: Kubernetes,
    /// The election among the replicas.
    pub leader_election: LeaderElection,
    /// The assignment of cluster checks; `None` while they are off.
    pub cluster_checks: Option<ClusterChecks>,
    /// What goes to Datadog; `None` before anything can.
    pub delivery: Option<Delivery>,
    /// The external metrics; `None` while they are off.
    pub custom_metrics: Option<CustomMetrics>,
    /// The proxies in force for traffic to the outside.
    pub proxy: Proxy,
    /// Facts that could not be collected, one sentence each.
    pub errors: Vec<String>,
}

/// The process and its configuration files; an empty text means that there is none.
#[derive(Clone, Debug)]
pub struct Header {
    /// When the process started.
    pub started: SystemTime,
    /// Its number.
    pub pid: u32,
    /// The log file.
    pub log_file: String,
    /// The log level in force.
    pub log_level: String,
    /// The configuration file in use.
    pub configuration_file: String,
    /// Further configuration files.
    pub extra_configuration_files: Vec<String>,
    /// The directory of check configurations.
    pub confd_path: String,
    /// The directory of custom checks.
    pub checksd_path: String,
}

/// The host's name and where it comes from.
#[derive(Clone, Debug, Default)]
pub struct Hostname {
    /// Names of the host by kind, such as `hostname`, `cluster-name`, `socket-hostname`; empty ones are not shown.
    pub names: BTreeMap<String, String>,
    /// What supplied the hostname; empty when nothing did.
    pub provider: String,
    /// Why the others did not, by name.
    pub failed: BTreeMap<String, String>,
}

/// The connection to the API server.
#[derive(Clone, Debug, Default)]
pub struct Kubernetes {
    /// The server's URL; empty before it is known.
    pub server: String,
    /// Why there is no connection.
    pub error: Option<String>,
    /// The resources that are read, in any order.
    pub resources: Vec<Resource>,
}

/// One resource that is listed and watched.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    /// The resource as permissions name it, such as `endpointslices.discovery.k8s.io`.
    pub name: String,
    /// Whether a complete list is held.
    pub synced: bool,
    /// How many objects are held.
    pub objects: usize,
    /// When the last complete list ended.
    pub listed: Option<SystemTime>,
    /// When the watch last brought anything, bookmarks included.
    pub heard: Option<SystemTime>,
    /// The version up to which the watch has come; empty before the first list.
    pub version: String,
    /// What is wrong, and what would mend it.
    pub error: Option<String>,
}

/// The election among the replicas.
#[derive(Clone, Debug, Default)]
pub enum LeaderElection {
    /// Turned off by configuration: this replica does the leader's work.
    #[default]
    Disabled,
    /// The lock cannot be read or there is none yet.
    Failing {
        /// Why.
        error: String,
    },
    /// The lock's record, whoever holds it.
    Running {
        /// The holder; empty when the lock is released.
        leader: String,
        /// When it took the lock.
        acquired: Option<SystemTime>,
        /// When it last renewed it.
        renewed: Option<SystemTime>,
        /// How often the holder changed.
        transitions: u64,
        /// What this replica is: `leader`, `follower` or `unknown`.
        role: String,
        /// The lock object: its kind, name and namespace.
        lock: String,
    },
}

/// The assignment of cluster checks.
#[derive(Clone, Debug, Default)]
pub struct ClusterChecks {
    /// What this replica does with them.
    pub role: ChecksRole,
    /// Nodes that report.
    pub nodes: usize,
    /// Configurations that a node runs.
    pub dispatched: usize,
    /// Configurations that no node runs.
    pub dangling: usize,
    /// Names of the checks.
    pub names: BTreeSet<String>,
}

/// What this replica does with cluster checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ChecksRole {
    /// The election is not decided.
    #[default]
    Unknown,
    /// It assigns them.
    Leader {
        /// Whether nodes are still gathered.
        warming_up: bool,
    },
    /// Another replica does.
    Follower {
        /// Its address, when it is known.
        leader: Option<IpAddr>,
    },
}

/// What goes to Datadog.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// Base URLs with a key that is sent there.
    pub endpoints: Vec<(String, Secret)>,
    /// The check `kubernetes_apiserver`, once it has run.
    pub check: Option<CheckRuns>,
    /// Payloads that were given up.
    pub dropped: u64,
    /// Attempts that are repeated.
    pub retried: u64,
    /// Payloads that wait.
    pub waiting: u64,
    /// Accepted payloads by route.
    pub successes: BTreeMap<String, u64>,
    /// Attempts without an answer by kind.
    pub errors: BTreeMap<String, u64>,
    /// Refusals by status code.
    pub refusals: BTreeMap<u16, u64>,
}

/// The runs of a check.
#[derive(Clone, Debug, Default)]
pub struct CheckRuns {
    /// All of them.
    pub runs: u64,
    /// Those that failed.
    pub failed: u64,
    /// Datadog events of the last run and of all.
    pub events: (u64, u64),
    /// Service checks of the last run and of all.
    pub service_checks: (u64, u64),
    /// Mean time of a run.
    pub average: Duration,
    /// When the last one ended.
    pub last: Option<SystemTime>,
    /// When the last successful one ended.
    pub last_success: Option<SystemTime>,
    /// Why the last one failed.
    pub error: Option<String>,
}

/// The external metrics.
#[derive(Clone, Debug, Default)]
pub struct CustomMetrics {
    /// Namespace and name of the ConfigMap that keeps them.
    pub store: String,
    /// Why none of them is served now.
    pub error: Option<String>,
    /// Where values come from, in the order in which they are asked.
    pub sources: Vec<MetricsSource>,
    /// Every metric that an autoscaler wants.
    pub metrics: Vec<CustomMetric>,
    /// Why something is not served, one sentence each.
    pub problems: Vec<String>,
}

/// An endpoint of the query API.
#[derive(Clone, Debug, Default)]
pub struct MetricsSource {
    /// Its base URL.
    pub url: String,
    /// Whether its last request was answered; `None` before the first.
    pub answered: Option<bool>,
    /// When it last failed.
    pub last_failure: Option<SystemTime>,
    /// When it last answered.
    pub last_success: Option<SystemTime>,
}

/// One metric that an autoscaler wants.
#[derive(Clone, Debug, Default)]
pub struct CustomMetric {
    /// The autoscaler's namespace.
    pub namespace: String,
    /// The autoscaler's name.
    pub name: String,
    /// The metric's name.
    pub metric: String,
    /// The tags that it is restricted to.
    pub labels: BTreeMap<String, String>,
    /// The last value.
    pub value: f64,
    /// Its time, seconds since 1970.
    pub timestamp: i64,
    /// Whether it is served.
    pub valid: bool,
    /// What is wrong with it, as far as this replica knows.
    pub problem: Option<String>,
}

/// The proxies in force; URLs may hold passwords, which are masked before they are shown.
#[derive(Clone, Debug, Default)]
pub struct Proxy {
    /// For `http://` targets.
    pub http: Option<String>,
    /// For `https://` targets.
    pub https: Option<String>,
    /// Targets that are reached directly.
    pub no_proxy: Vec<String>,
}
