//! What the sources yield: files, annotated Services and the addresses behind them become resolved configurations
//! (spec cluster-checks §1, §2).
//!
//! Level-triggered: watch events only note what changed; [`Catalog::take_changes`] resolves the changed Services anew
//! and hands each one's configurations to the dispatcher as a whole. Both forms of endpoints give the same result.

use std::collections::{BTreeMap, BTreeSet};

use super::annotations::{self, Family, Resolve};
use super::configuration::Configuration;
use super::files::{File, Found};
use super::template::{self, Target};
use crate::kube::objects::{EndpointSlice, Endpoints, ObjectReference, Service};
use crate::kube::watch::Event;

/// Which sources are on (spec cluster-checks §1.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources {
    /// `kube_services`: annotations and files with advanced identifiers.
    pub services: bool,
    /// `kube_endpoints`.
    pub endpoints: bool,
}

/// What a source has become: its key and its resolved configurations, all of them.
pub type Change = (String, Vec<Configuration>);

/// What users are told about bad input: shown by `configcheck`, logged once by the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// By check name (files) or Service: why its configuration cannot be read.
    pub errors: BTreeMap<String, String>,
    /// By check name: why templates could not be resolved.
    pub warnings: BTreeMap<String, BTreeSet<String>>,
}

/// Namespace and name.
type Key = (String, String);

/// Holds what the sources say; fed by watches, emptied by the dispatcher thread.
#[derive(Debug)]
pub struct Catalog {
    sources: Sources,
    files: Vec<File>,
    file_errors: BTreeMap<String, String>,
    services: BTreeMap<Key, Entry>,
    endpoints: BTreeMap<Key, Vec<Address>>,
    slices: BTreeMap<Key, Slice>,
    /// Keys seen since the last `Init` of each kind; `None` outside a list.
    listing: [Option<BTreeSet<Key>>; 3],
    synced: [bool; 3],
    changed: BTreeSet<Key>,
    files_changed: bool,
    faults: BTreeMap<Key, ServiceFaults>,
}

/// A Service as far as checks need it.
#[derive(Debug, PartialEq)]
struct Entry {
    annotations: BTreeMap<String, String>,
    standard_tags: Vec<String>,
    host: Option<String>,
    ports: Vec<(u16, String)>,
}

/// One ready address behind a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    address: String,
    node: String,
    /// UID of the pod, where the address is one.
    pod: Option<String>,
    ports: Vec<(u16, String)>,
}

#[derive(Debug)]
struct Slice {
    service: Key,
    addresses: Vec<Address>,
}

#[derive(Debug, Default)]
struct ServiceFaults {
    error: Option<String>,
    warnings: Vec<(String, String)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Services,
    Endpoints,
    Slices,
}

impl Catalog {
    /// A catalog of these sources and of what the files said.
    pub fn new(sources: Sources, found: Found) -> Self {
        Self {
            sources,
            files: found.files,
            file_errors: found.errors,
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            slices: BTreeMap::new(),
            listing: [None, None, None],
            synced: [false; 3],
            changed: BTreeSet::new(),
            files_changed: true,
            faults: BTreeMap::new(),
        }
    }

    /// Whether every source that is on was listed once, so that what is resolved is complete.
    pub fn is_complete(&self) -> bool {
        let [services, endpoints, slices] = self.synced;
        let wants_services = self.sources.services || self.sources.endpoints;
        (!wants_services || services) && (!self.sources.endpoints || endpoints || slices)
    }

    /// Takes an event of the Services watch.
    pub fn apply_service(&mut self, event: &Event<Service>) {
        self.take(Kind::Services, event, |catalog, service, present| {
            let key = (service.metadata.namespace.clone(), service.metadata.name.clone());
            let usable = present && !service.metadata.uid.is_empty();
            let entry = usable.then(|| Entry::new(service));
            if catalog.services.get(&key) != entry.as_ref() {
                catalog.changed.insert(key.clone());
            }
            match entry {
                Some(entry) => drop(catalog.services.insert(key.clone(), entry)),
                None => drop(catalog.services.remove(&key)),
            }
            key
        });
    }

