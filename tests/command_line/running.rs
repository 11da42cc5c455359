//! The commands against the program itself, which runs against the embedded API server.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Said, binary, command, said};
use crate::support::api_server::Server;
use crate::support::program::{PATIENCE, Program, Settings, free_port};
use crate::support::scratch::Scratch;
use crate::support::wait;

/// The program and its cluster: two nodes, one of them with pods behind a service.
struct Cluster {
    program: Program,
    server: Server,
    _directory: Scratch,
}

impl Cluster {
    fn start(settings: &Settings) -> Self {
        let server = Server::start_plain();
        for node in ["node-a", "node-b"] {
            server.add_node(node);
        }
        let directory = Scratch::new();
        let kubeconfig = server.write_kubeconfig(directory.path());
        let program = Program::start(binary(), &kubeconfig, settings);
        Self { program, server, _directory: directory }
    }

    /// Starts it and waits until the cluster is read.
    fn synced(settings: &Settings) -> Self {
        let cluster = Self::start(settings);
        cluster.program.wait_synced();
        cluster
    }

    fn command(&self, words: &[&str]) -> Command {
        asking(&self.program, words)
    }

    fn ask(&self, words: &[&str]) -> Said {
        said(&mut self.command(words))
    }
}

/// A call beside a running program, as `kubectl exec` makes it.
fn asking(program: &Program, words: &[&str]) -> Command {
    let mut command = command(binary(), words);
    command.arg("-c").arg(program.directory());
    command.env("DD_CLUSTER_AGENT_CMD_PORT", program.address().port().to_string());
    command.env("DD_METRICS_PORT", program.telemetry_address().port().to_string());
    command
}

/// A kubeconfig for a server that is not there.
fn no_api_server(directory: &Scratch) -> PathBuf {
    let server = Server::start_plain();
    server.write_kubeconfig(directory.path())
}

#[test]
fn status_shows_what_exists_and_says_what_does_not() {
    let cluster = Cluster::synced(&Settings::default());
    let status = cluster.ask(&["status"]);
    assert_eq!((status.code, status.errors.as_str()), (Some(0), ""));
    for expected in [
        "Getting the status from the agent.\n",
        "\nCluster Agent (v7.70.0)\n",
        "\n  hostname: embedded-test\n",
        "\n    nodes: synced\n",
        "\n  Disabled: The admission controller is not enabled on the Cluster Agent\n",
        "\nCluster Checks Dispatching\n==========================\n  Not Enabled\n",
    ] {
        assert!(status.output.contains(expected), "{expected}\n--\n{}", status.output);
    }
    let json = cluster.ask(&["status", "-j"]);
    let document: Value = serde_json::from_str(&json.output).expect("one JSON value, nothing else");
    assert_eq!(document["metadata"]["meta"]["hostname"], "embedded-test");
    assert_eq!(document["kubernetesAPI"]["resources"]["nodes"]["objects"], 2);
    assert_eq!(document.get("clusterchecks"), None);
}

#[test]
fn cli_10_a_failing_election_is_shown_with_its_error() {
    let server = Server::start_plain();
    for verb in ["get", "create"] {
        server.faults().deny(verb, "configmaps");
    }
    let directory = Scratch::new();
    let kubeconfig = server.write_kubeconfig(directory.path());
    let settings =
        Settings::default().set("DD_LEADER_ELECTION", "true").set("DD_POD_NAME", "dca-0");
    let program = Program::start(binary(), &kubeconfig, &settings);
    let mut status = said(&mut asking(&program, &["status", "leader election"]));
    wait::until("the refusal is known", PATIENCE, || {
        status = said(&mut asking(&program, &["status", "leader election"]));
        status.output.contains("configmaps")
    });
    let start = "\n  Leader Election Status:  Failing\n  Error: ";
    assert!(status.output.contains(start), "{}", status.output);
    assert_eq!((status.code, status.errors.as_str()), (Some(0), ""));
}

#[test]
fn cli_29_a_terminated_leader_releases_its_lock_and_says_goodbye() {
    const LOCK: &str = "datadog-leader-election";
    let server = Server::start_plain();
    let directory = Scratch::new();
    let kubeconfig = server.write_kubeconfig(directory.path());
    let settings =
        Settings::default().set("DD_LEADER_ELECTION", "true").set("DD_POD_NAME", "dca-0");
    let mut program = Program::start(binary(), &kubeconfig, &settings);
    let holder = || {
        let lock = server.get("configmaps", "default", LOCK)?;
        let record =
            lock["metadata"]["annotations"]["control-plane.alpha.kubernetes.io/leader"].as_str()?;
        let record: Value = serde_json::from_str(record).ok()?;
        Some(record["holderIdentity"].as_str()?.to_owned())
    };
    wait::until("it leads", PATIENCE, || holder().as_deref() == Some("dca-0"));
    let status = said(&mut asking(&program, &["status", "leader election"]));
    assert!(status.output.contains("  Leader Name is: dca-0\n"), "{}", status.output);

    let start = Instant::now();
    program.signal("TERM");
    let status = program.wait_for_exit();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!((status.code(), holder().as_deref()), (Some(0), Some("")));
    program.wait_for_log("See ya!");
    assert!(program.log().trim_end().ends_with("See ya!"), "{}", program.log());
}

