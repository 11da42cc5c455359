//! Rules on values (spec config §7), secrets, and what ends the program.

use std::time::Duration;

use super::*;

#[test]
fn config_11_an_unknown_aggregator_is_avg_and_chunks_are_limited() {
    let loaded = load_environment(&[("DD_EXTERNAL_METRICS_AGGREGATOR", "median")]);
    assert_eq!(loaded.config.external_metrics.aggregator, Aggregator::Average);
    assert_contains(&complaint(&loaded).text, &["external_metrics.aggregator", "\"median\""]);
    let loaded = load_environment(&[("DD_EXTERNAL_METRICS_AGGREGATOR", "MAX")]);
    assert_eq!(loaded.config.external_metrics.aggregator, Aggregator::Maximum);
    for (given, taken) in [("100", 35), ("0", 1), ("-3", 1)] {
        let loaded = load_file(&format!("external_metrics_provider: {{chunk_size: {given}}}"), &[]);
        assert_eq!(loaded.config.external_metrics.chunk_size, taken);
        assert_contains(
            &complaint(&loaded).text,
            &["external_metrics_provider.chunk_size", &taken.to_string()],
        );
    }
}

#[test]
fn config_15_keys_are_trimmed_and_unresolved_secrets_refused() {
    let loaded = load_file("api_key: \" abc\\n\"", &[]);
    assert_eq!(loaded.config.datadog.api_key.expose(), "abc");
    let text = refusal("", &[("DD_API_KEY", "ENC[handle]")]);
    assert_eq!(
        text,
        "unresolved secret in api_key: secret backends are not supported by this build"
    );
}

