//! Where the leader can be reached: its pod's address, from the endpoints of the replicas' Service
//! (spec events-and-leader §1.8).
//!
//! The thread `leader-address` looks the address up when the holder of the lock changes, when a forwarded call failed,
//! and every five minutes; requests only read what it found, so a slow API server delays none of them. An address
//! belongs to a pod name: between a change of the leader and its look-up there is no address rather than the old one.
//!
//! Addresses that are not ready count too: a leader that is alive and not ready still answers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use log::{info, warn};

use super::leadership::{Leadership, State};
use crate::kube::list::Selection;
use crate::kube::objects::{EndpointSlice, Endpoints, ObjectReference};
use crate::kube::{Cause, Client, Error as RequestError, Target};
use crate::retry::{Backoff, Throttle};
use crate::sync::{Published, Stop};

/// An address is looked up anew after this, even when nothing was heard (spec events-and-leader §1.8).
const KEPT: Duration = Duration::from_secs(300);

/// The longest single look-up of an Endpoints object; nothing waits for it.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Pauses after a look-up without result. The first is as long as the Endpoints controller needs for a new pod, the
/// longest bounds how long a follower answers 503 after it caught up.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Look-ups that failing calls ask for are at least this far apart.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The address of the leader as far as it is known; clones share it.
#[derive(Clone, Debug)]
pub struct LeaderAddress {
    known: Arc<Published<Option<Known>>>,
    doubts: Sender<()>,
}

/// What the thread `leader-address` works with.
#[derive(Debug)]
pub struct Finder {
    client: Client,
    settings: Settings,
    leadership: Leadership,
    known: Arc<Published<Option<Known>>>,
    doubts: Receiver<()>,
    changes: Receiver<()>,
}

/// Whose endpoints are searched.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the lock, which is the replicas'.
    pub namespace: String,
    /// The replicas' Service.
    pub service: String,
    /// Whether EndpointSlices are asked for first; the other form is asked when that is refused or not served.
    pub slices: bool,
    /// The lease duration: a leader that is not behind the Service for longer is a stranger.
    pub lease: Duration,
}

/// Why there is no address.
#[derive(Debug)]
pub enum Error {
    /// No endpoint of the Service belongs to the pod.
    NotFound {
        /// The pod.
        leader: String,
        /// The Service and its namespace.
        service: String,
    },
    /// The endpoints cannot be read.
    Request(RequestError),
}

/// The latest address, and whose it is.
#[derive(Debug)]
struct Known {
    leader: String,
    address: IpAddr,
}

/// The look-ups of one leader's address.
struct Search {
    leader: String,
    /// Since when there is no address.
    since: Option<Instant>,
    backoff: Backoff,
    complaints: Throttle,
}

/// When the last look-up was, and when the next one is due.
#[derive(Clone, Copy)]
struct Due {
    last: Instant,
    next: Instant,
}

/// Why the thread woke up.
#[derive(PartialEq)]
enum Reason {
    Change,
    Time,
}

impl Default for Search {
    fn default() -> Self {
        let backoff = Backoff::new(PAUSES.0, PAUSES.1);
        Self { leader: String::new(), since: None, backoff, complaints: Throttle::default() }
    }
}

impl LeaderAddress {
    /// A handle that knows nothing until its finder runs.
    pub fn new(client: Client, settings: Settings, leadership: Leadership) -> (Finder, Self) {
        let known = Arc::new(Published::default());
        let (doubts, doubted) = crossbeam_channel::bounded(1);
        let changes = leadership.subscribe();
        let finder =
            Finder { client, settings, leadership, known: known.clone(), doubts: doubted, changes };
        (finder, Self { known, doubts })
    }

    /// The address of the pod `leader`; `None` while it is not known.
    pub fn of(&self, leader: &str) -> Option<IpAddr> {
        let known = self.known.get();
        known.as_ref().as_ref().filter(|known| known.leader == leader).map(|known| known.address)
    }

    /// A handle without a finder, and the doubts that it is told.
    #[cfg(test)]
    pub(crate) fn fixed(leader: &str, address: IpAddr) -> (Self, Receiver<()>) {
        let known = Known { leader: leader.to_owned(), address };
        let (doubts, doubted) = crossbeam_channel::bounded(1);
        (Self { known: Arc::new(Published::new(Some(known))), doubts }, doubted)
    }

    /// A call to the address failed: have it looked up again soon.
    pub fn doubt(&self) {
        // One waiting message is as good as many.
        let _ = self.doubts.try_send(());
    }
}

impl Finder {
    /// Keeps the address up to date until `stop`; may be run again after a panic.
    pub fn run(&self, stop: &Stop) {
        let mut search = Search::default();
        let start = Instant::now();
        let mut next = Some(Due { last: start, next: start });
        while let Some(reason) = self.wait(stop, next) {
            let State::Follower { leader: Some(leader) } = self.leadership.state() else {
                next = None;
                continue;
            };
            // Something else than the leader changed.
            if next.is_some() && reason == Reason::Change && search.leader == leader {
                continue;
            }
            let now = Instant::now();
            if search.leader != leader {
                search = Search { leader, since: Some(now), ..Search::default() };
            }
            let pause = self.look(&mut search);
            next = Some(Due { last: now, next: Instant::now() + pause });
        }
    }

