//! The project's own manifests, installed in a test's namespace as kustomize would.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::namespace::Namespace;

/// Name of the Deployment, the Service and the service account in `manifests/base`.
pub const NAME: &str = "datadog-cluster-agent";

/// Shared token of node Agents in every test; at least 32 characters, as clients insist.
pub const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// All objects of `manifests/base`, in its kustomization's order.
pub fn base() -> Vec<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/base");
    let kustomization = documents(&directory.join("kustomization.yaml")).remove(0);
    let resources = kustomization["resources"].as_array().expect("it lists its files");
    let files = resources.iter().map(|file| file.as_str().expect("a file's name"));
    files.flat_map(|file| documents(&directory.join(file))).collect()
}

/// Applies everything but the Deployment, and the two Secrets that it wants; returns the Deployment's pod
/// template, for replicas with real processes behind them.
pub fn install(namespace: &Namespace<'_>) -> Value {
    for (name, key, value) in
        [("datadog", "api-key", "0".repeat(32)), ("datadog-auth-token", "token", AUTH_TOKEN.into())]
    {
        namespace.apply(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": {key: value},
        }));
    }
    let mut template = Value::Null;
    for object in base() {
        if object["kind"] == "Deployment" {
            template = object["spec"]["template"].clone();
        } else {
            namespace.apply(renamed(object, &namespace.name));
        }
    }
    template
}

/// What `namespace:` and a name suffix in a kustomization do: nobody else's objects are touched.
fn renamed(mut object: Value, namespace: &str) -> Value {
    let suffixed =
        |name: &Value| json!(format!("{}-{namespace}", name.as_str().unwrap_or_default()));
    if object["kind"].as_str().is_some_and(|kind| kind.starts_with("Cluster")) {
        object["metadata"]["name"] = suffixed(&object["metadata"]["name"]);
    }
    if object["roleRef"]["kind"] == "ClusterRole" {
        object["roleRef"]["name"] = suffixed(&object["roleRef"]["name"]);
    }
    let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        subject["namespace"] = json!(namespace);
    }
    object
}

fn documents(file: &Path) -> Vec<Value> {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| {
            Value::deserialize(document)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        })
        .collect()
}