#[test]
fn without_external_metrics_the_section_says_so() {
    let cluster = Cluster::start(&Settings::default());
    let status = cluster.ask(&["status", "custom metrics server"]);
    let sentence =
        "  Disabled: The external metrics provider is not enabled on the Cluster Agent\n";
    assert!(status.output.contains(sentence), "{}", status.output);
}

#[test]
fn cli_12_sections_are_listed_found_in_any_case_and_refused() {
    let cluster = Cluster::start(&Settings::default());
    let list = cluster.ask(&["status", "-l"]);
    assert_eq!(list.output.lines().next(), Some("- \"header\""), "{}", list.output);
    let section = cluster.ask(&["status", "LEADER ELECTION"]);
    let block = "\n===============\nLeader Election\n===============\n  Leader Election Status:  ";
    assert!(section.output.contains(block), "{}", section.output);
    let unknown = cluster.ask(&["status", "nope"]);
    assert_eq!(unknown.code, Some(255));
    let start =
        "Error: unknown status section 'nope', available sections are: [\"header\",\"collector\",";
    assert!(unknown.errors.starts_with(start), "{}", unknown.errors);
}

#[test]
fn cli_13_metamap_shows_nodes_and_explains_unknown_ones() {
    let cluster = Cluster::synced(&Settings::default());
    let pods = cluster.server.deploy("shop", "web", &["node-a", "node-b"]);
    cluster.server.add_service("shop", "front", "web");
    let node = |node: &str, pod: &str| {
        format!(
            "\nNode detected: {node}\n\n  - Namespace: shop\n      - Pod: {pod}\n        Services: [front]\n"
        )
    };
    let title = "===============\nMetadata Mapper\n===============\n";
    let expected = format!("{title}{}{}\n", node("node-a", &pods[0]), node("node-b", &pods[1]));
    let mut output = String::new();
    wait::until("the map shows both pods", PATIENCE, || {
        output = cluster.ask(&["metamap"]).output;
        output == expected
    });
    let one = cluster.ask(&["metamap", "node-b"]);
    assert_eq!((one.code, one.output), (Some(0), format!("{title}{}\n", node("node-b", &pods[1]))));
    let unknown = cluster.ask(&["metamap", "nosuch"]);
    assert_eq!(unknown.code, Some(0));
    let warnings = "Warnings:\n   - Node nosuch could not be added to the metadata map bundle: \
                    the key agent/KubernetesMetadataMapping/nosuch was not found in the cache\n";
    assert_eq!(unknown.output, format!("{title}{warnings}"));
}

#[test]
fn cli_13_a_refused_list_is_given_as_the_reason_for_no_map() {
    let server = Server::start_plain();
    for resource in ["nodes", "endpoints", "endpointslices.discovery.k8s.io"] {
        server.faults().deny("list", resource);
    }
    let directory = Scratch::new();
    let kubeconfig = server.write_kubeconfig(directory.path());
    let program = Program::start(binary(), &kubeconfig, &Settings::default());
    let mut metamap = said(&mut asking(&program, &["metamap"]));
    wait::until("the reason is known", PATIENCE, || {
        metamap = said(&mut asking(&program, &["metamap"]));
        metamap.errors.contains("may not list")
    });
    assert_eq!(metamap.code, Some(255));
    assert!(metamap.output.contains("\nCould not run the service mapper: "), "{}", metamap.output);
}

#[test]
fn cli_14_a_node_without_services_is_detected() {
    let cluster = Cluster::synced(&Settings::default());
    let metamap = cluster.ask(&["metamap", "node-a"]);
    assert!(metamap.output.contains("\nNode detected: node-a\n"), "{}", metamap.output);
    assert!(!metamap.output.contains("Namespace"), "{}", metamap.output);
}

#[test]
fn health_of_the_running_program_is_good_once_it_is_synced() {
    let cluster = Cluster::synced(&Settings::default());
    let mut health = None;
    wait::until("the program is healthy", PATIENCE, || {
        let said = cluster.ask(&["health"]);
        let good = said.code == Some(0);
        health = Some(said);
        good
    });
    let output = health.expect("it was asked").output;
    assert!(output.starts_with("Agent health: PASS\n=== "), "{output}");
    assert!(output.contains("healthcheck"), "{output}");
}

#[test]
fn telemetry_prints_the_metrics_as_they_are() {
    let cluster = Cluster::start(&Settings::default());
    let metrics = cluster.ask(&["telemetry"]);
    assert_eq!(metrics.code, Some(0));
    assert!(metrics.output.contains("# TYPE api_requests counter\n"), "{}", metrics.output);
}

