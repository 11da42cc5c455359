//! Which services select which pods on which node, kept up to date one EndpointSlice or Endpoints object at a time.
//!
//! An object contributes its service to each of its targets. The index counts the contributions, so a pod that is in
//! two slices of a service (IPv4 and IPv6, or in the middle of a move between slices) has the service until the last of
//! them lets go, and objects of equal names in different namespaces cannot disturb each other. Only nodes on which
//! a pod gained or lost a service count as changed.
//!
//! A relist is staged beside the current objects and replaces them in one step, so nothing is missing in between.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::names::Name;
use super::snapshot::{NodeServices, PodServices};
use crate::kube::watch::Event;

/// Namespace and name of an EndpointSlice or Endpoints object.
pub(super) type ObjectKey = (Name, Name);

/// A pod on a node, as the address of an endpoint names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) node: Name,
    pub(super) namespace: Name,
    pub(super) pod: Name,
}

/// What one object says: these pods are behind this service.
#[derive(Debug)]
pub(super) struct Contribution {
    service: Name,
    /// Sorted, each target once.
    targets: Box<[Target]>,
}

/// Holds every contribution and the counted map from nodes to pods to services.
#[derive(Debug, Default)]
pub(super) struct EndpointIndex {
    objects: HashMap<ObjectKey, Contribution>,
    /// The objects of a list that is not complete yet.
    staged: HashMap<ObjectKey, Contribution>,
    pods: PodIndex,
    synced: bool,
}

/// Holds how many objects put each service on each pod.
#[derive(Debug, Default)]
struct PodIndex {
    nodes: HashMap<Name, Pods>,
    /// Nodes to be published again.
    changed: BTreeSet<Name>,
}

/// Namespace and pod → services, sorted by name, with the number of objects that say so.
type Pods = BTreeMap<(Name, Name), Vec<(Name, u32)>>;

impl Contribution {
    /// A contribution; targets may come in any order and repeatedly.
    pub(super) fn new(service: Name, mut targets: Vec<Target>) -> Self {
        targets.sort_unstable();
        targets.dedup();
        Self { service, targets: targets.into_boxed_slice() }
    }
}

impl EndpointIndex {
    /// One step; an object without a contribution is as good as deleted.
    pub(super) fn apply(&mut self, event: Event<(ObjectKey, Option<Contribution>)>) {
        match event {
            Event::Init => self.staged.clear(),
            Event::InitApply((key, Some(contribution))) => {
                self.staged.insert(key, contribution);
            }
            Event::InitApply((_, None)) => {}
            Event::InitDone => self.finish(),
            Event::Apply((key, contribution)) => self.set(key, contribution),
            Event::Delete((key, _)) => self.set(key, None),
        }
    }

    /// Whether a list was completed.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    /// Brings `views` up to date and returns the nodes that changed since the last call, sorted.
    pub(super) fn publish(
        &mut self,
        views: &mut Arc<BTreeMap<Name, Arc<NodeServices>>>,
    ) -> Vec<Name> {
        let changed: Vec<Name> = std::mem::take(&mut self.pods.changed).into_iter().collect();
        if changed.is_empty() {
            return changed;
        }
        let views = Arc::make_mut(views);
        for node in &changed {
            match self.pods.view(node) {
                Some(view) => views.insert(Arc::clone(node), Arc::new(view)),
                None => views.remove(node),
            };
        }
        changed
    }

    fn finish(&mut self) {
        let mut old = std::mem::replace(&mut self.objects, std::mem::take(&mut self.staged));
        for (key, contribution) in &self.objects {
            self.pods.replace(old.remove(key).as_ref(), Some(contribution));
        }
        for contribution in old.values() {
            self.pods.replace(Some(contribution), None);
        }
        self.synced = true;
    }

    fn set(&mut self, key: ObjectKey, contribution: Option<Contribution>) {
        let old = self.objects.remove(&key);
        self.pods.replace(old.as_ref(), contribution.as_ref());
        if let Some(contribution) = contribution {
            self.objects.insert(key, contribution);
        }
    }
}

impl PodIndex {
    fn replace(&mut self, old: Option<&Contribution>, new: Option<&Contribution>) {
        let kept = match (old, new) {
            (Some(old), Some(new)) if old.service == new.service => Some((old, new)),
            _ => None,
        };
        // New before old: a target that both have under different services never loses its last count in between.
        if let Some(new) = new {
            for target in &new.targets {
                if kept.is_none_or(|(old, _)| old.targets.binary_search(target).is_err()) {
                    self.retain(target, &new.service);
                }
            }
        }
        if let Some(old) = old {
            for target in &old.targets {
                if kept.is_none_or(|(_, new)| new.targets.binary_search(target).is_err()) {
                    self.release(target, &old.service);
                }
            }
        }
    }

    fn retain(&mut self, target: &Target, service: &Name) {
        let pods = self.nodes.entry(Arc::clone(&target.node)).or_default();
        let pod = (Arc::clone(&target.namespace), Arc::clone(&target.pod));
        let services = pods.entry(pod).or_default();
        match services.binary_search_by(|(name, _)| name.cmp(service)) {
            Ok(position) => services[position].1 += 1,
            Err(position) => {
                services.reserve_exact(1);
                services.insert(position, (Arc::clone(service), 1));
                self.changed.insert(Arc::clone(&target.node));
            }
        }
    }

    fn release(&mut self, target: &Target, service: &Name) {
        let Some(pods) = self.nodes.get_mut(&target.node) else { return };
        let pod = (Arc::clone(&target.namespace), Arc::clone(&target.pod));
        let Some(services) = pods.get_mut(&pod) else { return };
        let Ok(position) = services.binary_search_by(|(name, _)| name.cmp(service)) else { return };
        services[position].1 -= 1;
        if services[position].1 > 0 {
            return;
        }
        services.remove(position);
        if services.is_empty() {
            pods.remove(&pod);
        }
        if pods.is_empty() {
            self.nodes.remove(&target.node);
        }
        self.changed.insert(Arc::clone(&target.node));
    }

    fn view(&self, node: &Name) -> Option<NodeServices> {
        let pods = self.nodes.get(node)?;
        let pods = pods.iter().map(|((namespace, pod), services)| PodServices {
            namespace: Arc::clone(namespace),
            pod: Arc::clone(pod),
            services: services.iter().map(|(name, _)| Arc::clone(name)).collect(),
        });
        Some(NodeServices::new(Arc::clone(node), pods.collect()))
    }
}