    /// Takes an event of the Endpoints watch.
    pub fn apply_endpoints(&mut self, event: &Event<Endpoints>) {
        self.take(Kind::Endpoints, event, |catalog, endpoints, present| {
            let key = (endpoints.metadata.namespace.clone(), endpoints.metadata.name.clone());
            let addresses = if present { addresses_of(endpoints) } else { Vec::new() };
            if catalog.endpoints.get(&key) != Some(&addresses) {
                catalog.changed.insert(key.clone());
            }
            if present {
                catalog.endpoints.insert(key.clone(), addresses);
            } else {
                catalog.endpoints.remove(&key);
            }
            key
        });
    }

    /// Takes an event of the EndpointSlices watch.
    pub fn apply_endpoint_slice(&mut self, event: &Event<EndpointSlice>) {
        self.take(Kind::Slices, event, |catalog, slice, present| {
            let key = (slice.metadata.namespace.clone(), slice.metadata.name.clone());
            let service = slice.metadata.labels.get(EndpointSlice::SERVICE_NAME);
            let slice = service.filter(|_| present).map(|service| Slice {
                service: (key.0.clone(), service.clone()),
                addresses: addresses_of_slice(slice),
            });
            catalog.changed.extend(slice.as_ref().map(|slice| slice.service.clone()));
            let before = match slice {
                Some(slice) => catalog.slices.insert(key.clone(), slice),
                None => catalog.slices.remove(&key),
            };
            catalog.changed.extend(before.map(|slice| slice.service));
            key
        });
    }

    /// Resolves what changed since the last call. Nothing is handed out before everything was listed once: a part would
    /// make nodes drop what they run.
    pub fn take_changes(&mut self, environment: &dyn Fn(&str) -> Option<String>) -> Vec<Change> {
        if !self.is_complete() {
            return Vec::new();
        }
        let mut changes = Vec::new();
        if std::mem::take(&mut self.files_changed) {
            changes.extend(
                self.files.iter().filter(|file| file.is_plain()).map(|file| {
                    (file.configuration.source.clone(), vec![file.configuration.clone()])
                }),
            );
        }
        for key in std::mem::take(&mut self.changed) {
            let mut faults = ServiceFaults::default();
            let configurations = self.resolved(&key, environment, &mut faults);
            if faults.error.is_some() || !faults.warnings.is_empty() {
                self.faults.insert(key.clone(), faults);
            } else {
                self.faults.remove(&key);
            }
            changes.push((format!("service {}/{}", key.0, key.1), configurations));
        }
        changes
    }

    /// What is wrong with the input at this moment.
    pub fn faults(&self) -> Faults {
        let mut faults = Faults { errors: self.file_errors.clone(), ..Faults::default() };
        for file in &self.files {
            for name in &file.missing_environment {
                let warning =
                    format!("Failed to substitute template var %%env_{name}%%: it is not set");
                faults.warnings.entry(file.configuration.name.clone()).or_default().insert(warning);
            }
        }
        for ((namespace, name), service) in &self.faults {
            if let Some(error) = &service.error {
                faults.errors.insert(format!("{namespace}/{name}"), error.clone());
            }
            for (check, warning) in &service.warnings {
                faults.warnings.entry(check.clone()).or_default().insert(warning.clone());
            }
        }
        faults
    }

    /// One shape for three watches: a list keeps what is there until it is done, then drops what it did not name.
    fn take<T>(
        &mut self,
        kind: Kind,
        event: &Event<T>,
        mut apply: impl FnMut(&mut Self, &T, bool) -> Key,
    ) {
        match event {
            Event::Init => self.listing[kind as usize] = Some(BTreeSet::new()),
            Event::InitApply(object) => {
                let key = apply(self, object, true);
                if let Some(seen) = &mut self.listing[kind as usize] {
                    seen.insert(key);
                }
            }
            Event::InitDone => {
                let seen = self.listing[kind as usize].take().unwrap_or_default();
                self.drop_unseen(kind, &seen);
                self.synced[kind as usize] = true;
            }
            Event::Apply(object) => drop(apply(self, object, true)),
            Event::Delete(object) => drop(apply(self, object, false)),
        }
    }