#[test]
fn cli_17_a_token_file_that_cannot_be_written_costs_one_warning() {
    let settings = Settings::default().set("DD_AUTH_TOKEN_FILE_PATH", "/proc/none/auth_token");
    let cluster = Cluster::start(&settings);
    let mut status = cluster.command(&["status", "-j"]);
    let status = said(status.env("DD_AUTH_TOKEN_FILE_PATH", "/proc/none/auth_token"));
    assert_eq!((status.code, status.errors.as_str()), (Some(0), ""));
    let log = cluster.program.log();
    let warnings = log.lines().filter(|line| line.contains("/proc/none")).count();
    assert_eq!(warnings, 1, "{log}");
}

#[test]
fn config_25_a_log_file_that_cannot_be_written_costs_one_warning() {
    let settings = Settings::default()
        .set("DD_DISABLE_FILE_LOGGING", "")
        .set("DD_LOG_FILE", "/proc/none/x.log");
    let cluster = Cluster::start(&settings);
    let log = cluster.program.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("/proc/none")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains(" | CLUSTER | WARN | (cluster_agent::logging:"), "{}", lines[0]);
    assert!(lines[0].contains("cannot log to /proc/none/x.log: "), "{}", lines[0]);
}

#[test]
fn the_log_file_gets_every_line_in_the_configured_format() {
    let directory = Scratch::new();
    let file = directory.path().join("agent.log");
    let settings = Settings::default()
        .set("DD_DISABLE_FILE_LOGGING", "")
        .set("DD_LOG_FILE", &file.display().to_string())
        .set("DD_LOG_FORMAT_JSON", "true");
    let cluster = Cluster::start(&settings);
    cluster.program.wait_for_log("Cluster Agent now running");
    let text = fs::read_to_string(&file).expect("the file was made");
    // The pipe is read by another thread, which may be behind the file.
    cluster.program.wait_for_log(text.lines().last().expect("there are lines"));
    assert!(cluster.program.log().starts_with(&text), "{}", cluster.program.log());
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("every line is JSON");
        assert_eq!(line["agent"], "cluster");
        assert!(line["line"].is_string(), "{line}");
    }
}

#[test]
fn config_28_the_dump_masks_keys_and_names_sources() {
    let settings = Settings::default().file("cluster_name: from-file\n");
    let cluster = Cluster::start(&settings);
    let config = cluster.ask(&["config"]);
    assert_eq!(config.code, Some(0));
    assert!(
        config.output.contains("api_key: \"***cdef\"  # env DD_API_KEY\n"),
        "{}",
        config.output
    );
    assert!(config.output.contains("cluster_name: \"from-file\"  # file\n"), "{}", config.output);
    assert!(config.output.contains("log_level: \"info\"  # default\n"), "{}", config.output);
    assert!(!config.output.contains("0123456789abcdef"), "{}", config.output);
    let sources = cluster.ask(&["config", "get", "-s", "cluster_name"]).output;
    assert!(
        sources.starts_with("cluster_name is set to: from-file\nsources and their value:\n"),
        "{sources}"
    );
    assert!(sources.contains("  file: from-file\n"), "{sources}");
}

#[test]
fn cli_30_a_program_without_api_server_ends_at_once_and_logs_as_told() {
    let directory = Scratch::new();
    let mut program = Program::start(binary(), &no_api_server(&directory), &Settings::default());
    let set = said(&mut asking(&program, &["config", "set", "log_level", "debug"]));
    assert_eq!((set.code, set.errors.as_str()), (Some(0), ""));
    assert_eq!(set.output, "Configuration setting log_level is now set to: debug\n");
    program.wait_for_log(" | DEBUG | ");
    let get = said(&mut asking(&program, &["config", "get", "log_level"]));
    assert_eq!(get.output, "log_level is set to: debug\n");
    let wrong = said(&mut asking(&program, &["config", "set", "log_level", "loud"]));
    assert_eq!((wrong.code, wrong.output.as_str()), (Some(255), ""));

    let start = Instant::now();
    program.signal("TERM");
    let status = program.wait_for_exit();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(status.code(), Some(0));
    program.wait_for_log("See ya!");
    assert!(program.log().trim_end().ends_with("See ya!"), "{}", program.log());
}

#[test]
fn a_start_that_cannot_be_exits_with_255_and_one_error() {
    let directory = Scratch::new();
    let start = |port: u16| {
        let mut command = command(binary(), &["start"]);
        command.arg("-c").arg(directory.path());
        command.env("DD_CLUSTER_AGENT_CMD_PORT", port.to_string()).env("DD_METRICS_PORT", "0");
        command.env("DD_DISABLE_FILE_LOGGING", "true");
        command
    };
    let keyless = said(&mut start(free_port()));
    assert_eq!((keyless.code, keyless.output.as_str()), (Some(255), ""));
    assert_eq!(keyless.errors, "Error: no API key configured, exiting\n");

    let taken = TcpListener::bind("[::]:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port();
    let refused = said(start(port).env("DD_API_KEY", "k"));
    assert_eq!(refused.code, Some(255));
    let text = "Error while starting agent API, exiting: unable to create the api server: ";
    assert!(refused.errors.starts_with(&format!("Error: {text}")), "{}", refused.errors);
    assert!(refused.output.contains(&format!(") | {text}")), "{}", refused.output);
    assert!(refused.output.contains(" | CRITICAL | "), "{}", refused.output);
}