    /// One look-up, and the pause until the next.
    fn look(&self, search: &mut Search) -> Duration {
        let error = match lookup(&self.client, &self.settings, &search.leader) {
            Ok(address) => {
                self.publish(&search.leader, address);
                *search =
                    Search { leader: std::mem::take(&mut search.leader), ..Search::default() };
                return KEPT;
            }
            Err(error) => error,
        };
        if matches!(error, Error::NotFound { .. }) {
            self.known.set(None);
        }
        let now = Instant::now();
        let missing = now - *search.since.get_or_insert(now);
        // A new leader's pod needs a moment to appear among the endpoints.
        if missing >= self.settings.lease.min(PAUSES.1) && search.complaints.admit(now).is_some() {
            self.complain(&search.leader, &error, missing);
        }
        search.backoff.next_pause()
    }

    fn publish(&self, leader: &str, address: IpAddr) {
        let known = self.known.get();
        let is_same = |known: &Known| known.leader == leader && known.address == address;
        if !known.as_ref().as_ref().is_some_and(is_same) {
            info!("the leader {leader:?} is at {address}");
            self.known.set(Some(Known { leader: leader.to_owned(), address }));
        }
    }

    fn complain(&self, leader: &str, error: &Error, missing: Duration) {
        match error {
            Error::NotFound { .. } if missing > self.settings.lease => warn!(
                "{error}: does another workload, such as node Agents with leader election, use the same lock as \
                 {leader:?}? Requests for the leader are answered with 503"
            ),
            _ => warn!("the address of the leader {leader:?} is not known: {error}"),
        }
    }

    /// Waits until there may be something to look up; `None` means stop.
    fn wait(&self, stop: &Stop, due: Option<Due>) -> Option<Reason> {
        let time = due.map_or_else(crossbeam_channel::never, |due| crossbeam_channel::at(due.next));
        crossbeam_channel::select! {
            recv(stop.receiver()) -> _ => None,
            recv(self.changes) -> _ => Some(Reason::Change),
            recv(time) -> _ => Some(Reason::Time),
            recv(self.doubts) -> _ => {
                let earliest = due.map_or_else(Instant::now, |due| due.last + SHORTEST_PAUSE);
                (!stop.wait_until(earliest)).then_some(Reason::Time)
            }
        }
    }
}

/// A search in one of the two forms that endpoints have.
type Form = fn(&Client, &Settings, &str) -> Result<Option<IpAddr>, RequestError>;

/// Asks the API server for the address of the pod `leader`.
pub fn lookup(client: &Client, settings: &Settings, leader: &str) -> Result<IpAddr, Error> {
    let (first, second): (Form, Form) =
        if settings.slices { (in_slices, in_endpoints) } else { (in_endpoints, in_slices) };
    let found = match first(client, settings, leader) {
        Err(RequestError { cause: Cause::Forbidden { .. } | Cause::NotFound, .. }) => {
            second(client, settings, leader)
        }
        found => found,
    };
    found.map_err(Error::Request)?.ok_or_else(|| Error::NotFound {
        leader: leader.to_owned(),
        service: format!("{}/{}", settings.namespace, settings.service),
    })
}

fn in_endpoints(
    client: &Client,
    settings: &Settings,
    leader: &str,
) -> Result<Option<IpAddr>, RequestError> {
    let target =
        Target::of::<Endpoints>().in_namespace(&settings.namespace).named(&settings.service);
    let endpoints: Endpoints = client.within(CALL_TIMEOUT).get(&target)?;
    let addresses = endpoints
        .subsets
        .iter()
        .flat_map(|subset| subset.addresses.iter().chain(&subset.not_ready_addresses));
    let mut matching = addresses.filter(|address| is_pod(address.target_ref.as_ref(), leader));
    Ok(matching.find_map(|address| address.ip.parse().ok()))
}

fn in_slices(
    client: &Client,
    settings: &Settings,
    leader: &str,
) -> Result<Option<IpAddr>, RequestError> {
    let target = Target::of::<EndpointSlice>().in_namespace(&settings.namespace);
    let labels = format!("{}={}", EndpointSlice::SERVICE_NAME, settings.service);
    let mut found = None;
    client.list(
        &target,
        &Selection { labels, ..Selection::default() },
        |slice: EndpointSlice| {
            let mut matching = slice
                .endpoints
                .iter()
                .filter(|endpoint| is_pod(endpoint.target_ref.as_ref(), leader));
            let address = matching.find_map(|endpoint| endpoint.addresses.first()?.parse().ok());
            found = found.or(address);
        },
    )?;
    Ok(found)
}

fn is_pod(target: Option<&ObjectReference>, name: &str) -> bool {
    target.is_some_and(|target| target.name == name && matches!(&*target.kind, "Pod" | ""))
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotFound { leader, service } => {
                write!(
                    formatter,
                    "target named {leader} not found among the endpoints of {service}"
                )
            }
            Error::Request(error) => write!(formatter, "{error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::NotFound { .. } => None,
            Error::Request(error) => Some(error),
        }
    }
}
