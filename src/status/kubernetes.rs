//! The connection to the API server, resource by resource: what the documents of design §3 rule 2 ask for.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::inputs::Resource;
use super::layout::{Text, grouped};
use super::{Inputs, Section};
use crate::{scrub, time_format};

/// The section.
pub(super) fn section(inputs: &Inputs) -> Section {
    let kubernetes = &inputs.kubernetes;
    let mut text = Text::default();
    text.field(2, "Server", &kubernetes.server);
    if let Some(error) = &kubernetes.error {
        text.field(2, "Error", &scrub::message(error));
    }
    let mut resources: Vec<&Resource> = kubernetes.resources.iter().collect();
    resources.sort_by(|one, other| one.name.cmp(&other.name));
    if !resources.is_empty() {
        text.blank();
        text.heading(2, "Resources");
    }
    let mut keys = Map::new();
    for resource in resources {
        let state = if resource.synced { "synced" } else { "not synced" };
        text.blank();
        text.line(4, format_args!("{}: {state}", resource.name));
        text.field(6, "Objects", &grouped(resource.objects));
        text.date(6, "Last list", resource.listed);
        text.date(6, "Last watch event", resource.heard);
        let age = resource.heard.or(resource.listed).map(|time| {
            let age = inputs.now.duration_since(time).unwrap_or_default();
            time_format::go_duration(Duration::from_secs(age.as_secs()))
        });
        if let (Some(age), false) = (age, resource.version.is_empty()) {
            text.line(6, format_args!("Resource version: {} ({age} old)", resource.version));
        }
        let error = resource.error.as_deref().map(scrub::message);
        if let Some(error) = &error {
            text.field(6, "Error", error);
        }
        keys.insert(
            resource.name.clone(),
            json!({
                "synced": resource.synced,
                "objects": resource.objects,
                "lastList": resource.listed.map(time_format::rfc3339),
                "lastWatchEvent": resource.heard.map(time_format::rfc3339),
                "resourceVersion": resource.version,
                "error": error,
            }),
        );
    }
    let error: Option<Value> =
        kubernetes.error.as_deref().map(|error| scrub::message(error).into_owned().into());
    Section {
        title: "Kubernetes API".into(),
        text: text.finish(),
        keys: vec![(
            "kubernetesAPI",
            json!({ "server": kubernetes.server, "error": error, "resources": keys }),
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::inputs;
    use super::*;

    #[test]
    fn a_refused_resource_shows_its_reason() {
        let mut inputs = inputs();
        inputs.kubernetes.resources = vec![Resource {
            name: "endpoints".to_owned(),
            error: Some("endpoints is forbidden: grant get, list, watch".to_owned()),
            ..Resource::default()
        }];
        let Section { text, keys, .. } = section(&inputs);
        assert!(
            text.contains(
                "    endpoints: not synced\n      Objects: 0\n      Error: endpoints is forbidden: grant get, list, watch\n"
            ),
            "{text}"
        );
        assert_eq!(keys[0].1["resources"]["endpoints"]["synced"], false);
    }
}
