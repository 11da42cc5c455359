//! Makes Endpoints and EndpointSlices from Services and Pods, as the controller manager does.
//!
//! A thread follows the store; a change of a Service or of a Pod that one selects makes that Service's objects anew.
//! Slices are filled up to 100 endpoints and changed in place, so an update touches as few of them as the real one's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Shared;
use super::store::{Change, Edit, Object, new_uid};

/// `--max-endpoints-per-slice` of the controller manager.
const SLICE_LIMIT: usize = 100;
/// How often the thread looks whether it should end.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

const SLICES: &str = "endpointslices.discovery.k8s.io";
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
const MANAGED_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// A Service by namespace and name.
type ServiceName = (String, String);

/// Follows the store until `closed`.
pub fn run(shared: &Shared, closed: &AtomicBool) {
    let mut position = 0;
    while !closed.load(Ordering::SeqCst) {
        let (changes, revision) = {
            let state = shared.store.lock();
            (state.changes_after(position), state.revision)
        };
        let stale = match changes {
            Ok(changes) => affected(shared, &changes),
            Err(_) => every_service(shared),
        };
        position = revision;
        for (namespace, service) in stale {
            reconcile(shared, &namespace, &service);
        }
        shared.store.wait_for_change(position, Instant::now() + LOOK_INTERVAL);
    }
}

fn affected(shared: &Shared, changes: &[Change]) -> BTreeSet<ServiceName> {
    let mut stale = BTreeSet::new();
    for change in changes {
        let object = &change.object;
        match &*change.resource {
            "services" => {
                stale.insert((object.namespace.clone(), object.name.clone()));
            }
            "pods" => {
                let services = shared.store.lock().list("services", Some(&object.namespace));
                for service in services {
                    let selector = selector(&service);
                    let before = change.previous.as_ref();
                    if selects(&selector, object)
                        || before.is_some_and(|pod| selects(&selector, pod))
                    {
                        stale.insert((service.namespace.clone(), service.name.clone()));
                    }
                }
            }
            _ => {}
        }
    }
    stale
}

fn every_service(shared: &Shared) -> BTreeSet<ServiceName> {
    let services = shared.store.lock().list("services", None);
    services.iter().map(|service| (service.namespace.clone(), service.name.clone())).collect()
}

fn reconcile(shared: &Shared, namespace: &str, name: &str) {
    let (service, pods, slices) = {
        let state = shared.store.lock();
        let slices = state.list(SLICES, Some(namespace)).into_iter();
        let own = |slice: &Arc<Object>| {
            slice.labels.get(SERVICE_LABEL).is_some_and(|service| service == name)
                && slice.labels.get(MANAGED_LABEL).is_some_and(|manager| manager == MANAGER)
        };
        let service = state.get("services", namespace, name);
        (service, state.list("pods", Some(namespace)), slices.filter(own).collect::<Vec<_>>())
    };
    let Some(service) = service else {
        for slice in slices {
            remove(shared, SLICES, namespace, &slice.name);
        }
        remove(shared, "endpoints", namespace, name);
        return;
    };
    let selector = selector(&service);
    if selector.is_empty() {
        return;
    }
    let selected = pods.iter().filter(|pod| selects(&selector, pod));
    let endpoints: BTreeMap<String, Endpoint> =
        selected.filter_map(|pod| Endpoint::of(pod)).collect();
    write_slices(shared, &service, slices, &endpoints);
    write_endpoints(shared, &service, &endpoints);
}

/// A pod as an endpoint.
struct Endpoint {
    ip: String,
    node: String,
    ready: bool,
    target: Value,
}

impl Endpoint {
    fn of(pod: &Object) -> Option<(String, Self)> {
        let value = pod.value();
        let status = &value["status"];
        let ip = status["podIP"].as_str().filter(|ip| !ip.is_empty())?.to_owned();
        if matches!(status["phase"].as_str(), Some("Succeeded" | "Failed")) {
            return None;
        }
        let conditions = status["conditions"].as_array();
        let ready = conditions.is_some_and(|conditions| {
            conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
        });
        let target = json!({
            "kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid,
        });
        let node = pod.node.clone()?;
        Some((pod.name.clone(), Self { ip, node, ready, target }))
    }

    fn in_slice(&self) -> Value {
        json!({
            "addresses": [self.ip], "nodeName": self.node, "targetRef": self.target,
            "conditions": {"ready": self.ready, "serving": self.ready, "terminating": false},
        })
    }

    fn in_endpoints(&self) -> Value {
        json!({"ip": self.ip, "nodeName": self.node, "targetRef": self.target})
    }
}

