//! Cluster checks and endpoint checks of the whole program: from annotations and files to what a node runs.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster_agent::checks::configuration::Configuration;
use cluster_agent::checks::identity;
use serde_json::{Value, json};

use crate::stage::{BINARY, Stage};
use crate::support::program::{PATIENCE, Program, Settings};
use crate::support::wait;

const CHECK: &str =
    r#"{"http_check":{"instances":[{"name":"Cart","url":"http://%%host%%:%%port%%"}]}}"#;
const ENDPOINT_CHECK: &str =
    r#"{"nginx":{"instances":[{"nginx_status_url":"http://%%host%%:%%port%%/status"}]}}"#;
const FILE: &str = "cluster_check: true\ninstances:\n- host: redis.shop\n  port: 6379\n";

/// Cluster checks with everything on and no time lost.
fn settings(stage: &Stage) -> Settings {
    let confd =
        stage.kubeconfig().parent().expect("the kubeconfig is in a directory").join("conf.d");
    std::fs::create_dir_all(confd.join("redisdb.d")).expect("the directory is writable");
    std::fs::write(confd.join("redisdb.d/conf.yaml"), FILE).expect("the directory is writable");
    std::fs::write(confd.join("broken.yaml"), "init_config: {}\n")
        .expect("the directory is writable");
    Settings::default()
        .set("DD_CONFD_PATH", &confd.display().to_string())
        .set("DD_CLUSTER_CHECKS_ENABLED", "true")
        .set("DD_CLUSTER_CHECKS_WARMUP_DURATION", "1")
        .set("DD_CLUSTER_NAME", "lab")
        .set("DD_EXTRA_CONFIG_PROVIDERS", "kube_services kube_endpoints")
        .set("DD_EXTRA_LISTENERS", "kube_services kube_endpoints")
}

fn annotate(stage: &Stage, service: &str) {
    stage.server.edit("services", "shop", service, |service| {
        service["metadata"]["annotations"] = json!({
            "ad.datadoghq.com/service.checks": CHECK,
            "ad.datadoghq.com/endpoints.checks": ENDPOINT_CHECK,
        });
    });
}

/// Reports as `node` and fetches when told to, as an Agent does; gives the configurations once there are `count`.
fn configurations(program: &Program, node: &str, count: usize) -> Vec<Value> {
    let mut agent = program.node_agent();
    let mut version = 0_i64;
    let mut list = Vec::new();
    wait::until("the node has its checks", PATIENCE, || {
        let body = json!({"last_change": version, "node_type": 2}).to_string();
        let status = agent.post(&format!("/api/v1/clusterchecks/status/{node}"), body.as_bytes());
        let Ok(status) = status.filter_status(200) else { return false };
        if status["isuptodate"] == false {
            let answer = agent.json(&format!("/api/v1/clusterchecks/configs/{node}"));
            version = answer["last_change"].as_i64().expect("the version is a number");
            list = answer["configs"].as_array().cloned().expect("the configurations are a list");
        }
        list.len() == count
    });
    list
}

/// An answer of the expected status as JSON.
trait FilterStatus {
    fn filter_status(self, status: u16) -> Result<Value, ()>;
}

impl FilterStatus for std::io::Result<crate::support::tls_client::Answer> {
    fn filter_status(self, status: u16) -> Result<Value, ()> {
        let answer = self.map_err(drop)?;
        if answer.status != status {
            return Err(());
        }
        serde_json::from_str(&answer.text()).map_err(drop)
    }
}

fn instance(configuration: &Value) -> String {
    let encoded = configuration["instances"][0].as_str().expect("an instance is base64");
    String::from_utf8(STANDARD.decode(encoded).expect("an instance is base64"))
        .expect("and text in it")
}

fn run(program: &Program, arguments: &[&str]) -> String {
    let output = Command::new(BINARY)
        .args(arguments)
        .args(["--cfgpath", &program.directory().display().to_string()])
        .env_clear()
        .env("DD_CLUSTER_AGENT_CMD_PORT", program.address().port().to_string())
        .env("DD_AUTH_TOKEN_FILE_PATH", program.directory().join("auth_token"))
        .env("DD_CLUSTER_CHECKS_ENABLED", "true")
        .env("DD_EXTRA_CONFIG_PROVIDERS", "kube_endpoints")
        .output()
        .expect("the program can be run");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the output is text")
}

