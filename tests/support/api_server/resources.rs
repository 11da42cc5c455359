//! Which resources the server knows, and how their paths read.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

/// One resource of one group version.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The API group, empty for the core one.
    pub group: String,
    /// The version within the group.
    pub version: String,
    /// The plural that stands in paths.
    pub plural: String,
    /// The kind of one object.
    pub kind: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether `status` is a subresource, which the main resource then cannot change.
    pub status: bool,
    /// Whether it was defined by a CustomResourceDefinition: items of its lists then carry kind and apiVersion.
    pub custom: bool,
}

impl Resource {
    /// `pods`, `leases.coordination.k8s.io`: how messages name it, and what identifies it here.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `v1`, `coordination.k8s.io/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether a PUT of an absent object creates it.
    pub fn create_on_update(&self) -> bool {
        matches!(self.plural.as_str(), "leases" | "endpoints" | "events")
    }

    /// Whether DELETE answers with the object instead of a `Status`.
    pub fn delete_answers_object(&self) -> bool {
        matches!(
            self.plural.as_str(),
            "pods" | "namespaces" | "services" | "serviceaccounts" | "persistentvolumes"
        )
    }
}

/// What a path asks for.
#[derive(Debug)]
pub struct Place {
    /// The resource.
    pub resource: Arc<Resource>,
    /// The namespace in the path.
    pub namespace: Option<String>,
    /// The object's name in the path.
    pub name: Option<String>,
    /// `status` and the like.
    pub subresource: Option<String>,
}

/// The resources that are served at the moment.
#[derive(Debug)]
pub struct Catalogue {
    resources: Vec<Arc<Resource>>,
    hidden_groups: HashSet<String>,
}

impl Default for Catalogue {
    fn default() -> Self {
        // group, version, plural, kind, namespaced, status
        let table = [
            ("", "v1", "nodes", "Node", false, true),
            ("", "v1", "namespaces", "Namespace", false, true),
            ("", "v1", "pods", "Pod", true, true),
            ("", "v1", "services", "Service", true, true),
            ("", "v1", "endpoints", "Endpoints", true, false),
            ("", "v1", "configmaps", "ConfigMap", true, false),
            ("", "v1", "secrets", "Secret", true, false),
            ("", "v1", "serviceaccounts", "ServiceAccount", true, false),
            ("", "v1", "events", "Event", true, false),
            ("apps", "v1", "deployments", "Deployment", true, true),
            ("apps", "v1", "replicasets", "ReplicaSet", true, true),
            ("apps", "v1", "daemonsets", "DaemonSet", true, true),
            ("apps", "v1", "statefulsets", "StatefulSet", true, true),
            (
                "autoscaling",
                "v2",
                "horizontalpodautoscalers",
                "HorizontalPodAutoscaler",
                true,
                true,
            ),
            ("coordination.k8s.io", "v1", "leases", "Lease", true, false),
            ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true, false),
            (
                "apiextensions.k8s.io",
                "v1",
                "customresourcedefinitions",
                "CustomResourceDefinition",
                false,
                true,
            ),
        ];
        let resources = table.map(|(group, version, plural, kind, namespaced, status)| {
            Arc::new(Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                plural: plural.to_owned(),
                kind: kind.to_owned(),
                namespaced,
                status,
                custom: false,
            })
        });
        Self { resources: resources.to_vec(), hidden_groups: HashSet::new() }
    }
}

impl Catalogue {
    /// Adds what a CustomResourceDefinition describes, one resource a served version.
    pub fn define(&mut self, definition: &Value) {
        let spec = &definition["spec"];
        for version in spec["versions"].as_array().into_iter().flatten() {
            if version["served"] == json!(false) {
                continue;
            }
            self.resources.push(Arc::new(Resource {
                group: text(&spec["group"]),
                version: text(&version["name"]),
                plural: text(&spec["names"]["plural"]),
                kind: text(&spec["names"]["kind"]),
                namespaced: spec["scope"] != json!("Cluster"),
                status: version["subresources"]["status"].is_object(),
                custom: true,
            }));
        }
    }

    /// Serves a group or answers 404 for all of it, as an API server that is too old for it does.
    pub fn serve_group(&mut self, group: &str, served: bool) {
        if served {
            self.hidden_groups.remove(group);
        } else {
            self.hidden_groups.insert(group.to_owned());
        }
    }

    /// What is served now.
    pub fn served(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.iter().filter(|resource| !self.hidden_groups.contains(&resource.group))
    }

    /// The resource of a kind.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let matches = |resource: &&Arc<Resource>| {
            resource.kind == kind && resource.api_version() == api_version
        };
        self.resources.iter().find(matches).cloned()
    }

    /// The resource of a qualified name, `pods` or `leases.coordination.k8s.io`; the plural alone will do.
    pub fn by_name(&self, name: &str) -> Option<Arc<Resource>> {
        let matches =
            |resource: &&Arc<Resource>| resource.qualified() == name || resource.plural == name;
        self.resources.iter().find(matches).cloned()
    }

    /// Reads a path. `Ok(None)`: it is under a group version that is served, but no resource of it.
    pub fn place(&self, segments: &[String]) -> Result<Option<Place>, NotAResource> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (group, version, rest) = match segments[..] {
            ["api", version, ref rest @ ..] => ("", version, rest),
            ["apis", group, version, ref rest @ ..] => (group, version, rest),
            _ => return Err(NotAResource),
        };
        let mut of_version = self
            .served()
            .filter(|resource| resource.group == group && resource.version == version)
            .peekable();
        if of_version.peek().is_none() || rest.is_empty() {
            return Err(NotAResource);
        }
        let (namespace, rest) = match *rest {
            // A namespace's own subresources look like a namespaced resource of that name.
            ["namespaces", name, "status" | "finalize"] => {
                (None, vec!["namespaces", name, rest[2]])
            }
            ["namespaces", namespace, ref inner @ ..] if !inner.is_empty() => {
                (Some(namespace.to_owned()), inner.to_vec())
            }
            _ => (None, rest.to_vec()),
        };
        let Some(resource) = of_version.find(|resource| resource.plural == rest[0]).cloned() else {
            return Ok(None);
        };
        let one = |index: usize| rest.get(index).map(|text| (*text).to_owned());
        let place = Place { resource, namespace, name: one(1), subresource: one(2) };
        // A namespaced object needs its namespace, a cluster-wide one has none.
        let misplaced = place.namespace.is_some() != place.resource.namespaced
            && (place.name.is_some() || place.namespace.is_some());
        Ok((!misplaced && rest.len() <= 3).then_some(place))
    }
}

/// The path is not one of a served group version.
#[derive(Debug)]
pub struct NotAResource;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
