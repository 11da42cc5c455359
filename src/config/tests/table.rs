//! What the table of keys promises: valid defaults, no key without a reader, a dump without secrets.

use super::*;
use crate::config::keys::Class;

#[test]
fn every_default_is_valid_and_silent() {
    let loaded = load_environment(&[]);
    assert_eq!(loaded.messages, []);
    for setting in loaded.settings.iter() {
        let layers = if setting.key.name == "api_key" { 2 } else { 1 };
        assert_eq!(setting.layers.len(), layers, "{}", setting.key.name);
    }
}

#[test]
fn every_key_that_is_used_is_read_by_the_checks() {
    let checks = [
        include_str!("../checked/autodiscovery.rs"),
        include_str!("../checked/datadog.rs"),
        include_str!("../checked/external_metrics.rs"),
        include_str!("../checked/kubernetes.rs"),
        include_str!("../checked/logging.rs"),
        include_str!("../checked/mod.rs"),
        include_str!("../checked/proxy.rs"),
        include_str!("../checked/serving.rs"),
        include_str!("../checked/tags.rs"),
    ];
    for key in keys::all().filter(|key| key.class == Class::Used) {
        let is_enumerated = key.name.starts_with("enable_payloads.");
        let name = format!("\"{}\"", key.name);
        assert!(
            key.is_older_name()
                || is_enumerated
                || checks.iter().any(|source| source.contains(&name)),
            "{} is said to be used and nothing reads it",
            key.name
        );
    }
}

#[test]
fn no_key_is_also_a_map_of_other_keys() {
    for key in keys::all() {
        let map = format!("{}.", key.name);
        assert!(!keys::all().any(|other| other.name.starts_with(&map)), "{}", key.name);
    }
}

#[test]
fn config_28_the_dump_masks_secrets_and_names_sources() {
    let token = "abcdefghijklmnopqrstuvwxyz012345";
    let loaded = load_file(
        "api_key: 00000000000000000000000000005e3d\nsite: datadoghq.eu\nproxy: {https: 'http://user:hunter22@p:1'}\n\
         additional_endpoints: {'https://a.example': [0123456789abcdef0123456789abbeef]}\ntags: ['a: b', 'c:\"d\"']\n\
         external_metrics_provider: {endpoints: [{site: x, app_key: hunter22}]}\nrun_path: /run\n",
        &[("DD_CLUSTER_AGENT_AUTH_TOKEN", token), ("DD_EXPVAR_PORT", "5100")],
    );
    let dump = loaded.settings.dump();
    assert_contains(
        &dump,
        &[
            "\napi_key: \"***5e3d\"  # file\n",
            "\n  auth_token: \"***2345\"  # env DD_CLUSTER_AGENT_AUTH_TOKEN\n",
            "\n  cmd_port: 5005  # default\n",
            "\nsite: \"datadoghq.eu\"  # file\n",
            "\nrun_path: \"/run\"  # file\n",
            "\nmetrics_port: 5100  # env DD_EXPVAR_PORT\n",
            "http://*****:*****@p:1",
            "***beef",
        ],
    );
    for hidden in ["ac_exclude", "syslog_uri"] {
        assert!(!dump.contains(hidden), "nobody set {hidden}");
    }
    for secret in [token, "hunter22", "0123456789abcdef", "00000000000000000000000000005e3d"] {
        assert!(!dump.contains(secret), "{secret} in {dump}");
        assert!(!format!("{loaded:?}").contains(secret), "{secret} in the debug output");
    }
}

#[test]
fn the_dump_is_yaml_that_loads_to_the_same_values() {
    let yaml = "tags: ['a: b', '#c:\"d\"', 'é: ''']\nkubernetes_node_labels_as_tags: {a.b/c: d}\n\
                cluster_checks: {rebalance_period: 90s}\nlisteners: [{name: kube_services}]\n";
    let loaded = load_file(yaml, &[]);
    let again = load_file(&loaded.settings.dump(), &[]);
    assert_eq!(complaints(&again).len(), 1, "only the masked API key is odd: {:?}", again.messages);
    for setting in loaded.settings.iter().filter(|setting| setting.key.name != "api_key") {
        let other = again.settings.get(setting.key.name).unwrap();
        assert_eq!(setting.value().shown(), other.value().shown(), "{}", setting.key.name);
    }
}

#[test]
fn no_text_and_no_node_is_too_odd_to_convert() {
    let long = "9".repeat(400);
    let texts = [
        "",
        " ",
        "\0",
        "-",
        "+",
        ".",
        "%",
        "%%",
        ":",
        "://",
        "http://",
        "http://[",
        "http://@",
        "http://a:b:c@",
        "[",
        "{",
        "[[[[[[[[",
        "[1,null,{}]",
        "[null]",
        "{\"a\":{\"b\":[]}}",
        "{\"a\":null}",
        "{\"a\":[[]]}",
        "é[",
        "\u{1f600}",
        "1e999",
        "-1e999",
        "NaN",
        "0x10",
        "1_000",
        "5.s",
        "µs",
        "1µs",
        "9223372036854775807",
        "9223372036854775807gb",
        "18446744073709551615",
        "~",
        "null",
        "!!str 5",
        "!tag {a: 1}",
        "? [a]\n: b",
        "[a, {b: c}]",
        "2001-01-01",
        &long,
    ];
    for key in keys::all() {
        for text in texts {
            let _ = convert::convert(key, &convert::Given::Text(text.to_owned()));
            if let Ok(node) = serde_yaml::from_str(text) {
                let given = convert::Given::Yaml(node);
                convert::has_secret_handle(&given);
                if let Ok(converted) = convert::convert(key, &given) {
                    converted.value.shown();
                }
            }
        }
    }
}
