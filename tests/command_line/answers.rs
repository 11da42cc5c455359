//! What the commands make of an agent's answers, and of none.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::{Agent, TOKEN, asking, certificate};
use crate::program::said;
use crate::support::program::free_port;
use crate::support::scratch::Scratch;

const STATUS: &str = "====\nHead\n====\n  Pid: 1\n\n";
const DOCUMENT: &str = r#"{"version":"7.70.0","pid":1}"#;

fn agent_with_status() -> Agent {
    Agent::start(&[
        ("/status?format=text", 200, STATUS),
        ("/status?format=json", 200, DOCUMENT),
        ("/status/sections", 200, r#"["header","leader election"]"#),
        ("/status/section/LEADER%20ELECTION?format=text", 200, "the block\n"),
        (
            "/status/section/nope?format=text",
            500,
            r#"{"error":"unknown status section 'nope', available sections are: [\"header\"]"}"#,
        ),
    ])
}

#[test]
fn cli_03_without_a_server_the_user_is_told_what_to_do() {
    let directory = Scratch::new();
    directory.write("auth_token", TOKEN);
    let port = free_port();
    let cause = |path: &str| {
        format!(
            "Get \"https://localhost:{port}{path}\": dial tcp 127.0.0.1:{port}: connect: connection refused"
        )
    };
    let status = said(&mut asking(&directory, port, &["status"]));
    let expected = format!(
        "Getting the status from the agent.\n\n\t\tCould not reach agent: {}\n\
         \t\tMake sure the agent is running before requesting the status.\n\
         \t\tContact support if you continue having issues.",
        cause("/status?format=text")
    );
    assert_eq!((status.code, status.output), (Some(255), expected));
    assert_eq!(status.errors, format!("Error: {}\n", cause("/status?format=text")));

    let metamap = said(&mut asking(&directory, port, &["metamap", "n"]));
    assert!(metamap.output.contains(
        "\n\t\tMake sure the agent is properly running before requesting the map of services to pods.\n"
    ));
    let health = said(&mut asking(&directory, port, &["health"]));
    let expected = format!(
        "Error: could not reach agent: {} \nMake sure the agent is running before requesting the status and contact \
         support if you continue having issues\n",
        cause("/status/health")
    );
    assert_eq!((health.code, health.output, health.errors), (Some(255), String::new(), expected));
    let config = said(&mut asking(&directory, port, &["config"]));
    let start = format!(
        "Error: Could not reach datadog-cluster-agent: {} \nMake sure the",
        cause("/config")
    );
    assert!(config.errors.starts_with(&start), "{}", config.errors);
}

#[test]
fn without_a_token_the_missing_file_is_named() {
    let directory = Scratch::new();
    let status = said(&mut asking(&directory, free_port(), &["status"]));
    let path = directory.path().join("auth_token").display().to_string();
    assert_eq!(status.code, Some(255));
    assert!(status.errors.contains("unable to fetch auth token"), "{}", status.errors);
    assert!(
        status.errors.ends_with(&format!(": open {path}: no such file or directory\n")),
        "{}",
        status.errors
    );
    assert!(
        status.output.contains("\t\tCould not reach agent: unable to fetch"),
        "{}",
        status.output
    );
}

#[test]
fn cli_04_json_is_alone_on_standard_output_whatever_is_logged() {
    let agent = agent_with_status();
    let said = said(agent.command(&["status", "-j"]).env("DD_LOG_LEVEL", "debug"));
    assert_eq!((said.code, said.output), (Some(0), format!("{DOCUMENT}\n")));
    let silent = crate::program::said(agent.command(&["status", "-j"]).env("DD_LOG_LEVEL", "off"));
    assert_eq!((silent.code, silent.errors.as_str()), (Some(0), ""));
}

#[test]
fn cli_05_pretty_json_wins_and_is_the_same_value() {
    let agent = agent_with_status();
    let said = agent.call(&["status", "-p", "-j"]);
    assert_eq!(said.output, "{\n  \"pid\": 1,\n  \"version\": \"7.70.0\"\n}\n");
    let value: Value = serde_json::from_str(&said.output).expect("it is JSON");
    assert_eq!(value, json!({ "version": "7.70.0", "pid": 1 }));
}

#[test]
fn cli_06_a_file_takes_the_text_and_standard_output_the_banner() {
    let agent = agent_with_status();
    for flag in ["-o", "-f", "--file"] {
        let path = agent.directory.path().join("status.txt");
        let said = agent.call(&["status", flag, &path.display().to_string()]);
        assert_eq!(
            (said.code, said.output.as_str()),
            (Some(0), "Getting the status from the agent.\n")
        );
        assert_eq!(fs::read_to_string(&path).expect("the file was written"), STATUS);
        fs::remove_file(path).expect("the file is ours");
    }
    let said = agent.call(&["status", "-o", "/does/not/exist"]);
    assert_eq!(said.code, Some(255));
    assert!(said.errors.starts_with("Error: cannot write to /does/not/exist: "), "{}", said.errors);
}

#[test]
fn sections_are_listed_asked_for_and_refused() {
    let agent = agent_with_status();
    assert_eq!(agent.call(&["status", "-l"]).output, "- \"header\"\n- \"leader election\"\n");
    let said = agent.call(&["status", "LEADER ELECTION"]);
    assert!(said.output.ends_with("the block\n\n"), "{}", said.output);
    let said = agent.call(&["status", "nope"]);
    assert_eq!(said.code, Some(255));
    let expected = "Error: unknown status section 'nope', available sections are: [\"header\"]\n";
    assert_eq!(said.errors, expected);
}

#[test]
fn the_servers_reason_for_no_map_is_shown_as_a_map() {
    let agent = Agent::start(&[
        ("/api/v1/tags/pod", 503, r#"{"Errors":"nodes is forbidden"}"#),
        ("/api/v1/tags/pod/a%2Fb", 200, r#"{"Nodes":{"a/b":{"services":{}}}}"#),
        ("/api/v1/tags/pod/c", 500, "oops\n"),
    ]);
    let said = agent.call(&["metamap"]);
    assert_eq!((said.code, said.errors.as_str()), (Some(255), "Error: nodes is forbidden\n"));
    let text = "===============\nMetadata Mapper\n===============\n\nCould not run the service mapper: nodes is forbidden\n";
    assert_eq!(said.output, text);
    let said = agent.call(&["metamap", "a/b", "ignored"]);
    assert_eq!(said.code, Some(0));
    assert!(said.output.contains("\nNode detected: a/b\n"), "{}", said.output);
    assert_eq!(agent.call(&["metamap", "c"]).errors, "Error: status code: 500, body: oops\n");
    let json = agent.call(&["metamap", "-j", "a/b"]);
    assert_eq!(json.output, "{\"Nodes\":{\"a/b\":{\"services\":{}}}}\n");
}

#[test]
fn cli_15_health_tells_good_from_bad_and_does_not_wait_for_the_stalled() {
    let good = Agent::start(&[("/status/health", 200, r#"{"Healthy":["b","a"],"Unhealthy":[]}"#)]);
    let said = good.call(&["health"]);
    assert_eq!(said.code, Some(0));
    assert_eq!(said.output, "Agent health: PASS\n=== 2 healthy components ===\na, b\n");

    let bad = Agent::start(&[("/status/health", 200, r#"{"Healthy":["a"],"Unhealthy":["c"]}"#)]);
    let said = bad.call(&["health"]);
    assert_eq!(
        (said.code, said.errors.as_str()),
        (Some(255), "Error: found 1 unhealthy components\n")
    );
    assert_eq!(
        said.output,
        "Agent health: FAIL\n=== 1 healthy components ===\na\n=== 1 unhealthy components ===\nc\n"
    );

    let directory = Scratch::new();
    directory.write("auth_token", TOKEN);
    let stalled = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = stalled.local_addr().expect("it is bound").port();
    let start = Instant::now();
    let said = crate::program::said(&mut asking(&directory, port, &["health", "-t", "1"]));
    assert_eq!(said.code, Some(255));
    assert!(said.errors.contains("context deadline exceeded"), "{}", said.errors);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn settings_are_listed_shown_and_changed() {
    let agent = Agent::start(&[
        ("/config", 200, "log_level: info\n"),
        (
            "/config/list-runtime",
            200,
            r#"{"log_level":{"Description":"the level","Hidden":false}}"#,
        ),
        ("/config/log_level", 200, r#"{"value":"info"}"#),
        (
            "/config/log_level?sources=true",
            200,
            r#"{"value":"info","sources_value":[{"Source":"default","Value":"info"},{"Source":"env","Value":7}]}"#,
        ),
        ("/config/nope", 400, r#"{"error":"setting nope not found"}"#),
    ]);
    assert_eq!(agent.call(&["config"]).output, "log_level: info\n");
    assert_eq!(
        agent.call(&["config", "list-runtime"]).output,
        "=== Settings that can be changed at runtime ===\nlog_level                      the level\n"
    );
    assert_eq!(agent.call(&["config", "get", "log_level"]).output, "log_level is set to: info\n");
    assert_eq!(
        agent.call(&["config", "get", "-s", "log_level"]).output,
        "log_level is set to: info\nsources and their value:\n  default: info\n  env: 7\n"
    );
    let said = agent.call(&["config", "set", "log_level", "a&b c"]);
    assert_eq!(said.output, "Configuration setting log_level is now set to: a&b c\n");
    let last = agent.questions().pop();
    assert_eq!(last.as_deref(), Some("POST /config/log_level value=a%26amp%3Bb%20c"));
    for (words, expected) in [
        (&["config", "get", "nope"][..], "setting nope not found"),
        (&["config", "get"], "a single setting name must be specified"),
        (
            &["config", "set", "log_level"],
            "exactly two parameters are required: the setting name and its value",
        ),
    ] {
        let said = agent.call(words);
        assert_eq!((said.code, said.errors), (Some(255), format!("Error: {expected}\n")));
    }
    let said = agent.call(&["config", "nope"]);
    assert!(said.errors.starts_with("Error: unknown command \"nope\" for \""), "{}", said.errors);
}

#[test]
fn a_process_with_another_certificate_learns_no_token() {
    let agent = agent_with_status();
    agent.directory.write("ipc_cert.pem", &certificate());
    let said = agent.call(&["status"]);
    assert_eq!(said.code, Some(255));
    assert!(said.errors.contains("certificate"), "{}", said.errors);
    assert!(agent.questions().is_empty());

    fs::remove_file(agent.directory.path().join("ipc_cert.pem")).expect("the file is ours");
    assert_eq!(agent.call(&["status"]).code, Some(0), "without the file any certificate will do");
}

#[test]
fn a_wrong_token_is_refused_with_the_servers_words() {
    let agent = agent_with_status();
    agent.directory.write("auth_token", &"0".repeat(64));
    let said = agent.call(&["status", "-j"]);
    let expected = "Error: status code: 403, body: invalid session token\n";
    assert_eq!((said.code, said.output.as_str(), said.errors.as_str()), (Some(255), "", expected));
}

#[test]
fn cli_16_the_clusters_token_stands_in_for_a_missing_file() {
    let agent = agent_with_status();
    fs::remove_file(agent.directory.path().join("auth_token")).expect("the file is ours");
    let mut command = agent.command(&["status"]);
    assert_eq!(said(command.env("DD_CLUSTER_AGENT_AUTH_TOKEN", TOKEN)).code, Some(0));
}

#[test]
fn cli_18_proxies_are_not_asked() {
    let agent = agent_with_status();
    let mut command = agent.command(&["status"]);
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "DD_PROXY_HTTPS"] {
        command.env(name, "http://127.0.0.1:1");
    }
    assert_eq!(said(&mut command).code, Some(0));
}
