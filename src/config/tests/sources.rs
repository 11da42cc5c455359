//! Precedence, files, names and their aliases.

use super::*;

#[test]
fn config_01_an_api_key_is_enough() {
    let config = load_environment(&[("DD_API_KEY", "k")]).config;
    assert_eq!(config.datadog.api_key.expose(), "k");
    assert_eq!(config.listeners.command_port, 5005);
    assert_eq!(config.listeners.telemetry_port, Some(5000));
    assert_eq!(config.listeners.health_port, None);
    assert!(!config.leader_election.enabled);
    assert_eq!(config.directory, Path::new("/etc/datadog-agent"));
}

#[test]
fn config_02_the_environment_wins_over_the_file_and_bad_values_over_nothing() {
    let file = "cluster_agent: {cmd_port: 6000}";
    let port = |text| load_file(file, &[("DD_CLUSTER_AGENT_CMD_PORT", text)]);
    assert_eq!(port("7000").config.listeners.command_port, 7000);
    assert_eq!(port("").config.listeners.command_port, 6000);
    let loaded = port("abc");
    assert_eq!(loaded.config.listeners.command_port, 6000);
    let complaint = complaint(&loaded);
    assert_eq!(complaint.level, Level::Warn);
    assert_contains(
        &complaint.text,
        &["cluster_agent.cmd_port", "DD_CLUSTER_AGENT_CMD_PORT", "\"abc\""],
    );
}

#[test]
fn what_another_source_overrides_is_not_reported() {
    let loaded = load_file(
        "health_port: many\nlog_level: loud\ndd_url: nowhere\n",
        &[("DD_HEALTH_PORT", "5555"), ("DD_LOG_LEVEL", "debug"), ("DD_URL", "https://relay.local")],
    );
    assert_eq!(loaded.messages, []);
    assert_eq!(loaded.config.listeners.health_port, Some(5555));
}

#[test]
fn a_key_without_a_value_is_not_set() {
    let loaded = load_file("health_port:\ntags: ~\nproxy: {https: null}\ncluster_agent:\n", &[]);
    assert_eq!(loaded.messages, []);
    assert_eq!(loaded.settings.get("health_port").unwrap().source(), &Source::Default);
}

#[test]
fn maps_of_the_file_may_include_others() {
    let yaml = "proxy: &proxy {https: 'http://p:1', http: 'http://p:1'}\nproxy_of_nothing: {<<: *proxy}\n\
                cluster_agent:\n  <<: {cmd_port: 6000}\n";
    let loaded = load_file(yaml, &[]);
    assert_eq!(complaint(&loaded).text, "Unknown key in config file: proxy_of_nothing");
    assert_eq!(loaded.config.listeners.command_port, 6000);
    assert_contains(
        &refusal("cluster_agent: {<<: 5}", &[]),
        &["unable to load Datadog config file: "],
    );
}

#[test]
fn a_value_where_a_map_belongs_is_reported() {
    let loaded = load_file("cluster_agent: 5005", &[]);
    assert_contains(&complaint(&loaded).text, &["\"cluster_agent\"", "must be a map"]);
}

#[test]
fn a_flag_wins_over_the_environment() {
    let mut sources = Sources::new([("DD_LOG_LEVEL", "warn")]);
    sources.flags.insert("log_level", "debug".to_owned());
    let loaded = load_for_command(&sources).unwrap();
    assert_eq!(loaded.config.logging.level, LogLevel::Debug);
}

#[test]
fn leaves_of_one_map_come_from_different_sources() {
    let token = "t".repeat(32);
    let loaded =
        load_file("cluster_agent: {cmd_port: 6000}", &[("DD_CLUSTER_AGENT_AUTH_TOKEN", &token)]);
    assert_eq!(loaded.config.listeners.command_port, 6000);
    assert_eq!(loaded.config.cluster_agent.auth_token.expose(), token);
}

#[test]
fn a_list_of_the_environment_replaces_that_of_the_file() {
    let loaded = load_file("tags: [a:1, b:2]", &[("DD_TAGS", "c:3")]);
    assert_eq!(loaded.config.tags, ["c:3"]);
}

