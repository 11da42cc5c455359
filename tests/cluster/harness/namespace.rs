//! A test's own namespace and the workloads in it.

use serde_json::{Value, json};

use super::api::{self, Api, ApiError};
use super::cluster::Cluster;
use super::wait::{PATIENCE, wait_until};

/// A namespace that goes with the value (without waiting for its end, which takes seconds).
pub struct Namespace<'a> {
    /// The cluster it is in.
    pub cluster: &'a Cluster,
    /// Its name.
    pub name: String,
}

impl<'a> Namespace<'a> {
    /// Makes the namespace and waits until pods can be made in it.
    pub fn create(cluster: &'a Cluster, name: &str) -> Self {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        cluster.api().apply(&object).unwrap_or_else(|error| panic!("{name}: {error}"));
        let namespace = Self { cluster, name: name.to_owned() };
        wait_until(PATIENCE, "default service account", || {
            namespace.api().get(&namespace.path("ServiceAccount", "default"))
        });
        namespace
    }

    /// Makes `object` be there as given, in this namespace.
    #[track_caller]
    pub fn apply(&self, mut object: Value) -> Value {
        object["metadata"]["namespace"] = json!(self.name);
        self.api().apply(&object).unwrap_or_else(|error| panic!("{object}: {error}"))
    }

    /// A Deployment of `replicas` pods labelled `app: {name}`.
    pub fn deployment(&self, name: &str, replicas: u32) {
        let labels = json!({"app": name});
        self.apply(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod_spec()},
            },
        }));
    }

    /// A Service of the pods labelled `app: {app}`.
    pub fn service(&self, name: &str, app: &str) {
        self.apply(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": {"app": app}, "ports": [{"name": "http", "port": 80}]},
        }));
    }

    /// Waits until `count` pods labelled `app: {app}` are Running, and no others are there; returns them.
    #[track_caller]
    pub fn running_pods(&self, app: &str, count: usize) -> Vec<Value> {
        let path = format!("{}?labelSelector=app%3D{app}", self.collection("Pod"));
        wait_until(PATIENCE, "Running pods", || {
            let pods = self.api().list(&path).map_err(|error| error.to_string())?;
            let running = pods.iter().filter(|pod| pod["status"]["phase"] == "Running").count();
            if running == count && pods.len() == count {
                return Ok(pods);
            }
            let scheduled = pods.iter().filter(|pod| pod["spec"]["nodeName"].is_string()).count();
            Err(format!("of {} pods {scheduled} are scheduled, {running} Running", pods.len()))
        })
    }

    /// Endpoints of a Service, out of all its EndpointSlices.
    pub fn endpoints(&self, service: &str) -> Result<Vec<Value>, ApiError> {
        let slices = self.api().list(&format!(
            "{}?labelSelector=kubernetes.io%2Fservice-name%3D{service}",
            self.collection("EndpointSlice")
        ))?;
        let endpoints = slices.into_iter().map(|mut slice| slice["endpoints"].take());
        Ok(endpoints
            .flat_map(|endpoints| match endpoints {
                Value::Array(endpoints) => endpoints,
                _ => Vec::new(),
            })
            .collect())
    }

    /// Path of an object of this namespace.
    pub fn path(&self, kind: &str, name: &str) -> String {
        format!("{}/{name}", self.collection(kind))
    }

    /// Path of all objects of a kind in this namespace.
    pub fn collection(&self, kind: &str) -> String {
        api::collection(kind, Some(&self.name))
    }

    /// The API server, as administrator.
    pub fn api(&self) -> &'a Api {
        self.cluster.api()
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let _ = self.api().delete(&format!("{}/{}", api::collection("Namespace", None), self.name));
    }
}

/// One container that KWOK claims to run.
pub fn pod_spec() -> Value {
    json!({"containers": [{"name": "app", "image": "app"}], "terminationGracePeriodSeconds": 0})
}
