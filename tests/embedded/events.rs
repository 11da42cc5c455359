//! Events on their way from the embedded API server to a recording intake.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

use crate::stage::BINARY;
use crate::support::api_server::Server;
use crate::support::intake::Intake;
use crate::support::program::{PATIENCE, Program, Settings};
use crate::support::scratch::Scratch;
use crate::support::wait;

const TOKEN: &str = "datadogtoken";
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// An API server and an intake; a replica that collects every second is started between them.
struct Scene {
    server: Server,
    intake: Intake,
    directory: Scratch,
}

impl Scene {
    fn new() -> Self {
        let directory = Scratch::new();
        let folder = directory.path().join("kubernetes_apiserver.d");
        std::fs::create_dir_all(folder).expect("the directory is writable");
        directory.write(
            "kubernetes_apiserver.d/kubernetes_apiserver.yaml",
            "instances:\n- min_collection_interval: 1\n",
        );
        Self { server: Server::start(), intake: Intake::start(), directory }
    }

    fn start(&self, settings: Settings) -> Program {
        self.start_towards(&self.intake.url(), settings)
    }

    fn start_towards(&self, base: &str, settings: Settings) -> Program {
        let kubeconfig = self.server.write_kubeconfig(self.directory.path());
        let settings = settings
            .set("DD_LEADER_ELECTION", "true")
            .set("DD_LEADER_LEASE_DURATION", "4")
            .set("DD_POD_NAME", "replica")
            .set("DD_COLLECT_KUBERNETES_EVENTS", "true")
            .set("DD_CLUSTER_NAME", "prod")
            .set("DD_TAGS", "team:edge")
            .set("DD_FORWARDER_BACKOFF_BASE", "0.05")
            .set("DD_FORWARDER_BACKOFF_MAX", "0.2")
            .set("DD_CONFD_PATH", &self.directory.path().display().to_string())
            .set("DD_DD_URL", base);
        Program::start(Path::new(BINARY), &kubeconfig, &settings)
    }

    /// An event of a pod of its own.
    fn happens(&self, number: usize) {
        self.server.apply(json!({
            "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": "BackOff", "count": 1,
            "metadata": {"name": format!("event-{number}"), "namespace": "shop"},
            "involvedObject": {
                "kind": "Pod", "namespace": "shop", "name": format!("pod-{number}"), "uid": format!("uid-{number}"),
            },
            "message": format!("message {number}"),
            "source": {"component": "kubelet", "host": "node-a"}, "reportingComponent": "kubelet",
            "firstTimestamp": "2024-05-02T10:00:01Z", "lastTimestamp": "2024-05-02T10:03:15Z",
        }));
    }

    fn token(&self) -> Option<u64> {
        let object = self.server.get("configmaps", "default", TOKEN)?;
        object["data"]["event.tokenKey"].as_str()?.parse().ok()
    }

    #[track_caller]
    fn wait_for_token(&self) -> u64 {
        wait::some("the position is stored", PATIENCE, || self.token())
    }

    /// How often each pod's event was accepted.
    fn delivered(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for event in self.intake.events() {
            *counts
                .entry(event["aggregation_key"].as_str().unwrap_or_default().to_owned())
                .or_default() += 1;
        }
        counts
    }

    #[track_caller]
    fn wait_delivered(&self, numbers: std::ops::Range<usize>) {
        let expected: BTreeMap<String, usize> =
            numbers.map(|number| (format!("kubernetes_apiserver:uid-{number}"), 1)).collect();
        wait::until("everything is delivered", PATIENCE, || {
            expected.keys().all(|key| self.delivered().contains_key(key))
        });
        assert_eq!(self.delivered(), expected);
    }

    /// Waits until everything that was delivered is behind the stored position.
    #[track_caller]
    fn wait_settled(&self) {
        let newest = || {
            let events = self.server.list("events", None).into_iter();
            let version =
                |event: Value| event["metadata"]["resourceVersion"].as_str()?.parse().ok();
            events.filter_map(version).max().unwrap_or(0_u64)
        };
        wait::until("the position has caught up", PATIENCE, || self.token() >= Some(newest()));
    }
}

