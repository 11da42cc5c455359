//! The vocabulary of the assignment: its settings, its refusals, what it reports and how it looks.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::configuration::Configuration;
use super::patch::ExtraTags;

/// How the dispatcher behaves (spec cluster-checks §5.1).
#[derive(Clone, Debug)]
pub struct Settings {
    /// Age of the last status report that drops a node.
    pub node_expiration: Duration,
    /// How long a new leader lets nodes report before it assigns anything.
    pub warmup: Duration,
    /// Age after which a dangling configuration is reported, once.
    pub unscheduled_threshold: Duration,
    /// Names of checks that are never dispatched.
    pub excluded_checks: BTreeSet<String>,
    /// Tags for every dispatched instance.
    pub extra_tags: ExtraTags,
}

/// The moment of a call on both clocks; versions come from the wall clock because Agents carry them over a restart.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines.
    pub monotonic: Instant,
    /// Nanoseconds since 1970, for versions.
    pub unix_nanoseconds: i64,
}

/// Key of a configuration in the store; never on the wire (spec cluster-checks §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub(super) u64);

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// Why a node gets no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotServed {
    /// Nothing complete is there yet, or this replica does not lead: 503 `Startup in progress`.
    StartingUp,
    /// The node never reported: 500 `node X is unknown`.
    UnknownNode,
}

/// One line about something that happened, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A configuration was given to a node: name, digest, node.
    Dispatched(String, Digest, String),
    /// No node is there to take a configuration: name, digest.
    NoNode(String, Digest),
    /// A node was dropped: its name and the age of its last report.
    Expired(String, Duration),
    /// The last node was dropped.
    NoNodes,
    /// A configuration dangles for longer than the threshold: name, source.
    Unscheduled(String, String),
    /// A configuration cannot be patched: name, source, reason.
    Unusable(String, String, String),
    /// A term as leader begins, with this warm-up.
    Leading(Duration),
    /// The warm-up is over.
    Active,
    /// The term as leader is over.
    Following,
    /// A check is not dispatched because the configuration excludes its name.
    Excluded(String),
}

/// The assignment at one moment.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// Whether nodes are still gathered.
    pub warming_up: bool,
    /// Nodes and their configurations, by name.
    pub nodes: Vec<(String, Vec<Arc<Configuration>>)>,
    /// Configurations that no node runs.
    pub dangling: Vec<Arc<Configuration>>,
}

/// Numbers about the assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whether this replica assigns checks, and whether it still gathers nodes.
    pub leading: Option<Warmth>,
    /// Configurations of each live node.
    pub dispatched: Vec<(String, usize)>,
    /// Endpoint checks of each node.
    pub endpoints: Vec<(String, usize)>,
    /// Configurations that no node runs.
    pub dangling: usize,
    /// Names of the checks that are to be run.
    pub names: BTreeSet<String>,
}

/// How far a leader's term is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warmth {
    /// Nodes are gathered.
    WarmingUp,
    /// Checks are served.
    Active,
}
