//! Keys of cluster checks and Autodiscovery (spec config §2.6, spec cluster-checks §1, §5).

use super::{Key, Kind};

pub(super) const CLUSTER_CHECKS: &[Key] = &[
    Key::boolean("cluster_checks.enabled", "false", "Dispatch checks to node Agents and runners"),
    Key::seconds(
        "cluster_checks.node_expiration_timeout",
        "30",
        "Silence after which a node loses its checks",
    )
    .nonzero(),
    Key::seconds(
        "cluster_checks.warmup_duration",
        "30",
        "Time a new leader waits before it dispatches",
    ),
    Key::text(
        "cluster_checks.cluster_tag_name",
        "cluster_name",
        "Tag of the cluster name on checks; empty for none",
    ),
    Key::list("cluster_checks.extra_tags", "Tags added to every dispatched check"),
    Key::boolean(
        "cluster_checks.advanced_dispatching_enabled",
        "true",
        "Weigh checks by what runners report",
    ),
    Key::boolean(
        "cluster_checks.rebalance_with_utilization",
        "true",
        "Rebalance by worker utilization",
    ),
    Key::new(
        "cluster_checks.rebalance_period",
        Kind::Duration,
        "10m",
        "Time between two rebalancings",
    )
    .positive(),
    Key::integer(
        "cluster_checks.rebalance_min_percentage_improvement",
        "10",
        "Improvement that is worth moving checks",
    ),
    Key::seconds(
        "cluster_checks.unscheduled_check_threshold",
        "60",
        "Time without a node that is reported",
    ),
    Key::port("cluster_checks.clc_runners_port", "5005", "Port of the runners' statistics"),
    Key::list("cluster_checks.exclude_checks", "Checks that are never dispatched"),
    Key::list("cluster_checks.exclude_checks_from_dispatching", "Checks that are never moved"),
    Key::boolean(
        "cluster_checks.support_hybrid_ignore_ad_tags",
        "false",
        "Old annotation beside new ones",
    )
    .ignored(),
    Key::boolean("cluster_checks.ksm_sharding_enabled", "false", "Split kubernetes_state_core")
        .ignored(),
    Key::boolean("cluster_checks.crd_collection", "false", "Collect custom resources").ignored(),
    Key::boolean("cluster_checks.stickiness_enabled", "true", "Keep checks where they run")
        .ignored(),
    Key::new("cluster_checks.stickiness_factor", Kind::Number, "4", "Weight of staying").ignored(),
    Key::new(
        "cluster_checks.stickiness_upper_limit",
        Kind::Number,
        "1",
        "Largest weight of staying",
    )
    .ignored(),
    Key::new(
        "cluster_checks.stickiness_lower_limit",
        Kind::Number,
        "0.05",
        "Smallest weight of staying",
    )
    .ignored(),
];

pub(super) const AUTODISCOVERY: &[Key] = &[
    Key::name(
        "confd_path",
        "/etc/datadog-agent/conf.d",
        "Directory of check files; `/conf.d` is always read too and wins",
    ),
    Key::list(
        "extra_config_providers",
        "Sources of checks: `kube_services`, `kube_endpoints`, and their `_file` forms",
    ),
    Key::list("extra_listeners", "Listeners: `kube_services`, `kube_endpoints`"),
    Key::new("config_providers", Kind::Objects, "", "Sources of checks, each a map with `name`"),
    Key::new("listeners", Kind::Objects, "", "Listeners, each a map with `name`"),
    Key::list("ignore_autoconf", "Checks whose `auto_conf.yaml` is skipped"),
    Key::list(
        "container_include",
        "Services and endpoints to look at: `kube_namespace:` or `name:` and an expression",
    )
    .fallback("ac_include"),
    Key::list("container_exclude", "Services and endpoints to skip, same form")
        .fallback("ac_exclude"),
    Key::list("ac_include", "Older name of `container_include`"),
    Key::list("ac_exclude", "Older name of `container_exclude`"),
    Key::boolean("exclude_pause_container", "true", "Skip pause containers").ignored(),
    Key::seconds("ad_config_poll_interval", "10", "Polling period of check sources").ignored(),
    Key::boolean("autoconf_config_files_poll", "false", "Read check files again").ignored(),
    Key::seconds("autoconf_config_files_poll_interval", "60", "Period of reading check files")
        .ignored(),
    Key::boolean("autoconfig_from_environment", "true", "Find features of the environment")
        .ignored(),
    Key::list("autoconfig_exclude_features", "Features not to look for").ignored(),
    Key::list("autoconfig_include_features", "Features taken as found").ignored(),
];