    fn drop_unseen(&mut self, kind: Kind, seen: &BTreeSet<Key>) {
        let changed = &mut self.changed;
        match kind {
            Kind::Services => self.services.retain(|key, _| keep(key, key, seen, changed)),
            Kind::Endpoints => self.endpoints.retain(|key, _| keep(key, key, seen, changed)),
            Kind::Slices => {
                self.slices.retain(|key, slice| keep(key, &slice.service, seen, changed))
            }
        }
    }

    fn resolved(
        &self,
        key: &Key,
        environment: &dyn Fn(&str) -> Option<String>,
        faults: &mut ServiceFaults,
    ) -> Vec<Configuration> {
        let Some(entry) = self.services.get(key) else { return Vec::new() };
        let mut resolved = Vec::new();
        let mut resolve = |template: &Configuration, target: &Target| match template::resolve(
            template,
            target,
            environment,
        ) {
            Ok(configuration) => resolved.push(configuration),
            Err(reason) => faults.warnings.push((template.name.clone(), reason.to_string())),
        };
        let mut templates_of = |family| match annotations::templates(&entry.annotations, family) {
            Ok(templates) => templates,
            Err(invalid) => {
                faults.error = Some(format!(
                    "Cannot parse service template for service {}/{}: {invalid}",
                    key.0, key.1
                ));
                Vec::new()
            }
        };
        let service_templates =
            if self.sources.services { templates_of(Family::Service) } else { Vec::new() };
        let endpoint_templates =
            if self.sources.endpoints { templates_of(Family::Endpoints) } else { Vec::new() };

        let target = entry.target(key);
        let service_entity = target.entity.clone();
        for mut template in service_templates {
            mark(&mut template, "kubernetes-services", vec![service_entity.clone()]);
            template.source = format!("kube_services:{service_entity}");
            resolve(&template, &target);
        }
        for file in
            self.files.iter().filter(|file| self.sources.services && file.services.contains(key))
        {
            let mut template = file.configuration.clone();
            mark(&mut template, "kubernetes-services-file", vec![service_entity.clone()]);
            resolve(&template, &target);
        }
        let (mode, _) = annotations::resolve_mode(&entry.annotations);
        for mut template in endpoint_templates {
            template.source = format!("kube_endpoints:kube_endpoint_uid://{}/{}/", key.0, key.1);
            for address in self.addresses(key) {
                let (template, target) =
                    entry.for_address(&template, key, address, mode, "kubernetes-endpoints");
                resolve(&template, &target);
            }
        }
        for file in
            self.files.iter().filter(|file| self.sources.endpoints && file.endpoints.contains(key))
        {
            for address in self.addresses(key) {
                let (template, target) = entry.for_address(
                    &file.configuration,
                    key,
                    address,
                    Resolve::Auto,
                    "kubernetes-endpoints-file",
                );
                resolve(&template, &target);
            }
        }
        resolved
    }

    /// Ready addresses of a Service: of its slices where slices are watched, else of its Endpoints object.
    fn addresses<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Address> {
        let slices = self.slices.values().filter(move |slice| slice.service == *key);
        let endpoints = self.endpoints.get(key).into_iter().flatten();
        endpoints.chain(slices.flat_map(|slice| &slice.addresses))
    }
}

fn keep(key: &Key, service: &Key, seen: &BTreeSet<Key>, changed: &mut BTreeSet<Key>) -> bool {
    let kept = seen.contains(key);
    if !kept {
        changed.insert(service.clone());
    }
    kept
}

fn mark(template: &mut Configuration, provider: &str, identifiers: Vec<String>) {
    template.cluster_check = true;
    template.provider = provider.to_owned();
    template.ad_identifiers = identifiers;
}

impl File {
    /// Whether the file is a configuration as it stands, and no template for anything.
    fn is_plain(&self) -> bool {
        self.services.is_empty()
            && self.endpoints.is_empty()
            && self.configuration.ad_identifiers.is_empty()
    }
}

