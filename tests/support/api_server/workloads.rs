//! Nodes, pods and services as tests and the demonstration speak of them: what a user applies, and what scheduler and
//! kubelets would make of it, at once.

use std::sync::PoisonError;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::Server;
use super::store::timestamp;

/// The alphabet of generated names: no vowels, so no words.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

impl Server {
    /// Adds a Node.
    pub fn add_node(&self, name: &str) {
        self.apply(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                    "node-role.kubernetes.io/worker": "",
                },
                "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
                "managedFields": managed_fields("kubelet"),
            },
            "spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"]},
            "status": {
                "capacity": {"cpu": "32", "memory": "256Gi", "pods": "110"},
                "allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110"},
                "conditions": [condition("Ready", true)],
                "addresses": [{"type": "InternalIP", "address": "10.77.0.10"}, {"type": "Hostname", "address": name}],
                "nodeInfo": {
                    "kernelVersion": "6.18.0", "osImage": "Debian GNU/Linux 12", "architecture": "amd64",
                    "containerRuntimeVersion": "containerd://2.1.0", "kubeletVersion": "v1.36.3",
                    "operatingSystem": "linux",
                },
            },
        }));
    }

    /// Adds a Namespace with labels.
    pub fn add_namespace(&self, name: &str, labels: Value) {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        });
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = json!(name);
        self.apply(object);
    }

    /// Adds a Service that selects the pods labelled `app: APP`.
    pub fn add_service(&self, namespace: &str, name: &str, app: &str) {
        let number = self.next_number();
        self.apply(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": name, "namespace": namespace, "labels": {"app": app},
                "managedFields": managed_fields("kubectl-client-side-apply"),
            },
            "spec": {
                "type": "ClusterIP", "clusterIP": format!("10.96.{}.{}", number / 250 % 256, number % 250 + 1),
                "selector": {"app": app}, "sessionAffinity": "None",
                "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            },
            "status": {"loadBalancer": {}},
        }));
    }

    /// Adds a running, ready Pod labelled `app: APP` on a node, as a Deployment would; gives its name.
    pub fn add_pod(&self, namespace: &str, app: &str, node: &str) -> String {
        let number = self.next_number();
        let name =
            format!("{app}-{}-{}", suffix(app.len() as u64 * 7_919_393, 9), suffix(number, 5));
        let ip = format!(
            "10.{}.{}.{}",
            128 + number / 62_500 % 128,
            number / 250 % 250,
            number % 250 + 1
        );
        let (replica_set, _) = name.rsplit_once('-').expect("the name has a suffix");
        self.apply(pod(namespace, &name, app, replica_set, node, &ip));
        name
    }

    /// Adds one pod of an app for each of these nodes; gives their names.
    pub fn deploy(&self, namespace: &str, app: &str, nodes: &[&str]) -> Vec<String> {
        nodes.iter().map(|node| self.add_pod(namespace, app, node)).collect()
    }

    /// Replaces a pod by one of the same app on another node, which is how pods move; gives the new name.
    pub fn move_pod(&self, namespace: &str, pod: &str, node: &str) -> String {
        let old = self.get("pods", namespace, pod).expect("the pod to move is there");
        let app = old["metadata"]["labels"]["app"].as_str().expect("pods are labelled").to_owned();
        let new = self.add_pod(namespace, &app, node);
        self.delete("pods", namespace, pod);
        new
    }

    /// Makes a pod ready or not.
    pub fn set_ready(&self, namespace: &str, pod: &str, ready: bool) {
        self.edit("pods", namespace, pod, |object| {
            object["status"]["conditions"] = json!([condition("Ready", ready)]);
        });
    }

    fn next_number(&self) -> u64 {
        let mut number = self.shared.next_name.lock().unwrap_or_else(PoisonError::into_inner);
        *number += 1;
        *number
    }
}

/// A Pod of the size and shape that a real cluster has: 3.5 kB of JSON, nearly half of it managedFields.
fn pod(namespace: &str, name: &str, app: &str, replica_set: &str, node: &str, ip: &str) -> Value {
    let now = timestamp(SystemTime::now());
    let probe = |path: &str| {
        json!({
            "httpGet": {"path": path, "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
            "successThreshold": 1, "failureThreshold": 3,
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "generateName": format!("{replica_set}-"), "namespace": namespace,
            "labels": {"app": app, "pod-template-hash": replica_set.rsplit('-').next()},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": replica_set,
                "uid": "2c1f0c9e-3c1d-4e0a-9a51-3d6b0b0a7c11", "controller": true, "blockOwnerDeletion": true,
            }],
            "managedFields": managed_fields("kube-controller-manager"),
        },
        "spec": {
            "nodeName": node, "serviceAccountName": "default", "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30, "priority": 0,
            "containers": [{
                "name": app, "image": format!("registry.example.com/shop/{app}:1.4.2"),
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "env": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "APP", "value": app}],
                "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "50m", "memory": "128Mi"}},
                "livenessProbe": probe("/live"), "readinessProbe": probe("/ready"),
                "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }],
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
        },
        "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "10.77.0.10", "qosClass": "Burstable",
            "startTime": now, "conditions": [condition("Ready", true)],
            "containerStatuses": [{
                "name": app, "ready": true, "started": true, "restartCount": 0,
                "image": format!("registry.example.com/shop/{app}:1.4.2"),
                "imageID": "sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
                "containerID": format!("containerd://{name}"), "state": {"running": {"startedAt": now}},
            }],
        },
    })
}

fn condition(kind: &str, holds: bool) -> Value {
    let status = if holds { "True" } else { "False" };
    json!({"type": kind, "status": status, "lastTransitionTime": timestamp(SystemTime::now())})
}

/// What server-side apply keeps with each object; its size is what clients notice of it.
fn managed_fields(manager: &str) -> Value {
    let fields = |names: &[&str]| {
        let empty = names.iter().map(|name| (format!("f:{name}"), json!({})));
        Value::Object(empty.collect())
    };
    json!([
        {
            "manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsV1": {
                "f:metadata": {
                    "f:generateName": {}, "f:labels": fields(&["app", "pod-template-hash"]),
                    "f:ownerReferences": {"k:{\"uid\":\"2c1f0c9e-3c1d-4e0a-9a51-3d6b0b0a7c11\"}": {}},
                },
                "f:spec": fields(&[
                    "dnsPolicy", "enableServiceLinks", "restartPolicy", "schedulerName", "securityContext",
                    "terminationGracePeriodSeconds", "containers", "tolerations", "volumes",
                ]),
            },
        },
        {
            "manager": "kubelet", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
            "time": "2026-01-01T00:00:05Z", "subresource": "status",
            "fieldsV1": {"f:status": fields(&[
                "conditions", "containerStatuses", "hostIP", "hostIPs", "phase", "podIP", "podIPs", "startTime",
                "addresses", "allocatable", "capacity", "images", "nodeInfo", "observedGeneration",
            ])},
        },
    ])
}

/// A generated suffix; different numbers below 27^length give different ones.
fn suffix(number: u64, length: usize) -> String {
    let base = SUFFIX_ALPHABET.len() as u64;
    // Multiplying by a number that shares no factor with 27 only shuffles.
    let mut rest =
        number.wrapping_mul(7_368_787) % base.pow(u32::try_from(length).expect("short names"));
    let mut letters = Vec::new();
    for _ in 0..length {
        letters.push(char::from(SUFFIX_ALPHABET[usize::try_from(rest % base).expect("an index")]));
        rest /= base;
    }
    letters.into_iter().collect()
}
