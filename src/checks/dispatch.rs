//! Which node runs which cluster check: the pure core that the dispatcher thread owns (spec cluster-checks §5, §7).
//!
//! Each source (a file, a service) gives its resolved configurations whole, and they are compared by digest, so adding,
//! changing and removing are one operation and nothing moves without cause. A configuration moves only when its node is gone. Invariants,
//! checked by the model test: while active, every desired configuration is on exactly one live node, or dangling when
//! there is none; a node's departure moves only its own.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assignment::{Counts, Digest, NotServed, Notice, Now, Overview, Settings, Warmth};
use super::configuration::Configuration;
use super::identity;
use super::patch;

/// The store and its rules.
#[derive(Debug)]
pub struct Dispatcher {
    settings: Settings,
    phase: Phase,
    /// Whether every source was given at least once.
    complete: bool,
    /// What each source wants: digest, and the node of an endpoint check.
    sources: BTreeMap<String, Vec<(Digest, Option<String>)>>,
    desired: BTreeMap<Digest, Wanted>,
    endpoints: BTreeMap<String, BTreeMap<Digest, Wanted>>,
    nodes: BTreeMap<Arc<str>, Node>,
    /// Nodes by the number of their configurations, so that the least loaded one is the first.
    load: BTreeSet<(usize, Arc<str>)>,
    placed: BTreeMap<Digest, Arc<str>>,
    /// Desired and on no node.
    waiting: BTreeMap<Digest, Waiting>,
    version: i64,
    notices: Vec<Notice>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Following,
    WarmingUp { until: Instant },
    Active,
}

#[derive(Debug)]
struct Node {
    client: Option<IpAddr>,
    heartbeat: Instant,
    version: i64,
    digests: BTreeSet<Digest>,
}

/// A configuration and how many sources want it.
#[derive(Debug)]
struct Wanted {
    configuration: Arc<Configuration>,
    sources: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    /// When it was first found that no node is there to take it.
    dangling_since: Option<Instant>,
    reported: bool,
}

