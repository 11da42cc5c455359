use std::time::{Duration, Instant};

use serde_yaml::Value;

use super::*;
use crate::retry::Random;

#[test]
fn cli_26_lines_lose_their_secrets_and_comments_disappear() {
    let cases = [
        ("api_key=0123456789abcdef0123456789abcdef", "api_key=****************************cdef"),
        ("url: https://u:p4ss@h/x", "url: https://u:********@h/x"),
        ("password: x", "password: \"********\""),
        ("Bearer abc", "Bearer ********"),
        ("cluster_agent_auth_token: zz", "cluster_agent_auth_token: \"********\""),
        ("  # comment", ""),
        ("a\n\n# comment\nb\n", "a\n\nb"),
    ];
    for (file, expected) in cases {
        assert_eq!(text(file), expected, "{file}");
    }
}

#[test]
fn cli_27_yaml_is_masked_by_its_keys() {
    let scrubbed = yaml("{api_key: abcdefgh, app_key: \"\", proxy: {https: \"http://u:p@h\"}}");
    let value: Value = serde_yaml::from_str(&scrubbed).expect("it is still YAML");
    assert_eq!(value["api_key"], "******gh");
    assert_eq!(value["app_key"], "");
    assert_eq!(value["proxy"]["https"], "http://u:********@h");
}

#[test]
fn yaml_keeps_what_is_no_secret() {
    let scrubbed = yaml(concat!(
        "api_key: ENC[handle]\n",
        "other_api_key: 12345\n",
        "long: {api_key: 0123456789abcdef0123456789abcdeX, appkey: abcde, api-key: abc}\n",
        "additional_endpoints: {\"https://a\": [abcdefgh, 0123456789abcdef]}\n",
        "instances: [{name: db, password: [a, b], token: null, port: 5432}]\n",
    ));
    let value: Value = serde_yaml::from_str(&scrubbed).expect("it is still YAML");
    assert_eq!(value["api_key"], "ENC[handle]");
    assert_eq!(value["other_api_key"], "********");
    assert_eq!(value["long"]["api_key"], "*".repeat(28) + "cdeX");
    assert_eq!(value["long"]["appkey"], "****e");
    assert_eq!(value["long"]["api-key"], "********");
    assert_eq!(value["additional_endpoints"]["https://a"][0], "******gh");
    assert_eq!(value["additional_endpoints"]["https://a"][1], "*".repeat(13) + "def");
    assert_eq!(value["instances"][0]["name"], "db");
    assert_eq!(value["instances"][0]["password"], "********");
    assert_eq!(value["instances"][0]["token"], Value::Null);
    assert_eq!(value["instances"][0]["port"], 5432);
}

#[test]
fn what_is_no_yaml_is_scrubbed_as_text() {
    assert_eq!(
        yaml("{password: x\n# gone\nBearer abc"),
        "{password: \"********\"\nBearer ********"
    );
}

#[test]
fn a_message_keeps_its_comment_lines() {
    assert_eq!(message("# not a file\npassword: x"), "# not a file\npassword: \"********\"");
}

#[test]
fn registered_secrets_go_before_a_pattern_can_tear_them() {
    register("half;other-half");
    assert_eq!(message("password=half;other-half"), "password=********");
}

#[test]
fn scrubbing_is_idempotent() {
    for line in [
        "api_key=0123456789abcdef0123456789abcdef",
        "Authorization: Bearer abc",
        "--password=x https://u:p@h token: y",
        "id: 0123456789abcdef0123456789abcdef",
    ] {
        let once = message(line).into_owned();
        assert_eq!(message(&once), once);
    }
}

#[test]
fn a_log_line_is_scrubbed_fast_enough_for_every_line() {
    let line = "list of endpointslices.discovery.k8s.io: 2,000 objects in 1.2 s from https://10.96.0.1:443/apis";
    let start = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(message(line), line);
    }
    // A debug build on a busy machine takes 30 ms; a scanner that became quadratic takes seconds.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn any_mixture_of_fragments_is_taken() {
    const FRAGMENTS: [&str; 24] = [
        "é",
        "ß:",
        "\u{3000}",
        "\n",
        " ",
        ":",
        "@",
        "//",
        "\"",
        "'",
        "=",
        "-",
        "*",
        "password",
        "pwd",
        "Bearer",
        "token",
        "api_key=",
        "0123456789abcdef0123456789abcdef",
        "-----BEGIN X-----",
        "-----END X-----",
        "community_strings",
        "[",
        "mixture-secret",
    ];
    register("mixture-secret");
    let mut random = Random::from_seed(7);
    for _ in 0..5_000 {
        let pieces = (0..random.below(12)).map(|_| FRAGMENTS[random.below(24) as usize]);
        let line: String = pieces.collect();
        for scrubbed in [message(&line).into_owned(), text(&line), yaml(&line)] {
            assert!(!scrubbed.contains("mixture-secret"), "{line} became {scrubbed}");
        }
    }
}

#[test]
fn hostile_lines_do_not_make_it_slow() {
    let start = Instant::now();
    for piece in ["a:", "pass", "Bearer ", "@:", "-----BEGIN ", "community_strings:", "é:"] {
        let _ = message(&piece.repeat(16_000 / piece.len()));
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