// spec: events_and_leader_23
#[test]
fn an_event_arrives_in_the_form_of_the_intake() {
    let scene = Scene::new();
    let program = scene.start(Settings::default());
    scene.wait_for_token();
    scene.happens(0);
    scene.wait_delivered(0..1);
    let request = scene.intake.received("/intake/").pop().expect("one came");
    assert_eq!(request.method, "POST");
    assert_eq!(request.body["apiKey"], "");
    assert_eq!(request.body["internalHostname"], "embedded-test");
    let event = &request.body["events"]["kubernetes"][0];
    assert_eq!(event["msg_title"], "Events from the Pod shop/pod-0");
    assert_eq!(event["host"], "node-a-prod");
    let tags = event["tags"].as_array().expect("tags");
    for tag in ["team:edge", "kube_cluster_name:prod", "cluster_name:prod", "pod_name:pod-0"] {
        assert!(tags.contains(&json!(tag)), "{tag} is not in {tags:?}");
    }
    for (name, value) in [
        ("dd-api-key", KEY),
        ("dd-agent-version", "7.70.0"),
        ("user-agent", "datadog-agent/7.70.0"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(request.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!request.target.contains(KEY) && !program.log().contains(KEY));
    wait::until("the status counts it", PATIENCE, || {
        let status = program.local_client().json("/status?format=json");
        status["forwarderStats"]["Transactions"]["SuccessByEndpoint"]["intake"] == 1
    });
}

// spec: events_and_leader_14
#[test]
fn a_fresh_start_sends_no_backlog_and_a_later_one_goes_on_without_a_list() {
    let scene = Scene::new();
    scene.happens(100);
    let mut program = scene.start(Settings::default());
    scene.wait_for_token();
    scene.happens(0);
    scene.wait_delivered(0..1);
    scene.wait_settled();
    program.signal("TERM");
    assert!(program.wait_for_exit().success());

    scene.happens(1);
    scene.server.clear_log();
    let position = scene.token().expect("it was stored");
    let _program = scene.start(Settings::default());
    scene.happens(2);
    scene.wait_delivered(0..3);
    let requests = scene.server.log().into_iter().map(|request| format!("{request:?}"));
    let requests: Vec<String> =
        requests.filter(|request| request.contains("/api/v1/events")).collect();
    assert!(requests.iter().all(|request| request.contains("watch=1")), "{requests:?}");
    let from = format!("resourceVersion={position}");
    assert!(
        requests.iter().any(|request| request.contains(&from)),
        "{from} is not in {requests:?}"
    );
}

#[test]
fn nothing_is_lost_or_doubled_when_it_is_killed_while_the_intake_is_down() {
    let scene = Scene::new();
    let mut program = scene.start(Settings::default());
    scene.wait_for_token();
    scene.happens(0);
    scene.wait_delivered(0..1);
    scene.wait_settled();
    for round in 0..3 {
        scene.intake.answer(503);
        let before = scene.intake.received("/intake/").len();
        scene.happens(2 * round + 1);
        // Longer than the time after which a position is stored.
        wait::until("the intake has refused it again and again", PATIENCE, || {
            scene.intake.received("/intake/").len() > before + 12
        });
        program.signal("KILL");
        program.wait_for_exit();
        scene.happens(2 * round + 2);
        // In the second round the history since the stored position is forgotten as well.
        if round == 1 {
            scene.server.compact();
        }
        scene.intake.answer(202);
        program = scene.start(Settings::default());
        scene.wait_delivered(0..2 * round + 3);
        scene.wait_settled();
    }
}

#[test]
fn a_refused_payload_is_dropped_and_counted_and_the_rest_goes_on() {
    let scene = Scene::new();
    let program = scene.start(Settings::default());
    scene.wait_for_token();
    scene.intake.answer_next(&[413]);
    scene.happens(0);
    program.wait_for_log("dropping it");
    scene.wait_settled();
    scene.intake.answer_next(&[404, 429, 500]);
    scene.happens(1);
    scene.wait_delivered(1..2);
    let transactions = || {
        program.local_client().json("/status?format=json")["forwarderStats"]["Transactions"].clone()
    };
    wait::until("the status counts all of it", PATIENCE, || {
        transactions()["SuccessByEndpoint"]["intake"] == 1
    });
    let transactions = transactions();
    assert_eq!(transactions["Dropped"], 1, "{transactions}");
    for status in ["404", "413", "429", "500"] {
        assert_eq!(transactions["HTTPErrorsByCode"][status], 1, "{transactions}");
    }
}

/// A proxy that wants credentials from everybody; it keeps the heads of the requests.
fn refusing_proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(&socket).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(head.join("\n"));
            let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
            // Whoever left does not wait for the answer.
            let _ = socket.write_all(answer.as_bytes());
        }
    });
    (address, heads)
}

// spec: events_and_leader_27
#[test]
fn only_what_goes_to_datadog_takes_the_proxy_and_its_refusal_is_named() {
    let scene = Scene::new();
    let (address, heads) = refusing_proxy();
    let settings = Settings::default()
        .set("DD_PROXY_HTTPS", &format!("http://u:p%40ss@{address}"))
        .set("HTTPS_PROXY", "http://127.0.0.1:9")
        .set("HTTP_PROXY", "http://127.0.0.1:9")
        .set("DD_PROXY_NO_PROXY", "other.invalid");
    let program = scene.start_towards("https://relay.invalid", settings);
    scene.wait_for_token();
    program.wait_for_log("refuses the connection");
    assert!(program.log().contains("407"), "{}", program.log());
    assert!(!program.log().contains("p%40ss") && !program.log().contains("dTpwQHNz"));
    let heads = heads.lock().unwrap_or_else(PoisonError::into_inner);
    for head in heads.iter() {
        assert!(head.starts_with("CONNECT relay.invalid:443 HTTP/1.1"), "{head}");
        assert!(head.to_lowercase().contains("proxy-authorization: basic dtpwqhnz"), "{head}");
    }
}