fn write_slices(
    shared: &Shared,
    service: &Object,
    slices: Vec<Arc<Object>>,
    endpoints: &BTreeMap<String, Endpoint>,
) {
    let mut missing: BTreeSet<&String> = endpoints.keys().collect();
    let mut contents: Vec<(String, Vec<Value>)> = Vec::new();
    for slice in &slices {
        let old = slice.value();
        let old = old["endpoints"].as_array().cloned().unwrap_or_default();
        let kept = old.iter().filter_map(|endpoint| {
            let pod = endpoint["targetRef"]["name"].as_str()?.to_owned();
            missing.remove(&pod).then(|| endpoints[&pod].in_slice())
        });
        contents.push((slice.name.clone(), kept.collect()));
    }
    let mut missing = missing.into_iter().map(|pod| endpoints[pod].in_slice()).peekable();
    for (_, kept) in &mut contents {
        let room = SLICE_LIMIT.saturating_sub(kept.len());
        kept.extend(missing.by_ref().take(room));
    }
    while missing.peek().is_some() {
        let name = format!("{}-{}", service.name, &new_uid()[..5]);
        contents.push((name, missing.by_ref().take(SLICE_LIMIT).collect()));
    }
    // A service without endpoints keeps one empty slice.
    if contents.is_empty() {
        contents.push((format!("{}-{}", service.name, &new_uid()[..5]), Vec::new()));
    }
    let full = contents.iter().filter(|(_, endpoints)| !endpoints.is_empty()).count();
    let mut kept_an_empty_one = full > 0;
    for (name, endpoints) in contents {
        if endpoints.is_empty() && kept_an_empty_one {
            remove(shared, SLICES, &service.namespace, &name);
            continue;
        }
        kept_an_empty_one = true;
        put(shared, SLICES, &service.namespace, &name, slice(service, &name, endpoints));
    }
}

fn slice(service: &Object, name: &str, endpoints: Vec<Value>) -> Value {
    // Nothing is encoded as null, not as an empty list.
    let list = |items: Vec<Value>| if items.is_empty() { Value::Null } else { json!(items) };
    let ports = if endpoints.is_empty() { Value::Null } else { list(ports(service)) };
    json!({
        "metadata": {
            "name": name, "generateName": format!("{}-", service.name), "namespace": service.namespace,
            "labels": {SERVICE_LABEL: service.name, MANAGED_LABEL: MANAGER},
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": service.name, "uid": service.uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "addressType": "IPv4", "endpoints": list(endpoints), "ports": ports,
    })
}

fn write_endpoints(shared: &Shared, service: &Object, endpoints: &BTreeMap<String, Endpoint>) {
    let (ready, not_ready): (Vec<_>, Vec<_>) = endpoints.values().partition(|e| e.ready);
    let mut subset = serde_json::Map::new();
    for (key, addresses) in [("addresses", ready), ("notReadyAddresses", not_ready)] {
        if !addresses.is_empty() {
            let addresses: Vec<Value> = addresses.iter().map(|e| e.in_endpoints()).collect();
            subset.insert(key.to_owned(), json!(addresses));
        }
    }
    let mut object = json!({"metadata": {"name": service.name, "namespace": service.namespace}});
    if !subset.is_empty() {
        subset.insert("ports".to_owned(), json!(ports(service)));
        object["subsets"] = json!([subset]);
    }
    put(shared, "endpoints", &service.namespace, &service.name, object);
}

fn ports(service: &Object) -> Vec<Value> {
    let value = service.value();
    let ports = value["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let target = |port: &Value| match port["targetPort"].as_u64() {
        Some(target) => json!(target),
        None => port["port"].clone(),
    };
    ports
        .iter()
        .map(|port| {
            json!({
                "name": port["name"].as_str().unwrap_or_default(), "port": target(port),
                "protocol": port["protocol"].as_str().unwrap_or("TCP"),
            })
        })
        .collect()
}

fn selector(service: &Object) -> BTreeMap<String, String> {
    let value = service.value();
    let selector = value["spec"]["selector"].as_object().into_iter().flatten();
    selector
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

fn selects(selector: &BTreeMap<String, String>, pod: &Object) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}

fn put(shared: &Shared, resource: &str, namespace: &str, name: &str, object: Value) {
    let written = shared.store.write(resource, namespace, name, |_| Ok::<_, ()>(Edit::Put(object)));
    written.expect("this edit refuses nothing");
}

fn remove(shared: &Shared, resource: &str, namespace: &str, name: &str) {
    let removed = shared.store.write(resource, namespace, name, |_| Ok::<_, ()>(Edit::Delete));
    removed.expect("this edit refuses nothing");
}
