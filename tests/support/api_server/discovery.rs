//! `/version`, the probes, and the documents that tell clients what is served.

use serde_json::{Value, json};

use super::resources::{Catalogue, Resource};

/// The document at a path; `None` when nothing is there.
pub fn document(path: &str, catalogue: &Catalogue) -> Option<Value> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments[..] {
        ["version"] => Some(json!({
            "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
            "minCompatibilityMajor": "1", "minCompatibilityMinor": "35", "gitVersion": "v1.36.3",
            "gitCommit": "", "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "go1.26.8", "compiler": "gc", "platform": "linux/amd64",
        })),
        ["api"] => Some(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.96.0.1:443"}],
        })),
        ["apis"] => {
            let groups: Vec<Value> =
                groups(catalogue).iter().map(|name| group(name, catalogue)).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["api", version] => resources("", version, catalogue),
        ["apis", name] if groups(catalogue).iter().any(|known| known == name) => {
            let mut document = group(name, catalogue);
            document["kind"] = json!("APIGroup");
            document["apiVersion"] = json!("v1");
            Some(document)
        }
        ["apis", group, version] => resources(group, version, catalogue),
        _ => None,
    }
}

/// Whether the path is a probe, which answers `ok`.
pub fn is_probe(path: &str) -> bool {
    ["/healthz", "/livez", "/readyz"].contains(&path)
}

fn groups(catalogue: &Catalogue) -> Vec<String> {
    let mut names: Vec<String> =
        ["authentication.k8s.io", "authorization.k8s.io"].map(str::to_owned).into();
    for resource in catalogue.served().filter(|resource| !resource.group.is_empty()) {
        if !names.contains(&resource.group) {
            names.push(resource.group.clone());
        }
    }
    names
}

fn group(name: &str, catalogue: &Catalogue) -> Value {
    let mut versions: Vec<&str> = Vec::new();
    for resource in catalogue.served().filter(|resource| resource.group == name) {
        if !versions.contains(&resource.version.as_str()) {
            versions.push(&resource.version);
        }
    }
    if versions.is_empty() {
        versions.push("v1");
    }
    let entry =
        |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({
        "name": name,
        "versions": versions.iter().map(entry).collect::<Vec<_>>(),
        "preferredVersion": entry(&versions[0]),
    })
}

fn resources(group: &str, version: &str, catalogue: &Catalogue) -> Option<Value> {
    let of_version = catalogue
        .served()
        .filter(|resource| resource.group == group && resource.version == version);
    let mut entries = Vec::new();
    let mut api_version = String::new();
    for resource in of_version {
        api_version = resource.api_version();
        let verbs = ["create", "delete", "get", "list", "patch", "update", "watch"];
        entries.push(entry(resource, &resource.plural, &verbs));
        if resource.status {
            let name = format!("{}/status", resource.plural);
            entries.push(entry(resource, &name, &["get", "patch", "update"]));
        }
    }
    (!entries.is_empty()).then(|| {
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": entries})
    })
}

/// The groups of the review APIs, which keep no objects.
fn reviews(group: &str, version: &str) -> Option<Value> {
    let kinds: &[&str] = match (group, version) {
        ("authentication.k8s.io", "v1") => &["TokenReview"],
        ("authorization.k8s.io", "v1") => &["SelfSubjectAccessReview", "SubjectAccessReview"],
        _ => return None,
    };
    let entry = |kind: &&str| {
        let singular = kind.to_lowercase();
        json!({
            "name": format!("{singular}s"), "singularName": singular, "namespaced": false, "kind": kind,
            "verbs": ["create"],
        })
    };
    let entries: Vec<Value> = kinds.iter().map(entry).collect();
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{group}/{version}"),
        "resources": entries,
    }))
}

fn entry(resource: &Resource, name: &str, verbs: &[&str]) -> Value {
    json!({
        "name": name, "singularName": resource.kind.to_lowercase(), "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": verbs,
    })
}
