//! Cluster checks and where checks come from (spec config §2.6).

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::{Reader, tags};
use crate::config::Value;

/// Sources of checks that exist here.
const PROVIDERS: &[&str] =
    &["kube_services", "kube_endpoints", "kube_services_file", "kube_endpoints_file"];

/// Sources that exist here under a name of their own, or only on node Agents; naming them is no mistake.
const SILENT_PROVIDERS: &[&str] =
    &["clusterchecks", "endpointschecks", "file", "kubelet", "docker"];

/// Listeners that exist here.
const LISTENERS: &[&str] = &["kube_services", "kube_endpoints"];

/// Listeners that only exist on node Agents.
const SILENT_LISTENERS: &[&str] = &["environment", "kubelet", "docker"];

/// Dispatching of checks.
#[derive(Clone, Debug)]
pub struct ClusterChecks {
    /// Whether checks are dispatched.
    pub enabled: bool,
    /// Silence after which a node loses its checks.
    pub node_expiration: Duration,
    /// Time a new leader waits before it dispatches.
    pub warmup: Duration,
    /// Tag name of the cluster name on checks, unless there is to be none.
    pub cluster_tag_name: Option<String>,
    /// Tags added to every dispatched check, in the given order.
    pub extra_tags: Vec<String>,
    /// Whether checks are weighed by what runners report.
    pub advanced_dispatching: bool,
    /// Whether rebalancing looks at the utilization of workers.
    pub rebalance_with_utilization: bool,
    /// Time between two rebalancings.
    pub rebalance_period: Duration,
    /// Improvement in percent that is worth moving checks.
    pub rebalance_min_improvement: usize,
    /// Time without a node after which a check is reported; not less than `node_expiration`.
    pub unscheduled_threshold: Duration,
    /// Port of the runners' statistics.
    pub runners_port: u16,
    /// Checks that are never dispatched.
    pub excluded_checks: BTreeSet<String>,
    /// Checks that are never moved.
    pub fixed_checks: BTreeSet<String>,
}

/// Where checks come from.
#[derive(Clone, Debug)]
pub struct Autodiscovery {
    /// Directory of check files, which `/conf.d` overrides.
    pub confd_path: PathBuf,
    /// Sources of checks that are switched on, out of `kube_services`, `kube_endpoints` and their `_file` forms.
    pub providers: BTreeSet<String>,
    /// Listeners that are switched on, out of `kube_services` and `kube_endpoints`.
    pub listeners: BTreeSet<String>,
    /// Checks whose `auto_conf.yaml` is skipped.
    pub ignored_auto_conf: BTreeSet<String>,
    /// Expressions of services and endpoints to look at, as configured.
    pub container_include: Vec<String>,
    /// Expressions of services and endpoints to skip, as configured.
    pub container_exclude: Vec<String>,
}

impl ClusterChecks {
    pub(super) fn check(reader: &mut Reader) -> Self {
        let node_expiration = reader.seconds("cluster_checks.node_expiration_timeout");
        Self {
            enabled: reader.boolean("cluster_checks.enabled"),
            node_expiration,
            warmup: reader.seconds("cluster_checks.warmup_duration"),
            cluster_tag_name: reader.given_text("cluster_checks.cluster_tag_name"),
            extra_tags: tags::list(reader, "cluster_checks.extra_tags"),
            advanced_dispatching: reader.boolean("cluster_checks.advanced_dispatching_enabled"),
            rebalance_with_utilization: reader.boolean("cluster_checks.rebalance_with_utilization"),
            rebalance_period: reader.duration("cluster_checks.rebalance_period"),
            rebalance_min_improvement: reader
                .count("cluster_checks.rebalance_min_percentage_improvement"),
            unscheduled_threshold: reader
                .seconds("cluster_checks.unscheduled_check_threshold")
                .max(node_expiration),
            runners_port: reader.port("cluster_checks.clc_runners_port"),
            excluded_checks: reader.list("cluster_checks.exclude_checks").into_iter().collect(),
            fixed_checks: reader
                .list("cluster_checks.exclude_checks_from_dispatching")
                .into_iter()
                .collect(),
        }
    }
}

impl Autodiscovery {
    pub(super) fn check(reader: &mut Reader) -> Self {
        Self {
            confd_path: PathBuf::from(reader.text("confd_path")),
            providers: names(
                reader,
                "extra_config_providers",
                "config_providers",
                PROVIDERS,
                SILENT_PROVIDERS,
            ),
            listeners: names(reader, "extra_listeners", "listeners", LISTENERS, SILENT_LISTENERS),
            ignored_auto_conf: reader.list("ignore_autoconf").into_iter().collect(),
            container_include: reader.list("container_include"),
            container_exclude: reader.list("container_exclude"),
        }
    }
}

/// The names of a list and of the maps of another one, each once; others than the known ones are warned about.
fn names(
    reader: &mut Reader,
    list: &str,
    objects: &str,
    known: &[&str],
    silent: &[&str],
) -> BTreeSet<String> {
    let mut given: Vec<(&str, String)> =
        reader.list(list).into_iter().map(|name| (list, name)).collect();
    if let Value::Objects(maps) = reader.setting(objects).value() {
        for map in maps {
            match map.get("name").and_then(|name| name.as_str()) {
                Some(name) => given.push((objects, name.to_owned())),
                None => {
                    reader.warn(format!("an entry of \"{objects}\" has no name and is ignored"))
                }
            }
        }
    }
    let mut names = BTreeSet::new();
    for (key, name) in given {
        if known.contains(&name.as_str()) {
            names.insert(name);
        } else if !silent.contains(&name.as_str()) {
            let name = crate::config::text::excerpt(&name);
            reader.warn(format!("unknown name \"{name}\" in \"{key}\" is ignored"));
        }
    }
    names
}
