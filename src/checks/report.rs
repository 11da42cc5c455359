//! What `configcheck` and `clusterchecks` print (spec cluster-checks §9).
//!
//! Identities are computed from the bytes that are served; what is shown of them is scrubbed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::configuration::Configuration;
use super::identity;
use crate::scrub;

/// The body of `/config-check`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ConfigCheck {
    /// Resolved configurations before any assignment.
    pub configs: Vec<Configuration>,
    /// By check: why templates could not be resolved.
    pub resolve_warnings: BTreeMap<String, Vec<String>>,
    /// By check or Service: why its configuration cannot be read.
    pub config_errors: BTreeMap<String, String>,
}

/// The body of `/api/v1/clusterchecks`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ClusterState {
    /// Why this replica assigns nothing; empty on the leader.
    #[serde(default)]
    pub not_running: String,
    /// Whether nodes are still gathered.
    #[serde(default)]
    pub warmup: bool,
    /// Live nodes.
    #[serde(default)]
    pub nodes: Option<Vec<NodeState>>,
    /// Configurations that no node runs.
    #[serde(default)]
    pub dangling: Option<Vec<Configuration>>,
}

/// A live node and what it runs.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// Its configurations.
    #[serde(default)]
    pub configs: Vec<Configuration>,
}

/// A list of configurations as nodes get it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ConfigurationList {
    /// The configurations.
    #[serde(default)]
    pub configs: Vec<Configuration>,
}

/// `configcheck`: errors first, then a block for each configuration; `verbose` adds the resolve warnings.
pub fn config_check(answer: &ConfigCheck, verbose: bool) -> String {
    let mut text = String::new();
    if !answer.config_errors.is_empty() {
        text.push_str("=== Configuration errors ===\n");
        for (check, error) in &answer.config_errors {
            let _ = writeln!(text, "\n{check}: {error}");
        }
    }
    blocks(&mut text, &answer.configs, None);
    if verbose && !answer.resolve_warnings.is_empty() {
        text.push_str("\n=== Resolve warnings ===\n");
        for (check, warnings) in &answer.resolve_warnings {
            let _ = writeln!(text, "\n{check}");
            for warning in warnings {
                let _ = writeln!(text, "* {warning}");
            }
        }
    }
    text
}

/// `clusterchecks`: the nodes, what each runs, and what nobody runs; `only` names one check.
pub fn cluster_checks(state: &ClusterState, only: Option<&str>) -> String {
    if !state.not_running.is_empty() {
        return format!("Cluster-check dispatching logic not running: {}\n", state.not_running);
    }
    let mut text = String::new();
    if state.warmup {
        text.push_str("=== Warmup in progress ===\nNo configuration has been processed yet\n\n");
    }
    if let Some(dangling) = state.dangling.as_ref().filter(|dangling| !dangling.is_empty()) {
        text.push_str("=== Unassigned configurations ===\n");
        blocks(&mut text, dangling, only);
        text.push('\n');
    }
    let mut nodes: Vec<&NodeState> = state.nodes.iter().flatten().collect();
    if nodes.is_empty() {
        text.push_str(
            "=== Zero agent reporting ===\nNo check will be dispatched until agents report to the cluster-agent\n",
        );
        return text;
    }
    nodes.sort_by(|left, right| left.name.cmp(&right.name));
    let width =
        nodes.iter().map(|node| node.name.chars().count()).chain([4]).max().unwrap_or(4) + 3;
    let _ = writeln!(text, "=== {} node-agents reporting ===\n", nodes.len());
    let _ = writeln!(text, "{:width$}Running checks", "Name");
    for node in &nodes {
        let _ = writeln!(text, "{:width$}{}", node.name, node.configs.len());
    }
    for node in nodes.iter().filter(|node| !node.configs.is_empty()) {
        let _ = writeln!(text, "\n===== Checks on {} =====", node.name);
        blocks(&mut text, &node.configs, only);
    }
    text
}

/// The part of `clusterchecks` about the checks of pods.
pub fn endpoint_checks(list: &ConfigurationList, only: Option<&str>) -> String {
    let mut text =
        format!("\n===== {} Pod-backed Endpoints-Checks scheduled =====\n", list.configs.len());
    blocks(&mut text, &list.configs, only);
    text
}

/// A block for each configuration, sorted by check and identity, each after an empty line.
fn blocks(text: &mut String, configurations: &[Configuration], only: Option<&str>) {
    let mut blocks: Vec<(&str, String, String)> = configurations
        .iter()
        .filter(|configuration| only.is_none_or(|only| configuration.name == only))
        .map(|configuration| {
            let digest = identity::fast_digest(configuration);
            let ids = configuration.instances.iter();
            let ids: Vec<String> = ids
                .map(|instance| identity::instance_id(configuration, digest, instance))
                .collect();
            let block = block(configuration, &ids);
            (configuration.name.as_str(), ids.first().cloned().unwrap_or_default(), block)
        })
        .collect();
    blocks.sort();
    for (_, _, block) in blocks {
        text.push('\n');
        text.push_str(&block);
    }
}

