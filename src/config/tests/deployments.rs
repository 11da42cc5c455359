//! Complete environments of the chart and the operator (spec config §6): no warning, at most one information line.

use super::*;

/// What the chart's default render sets.
const CHART: &[(&str, &str)] = &[
    ("DD_POD_NAME", "datadog-cluster-agent-5d8f7c9b6-abcde"),
    ("KUBERNETES", "yes"),
    ("DD_HEALTH_PORT", "5556"),
    ("DD_API_KEY", API_KEY),
    ("DD_APP_KEY", "0123456789abcdef0123456789abcdef01234567"),
    ("DD_SITE", ""),
    ("DD_LOG_LEVEL", "INFO"),
    ("DD_TAGS", "[]"),
    ("DD_CLUSTER_NAME", "edge-7"),
    ("DD_LEADER_ELECTION", "true"),
    ("DD_LEADER_ELECTION_DEFAULT_RESOURCE", "configmap"),
    ("DD_LEADER_LEASE_NAME", "datadog-leader-election"),
    ("DD_LEADER_LEASE_DURATION", "15"),
    ("DD_CLUSTER_AGENT_TOKEN_NAME", "datadogtoken"),
    ("DD_COLLECT_KUBERNETES_EVENTS", "true"),
    ("DD_CLUSTER_AGENT_KUBERNETES_SERVICE_NAME", "datadog-cluster-agent"),
    ("DD_CLUSTER_AGENT_SERVICE_ACCOUNT_NAME", "datadog-cluster-agent"),
    ("DD_CLUSTER_AGENT_AUTH_TOKEN", "abcdefghijklmnopqrstuvwxyz012345"),
    ("DD_CLUSTER_AGENT_COLLECT_KUBERNETES_TAGS", "false"),
    ("DD_KUBE_RESOURCES_NAMESPACE", "datadog"),
    ("CHART_RELEASE_NAME", "datadog"),
    ("AGENT_DAEMONSET", "datadog"),
    ("CLUSTER_AGENT_DEPLOYMENT", "datadog-cluster-agent"),
    ("DD_CLUSTER_CHECKS_ENABLED", "true"),
    ("DD_EXTRA_CONFIG_PROVIDERS", "kube_endpoints kube_services"),
    ("DD_EXTRA_LISTENERS", "kube_endpoints kube_services"),
    ("DD_KUBERNETES_USE_ENDPOINT_SLICES", "true"),
    ("DD_KUBERNETES_KUBE_SERVICE_IGNORE_READINESS", "false"),
    ("DD_KUBERNETES_EVENTS_SOURCE_DETECTION_ENABLED", "false"),
    ("DD_EXTERNAL_METRICS_PROVIDER_ENABLED", "true"),
    ("DD_EXTERNAL_METRICS_PROVIDER_PORT", "8443"),
    ("DD_EXTERNAL_METRICS_PROVIDER_WPA_CONTROLLER", "false"),
    ("DD_EXTERNAL_METRICS_PROVIDER_USE_DATADOGMETRIC_CRD", "false"),
    ("DD_EXTERNAL_METRICS_AGGREGATOR", "avg"),
    ("DD_SECRET_REFRESH_INTERVAL", ""),
    ("DD_CSI_ENABLED", "false"),
    ("DD_LANGUAGE_DETECTION_ENABLED", "false"),
    ("DD_LANGUAGE_DETECTION_REPORTING_ENABLED", "false"),
    ("DD_CLUSTER_AGENT_LANGUAGE_DETECTION_PATCHER_ENABLED", "false"),
    ("DD_REMOTE_CONFIGURATION_ENABLED", "false"),
    ("DD_ORCHESTRATOR_EXPLORER_ENABLED", "true"),
    ("DD_ORCHESTRATOR_EXPLORER_CONTAINER_SCRUBBING_ENABLED", "true"),
    ("DD_ORCHESTRATOR_EXPLORER_CUSTOM_RESOURCES_OOTB_GATEWAY_API", "true"),
    ("DD_ORCHESTRATOR_EXPLORER_CUSTOM_RESOURCES_OOTB_SERVICE_MESH", "true"),
    ("DD_ORCHESTRATOR_EXPLORER_CUSTOM_RESOURCES_OOTB_INGRESS_CONTROLLERS", "true"),
    ("DD_INSTRUMENTATION_INSTALL_TIME", "1700000000"),
    ("DD_INSTRUMENTATION_INSTALL_ID", "d0d2c9c0-0000-4000-8000-000000000000"),
    ("DD_INSTRUMENTATION_INSTALL_TYPE", "k8s_manual"),
    ("DD_ADMISSION_CONTROLLER_ENABLED", "true"),
    ("DD_ADMISSION_CONTROLLER_VALIDATION_ENABLED", "true"),
    ("DD_ADMISSION_CONTROLLER_MUTATION_ENABLED", "true"),
    ("DD_ADMISSION_CONTROLLER_WEBHOOK_NAME", "datadog-webhook"),
    ("DD_ADMISSION_CONTROLLER_SERVICE_NAME", "datadog-cluster-agent-admission-controller"),
    ("DD_ADMISSION_CONTROLLER_MUTATE_UNLABELLED", "false"),
    ("DD_ADMISSION_CONTROLLER_INJECT_CONFIG_MODE", "socket"),
    ("DD_ADMISSION_CONTROLLER_INJECT_CONFIG_LOCAL_SERVICE_NAME", "datadog"),
    ("DD_ADMISSION_CONTROLLER_ADD_AKS_SELECTORS", "false"),
    ("DD_ADMISSION_CONTROLLER_FAILURE_POLICY", "Ignore"),
    ("DD_ADMISSION_CONTROLLER_PORT", "8000"),
    ("DD_ADMISSION_CONTROLLER_PROBE_ENABLED", "false"),
    ("DD_ADMISSION_CONTROLLER_CONTAINER_REGISTRY", "registry.example"),
    ("DD_ADMISSION_CONTROLLER_CWS_INSTRUMENTATION_ENABLED", "false"),
    ("DD_ADMISSION_CONTROLLER_CWS_INSTRUMENTATION_MODE", "remote_copy"),
    ("DD_ADMISSION_CONTROLLER_KUBERNETES_ADMISSION_EVENTS_ENABLED", "false"),
    ("DD_TRACE_AGENT_HOST_SOCKET_PATH", "/var/run/datadog"),
    ("DD_DOGSTATSD_HOST_SOCKET_PATH", "/var/run/datadog"),
    ("DD_DOGSTATSD_SOCKET", "/var/run/datadog/dsd.socket"),
    ("DD_APM_RECEIVER_SOCKET", "/var/run/datadog/apm.socket"),
    ("DD_PRIVATE_ACTION_RUNNER_ENABLED", "false"),
    ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
    ("KUBERNETES_SERVICE_PORT", "443"),
    ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"),
    ("DOCKER_DD_AGENT", "true"),
];