#[test]
fn config_03_a_path_is_a_directory_or_an_exact_file() {
    let files = [
        ("/cfg/datadog-cluster.yaml", "cluster_name: directory"),
        ("/cfg/my.yaml", "cluster_name: exact"),
        (FILE, "cluster_name: default"),
    ];
    let name = |path| {
        let config = try_load(&[], &files, path).unwrap().config;
        (config.cluster_name.unwrap().as_str().to_owned(), config.directory)
    };
    assert_eq!(name(Some("/cfg")), ("directory".to_owned(), "/cfg".into()));
    assert_eq!(name(Some("/cfg/my.yaml")), ("exact".to_owned(), "/cfg".into()));
    assert_eq!(name(Some("/elsewhere")), ("default".to_owned(), "/etc/datadog-agent".into()));
    assert_eq!(name(None), ("default".to_owned(), "/etc/datadog-agent".into()));
    let refusal = try_load(&[], &files, Some("/cfg/missing.yaml")).unwrap_err();
    assert!(matches!(refusal, Error::Missing(_)));
    assert_contains(
        &refusal.to_string(),
        &["unable to load Datadog config file: ", "/cfg/missing.yaml"],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_fatal() {
    let read = |_: &Path| Err(io::Error::from(io::ErrorKind::PermissionDenied));
    let refusal = load(&Sources::new([("DD_API_KEY", API_KEY)]).with_files(&read)).unwrap_err();
    assert_contains(
        &refusal.to_string(),
        &["cannot access the Datadog config file (", FILE, "permission denied"],
    );
}

#[test]
fn the_file_name_of_very_old_documentation_is_read_with_a_warning() {
    let old = ("/etc/datadog-agent/datadog.yaml", "cluster_name: old");
    let loaded = try_load(&[], &[old], None).unwrap();
    assert_contains(&complaint(&loaded).text, &["/etc/datadog-agent/datadog.yaml"]);
    assert_eq!(loaded.config.cluster_name.unwrap().as_str(), "old");
    let loaded = try_load(&[], &[old, (FILE, "cluster_name: new")], None).unwrap();
    assert_eq!(complaints(&loaded), [""; 0]);
    assert_eq!(loaded.config.cluster_name.unwrap().as_str(), "new");
}

#[test]
fn config_04_keys_of_the_file_have_no_case() {
    let port = |yaml| load_file(yaml, &[]).config.listeners.command_port;
    assert_eq!(port("Cluster_Agent: {CMD_PORT: 6000}"), 6000);
    assert_eq!(port("cluster_agent.cmd_port: 6001"), 6001);
}

#[test]
fn config_10_old_names_of_external_metrics_are_accepted_below_the_real_ones() {
    let old = ("DD_EXTERNAL_METRICS_MAX_AGE", "90");
    let loaded = load_environment(&[old]);
    assert_eq!(loaded.config.external_metrics.max_age.as_secs(), 90);
    assert_contains(
        &complaint(&loaded).text,
        &["DD_EXTERNAL_METRICS_MAX_AGE is deprecated", "DD_EXTERNAL_METRICS_PROVIDER_MAX_AGE"],
    );
    let loaded = load_environment(&[old, ("DD_EXTERNAL_METRICS_PROVIDER_MAX_AGE", "100")]);
    assert_eq!(loaded.config.external_metrics.max_age.as_secs(), 100);
    assert_eq!(complaints(&loaded), [""; 0]);
}

#[test]
fn config_12_the_expvar_port_is_the_metrics_port_unless_that_is_set() {
    let old = ("DD_EXPVAR_PORT", "5100");
    assert_eq!(load_environment(&[old]).config.listeners.telemetry_port, Some(5100));
    let both = load_environment(&[old, ("DD_METRICS_PORT", "5200")]);
    assert_eq!(both.config.listeners.telemetry_port, Some(5200));
    let bad = load_environment(&[("DD_EXPVAR_PORT", "x")]);
    assert_contains(&complaint(&bad).text, &["metrics_port", "DD_EXPVAR_PORT"]);
    let in_file = load_file("metrics_port: 5300", &[old]);
    assert_eq!(in_file.config.listeners.telemetry_port, Some(5300));
    assert_eq!(load_environment(&[("DD_METRICS_PORT", "0")]).config.listeners.telemetry_port, None);
}

#[test]
fn other_older_names_count_below_the_new_ones() {
    let metadata =
        |variables: &[(&str, &str)]| load_environment(variables).config.metadata.map_services;
    assert!(metadata(&[]));
    assert!(!metadata(&[("DD_USE_METADATA_MAPPER", "false")]));
    assert!(metadata(&[
        ("DD_USE_METADATA_MAPPER", "false"),
        ("DD_KUBERNETES_COLLECT_METADATA_TAGS", "true")
    ]));

    let excluded = |variables: &[(&str, &str)]| {
        load_environment(variables).config.autodiscovery.container_exclude
    };
    assert_eq!(excluded(&[("DD_AC_EXCLUDE", "name:old")]), ["name:old"]);
    assert_eq!(
        excluded(&[("DD_AC_EXCLUDE", "name:old"), ("DD_CONTAINER_EXCLUDE", "name:new")]),
        ["name:new"]
    );

    let queue =
        |variables: &[(&str, &str)]| load_environment(variables).config.forwarder.retry_queue_size;
    let old = ("DD_FORWARDER_RETRY_QUEUE_MAX_SIZE", "3");
    assert_eq!(queue(&[]), 15_728_640);
    assert_eq!(queue(&[old]), 6 << 20);
    assert_eq!(queue(&[old, ("DD_FORWARDER_RETRY_QUEUE_PAYLOADS_MAX_SIZE", "1Mb")]), 1 << 20);

    let endpoint = load_environment(&[("DATADOG_HOST", "https://relay.local:8443/")])
        .config
        .external_metrics
        .endpoint;
    assert_eq!(endpoint, "https://relay.local:8443");
}

#[test]
fn config_13_dd_url_wins_over_its_short_name() {
    let long = ("DD_DD_URL", "https://b");
    let loaded = load_environment(&[("DD_URL", "https://a"), long]);
    assert_eq!(loaded.config.datadog.url.as_deref(), Some("https://b"));
    assert_eq!(
        complaint(&loaded).text,
        "'DD_URL' and 'DD_DD_URL' variables are both set in environment. Using 'DD_DD_URL' value"
    );
    assert_eq!(complaints(&load_environment(&[("DD_URL", "https://b"), long])), [""; 0]);
    assert_eq!(
        load_environment(&[("DD_URL", "https://a/")]).config.datadog.url.as_deref(),
        Some("https://a")
    );
}

#[test]
fn config_14_resources_are_in_the_own_namespace_unless_another_is_given() {
    let file = ("/var/run/secrets/kubernetes.io/serviceaccount/namespace", "monitoring\n");
    let namespaces = |files: &[(&str, &str)], text| {
        let kubernetes = try_load(&[("DD_KUBE_RESOURCES_NAMESPACE", text)], files, None)
            .unwrap()
            .config
            .kubernetes;
        (kubernetes.own_namespace, kubernetes.resources_namespace)
    };
    assert_eq!(namespaces(&[file], ""), ("monitoring".to_owned(), "monitoring".to_owned()));
    assert_eq!(namespaces(&[], ""), ("default".to_owned(), "default".to_owned()));
    assert_eq!(namespaces(&[file], "shared"), ("monitoring".to_owned(), "shared".to_owned()));
}

#[test]
fn config_17_an_empty_proxy_variable_switches_off_that_of_the_file() {
    let file = "proxy: {https: 'http://p:1'}";
    assert_eq!(load_file(file, &[]).config.proxy.https.unwrap().to_string(), "http://p:1");
    assert!(load_file(file, &[("DD_PROXY_HTTPS", "")]).config.proxy.https.is_none());
    assert!(load_file(file, &[("https_proxy", "")]).config.proxy.https.is_none());
}

#[test]
fn proxy_variables_have_an_order() {
    let all = [
        ("https_proxy", "http://lower:1"),
        ("HTTPS_PROXY", "http://upper:2"),
        ("DD_PROXY_HTTPS", "http://own:3"),
    ];
    for (count, port) in [(1, 1), (2, 2), (3, 3)] {
        let loaded = load_file("proxy: {https: 'http://p:9'}", &all[..count]);
        assert_eq!(loaded.config.proxy.https.unwrap().port, port);
    }
    let announced = |variables: &[(&str, &str)]| {
        let messages = load_environment(variables).messages;
        messages.into_iter().map(|message| message.text).collect::<Vec<_>>()
    };
    assert_eq!(announced(&all), ["Loading proxy settings"]);
    assert_eq!(
        announced(&all[..2]),
        [
            "Loading proxy settings",
            "Found 'HTTPS_PROXY' env var, using it for the Agent proxy settings"
        ]
    );
}

#[test]
fn config_20_unknown_variables_are_warned_about_and_features_are_named() {
    let loaded = load_environment(&[("DD_FOO", "1"), ("DD_EMPTY", ""), ("FOO", "1")]);
    assert_eq!(complaint(&loaded).text, "Unknown environment variable: DD_FOO");

    let loaded = load_environment(&[
        ("DD_ADMISSION_CONTROLLER_ENABLED", "true"),
        ("DD_ORCHESTRATOR_EXPLORER_ENABLED", "true"),
        ("DD_LANGUAGE_DETECTION_ENABLED", "false"),
    ]);
    let [line] = &loaded.messages[..] else { panic!("{:?}", loaded.messages) };
    assert_eq!(line.level, Level::Info);
    assert_eq!(
        line.text,
        "features not in this build, ignored: admission_controller, orchestrator_explorer"
    );
}

#[test]
fn a_name_that_never_worked_gets_a_hint() {
    let loaded = load_environment(&[("DD_NO_PROXY", "a")]);
    assert_eq!(complaint(&loaded).text, "DD_NO_PROXY is not read, did you mean DD_PROXY_NO_PROXY?");
}

#[test]
fn variables_of_services_named_like_settings_are_no_news() {
    let loaded = load_environment(&[
        ("DD_RELAY_SERVICE_HOST", "10.96.0.7"),
        ("DD_RELAY_SERVICE_PORT", "80"),
        ("DD_RELAY_SERVICE_PORT_HTTP", "80"),
        ("DD_RELAY_PORT", "tcp://10.96.0.7:80"),
        ("DD_RELAY_PORT_80_TCP", "tcp://10.96.0.7:80"),
        ("DD_RELAY_PORT_80_TCP_ADDR", "10.96.0.7"),
    ]);
    assert_eq!(loaded.messages, []);
}

#[test]
fn unknown_keys_of_the_file_are_named_and_known_sections_are_not() {
    let loaded = load_file(
        "clustr_name: x\ncluster_agent: {cmd_prt: 1, tracing: {enabled: true}}\nlogs_config: {use_http: true}\n\
         admission_controller: {enabled: true, port: 8000}\ncluster_checks:\n",
        &[],
    );
    assert_eq!(
        complaints(&loaded),
        [
            "Unknown key in config file: clustr_name",
            "Unknown key in config file: cluster_agent.cmd_prt"
        ]
    );
    assert_eq!(
        loaded.messages.last().unwrap().text,
        "features not in this build, ignored: admission_controller"
    );
}

#[test]
fn a_file_or_environment_of_another_product_does_not_fill_the_log() {
    let yaml: String = (0..200).map(|number| format!("other_{number}: 1\n")).collect();
    let names: Vec<String> = (0..200).map(|number| format!("DD_OTHER_{number}")).collect();
    let variables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let loaded = load_file(&yaml, &variables);
    assert_eq!(complaints(&loaded).len(), 2 * 51);
    assert_eq!(*complaints(&loaded).last().unwrap(), "150 more unknown environment variables");
}

#[test]
fn config_29_a_file_that_is_not_a_map_of_settings_is_refused_with_its_place() {
    let text = refusal("cluster_name: edge\nproxy:\n  https: [unclosed\ntags: }\n", &[]);
    assert_contains(&text, &["unable to load Datadog config file: ", FILE, "line ", "column "]);
    for yaml in ["", "# only\n  # comments\n", "---\n", "{}"] {
        assert_eq!(load_file(yaml, &[]).messages, [], "{yaml:?}");
    }
    for yaml in ["- a\n- b\n", "just text", "5"] {
        assert_contains(
            &refusal(yaml, &[]),
            &["unable to load Datadog config file: ", "not a map"],
        );
    }
}