impl Entry {
    fn new(service: &Service) -> Self {
        let labels = &service.metadata.labels;
        let standard = |name: &str| {
            Some(format!("{name}:{}", labels.get(&format!("tags.datadoghq.com/{name}"))?))
        };
        let standard_tags =
            ["env", "version", "service"].into_iter().filter_map(standard).collect();
        let host = Some(service.spec.cluster_ip.clone())
            .filter(|address| !address.is_empty() && address != "None");
        let mut ports: Vec<(u16, String)> =
            service.spec.ports.iter().map(|port| (port.port, port.name.clone())).collect();
        ports.sort();
        let mut annotations = service.metadata.annotations.clone();
        annotations.retain(|key, _| {
            key.starts_with("ad.datadoghq.com/") || key.starts_with("service-discovery.")
        });
        Self { annotations, standard_tags, host, ports }
    }

    fn target(&self, key: &Key) -> Target {
        Target {
            entity: format!("kube_service://{}/{}", key.0, key.1),
            host: self.host.clone(),
            ports: self.ports.clone(),
            tags: self.tags(key),
        }
    }

    fn tags(&self, (namespace, name): &Key) -> Vec<String> {
        let own = [format!("kube_service:{name}"), format!("kube_namespace:{namespace}")];
        own.into_iter().chain(self.standard_tags.iter().cloned()).collect()
    }

    fn for_address(
        &self,
        template: &Configuration,
        key: &Key,
        address: &Address,
        mode: Resolve,
        provider: &str,
    ) -> (Configuration, Target) {
        let entity = format!("kube_endpoint_uid://{}/{}/{}", key.0, key.1, address.address);
        let mut tags = self.tags(key);
        tags.push(format!("kube_endpoint_ip:{}", address.address));
        let mut template = template.clone();
        let mut identifiers = vec![entity.clone()];
        if let (Resolve::Auto, Some(pod)) = (mode, &address.pod) {
            identifiers.push(format!("kubernetes_pod://{pod}"));
            template.node_name.clone_from(&address.node);
        }
        mark(&mut template, provider, identifiers);
        let target = Target {
            entity,
            host: Some(address.address.clone()),
            ports: address.ports.clone(),
            tags,
        };
        (template, target)
    }
}

/// The ready addresses of an Endpoints object; a leader-election object has none that anybody may check.
fn addresses_of(endpoints: &Endpoints) -> Vec<Address> {
    if endpoints.metadata.annotations.contains_key("control-plane.alpha.kubernetes.io/leader") {
        return Vec::new();
    }
    let subsets = endpoints.subsets.iter();
    subsets
        .flat_map(|subset| {
            let ports: Vec<(u16, String)> = subset
                .ports
                .iter()
                .filter_map(|port| Some((port.port?, port.name.clone())))
                .collect();
            subset.addresses.iter().map(move |address| Address {
                address: address.ip.clone(),
                node: address.node_name.clone(),
                pod: pod_of(address.target_ref.as_ref()),
                ports: ports.clone(),
            })
        })
        .collect()
}

/// The ready addresses of a slice, one configuration an address.
fn addresses_of_slice(slice: &EndpointSlice) -> Vec<Address> {
    let ports: Vec<(u16, String)> =
        slice.ports.iter().filter_map(|port| Some((port.port?, port.name.clone()))).collect();
    let ready = slice.endpoints.iter().filter(|endpoint| {
        endpoint.conditions.ready != Some(false) && endpoint.conditions.terminating != Some(true)
    });
    ready
        .flat_map(|endpoint| {
            endpoint.addresses.iter().map(|address| Address {
                address: address.clone(),
                node: endpoint.node_name.clone(),
                pod: pod_of(endpoint.target_ref.as_ref()),
                ports: ports.clone(),
            })
        })
        .collect()
}

fn pod_of(target: Option<&ObjectReference>) -> Option<String> {
    target
        .filter(|target| target.kind == "Pod" && !target.uid.is_empty())
        .map(|target| target.uid.clone())
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
