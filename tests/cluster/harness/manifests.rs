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
    objects("manifests/base")
}

fn objects(directory: &str) -> Vec<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let kustomization = documents(&directory.join("kustomization.yaml")).remove(0);
    let resources = kustomization["resources"].as_array().expect("it lists its files");
    let files = resources.iter().map(|file| file.as_str().expect("a file's name"));
    files.flat_map(|file| documents(&directory.join(file))).collect()
}

/// All objects of a component, without its patches.
pub fn component(name: &str) -> Vec<Value> {
    objects(&format!("manifests/components/{name}"))
}

/// All objects of an example.
pub fn example(name: &str) -> Vec<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/examples").join(name);
    let entries = fs::read_dir(&directory).expect("the example is there");
    let files = entries.map(|entry| entry.expect("the example can be read").path());
    files.flat_map(|file| documents(&file)).collect()
}

/// Applies a component as a kustomization of `namespace` would.
pub fn install_component(namespace: &Namespace<'_>, name: &str) {
    for object in component(name) {
        let mut object = renamed(object, &namespace.name);
        if object["kind"] == "APIService" {
            object["spec"]["service"]["namespace"] = json!(namespace.name);
            namespace.api().apply(&object).unwrap_or_else(|error| panic!("{object}: {error}"));
        } else {
            namespace.apply(object);
        }
    }
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
    let is_own = object["roleRef"]["name"].as_str().is_some_and(|name| name.starts_with(NAME));
    if object["roleRef"]["kind"] == "ClusterRole" && is_own {
        object["roleRef"]["name"] = suffixed(&object["roleRef"]["name"]);
    }
    let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten().filter(|subject| subject["name"] == NAME) {
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