/// What the operator sets otherwise or in addition.
const OPERATOR: &[(&str, &str)] = &[
    ("DD_HEALTH_PORT", "5555"),
    ("DD_AUTH_TOKEN_FILE_PATH", "/etc/datadog-agent/auth/token"),
    ("DATADOGAGENT_CR_NAME", "datadog"),
    ("DD_KUBE_STATE_METRICS_CORE_ENABLED", "true"),
    ("DD_KUBE_STATE_METRICS_CORE_CONFIGMAP_NAME", "datadog-kube-state-metrics-core-config"),
    ("DD_ORIGIN_DETECTION_UNIFIED", "false"),
    ("DD_ORCHESTRATOR_EXPLORER_ORCHESTRATOR_DD_URL", ""),
    ("DD_ORCHESTRATOR_ADDITIONAL_ENDPOINTS", "{}"),
    ("DD_ORCHESTRATOR_EXPLORER_EXTRA_TAGS", "[]"),
    ("DD_ADMISSION_CONTROLLER_INJECT_CONFIG_ENABLED", "true"),
    ("DD_ADMISSION_CONTROLLER_INJECT_TAGS_ENABLED", "true"),
    ("DD_PROVIDER_KIND", ""),
    ("DD_EXTERNAL_METRICS_PROVIDER_API_KEY", API_KEY),
    ("DD_EXTERNAL_METRICS_PROVIDER_APP_KEY", "0123456789abcdef0123456789abcdef01234567"),
    ("DD_CLUSTER_AGENT_TOKEN_NAME", "datadog-token"),
    ("DD_LEADER_LEASE_NAME", "datadog-leader-election"),
    ("DD_KUBE_RESOURCES_NAMESPACE", ""),
    ("DD_EXTRA_CONFIG_PROVIDERS", "kube_services kube_endpoints"),
    ("DD_EXTRA_LISTENERS", "kube_services kube_endpoints"),
];

/// All variables that the chart's templates can set.
const ALL_NAMES: &str = include_str!("chart-variables.txt");

#[test]
fn config_21_the_environment_of_the_charts_default_render_is_taken_without_a_warning() {
    let loaded = load_environment(CHART);
    let [line] = &loaded.messages[..] else { panic!("{:?}", loaded.messages) };
    assert_eq!(
        line.text,
        "features not in this build, ignored: admission_controller, orchestrator_explorer"
    );
    let config = loaded.config;
    assert_eq!(config.pod_name.as_deref(), Some("datadog-cluster-agent-5d8f7c9b6-abcde"));
    assert_eq!(config.listeners.health_port, Some(5556));
    assert!(
        config.leader_election.enabled
            && config.cluster_checks.enabled
            && config.external_metrics.enabled
    );
    assert_eq!(config.kubernetes.resources_namespace, "datadog");
}

#[test]
fn config_22_the_environment_of_the_operators_default_deployment_is_taken_without_a_warning() {
    let mut variables: Vec<(&str, &str)> = CHART.to_vec();
    variables
        .retain(|(name, _)| !["DD_LEADER_ELECTION_DEFAULT_RESOURCE", "KUBERNETES"].contains(name));
    variables.extend(OPERATOR);
    let namespace = ("/var/run/secrets/kubernetes.io/serviceaccount/namespace", "agents");
    let loaded = try_load(&variables, &[namespace], None).unwrap();
    assert_eq!(complaints(&loaded), [""; 0]);
    assert_eq!(loaded.messages.len(), 1, "{:?}", loaded.messages);
    let config = loaded.config;
    assert_eq!(
        config.cluster_agent.session_token_path.as_deref(),
        Some(Path::new("/etc/datadog-agent/auth/token"))
    );
    assert_eq!(config.leader_election.default_resource, LockKind::ConfigMap);
    assert_eq!(config.kubernetes.resources_namespace, "agents");
}

#[test]
fn every_variable_that_the_chart_can_set_is_known() {
    assert_eq!(ALL_NAMES.split_whitespace().count(), 158);
    for name in ALL_NAMES.split_whitespace() {
        // A value that no type accepts: what matters here is only that the name is not called unknown.
        let sources = Sources::new([(name, "x")]);
        let Ok(loaded) = load_for_command(&sources) else { continue };
        let unknown =
            loaded.messages.iter().find(|message| message.text.starts_with("Unknown environment"));
        assert!(unknown.is_none(), "{name}: {unknown:?}");
    }
}
