//! The two header blocks: the process, and the host's name (spec cli §4.2, §4.3).

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::layout::Text;
use super::{Inputs, Section, non_empty};
use crate::version;

/// Upstream prints its Go version here, and scripts expect the key.
const GO_VERSION: &str = "n/a";

const FLAVOR: &str = "cluster_agent";

/// The process and its files; its title carries the version.
pub(super) fn process(inputs: &Inputs) -> Section {
    let header = &inputs.header;
    let mut text = Text::default();
    text.date(2, "Status date", Some(inputs.now));
    text.date(2, "Agent start", Some(header.started));
    text.line(2, format_args!("Pid: {}", header.pid));
    text.field(2, "Go Version", GO_VERSION);
    text.field(2, "Build arch", architecture());
    text.field(2, "Agent flavor", FLAVOR);
    text.field(2, "Log File", &header.log_file);
    text.field(2, "Log Level", &header.log_level);
    text.blank();
    text.heading(2, "Paths");
    let file = non_empty(&header.configuration_file).unwrap_or("There is no config file");
    text.field(4, "Config File", file);
    if !header.extra_configuration_files.is_empty() {
        text.line(4, "Extra Config Files:");
        for file in &header.extra_configuration_files {
            text.line(6, format_args!("- {file}"));
        }
    }
    text.field(4, "conf.d", &header.confd_path);
    text.field(4, "checks.d", &header.checksd_path);
    let mut config = BTreeMap::from([
        ("log_file", &header.log_file),
        ("log_level", &header.log_level),
        ("confd_path", &header.confd_path),
        ("additional_checksd", &header.checksd_path),
    ]);
    config.retain(|_, value| !value.is_empty());
    Section {
        title: format!("Cluster Agent (v{})", version::number()).into(),
        text: text.finish(),
        keys: vec![
            ("version", version::number().into()),
            ("flavor", FLAVOR.into()),
            ("conf_file", header.configuration_file.as_str().into()),
            ("extra_conf_file", json!(header.extra_configuration_files)),
            ("build_arch", architecture().into()),
            ("go_version", GO_VERSION.into()),
            ("pid", header.pid.into()),
            ("agent_start_nano", nanoseconds(header.started)),
            ("time_nano", nanoseconds(inputs.now)),
            ("config", json!(config)),
        ],
    }
}

/// The host's names, what supplied them and what did not.
pub(super) fn hostname(inputs: &Inputs) -> Section {
    let hostname = &inputs.hostname;
    let mut text = Text::default();
    text.blank();
    for (kind, name) in &hostname.names {
        text.field(2, kind, name);
    }
    text.field(2, "hostname provider", &hostname.provider);
    if !hostname.failed.is_empty() {
        text.line(2, "unused hostname providers:");
        for (provider, error) in &hostname.failed {
            let provider = if provider == "all" { "error" } else { provider };
            text.line(4, format_args!("{provider}: {error}"));
        }
    }
    let mut names = hostname.names.clone();
    names.retain(|_, name| !name.is_empty());
    Section {
        title: "Hostname".into(),
        text: text.finish(),
        keys: vec![
            ("metadata", json!({ "meta": names })),
            ("hostnameStats", json!({ "provider": hostname.provider, "errors": hostname.failed })),
        ],
    }
}

/// The architecture by its Go name, as image platforms are written.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn nanoseconds(time: SystemTime) -> Value {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    // 64 bits of nanoseconds last until the year 2262.
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::inputs;
    use super::*;

    #[test]
    fn without_a_file_the_header_says_so() {
        let mut inputs = inputs();
        inputs.header.configuration_file.clear();
        inputs.header.log_file.clear();
        let text = process(&inputs).text;
        assert!(text.contains("    Config File: There is no config file\n"), "{text}");
        assert!(!text.contains("Log File"), "{text}");
    }

    #[test]
    fn extra_files_are_listed() {
        let mut inputs = inputs();
        inputs.header.extra_configuration_files = vec!["/a.yaml".to_owned()];
        let text = process(&inputs).text;
        assert!(text.contains("    Extra Config Files:\n      - /a.yaml\n"), "{text}");
    }

    #[test]
    fn a_failure_of_all_providers_is_called_error() {
        let mut inputs = inputs();
        inputs.hostname.failed = [("all".to_owned(), "no way".to_owned())].into();
        let text = hostname(&inputs).text;
        assert!(text.ends_with("  unused hostname providers:\n    error: no way\n"), "{text}");
    }
}