fn block(configuration: &Configuration, ids: &[String]) -> String {
    let kind = if configuration.cluster_check { "cluster check" } else { "check" };
    let or =
        |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    let mut text = format!("=== {} {kind} ===\n", configuration.name);
    let _ = writeln!(
        text,
        "Configuration provider: {}",
        or(&configuration.provider, "Unknown provider")
    );
    let source = or(&configuration.source, "Unknown configuration source");
    let _ = writeln!(text, "Configuration source: {source}");
    for (instance, id) in configuration.instances.iter().zip(ids) {
        let _ = writeln!(text, "Instance ID: {id}\n{}\n~", shown(instance));
    }
    for (title, part) in [
        ("Init Config", &configuration.init_config),
        ("Metric Config", &configuration.metric_config),
        ("Log Config", &configuration.logs),
    ] {
        if let Some(part) = part {
            let _ = writeln!(text, "{title}:\n{}", shown(part));
        }
    }
    if !configuration.ad_identifiers.is_empty() {
        text.push_str("Auto-discovery IDs:\n");
        for identifier in &configuration.ad_identifiers {
            let _ = writeln!(text, "* {identifier}");
        }
    }
    if !configuration.node_name.is_empty() {
        let _ = writeln!(text, "State: dispatched to {}", configuration.node_name);
    }
    text.push_str("===\n");
    text
}

fn shown(yaml: &[u8]) -> String {
    scrub::text(&String::from_utf8_lossy(yaml)).trim_end_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> Configuration {
        Configuration {
            name: "http_check".to_owned(),
            instances: vec![
                b"name: Edge web\ntags:\n- kube_namespace:default\n- kube_service:edge-web\ntimeout: 1\nurl: http://10.20.30.40\n"
                    .to_vec(),
            ],
            init_config: Some(b"{}\n".to_vec()),
            ad_identifiers: vec!["kube_service://default/edge-web".to_owned()],
            provider: "kubernetes-services".to_owned(),
            service_id: "kube_service://default/edge-web".to_owned(),
            cluster_check: true,
            source: "kube_services:kube_service://default/edge-web".to_owned(),
            ..Configuration::default()
        }
    }

    #[test]
    fn a_block_shows_provider_source_identity_and_instance() {
        let answer = ConfigCheck { configs: vec![web()], ..ConfigCheck::default() };
        assert_eq!(
            config_check(&answer, false),
            "\n=== http_check cluster check ===\nConfiguration provider: kubernetes-services\n\
             Configuration source: kube_services:kube_service://default/edge-web\n\
             Instance ID: http_check:Edge web:b7701721bbe4691e\nname: Edge web\ntags:\n- kube_namespace:default\n\
             - kube_service:edge-web\ntimeout: 1\nurl: http://10.20.30.40\n~\nInit Config:\n{}\n\
             Auto-discovery IDs:\n* kube_service://default/edge-web\n===\n"
        );
    }

    #[test]
    fn secrets_are_masked_and_the_identity_is_that_of_the_served_bytes() {
        let mut configuration = web();
        configuration.instances = vec![b"password: hunter2hunter2\n".to_vec()];
        let digest = identity::fast_digest(&configuration);
        let id = identity::instance_id(&configuration, digest, &configuration.instances[0]);
        let text = config_check(
            &ConfigCheck { configs: vec![configuration], ..ConfigCheck::default() },
            false,
        );
        assert!(text.contains(&id) && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn errors_come_first_and_warnings_only_on_request() {
        let answer = ConfigCheck {
            config_errors: BTreeMap::from([("a".to_owned(), "broken".to_owned())]),
            resolve_warnings: BTreeMap::from([("b".to_owned(), vec!["no port".to_owned()])]),
            ..ConfigCheck::default()
        };
        assert_eq!(config_check(&answer, false), "=== Configuration errors ===\n\na: broken\n");
        assert!(
            config_check(&answer, true).ends_with("\n=== Resolve warnings ===\n\nb\n* no port\n")
        );
    }

    #[test]
    fn cluster_checks_34_one_check_keeps_all_headers() {
        let node =
            |name: &str, configs: Vec<Configuration>| NodeState { name: name.to_owned(), configs };
        let nginx = Configuration { name: "nginx".to_owned(), cluster_check: false, ..web() };
        let web = Configuration { cluster_check: false, ..web() };
        let state = ClusterState {
            nodes: Some(vec![
                node("gw-2", vec![web.clone(), nginx]),
                node("gw-10-long", vec![web]),
            ]),
            ..ClusterState::default()
        };
        let text = cluster_checks(&state, Some("nginx"));
        assert!(text.starts_with(
            "=== 2 node-agents reporting ===\n\nName         Running checks\ngw-10-long   1\ngw-2         2\n\n\
             ===== Checks on gw-10-long =====\n\n===== Checks on gw-2 =====\n\n=== nginx check ===\n"
        ));
        assert!(!text.contains("http_check"));
    }

    #[test]
    fn what_is_not_running_says_so() {
        let state = ClusterState {
            not_running: "currently follower".to_owned(),
            ..ClusterState::default()
        };
        assert_eq!(
            cluster_checks(&state, None),
            "Cluster-check dispatching logic not running: currently follower\n"
        );
        let state = ClusterState { warmup: true, ..ClusterState::default() };
        assert!(cluster_checks(&state, None).contains("=== Zero agent reporting ==="));
    }
}
