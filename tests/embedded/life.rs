//! Start, identity and end of the whole program.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::stage::{BINARY, Stage};
use crate::support::api_server::{Fault, Requests};
use crate::support::node_agent::NodeAgent;
use crate::support::program::{PATIENCE, Program, SHARED_TOKEN, Settings};
use crate::support::rest::Rest;
use crate::support::wait;

/// What a shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(10);

fn cluster_id(program: &Program) -> String {
    let mut agent = program.node_agent();
    let id = wait::some("the cluster id is known", PATIENCE, || {
        let answer = agent.get("/api/v1/cluster/id").ok()?;
        (answer.status == 200).then(|| answer.text())
    });
    serde_json::from_str(&id).expect("it is a JSON string")
}

fn stored_id(stage: &Stage) -> Value {
    let object = stage.server.get("configmaps", "default", "datadog-cluster-id");
    object.unwrap_or_default()["data"]["id"].clone()
}

fn apply_id(stage: &Stage, data: Value) {
    stage.server.apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": {"name": "datadog-cluster-id", "namespace": "default"},
    }));
}

#[test]
fn sigterm_ends_it_with_code_0_and_a_farewell() {
    let stage = Stage::new();
    let mut program = stage.start();
    let start = Instant::now();
    program.signal("TERM");
    let status = program.wait_for_exit();
    assert_eq!(status.code(), Some(0), "{}", program.log());
    assert!(start.elapsed() < SHUTDOWN, "{:?}", start.elapsed());
    assert!(program.log().contains("See ya!"), "{}", program.log());
}

#[test]
fn sigterm_before_the_api_server_was_ever_reached_ends_it_with_code_0() {
    let stage = Stage::new();
    stage.server.go_down();
    let mut program = stage.start_with(&Settings::default());
    program.signal("TERM");
    assert_eq!(program.wait_for_exit().code(), Some(0), "{}", program.log());
}

#[test]
fn a_stalled_api_server_does_not_hold_up_the_end() {
    let stage = Stage::new();
    stage.server.faults().add(Requests::all(), Fault::Stall, None);
    let mut program = stage.start_with(&Settings::default());
    let start = Instant::now();
    program.signal("TERM");
    assert_eq!(program.wait_for_exit().code(), Some(0), "{}", program.log());
    assert!(start.elapsed() < SHUTDOWN, "{:?}", start.elapsed());
}

#[test]
fn a_port_that_is_taken_ends_the_start_with_an_error() {
    let stage = Stage::new();
    let first = stage.start_with(&Settings::default());
    let taken = first.address().port().to_string();
    let settings = Settings::default().set("DD_CLUSTER_AGENT_CMD_PORT", &taken);
    let mut second = Program::spawn(Path::new(BINARY), stage.kubeconfig(), &settings);
    let status = second.wait_for_exit();
    assert!(!status.success());
    let reason = "Error while starting agent API, exiting: unable to create the api server";
    assert!(second.log().contains(reason), "{}", second.log());
}

#[test]
fn a_missing_api_key_ends_the_start() {
    let stage = Stage::new();
    let settings = Settings::default().set("DD_API_KEY", "");
    let mut program = Program::spawn(Path::new(BINARY), stage.kubeconfig(), &settings);
    assert!(!program.wait_for_exit().success());
    assert!(program.log().contains("no API key configured, exiting"), "{}", program.log());
}

#[test]
fn node_api_34_the_cluster_id_is_made_once_and_mended() {
    let stage = Stage::new();
    let program = stage.start();
    let id = cluster_id(&program);
    assert_eq!(id.len(), 36);
    assert_eq!(stored_id(&stage), json!(id));
    drop(program);

    // A ConfigMap that is there wins.
    let given = "5a1f0c9e-3c1d-4e0a-9a51-3d6b0b0a7c11";
    apply_id(&stage, json!({"id": given}));
    assert_eq!(cluster_id(&stage.start()), given);

    // One without data and one with nonsense are replaced.
    for data in [Value::Null, json!({"id": "too-short"})] {
        apply_id(&stage, data);
        let mended = cluster_id(&stage.start());
        assert_eq!(mended.len(), 36);
        assert_eq!(stored_id(&stage), json!(mended));
    }
}

#[test]
fn replicas_that_race_agree_on_the_cluster_id() {
    let stage = Stage::new();
    // Both have looked before one of them creates.
    stage.server.faults().add(
        Requests::of("create", "configmaps"),
        Fault::Delay(Duration::from_millis(300)),
        None,
    );
    let settings = Settings::default();
    let start = || Program::spawn(Path::new(BINARY), stage.kubeconfig(), &settings);
    let (first, second) = (start(), start());
    let ids = [cluster_id(&first), cluster_id(&second)];
    assert_eq!(ids[0], ids[1]);
    assert_eq!(stored_id(&stage), json!(ids[0]));
}

#[test]
fn node_api_35_blanks_around_a_token_are_trimmed_and_a_short_one_is_named() {
    let stage = Stage::new();
    let settings =
        Settings::default().set("DD_CLUSTER_AGENT_AUTH_TOKEN", &format!("{SHARED_TOKEN}\n"));
    let program = stage.start_with(&settings);
    assert_eq!(program.node_agent().get("/version").expect("it answers").status, 200);
    program.wait_for_log("WARN");
    drop(program);

    let short = &SHARED_TOKEN[..31];
    let settings = Settings::default().set("DD_CLUSTER_AGENT_AUTH_TOKEN", short);
    let program = Program::spawn(Path::new(BINARY), stage.kubeconfig(), &settings);
    let mut agent = NodeAgent::new(program.address(), short);
    wait::until("the short token is accepted", PATIENCE, || {
        agent.get("/version").is_ok_and(|answer| answer.status == 200)
    });
    program.wait_for_log("ERROR");
    assert!(!program.log().contains(short), "a token is never logged");
}

#[test]
fn health_and_telemetry_answer_on_their_ports() {
    let stage = Stage::new();
    let program = stage.start();
    program.node_agent().json("/api/v1/tags/pod/node-a");
    let health = Rest::new(&format!("http://{}", program.health_address()), "", None);
    wait::until("it is ready", PATIENCE, || health.get("/ready").status == 200);
    assert_eq!(health.get("/live").status, 200);
    let telemetry = Rest::new(&format!("http://{}", program.telemetry_address()), "", None);
    let metrics = telemetry.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.text.contains("api_requests{"), "{}", metrics.text);
}

#[test]
fn routes_of_the_command_line_want_its_own_token() {
    let stage = Stage::new();
    let program = stage.start();
    assert_eq!(program.node_agent().get("/status").expect("it answers").status, 403);
    let mut local = program.local_client();
    assert_eq!(local.get("/status").expect("it answers").status, 200);
    let all = local.json("/api/v1/tags/pod");
    assert!(all["Nodes"]["node-a"]["services"]["shop"].is_object(), "{all}");
}

#[test]
fn requests_to_the_api_server_name_the_program() {
    let stage = Stage::new();
    let _program = stage.start();
    for request in stage.server.log() {
        assert!(request.user_agent.contains("datadog-cluster-agent"), "{request:?}");
    }
}
