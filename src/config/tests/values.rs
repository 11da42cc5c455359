//! Conversion of values, by the fields they end up in.

use std::time::Duration;

use super::*;

#[test]
fn config_05_tags_are_a_json_list_or_separated_by_blanks() {
    for (text, tags) in [
        ("a:1 b:2", &["a:1", "b:2"][..]),
        (r#"["a:1","b c:2"]"#, &["a:1", "b c:2"]),
        ("[]", &[]),
        ("a:1,b:2", &["a:1,b:2"]),
        ("  a:1\tb:2\n", &["a:1", "b:2"]),
    ] {
        let loaded = load_environment(&[("DD_TAGS", text)]);
        assert_eq!(loaded.config.tags, tags, "{text}");
        assert_eq!(complaints(&loaded), [""; 0], "{text}");
    }
}

#[test]
fn a_broken_json_list_is_split_only_if_nothing_but_its_punctuation_is_wrong() {
    for text in ["['a:1', 'b:2']", "[a:1 b:2]", r#"["a:1", "b:2""#] {
        let loaded = load_environment(&[("DD_TAGS", text)]);
        assert_eq!(loaded.config.tags, ["a:1", "b:2"], "{text}");
        assert_eq!(complaint(&loaded).level, Level::Warn, "{text}");
    }
    for text in ["['a:1', 'b c:2']", "['a:1','b:2']", "[a]", r#"[{"a":1}]"#] {
        let loaded = load_environment(&[("DD_TAGS", text)]);
        assert_eq!(loaded.config.tags, [""; 0], "{text}");
        assert_eq!(complaint(&loaded).level, Level::Error, "{text}");
        assert_contains(&complaint(&loaded).text, &["\"tags\"", "DD_TAGS"]);
    }
}

#[test]
fn tags_and_extra_tags_are_sorted_and_unique() {
    let loaded = load_file("tags: [b:2, a:1, 5]\nextra_tags: 'c:3 a:1'", &[]);
    assert_eq!(loaded.config.tags, ["5", "a:1", "b:2", "c:3"]);
}

#[test]
fn config_06_booleans_of_the_environment() {
    for text in ["true", "TRUE", "1", "t", "yes"] {
        let loaded = load_environment(&[("DD_LEADER_ELECTION", text)]);
        assert!(loaded.config.leader_election.enabled, "{text}");
        assert_eq!(loaded.messages, [], "{text}");
    }
    for text in ["false", "0", "no"] {
        let loaded = load_file("leader_election: true", &[("DD_LEADER_ELECTION", text)]);
        assert!(!loaded.config.leader_election.enabled, "{text}");
        assert_eq!(loaded.messages, [], "{text}");
    }
    let loaded = load_environment(&[("DD_LEADER_ELECTION", "maybe")]);
    assert!(!loaded.config.leader_election.enabled);
    assert_contains(
        &complaint(&loaded).text,
        &["leader_election", "DD_LEADER_ELECTION", "\"maybe\""],
    );
}

#[test]
fn config_07_words_of_old_yaml_are_booleans_in_the_file() {
    for text in ["yes", "\"on\"", "on", "True", "'1'", "1"] {
        let loaded = load_file(&format!("leader_election: {text}"), &[]);
        assert!(loaded.config.leader_election.enabled, "{text}");
        assert_eq!(loaded.messages, [], "{text}");
    }
}

#[test]
fn config_08_maps_are_json_in_the_environment() {
    let loaded = load_environment(&[(
        "DD_KUBERNETES_NODE_LABELS_AS_TAGS",
        r#"{"kubernetes.io/role":"role"}"#,
    )]);
    assert_eq!(loaded.config.metadata.node_labels, rules(&[("kubernetes.io/role", "role")]));

    let loaded = load_environment(&[("DD_KUBERNETES_NODE_LABELS_AS_TAGS", "{bad")]);
    assert_eq!(loaded.config.metadata.node_labels, rules(&[]));
    assert_eq!(complaint(&loaded).level, Level::Error);
    assert_contains(&complaint(&loaded).text, &["kubernetes_node_labels_as_tags"]);

    let loaded = load_file(
        "kubernetes_node_labels_as_tags:\n  topology.kubernetes.io/Zone: zone\n  n: 5\n",
        &[],
    );
    assert_eq!(
        loaded.config.metadata.node_labels,
        rules(&[("topology.kubernetes.io/zone", "zone"), ("n", "5")])
    );
    assert_eq!(loaded.messages, []);
}

#[test]
fn maps_of_all_resources_lie_under_those_of_one() {
    let all =
        r#"{"nodes":{"a":"all","b":"all"},"pods":{"p":"all"},"deployments.apps":{"d":"all"}}"#;
    let loaded = load_environment(&[
        ("DD_KUBERNETES_RESOURCES_LABELS_AS_TAGS", all),
        ("DD_KUBERNETES_RESOURCES_ANNOTATIONS_AS_TAGS", r#"{"namespaces":{"team":"team"}}"#),
        ("DD_KUBERNETES_NODE_LABELS_AS_TAGS", r#"{"a":"own"}"#),
    ]);
    let metadata = loaded.config.metadata;
    assert_eq!(metadata.node_labels, rules(&[("a", "own"), ("b", "all")]));
    assert_eq!(metadata.pod_labels, rules(&[("p", "all")]));
    assert_eq!(metadata.namespace_annotations, rules(&[("team", "team")]));
    assert_eq!(metadata.node_annotations, rules(&[("cluster.k8s.io/machine", "kube_machine")]));
}

#[test]
fn config_09_providers_are_a_list_and_unknown_ones_are_named() {
    let both = ["kube_endpoints", "kube_services"];
    for text in ["kube_endpoints kube_services", r#"["kube_services","kube_endpoints"]"#] {
        let loaded =
            load_environment(&[("DD_EXTRA_CONFIG_PROVIDERS", text), ("DD_EXTRA_LISTENERS", text)]);
        assert!(loaded.config.autodiscovery.providers.iter().eq(both), "{text}");
        assert!(loaded.config.autodiscovery.listeners.iter().eq(both), "{text}");
        assert_eq!(loaded.messages, []);
    }
    let loaded = load_environment(&[("DD_EXTRA_CONFIG_PROVIDERS", "kube_services foo")]);
    assert!(loaded.config.autodiscovery.providers.iter().eq(["kube_services"]));
    assert_contains(&complaint(&loaded).text, &["\"foo\"", "extra_config_providers"]);
}

#[test]
fn providers_of_both_keys_count_once() {
    let loaded = load_file(
        "config_providers:\n- {name: kube_services, polling: true}\n- {polling: true}\nlisteners: [{name: kubelet}]\n\
         extra_config_providers: [kube_services, kube_endpoints_file]\n",
        &[],
    );
    assert!(
        loaded.config.autodiscovery.providers.iter().eq(["kube_endpoints_file", "kube_services"])
    );
    assert_contains(&complaint(&loaded).text, &["config_providers", "no name"]);
}

#[test]
fn numbers_of_the_file_may_be_texts_or_have_an_empty_fraction() {
    for (yaml, seconds) in
        [("'15'", 15), ("15", 15), ("15.0", 15), ("' 15 '", 15), ("15.5", 60), ("[15]", 60)]
    {
        let loaded = load_file(&format!("leader_lease_duration: {yaml}"), &[]);
        assert_eq!(
            loaded.config.leader_election.lease_duration,
            Duration::from_secs(seconds),
            "{yaml}"
        );
        assert_eq!(loaded.messages.is_empty(), seconds == 15, "{yaml}");
    }
    assert_eq!(load_file("hostname: 10", &[]).config.hostname.as_deref(), Some("10"));
}

#[test]
fn durations_without_a_unit_are_seconds() {
    let period = |text| load_environment(&[("DD_CLUSTER_CHECKS_REBALANCE_PERIOD", text)]);
    assert_eq!(period("1h30m").config.cluster_checks.rebalance_period, Duration::from_secs(5400));
    let loaded = period("90");
    assert_eq!(loaded.config.cluster_checks.rebalance_period, Duration::from_secs(90));
    assert_contains(&complaint(&loaded).text, &["cluster_checks.rebalance_period", "taken as 90s"]);
    for text in ["-5", "0", "1h30", "soon", "99999999999999"] {
        let loaded = period(text);
        assert_eq!(
            loaded.config.cluster_checks.rebalance_period,
            Duration::from_secs(600),
            "{text}"
        );
        assert_eq!(complaint(&loaded).level, Level::Warn, "{text}");
    }
}

#[test]
fn sizes_are_binary_multiples() {
    let size =
        |text| load_file(&format!("log_file_max_size: {text}"), &[]).config.logging.file_size_limit;
    assert_eq!((size("512 kb"), size("1048576"), size("lots")), (512 << 10, 1 << 20, 10 << 20));
}

#[test]
fn config_18_both_separators_are_accepted_in_both_no_proxy_variables() {
    for (name, text) in [
        ("DD_PROXY_NO_PROXY", "a b"),
        ("NO_PROXY", "a,b"),
        ("DD_PROXY_NO_PROXY", "a, b"),
        ("no_proxy", "a b"),
    ] {
        let no_proxy = load_environment(&[(name, text)]).config.proxy.no_proxy;
        assert_eq!(no_proxy, ["a", "b", "169.254.169.254", "100.100.100.200"], "{name}={text}");
    }
    let loaded = load_file("proxy: {no_proxy: [a, 'b']}\nuse_proxy_for_cloud_metadata: true", &[]);
    assert_eq!(loaded.config.proxy.no_proxy, ["a", "b"]);
}

#[test]
fn config_19_proxies_are_http_urls_with_or_without_their_scheme() {
    let proxy = |text| load_environment(&[("DD_PROXY_HTTPS", text)]).config.proxy.https.unwrap();
    assert_eq!(proxy("p:3128").url.expose(), "http://p:3128");
    let with_password = proxy("http://us%40er:pass@p:3128");
    assert_eq!((with_password.host.as_str(), with_password.port), ("p", 3128));
    let (user, password) = with_password.credentials.clone().unwrap();
    assert_eq!((user.expose(), password.expose()), ("us@er", "pass"));
    assert_eq!(format!("{with_password:?}"), "http://*****:*****@p:3128");
    for text in [
        "ftp://user:hunter22@p",
        "https://user:hunter22@p:1",
        "socks5://p:1",
        "user:hunter22@p:port",
        "a b",
    ] {
        let text = refusal("", &[("DD_PROXY_HTTPS", text)]);
        assert_contains(&text, &["proxy.https", "DD_PROXY_HTTPS"]);
        assert!(!text.contains("hunter22"), "{text}");
    }
}

#[test]
fn endpoints_without_a_key_are_dropped() {
    let yaml = "additional_endpoints:\n  https://a.example/: [k1, '', k2]\n  https://b.example: ['']\n  \
                'https://u:secret@c.example': []\n  d.example: k3\n";
    let loaded = load_file(yaml, &[]);
    let [endpoint] = &loaded.config.datadog.additional_endpoints[..] else { panic!() };
    assert_eq!(endpoint.url, "https://a.example");
    assert!(endpoint.api_keys.iter().map(|key| key.expose()).eq(["k1", "k2"]));
    let texts: Vec<&str> = loaded.messages.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts.len(), 3);
    assert_contains(texts[0], &["\"d.example\"", "not an absolute URL"]);
    assert_eq!(
        texts[1],
        "No API key provided for domain \"https://b.example\", removing domain from endpoints"
    );
    assert_contains(texts[2], &["https://*****:*****@c.example"]);
}

fn rules(rules: &[(&str, &str)]) -> TagRules {
    rules.iter().map(|(label, tag)| ((*label).to_owned(), (*tag).to_owned())).collect()
}