impl Dispatcher {
    /// An empty dispatcher of a replica that does not lead.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            phase: Phase::Following,
            complete: false,
            sources: BTreeMap::new(),
            desired: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            nodes: BTreeMap::new(),
            load: BTreeSet::new(),
            placed: BTreeMap::new(),
            waiting: BTreeMap::new(),
            version: 0,
            notices: Vec::new(),
        }
    }

    /// Starts a term as leader: nodes may report, nothing is assigned before the warm-up is over.
    pub fn lead(&mut self, now: Now) {
        if self.phase == Phase::Following {
            self.phase = Phase::WarmingUp { until: now.monotonic + self.settings.warmup };
            self.notices.push(Notice::Leading(self.settings.warmup));
        }
    }

    /// Ends a term: forgets nodes and assignments, keeps what the sources yielded.
    pub fn follow(&mut self) {
        if self.phase != Phase::Following {
            self.notices.push(Notice::Following);
        }
        self.phase = Phase::Following;
        self.nodes.clear();
        self.load.clear();
        self.placed.clear();
        self.waiting = self.desired.keys().map(|digest| (*digest, Waiting::default())).collect();
    }

    /// Says that every source was given: from now on lists are complete.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Replaces what `source` wants by these resolved configurations, cluster checks and endpoint checks alike; none
    /// removes the source.
    pub fn replace(&mut self, source: &str, configurations: &[Configuration], now: Now) {
        let mut wanted = Vec::new();
        for configuration in configurations {
            let name = &configuration.name;
            if !configuration.cluster_check || configuration.metrics_excluded {
                continue;
            }
            if self.settings.excluded_checks.contains(name) {
                self.notices.push(Notice::Excluded(name.clone()));
                continue;
            }
            let node = Some(configuration.node_name.clone()).filter(|node| !node.is_empty());
            let patch = if node.is_some() { patch::endpoint_check } else { patch::cluster_check };
            match patch(configuration, &self.settings.extra_tags) {
                Ok(patched) => wanted.push(self.want(patched, node)),
                Err(reason) => {
                    self.notices.push(Notice::Unusable(
                        name.clone(),
                        configuration.source.clone(),
                        reason,
                    ));
                }
            }
        }
        // The new ones are counted before the old ones are let go, so what is in both does not move.
        let before = match wanted.is_empty() {
            true => self.sources.remove(source),
            false => self.sources.insert(source.to_owned(), wanted),
        };
        for (digest, node) in before.unwrap_or_default() {
            self.let_go(digest, node, now);
        }
        if self.phase == Phase::Active {
            self.place_waiting(now);
        }
    }

    /// Drops silent nodes, ends the warm-up, places what dangles; to be called at least every second.
    pub fn tick(&mut self, now: Now) {
        if let Phase::WarmingUp { until } = self.phase
            && now.monotonic >= until
            && self.complete
        {
            self.phase = Phase::Active;
            self.notices.push(Notice::Active);
        }
        self.expire_nodes(now);
        if self.phase == Phase::Active {
            self.place_waiting(now);
            self.report_unscheduled(now);
        }
    }

    /// A node's report: registers or refreshes it and says whether it is up to date (spec cluster-checks §5.5).
    ///
    /// # Errors
    /// [`NotServed::StartingUp`] when this replica does not lead.
    pub fn report(
        &mut self,
        node: &str,
        client: Option<IpAddr>,
        last_change: i64,
        now: Now,
    ) -> Result<bool, NotServed> {
        if self.phase == Phase::Following {
            return Err(NotServed::StartingUp);
        }
        if !self.nodes.contains_key(node) {
            let name: Arc<str> = node.into();
            self.load.insert((0, name.clone()));
            let fresh = Node {
                client: None,
                heartbeat: now.monotonic,
                version: 0,
                digests: BTreeSet::new(),
            };
            self.nodes.insert(name, fresh);
            if self.phase == Phase::Active {
                self.place_waiting(now);
            }
        }
        let record = self.nodes.get_mut(node).expect("the node was registered above");
        record.heartbeat = now.monotonic;
        record.client = client.or(record.client);
        Ok(last_change == -1 || last_change == record.version || self.phase != Phase::Active)
    }

    /// A node's version and configurations, read together (spec cluster-checks §6).
    ///
    /// # Errors
    /// [`NotServed::UnknownNode`] for a node that never reported; [`NotServed::StartingUp`] before the warm-up is over,
    /// because an incomplete list would make the node drop what it runs.
    pub fn configurations(&self, node: &str) -> Result<(i64, Vec<Arc<Configuration>>), NotServed> {
        if self.phase != Phase::Active {
            return Err(NotServed::StartingUp);
        }
        let record = self.nodes.get(node).ok_or(NotServed::UnknownNode)?;
        let configurations = record.digests.iter().filter_map(|digest| self.desired.get(digest));
        Ok((record.version, configurations.map(|wanted| wanted.configuration.clone()).collect()))
    }

    /// The endpoint checks of a node; they need no node count and are served as soon as the sources are complete.
    ///
    /// # Errors
    /// [`NotServed::StartingUp`] before that.
    pub fn endpoint_configurations(
        &self,
        node: &str,
    ) -> Result<Vec<Arc<Configuration>>, NotServed> {
        if !self.complete {
            return Err(NotServed::StartingUp);
        }
        let store = self.endpoints.get(node).into_iter().flat_map(BTreeMap::values);
        Ok(store.map(|wanted| wanted.configuration.clone()).collect())
    }

    /// Names of all live nodes with the digests of their configurations.
    pub fn assignments(&self) -> impl Iterator<Item = (&str, &BTreeSet<Digest>)> {
        self.nodes.iter().map(|(name, node)| (&**name, &node.digests))
    }

    /// The endpoint checks of all nodes.
    ///
    /// # Errors
    /// [`NotServed::StartingUp`] before the sources are complete.
    pub fn all_endpoint_configurations(&self) -> Result<Vec<Arc<Configuration>>, NotServed> {
        if !self.complete {
            return Err(NotServed::StartingUp);
        }
        let stores = self.endpoints.values().flat_map(BTreeMap::values);
        Ok(stores.map(|wanted| wanted.configuration.clone()).collect())
    }

    /// The configurations that no node runs, for want of nodes.
    pub fn dangling(&self) -> impl Iterator<Item = &Arc<Configuration>> {
        let dangling = self.waiting.iter().filter(|(_, waiting)| waiting.dangling_since.is_some());
        dangling.filter_map(|(digest, _)| Some(&self.desired.get(digest)?.configuration))
    }

    /// The whole assignment of this moment.
    pub fn overview(&self) -> Overview {
        let configurations = |digests: &BTreeSet<Digest>| {
            let wanted = digests.iter().filter_map(|digest| self.desired.get(digest));
            wanted.map(|wanted| wanted.configuration.clone()).collect()
        };
        Overview {
            warming_up: matches!(self.phase, Phase::WarmingUp { .. }),
            nodes: self
                .assignments()
                .map(|(node, digests)| (node.to_owned(), configurations(digests)))
                .collect(),
            dangling: self.dangling().cloned().collect(),
        }
    }

    /// Numbers about the assignment.
    pub fn counts(&self) -> Counts {
        Counts {
            leading: match self.phase {
                Phase::Following => None,
                Phase::WarmingUp { .. } => Some(Warmth::WarmingUp),
                Phase::Active => Some(Warmth::Active),
            },
            dispatched: self
                .assignments()
                .map(|(node, digests)| (node.to_owned(), digests.len()))
                .collect(),
            endpoints: self
                .endpoints
                .iter()
                .map(|(node, store)| (node.clone(), store.len()))
                .collect(),
            dangling: self.dangling().count(),
            names: self.desired.values().map(|wanted| wanted.configuration.name.clone()).collect(),
        }
    }

    /// What happened since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn expire_nodes(&mut self, now: Now) {
        let expiration = self.settings.node_expiration;
        let age = |node: &Node| now.monotonic.saturating_duration_since(node.heartbeat);
        let silent: Vec<(Arc<str>, Duration)> = self
            .nodes
            .iter()
            .filter(|(_, node)| age(node) > expiration)
            .map(|(name, node)| (name.clone(), age(node)))
            .collect();
        let some_left = !silent.is_empty();
        for (name, age) in silent {
            let Some(node) = self.nodes.remove(&name) else { continue };
            self.load.remove(&(node.digests.len(), name.clone()));
            for digest in node.digests {
                self.placed.remove(&digest);
                self.waiting.insert(digest, Waiting::default());
            }
            self.notices.push(Notice::Expired(name.to_string(), age));
        }
        if some_left && self.nodes.is_empty() {
            self.notices.push(Notice::NoNodes);
        }
    }

    fn want(
        &mut self,
        configuration: Configuration,
        node: Option<String>,
    ) -> (Digest, Option<String>) {
        let digest = digest(&configuration);
        let store = match &node {
            Some(node) => self.endpoints.entry(node.clone()).or_default(),
            None => &mut self.desired,
        };
        match store.entry(digest) {
            Entry::Occupied(mut entry) => entry.get_mut().sources += 1,
            Entry::Vacant(entry) => {
                entry.insert(Wanted { configuration: Arc::new(configuration), sources: 1 });
                if node.is_none() {
                    self.waiting.insert(digest, Waiting::default());
                }
            }
        }
        (digest, node)
    }

    fn let_go(&mut self, digest: Digest, node: Option<String>, now: Now) {
        let store = match &node {
            Some(node) => self.endpoints.entry(node.clone()).or_default(),
            None => &mut self.desired,
        };
        if let Entry::Occupied(mut entry) = store.entry(digest) {
            entry.get_mut().sources -= 1;
            if entry.get().sources > 0 {
                return;
            }
            entry.remove();
        }
        match node {
            Some(node) if self.endpoints.get(&node).is_some_and(BTreeMap::is_empty) => {
                self.endpoints.remove(&node);
            }
            Some(_) => {}
            None => {
                self.waiting.remove(&digest);
                self.take_away(digest, now);
            }
        }
    }

    /// Gives every configuration without a node to the least loaded one; ties go to the smallest name.
    fn place_waiting(&mut self, now: Now) {
        for (digest, mut waiting) in std::mem::take(&mut self.waiting) {
            let Some(name) =
                self.desired.get(&digest).map(|wanted| wanted.configuration.name.clone())
            else {
                continue;
            };
            let Some((count, node)) = self.load.pop_first() else {
                if waiting.dangling_since.is_none() {
                    waiting.dangling_since = Some(now.monotonic);
                    self.notices.push(Notice::NoNode(name, digest));
                }
                self.waiting.insert(digest, waiting);
                continue;
            };
            self.load.insert((count + 1, node.clone()));
            let version = self.next_version(now);
            let record = self.nodes.get_mut(&node).expect("the load index holds live nodes only");
            record.digests.insert(digest);
            record.version = version;
            self.notices.push(Notice::Dispatched(name, digest, node.to_string()));
            self.placed.insert(digest, node);
        }
    }

    fn take_away(&mut self, digest: Digest, now: Now) {
        let Some(node) = self.placed.remove(&digest) else { return };
        let version = self.next_version(now);
        let record = self.nodes.get_mut(&node).expect("a configuration is placed on a live node");
        self.load.remove(&(record.digests.len(), node.clone()));
        record.digests.remove(&digest);
        record.version = version;
        self.load.insert((record.digests.len(), node));
    }

    fn report_unscheduled(&mut self, now: Now) {
        let threshold = self.settings.unscheduled_threshold.max(self.settings.node_expiration);
        for (digest, waiting) in &mut self.waiting {
            let age =
                waiting.dangling_since.map(|since| now.monotonic.saturating_duration_since(since));
            if waiting.reported || age.is_none_or(|age| age <= threshold) {
                continue;
            }
            waiting.reported = true;
            if let Some(Wanted { configuration, .. }) = self.desired.get(digest) {
                let notice =
                    Notice::Unscheduled(configuration.name.clone(), configuration.source.clone());
                self.notices.push(notice);
            }
        }
    }

    /// Strictly rising, and above anything an Agent can have kept from an earlier leader.
    fn next_version(&mut self, now: Now) -> i64 {
        self.version = now.unix_nanoseconds.max(self.version + 1);
        self.version
    }
}

/// The digest with each instance's tags sorted, so that their order makes no new configuration.
fn digest(configuration: &Configuration) -> Digest {
    let mut sorted = configuration.clone();
    for instance in &mut sorted.instances {
        let Ok(mut value) = serde_yaml::from_slice::<serde_yaml::Value>(instance) else { continue };
        if let Some(serde_yaml::Value::Sequence(tags)) = value.get_mut("tags") {
            tags.sort_by_cached_key(|tag| tag.as_str().unwrap_or_default().to_owned());
        }
        *instance = super::yaml_text::to_text(&value).into_bytes();
    }
    Digest(identity::fast_digest(&sorted))
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
