//! Label and field selectors of LIST and WATCH.

use std::collections::BTreeMap;

use super::resources::Resource;
use super::status::Failure;
use super::store::Object;

/// A conjunction of label requirements; the default matches all.
#[derive(Clone, Debug, Default)]
pub struct LabelSelector(Vec<LabelRequirement>);

#[derive(Clone, Debug)]
enum LabelRequirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Present(String),
    Absent(String),
}

/// A conjunction of `field=value` and `field!=value`; the default matches all.
#[derive(Clone, Debug, Default)]
pub struct FieldSelector(Vec<(String, bool, String)>);

impl LabelSelector {
    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let requirements = split_outside_parentheses(text);
        let parsed = requirements.iter().filter(|part| !part.trim().is_empty()).map(|part| {
            let part = part.trim();
            let bad = || Failure::bad_request(format!("unable to parse requirement: {part:?}"));
            if let Some((key, set)) = part.split_once(" notin ") {
                Ok(LabelRequirement::NotIn(key.trim().to_owned(), values(set).ok_or_else(bad)?))
            } else if let Some((key, set)) = part.split_once(" in ") {
                Ok(LabelRequirement::In(key.trim().to_owned(), values(set).ok_or_else(bad)?))
            } else if let Some((key, value)) = part.split_once("!=") {
                let value = vec![value.trim().to_owned()];
                Ok(LabelRequirement::NotIn(key.trim().to_owned(), value))
            } else if let Some((key, value)) = part.split_once("==").or(part.split_once('=')) {
                Ok(LabelRequirement::In(key.trim().to_owned(), vec![value.trim().to_owned()]))
            } else if let Some(key) = part.strip_prefix('!') {
                Ok(LabelRequirement::Absent(key.trim().to_owned()))
            } else if part.contains([' ', '(', ')']) {
                Err(bad())
            } else {
                Ok(LabelRequirement::Present(part.to_owned()))
            }
        });
        Ok(Self(parsed.collect::<Result<_, _>>()?))
    }

    /// Whether these labels fulfil every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            LabelRequirement::In(key, values) => {
                labels.get(key).is_some_and(|value| values.contains(value))
            }
            LabelRequirement::NotIn(key, values) => {
                labels.get(key).is_none_or(|value| !values.contains(value))
            }
            LabelRequirement::Present(key) => labels.contains_key(key),
            LabelRequirement::Absent(key) => !labels.contains_key(key),
        })
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }
}

impl FieldSelector {
    /// Reads `a=b,c!=d` and refuses fields by which the resource cannot be selected.
    pub fn parse(text: &str, resource: &Resource) -> Result<Self, Failure> {
        let parts = text.split(',').filter(|part| !part.trim().is_empty()).map(|part| {
            let (key, equal, value) = if let Some((key, value)) = part.split_once("!=") {
                (key, false, value)
            } else if let Some((key, value)) = part.split_once("==").or(part.split_once('=')) {
                (key, true, value)
            } else {
                let message = format!("invalid selector: '{part}'; can't understand '{part}'");
                return Err(Failure::bad_request(message));
            };
            let key = key.trim();
            if !selectable(resource, key) {
                return Err(not_selectable(resource, key));
            }
            Ok((key.to_owned(), equal, value.trim().to_owned()))
        });
        Ok(Self(parts.collect::<Result<_, _>>()?))
    }

    /// Whether the object fulfils every requirement.
    pub fn matches(&self, object: &Object) -> bool {
        self.0.iter().all(|(key, equal, wanted)| {
            let value = match key.as_str() {
                "metadata.name" => object.name.clone(),
                "metadata.namespace" => object.namespace.clone(),
                "spec.nodeName" => object.node.clone().unwrap_or_default(),
                path => {
                    let value = object.value();
                    let pointer = format!("/{}", path.replace('.', "/"));
                    let field = value.pointer(&pointer).cloned().unwrap_or_default();
                    field.as_str().unwrap_or_default().to_owned()
                }
            };
            (value == *wanted) == *equal
        })
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }
}

fn selectable(resource: &Resource, field: &str) -> bool {
    let always = field == "metadata.name" || field == "metadata.namespace" && resource.namespaced;
    always || own_fields(resource).contains(&field)
}

/// Kinds with fields of their own say less about what they know.
fn not_selectable(resource: &Resource, field: &str) -> Failure {
    Failure::bad_request(if own_fields(resource).is_empty() {
        let known = "only \"metadata.name\", \"metadata.namespace\"";
        format!("\"{field}\" is not a known field selector: {known}")
    } else {
        format!("field label not supported: {field}")
    })
}

fn own_fields(resource: &Resource) -> &'static [&'static str] {
    match resource.plural.as_str() {
        "pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "namespaces" => &["status.phase"],
        "nodes" => &["spec.unschedulable"],
        "secrets" => &["type"],
        "services" => &["spec.clusterIP", "spec.type"],
        "replicasets" => &["status.replicas"],
        _ => &[],
    }
}

fn values(set: &str) -> Option<Vec<String>> {
    let inner = set.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
}

fn split_outside_parentheses(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_u32);
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("there is always a part").push(letter);
    }
    parts
}