#[test]
fn secret_handles_are_found_inside_lists_and_maps_and_only_in_keys_that_are_used() {
    for (yaml, key) in [
        ("tags: [a:1, 'ENC[x]']", "tags"),
        ("additional_endpoints: {'https://a': ['ENC[x]']}", "additional_endpoints"),
        ("proxy: {https: 'ENC[x]'}", "proxy.https"),
        ("health_port: 'ENC[x]'", "health_port"),
        (
            "external_metrics_provider: {endpoints: [{site: a, api_key: 'ENC[x]'}]}",
            "external_metrics_provider.endpoints",
        ),
    ] {
        assert_contains(&refusal(yaml, &[]), &["unresolved secret in ", key]);
    }
    let endpoints = [("DD_ADDITIONAL_ENDPOINTS", r#"{"https://a":["ENC[x]"]}"#)];
    assert_contains(&refusal("", &endpoints), &["unresolved secret in additional_endpoints"]);
    // What is shadowed or without effect is never sent anywhere.
    let loaded = load_file("app_key: 'ENC[x]'\nsyslog_uri: 'ENC[x]'", &[("DD_APP_KEY", "key")]);
    assert_eq!(loaded.config.datadog.application_key.expose(), "key");
}

#[test]
fn config_16_a_short_token_is_an_error_line_and_is_used() {
    let token = |length| load_environment(&[("DD_CLUSTER_AGENT_AUTH_TOKEN", &"t".repeat(length))]);
    let loaded = token(31);
    assert_eq!(complaint(&loaded).level, Level::Error);
    assert_contains(&complaint(&loaded).text, &["cluster_agent.auth_token", "31"]);
    assert_eq!(loaded.config.cluster_agent.auth_token.expose(), "t".repeat(31));
    assert_eq!(token(32).messages, []);
    assert_eq!(token(0).messages, []);
}

#[test]
fn a_token_with_a_line_break_from_its_secret_is_trimmed_with_a_warning() {
    let token = "t".repeat(32);
    let loaded = load_environment(&[("DD_CLUSTER_AGENT_AUTH_TOKEN", &format!("{token}\n"))]);
    assert_eq!(loaded.config.cluster_agent.auth_token.expose(), token);
    assert_contains(&complaint(&loaded).text, &["cluster_agent.auth_token", "white space"]);
    assert!(!complaint(&loaded).text.contains(&token));
}

#[test]
fn without_an_api_key_only_commands_run() {
    let empty = Sources::new(Vec::<(String, String)>::new());
    assert_eq!(load(&empty).unwrap_err().to_string(), "no API key configured, exiting");
    assert!(load_for_command(&empty).unwrap().config.datadog.api_key.is_empty());
    let blank = Sources::new([("DD_API_KEY", " \n")]);
    assert!(matches!(load(&blank), Err(Error::NoApiKey)));
}

#[test]
fn an_api_key_of_another_shape_is_warned_about_without_its_text() {
    let loaded = load_environment(&[("DD_API_KEY", "not-a-key")]);
    assert_contains(&complaint(&loaded).text, &["api_key", "32"]);
    assert!(!complaint(&loaded).text.contains("not-a-key"));
}

#[test]
fn config_26_cluster_names_are_checked_and_have_a_host_form() {
    let loaded = load_environment(&[("DD_CLUSTER_NAME", "My_Cluster")]);
    assert_eq!(loaded.config.cluster_name, None);
    assert_eq!(complaint(&loaded).level, Level::Error);
    assert_contains(&complaint(&loaded).text, &["My_Cluster"]);
    let name = load_environment(&[("DD_CLUSTER_NAME", "a_b.c")]).config.cluster_name.unwrap();
    assert_eq!((name.as_str(), name.host_suffix().as_str()), ("a_b.c", "-a-b.c"));
}

#[test]
fn config_27_fips_is_refused() {
    for text in [refusal("fips: {enabled: true}", &[]), refusal("", &[("DD_FIPS_ENABLED", "true")])]
    {
        assert_contains(&text, &["fips.enabled", "no FIPS mode"]);
    }
}

#[test]
fn config_30_the_switch_of_node_agents_changes_nothing() {
    let loaded = load_environment(&[
        ("DD_CLUSTER_AGENT_ENABLED", "true"),
        ("DD_COLLECT_KUBERNETES_EVENTS", "true"),
    ]);
    assert!(loaded.config.events.collect);
    assert_contains(&complaint(&loaded).text, &["DD_CLUSTER_AGENT_ENABLED", "node Agents"]);
}

#[test]
fn lease_durations_are_kept_in_range() {
    for (given, taken) in
        [("1", 1), ("3600", 3600), ("0", 60), ("-5", 60), ("x", 60), ("4000", 3600)]
    {
        let loaded = load_environment(&[("DD_LEADER_LEASE_DURATION", given)]);
        assert_eq!(
            loaded.config.leader_election.lease_duration,
            Duration::from_secs(taken),
            "{given}"
        );
        assert_eq!(
            complaints(&loaded).len(),
            usize::from(!["1", "3600"].contains(&given)),
            "{given}"
        );
    }
}

#[test]
fn ports_out_of_range_fall_back_to_the_next_source() {
    for given in ["0", "65536", "-1", "99999999999999999999"] {
        let loaded =
            load_file("cluster_agent: {cmd_port: 6000}", &[("DD_CLUSTER_AGENT_CMD_PORT", given)]);
        assert_eq!(loaded.config.listeners.command_port, 6000, "{given}");
        assert_eq!(complaint(&loaded).level, Level::Warn, "{given}");
    }
    assert_eq!(load_environment(&[("DD_HEALTH_PORT", "0")]).messages, []);
}

#[test]
fn two_listeners_on_one_port_are_refused_with_both_names() {
    let text = refusal("", &[("DD_HEALTH_PORT", "5005")]);
    assert_eq!(text, "port 5005 is wanted by both cluster_agent.cmd_port and health_port");
    let external_metrics = [("DD_EXTERNAL_METRICS_PROVIDER_PORT", "5000")];
    assert_eq!(load_environment(&external_metrics).messages, []);
    let on = [external_metrics[0], ("DD_EXTERNAL_METRICS_PROVIDER_ENABLED", "true")];
    assert_contains(&refusal("", &on), &["metrics_port", "external_metrics_provider.port"]);
}

#[test]
fn words_are_checked_without_case() {
    assert_eq!(load_environment(&[("DD_LOG_LEVEL", "INFO")]).messages, []);
    assert_eq!(load_environment(&[("DD_LOG_LEVEL", "OFF")]).config.logging.level, LogLevel::Off);
    assert_contains(
        &refusal("", &[("DD_LOG_LEVEL", "loud")]),
        &["log_level", "\"loud\"", "trace, debug"],
    );

    let kind = |text| load_environment(&[("DD_LEADER_ELECTION_DEFAULT_RESOURCE", text)]);
    assert_eq!(kind("").config.leader_election.default_resource, LockKind::ConfigMap);
    assert_eq!(kind("ConfigMaps").config.leader_election.default_resource, LockKind::ConfigMap);
    assert_eq!(kind("lease").config.leader_election.default_resource, LockKind::Lease);
    let loaded = kind("endpoints");
    assert_eq!(loaded.config.leader_election.default_resource, LockKind::Discover);
    assert_contains(
        &complaint(&loaded).text,
        &["leader_election_default_resource", "\"endpoints\""],
    );
    let in_file = load_file("leader_election_default_resource: ''", &[]);
    assert_eq!(in_file.config.leader_election.default_resource, LockKind::Discover);
    assert_eq!(in_file.messages, []);
}

#[test]
fn tls_versions_that_are_not_safe_become_1_2() {
    for (given, taken, quiet) in [
        ("tlsv1.2", TlsVersion::Tls12, true),
        ("TLSv1.3", TlsVersion::Tls13, true),
        ("tlsv1.0", TlsVersion::Tls12, false),
        ("ssl3", TlsVersion::Tls12, false),
    ] {
        let loaded = load_environment(&[("DD_MIN_TLS_VERSION", given)]);
        assert_eq!(loaded.config.tls.minimum_version, taken, "{given}");
        assert_eq!(loaded.messages.is_empty(), quiet, "{given}");
    }
}

#[test]
fn an_intake_url_that_is_none_is_refused() {
    assert_contains(&refusal("dd_url: relay.local", &[]), &["dd_url", "\"relay.local\""]);
    let text = refusal("dd_url: 'ftp://user:hunter22@relay.local'", &[]);
    assert!(!text.contains("hunter22"), "{text}");
    let loaded = load_environment(&[("DD_EXTERNAL_METRICS_PROVIDER_ENDPOINT", "relay.local")]);
    assert_eq!(loaded.config.external_metrics.endpoint, "https://api.datadoghq.com");
    assert_eq!(complaint(&loaded).level, Level::Error);
}

#[test]
fn query_windows_fit_into_the_longest_one() {
    let window = |yaml: &str| load_file(&format!("external_metrics_provider: {yaml}"), &[]);
    assert_eq!(window("{bucket_size: 600}").config.external_metrics.bucket_size.as_secs(), 600);
    for (yaml, seconds) in
        [("{bucket_size: 90000}", 300), ("{bucket_size: 0}", 300), ("{max_time_window: 100}", 100)]
    {
        let loaded = window(yaml);
        assert_eq!(loaded.config.external_metrics.bucket_size.as_secs(), seconds, "{yaml}");
        assert_contains(&complaint(&loaded).text, &["external_metrics_provider.bucket_size"]);
    }
}

#[test]
fn control_characters_are_taken_out_of_tags() {
    let loaded = load_environment(&[("DD_TAGS", r#"["a:\u00071","b:2"]"#)]);
    assert_eq!(loaded.config.tags, ["a:1", "b:2"]);
    assert_contains(&complaint(&loaded).text, &["\"tags\"", "control characters"]);
}

#[test]
fn options_of_the_official_api_server_library_are_honoured_or_named() {
    let options = r#"{"secure-port":"9443","cert-dir":"/certs","tls-min-version":"VersionTLS12"}"#;
    let loaded = load_environment(&[("DD_EXTERNAL_METRICS_PROVIDER_CONFIG", options)]);
    assert_eq!(loaded.config.external_metrics.port, 9443);
    assert_eq!(
        loaded.config.external_metrics.certificate_directory.as_deref(),
        Some(Path::new("/certs"))
    );
    assert_contains(
        &complaint(&loaded).text,
        &["\"tls-min-version\"", "external_metrics_provider.config"],
    );
}

#[test]
fn metric_queries_use_their_own_keys_or_the_global_ones() {
    let yaml = "app_key: global\nsite: datadoghq.eu\nexternal_metrics_provider:\n  api_key: own\n  endpoints:\n  \
                - {site: fallback.example, app_key: second}\n  - {app_key: x}\n";
    let loaded = load_file(yaml, &[("DD_API_KEY", API_KEY)]);
    let external_metrics = &loaded.config.external_metrics;
    assert_eq!(external_metrics.endpoint, "https://api.datadoghq.eu");
    assert_eq!(external_metrics.api_key.expose(), "own");
    assert_eq!(external_metrics.application_key.expose(), "global");
    let [fallback] = &external_metrics.fallback_endpoints[..] else { panic!() };
    assert_eq!(fallback.url, "https://api.fallback.example");
    assert_eq!((fallback.api_key.expose(), fallback.application_key.expose()), ("own", "second"));
    assert_contains(&complaint(&loaded).text, &["neither url nor site"]);
}

#[test]
fn payloads_that_are_not_sent_are_announced() {
    let loaded = load_file("enable_payloads: {events: false}", &[]);
    assert!(!loaded.config.forwarder.send_events && loaded.config.forwarder.send_series);
    assert_contains(&complaint(&loaded).text, &["enable_payloads.events"]);
}

#[test]
fn the_address_of_the_api_server_comes_from_the_environment() {
    let service = |host, port| {
        load_environment(&[("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port)])
            .config
            .kubernetes
            .service
    };
    assert_eq!(service("10.96.0.1", "443"), Some(("10.96.0.1".to_owned(), 443)));
    assert_eq!(service("fd00::1", "6443"), Some(("fd00::1".to_owned(), 6443)));
    assert_eq!(service("[fd00::1]", "6443"), Some(("fd00::1".to_owned(), 6443)));
    assert_eq!(service("10.96.0.1", "https"), None);
    assert_eq!(service("", "443"), None);
}

#[test]
fn names_that_something_must_have_cannot_be_emptied() {
    let loaded = load_file("leader_lease_name: ''\ncluster_checks: {cluster_tag_name: ''}", &[]);
    assert_eq!(loaded.config.leader_election.lease_name, "datadog-leader-election");
    assert_contains(&complaint(&loaded).text, &["leader_lease_name", "is empty"]);
    assert_eq!(loaded.config.cluster_checks.cluster_tag_name, None);
}

#[test]
fn every_configured_secret_can_be_registered_for_scrubbing() {
    let loaded = load_file(
        "api_key: a1\napp_key: a2\ncluster_agent: {auth_token: a3}\nproxy: {http: 'http://u:a4@p', https: 'p:1'}\n\
         additional_endpoints: {'https://e': [a5]}\nexternal_metrics_provider:\n  api_key: a6\n  app_key: a7\n  \
         endpoints: [{site: s, api_key: a8, app_key: a9}]\n",
        &[],
    );
    let mut secrets: Vec<&str> = loaded.config.secrets().map(|secret| secret.expose()).collect();
    secrets.sort_unstable();
    assert_eq!(secrets, ["a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"]);
    assert_eq!(Config::default().secrets().count(), 0);
}
