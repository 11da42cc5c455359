//! Sections whose text is always the same, because the feature is not in this build or has nothing to show yet.

use serde_json::json;

use super::{Inputs, Section};

/// This build changes no objects on their way into the cluster.
pub(super) fn admission_controller(_: &Inputs) -> Section {
    let reason = "The admission controller is not enabled on the Cluster Agent";
    disabled("Admission Controller", "admissionWebhook", reason)
}

/// Configuration comes from the file and the environment only.
pub(super) fn remote_configuration(_: &Inputs) -> Section {
    Section {
        title: "Remote Configuration".into(),
        text: "  Remote Configuration is disabled: this build does not support it\n".to_owned(),
        keys: Vec::new(),
    }
}

fn disabled(title: &'static str, key: &'static str, reason: &str) -> Section {
    Section {
        title: title.into(),
        text: format!("  Disabled: {reason}\n"),
        keys: vec![(key, json!({ "Disabled": reason }))],
    }
}