#[test]
fn annotated_services_and_files_reach_the_node_that_reports() {
    let stage = Stage::new();
    annotate(&stage, "cart");
    let program = stage.start_with(&settings(&stage));
    let list = configurations(&program, "runner-1", 2);
    let names: Vec<&str> = list.iter().filter_map(|one| one["check_name"].as_str()).collect();
    assert!(names.contains(&"http_check") && names.contains(&"redisdb"), "{names:?}");
    let web = list.iter().find(|one| one["check_name"] == "http_check").expect("it is there");
    let text = instance(web);
    assert!(
        text.starts_with(
            "empty_default_hostname: true\nname: Cart\ntags:\n- kube_namespace:shop\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("- cluster_name:lab\n- kube_cluster_name:lab\nurl: http://10.96."),
        "{text}"
    );
    assert_eq!((&web["ad_identifiers"], &web["cluster_check"]), (&Value::Null, &json!(false)));

    let endpoints = wait::some("the pods have their checks", PATIENCE, || {
        let answer = program.node_agent().get("/api/v1/endpointschecks/configs/node-a");
        let answer = answer.filter_status(200).ok()?;
        answer["configs"].as_array().filter(|list| list.len() == 1).cloned()
    });
    assert_eq!(endpoints[0]["node_name"], "node-a");
    assert!(!instance(&endpoints[0]).contains("empty_default_hostname"));

    // A service that loses its annotations takes its checks with it, and nothing else.
    stage
        .server
        .edit("services", "shop", "cart", |service| service["metadata"]["annotations"] = json!({}));
    let list = configurations(&program, "runner-1", 1);
    assert_eq!(list[0]["check_name"], "redisdb");
}

#[test]
fn cluster_checks_25_a_node_that_never_reported_is_unknown() {
    let stage = Stage::new();
    let program = stage.start_with(&settings(&stage));
    configurations(&program, "runner-1", 1);
    let answer =
        program.node_agent().get("/api/v1/clusterchecks/configs/ghost").expect("it answers");
    assert_eq!((answer.status, answer.text().as_str()), (500, "node ghost is unknown\n"));
}

#[test]
fn cluster_checks_26_bad_reports_are_refused_with_their_reason() {
    let stage = Stage::new();
    let program = stage.start_with(&settings(&stage));
    let mut agent = program.node_agent();
    let path = "/api/v1/clusterchecks/status/runner-1";
    let answer = agent.post(path, b"x").expect("it answers");
    assert_eq!(answer.status, 500);
    assert!(answer.text().starts_with("expected value"), "{}", answer.text());
    let answer = agent.post(path, b"").expect("it answers");
    assert_eq!((answer.status, answer.text().as_str()), (500, "EOF\n"));
}

#[test]
fn cluster_checks_35_the_command_line_shows_the_identity_of_the_served_bytes() {
    let stage = Stage::new();
    annotate(&stage, "cart");
    let program = stage.start_with(&settings(&stage));
    let list = configurations(&program, "runner-1", 2);
    let shown = run(&program, &["clusterchecks"]);
    assert!(
        shown.starts_with(
            "=== 1 node-agents reporting ===\n\nName       Running checks\nrunner-1   2\n"
        ),
        "{shown}"
    );
    for one in list {
        let configuration: Configuration =
            serde_json::from_value(one).expect("what is served can be read");
        let digest = identity::fast_digest(&configuration);
        for instance in &configuration.instances {
            let id = identity::instance_id(&configuration, digest, instance);
            assert!(shown.contains(&format!("Instance ID: {id}\n")), "{id} is not in\n{shown}");
        }
    }
    assert!(shown.contains("===== 2 Pod-backed Endpoints-Checks scheduled ====="), "{shown}");

    let before_assignment = run(&program, &["configcheck", "-v"]);
    assert!(before_assignment.contains("\nbroken: "), "{before_assignment}");
    assert!(
        before_assignment.contains("=== http_check cluster check ===\n"),
        "{before_assignment}"
    );
    assert!(before_assignment.contains("* kube_service://shop/cart\n"), "{before_assignment}");
    wait::until("the status counts the node", PATIENCE, || {
        let status = run(&program, &["status", "cluster checks dispatching"]);
        status.contains("  Status: Leader, serving requests\n  Active agents: 1\n")
    });
}

#[test]
fn cluster_checks_32_off_means_404_and_one_sentence() {
    let stage = Stage::new();
    let program = stage.start();
    let mut agent = program.node_agent();
    for path in ["configs/a", "../endpointschecks/configs/a"] {
        let path = format!("/api/v1/clusterchecks/{path}").replace("clusterchecks/../", "");
        let answer = agent.get(&path).expect("it answers");
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (404, "Cluster-checks are not enabled"),
            "{path}"
        );
    }
    let answer = agent.post("/api/v1/clusterchecks/status/a", b"{}").expect("it answers");
    assert_eq!(answer.status, 404);
    let mut local = program.local_client();
    for path in ["/api/v1/clusterchecks", "/api/v1/endpointschecks/configs", "/config-check"] {
        assert_eq!(local.get(path).expect("it answers").status, 404, "{path}");
    }
    let output = Command::new(BINARY)
        .args(["clusterchecks", "--cfgpath"])
        .arg(Path::new(program.directory()))
        .env_clear()
        .output()
        .expect("the program can be run");
    assert!(output.status.success());
    assert_eq!(output.stdout, b"Cluster-checks are not enabled\n");
}
