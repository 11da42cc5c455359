//! Keys of features that are not in this build, and keys without effect (spec config §3, §6.2).

use super::{Key, Kind, current};

/// Switches that are named in the one information line when they are on.
pub(super) const FEATURES: &[Key] = &[
    toggle("admission_controller.enabled", "admission_controller", "Admission controller"),
    toggle(
        "admission_controller.agent_sidecar.enabled",
        "admission_controller.agent_sidecar",
        "Injection of Agent containers",
    ),
    Key::name(
        "admission_controller.webhook_name",
        "datadog-webhook",
        "Webhook objects that are warned about when the official agent has left them behind",
    ),
    Key::text("admission_controller.service_name", "", "Service that such webhooks point to"),
    toggle("appsec.proxy.enabled", "appsec", "Application security of proxies"),
    toggle("cluster_agent.appsec.injector.enabled", "appsec", "Injection of application security"),
    toggle(
        "apm_config.instrumentation.enabled",
        "apm_config.instrumentation",
        "Single-step instrumentation",
    )
    .environment(&[current("DD_APM_INSTRUMENTATION_ENABLED")]),
    toggle("autoscaling.cluster.enabled", "autoscaling.cluster", "Cluster autoscaling"),
    toggle(
        "autoscaling.cluster.spot.enabled",
        "autoscaling.cluster.spot",
        "Cluster autoscaling on spot nodes",
    ),
    toggle(
        "autoscaling.failover.enabled",
        "autoscaling.failover",
        "Failover of workload autoscaling",
    ),
    toggle("autoscaling.workload.enabled", "autoscaling.workload", "Workload autoscaling"),
    toggle(
        "autoscaling.workload.in_place_vertical_scaling.enabled",
        "autoscaling.workload.in_place_vertical_scaling",
        "Vertical scaling in place",
    ),
    toggle(
        "cluster_agent.collect_kubernetes_tags",
        "collect_kubernetes_tags",
        "Tagger on the cluster agent",
    ),
    toggle("compliance_config.enabled", "compliance_config", "Compliance checks"),
    toggle(
        "instrumentation_crd_controller.enabled",
        "instrumentation_crd_controller",
        "Instrumentation resources",
    ),
    toggle(
        "kube_state_metrics_core.enabled",
        "kube_state_metrics_core",
        "kubernetes_state_core on the cluster agent",
    ),
    toggle("kubeactions.enabled", "kubeactions", "Remote actions on Kubernetes"),
    toggle("language_detection.enabled", "language_detection", "Language detection"),
    toggle(
        "language_detection.reporting.enabled",
        "language_detection",
        "Reports of language detection",
    ),
    toggle(
        "cluster_agent.language_detection.patcher.enabled",
        "language_detection",
        "Language annotations",
    ),
    toggle("orchestrator_explorer.enabled", "orchestrator_explorer", "Orchestrator Explorer"),
    toggle("private_action_runner.enabled", "private_action_runner", "Private action runner"),
    toggle("prometheus_scrape.enabled", "prometheus_scrape", "Checks from Prometheus annotations"),
    toggle("remote_configuration.enabled", "remote_configuration", "Remote configuration"),
];

/// Keys without effect that belong to no section of [`super::names::SECTIONS`].
pub(super) const KEYS: &[Key] = &[
    Key::text("env", "", "Environment of the host").ignored(),
    Key::text("run_path", "/opt/datadog-agent/run", "Directory of run-time files").ignored(),
    Key::text("cmd_host", "localhost", "Address of the command line's API").ignored(),
    Key::text("ipc_address", "localhost", "Older name of `cmd_host`").ignored(),
    Key::port("cmd_port", "5001", "Port of a node Agent's API").ignored(),
    Key::text("bind_host", "localhost", "Address of local listeners").ignored(),
    Key::seconds("server_timeout", "30", "Time-out of the local API").ignored(),
    Key::integer("check_runners", "4", "Threads that run checks").ignored(),
    Key::text("cluster_agent.service_account_name", "", "Own service account").ignored(),
    Key::seconds(
        "cluster_agent.client_reconnect_period_seconds",
        "1200",
        "Life of a node's connection",
    )
    .ignored(),
    Key::boolean("cluster_agent.allow_legacy_tls", "false", "TLS 1.0 and 1.1 for old clients")
        .ignored(),
    Key::boolean("cluster_agent.tagging_fallback", "false", "A node Agent setting").ignored(),
    Key::boolean("cluster_agent.refresh_on_cache_miss", "true", "A Cloud Foundry setting")
        .ignored(),
    Key::boolean("cluster_agent.serve_nozzle_data", "false", "A Cloud Foundry setting").ignored(),
    Key::boolean("cluster_agent.sidecars_tags", "false", "A Cloud Foundry setting").ignored(),
    Key::boolean("cluster_agent.isolation_segments_tags", "false", "A Cloud Foundry setting")
        .ignored(),
    Key::text("cluster_agent.url", "", "A node Agent setting").ignored(),
    Key::new("cloud_provider_metadata", Kind::List, "", "Clouds to ask for metadata").ignored(),
    Key::text("secret_backend_command", "", "Program that resolves `ENC[…]` values").ignored(),
    Key::list("secret_backend_arguments", "Its arguments").ignored(),
    Key::seconds("secret_backend_timeout", "30", "Its time-out").ignored(),
    Key::new("secret_backend_output_max_size", Kind::Size, "1048576", "Its output limit").ignored(),
    Key::boolean("secret_backend_command_allow_group_exec_perm", "false", "Its file mode")
        .ignored(),
    Key::boolean("secret_backend_remove_trailing_line_break", "false", "Treatment of its output")
        .ignored(),
    Key::boolean("secret_backend_skip_checks", "false", "Checks of it").ignored(),
    Key::text("secret_backend_type", "", "Built-in resolver").ignored(),
    Key::text("secret_backend_config", "", "Its settings").ignored(),
    Key::seconds("secret_refresh_interval", "0", "Time between two resolutions").ignored(),
];

/// A switch of a feature that is not in this build.
const fn toggle(name: &'static str, feature: &'static str, description: &'static str) -> Key {
    Key::boolean(name, "false", description).feature(feature)
}
