//! Events of a real API server on their way to a recording intake, while the program is killed, the history is
//! forgotten and the intake refuses: what was created, what arrived, what arrived twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{self, Cluster, NAME, Namespace};
use crate::support::intake::Intake;
use crate::support::program::{PATIENCE, Program, Settings};
use crate::support::scratch::Scratch;
use crate::support::wait;

/// Events of one burst.
const BURST: usize = 60;

/// What the events are about; those of Nodes live in the namespace `default`.
const KINDS: [&str; 3] = ["Pod", "Node", "Job"];

/// What one round did and what came of it.
struct Row {
    what: &'static str,
    created: usize,
    delivered: usize,
    doubled: usize,
}

/// A replica with the rights of the manifests, and the intake it sends to.
struct Scene<'a> {
    namespace: &'a Namespace<'a>,
    intake: Intake,
    directory: Scratch,
    kubeconfig: PathBuf,
    created: usize,
    rows: Vec<Row>,
}

impl<'a> Scene<'a> {
    fn new(cluster: &Cluster, namespace: &'a Namespace<'a>) -> Self {
        harness::install(namespace);
        let token = namespace.api().token(&namespace.name, NAME, None).expect("a token");
        let directory = Scratch::new();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {
                "server": cluster.api_base(),
                "certificate-authority": cluster.directory().join("ca.crt"),
            }}],
            "users": [{"name": "it", "user": {"token": token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        let kubeconfig = directory.write("kubeconfig", &config.to_string());
        let checks = directory.path().join("kubernetes_apiserver.d");
        fs::create_dir_all(checks).expect("the directory is writable");
        directory.write(
            "kubernetes_apiserver.d/conf.yaml",
            "instances:\n- min_collection_interval: 1\n",
        );
        let intake = Intake::start();
        Self { namespace, intake, directory, kubeconfig, created: 0, rows: Vec::new() }
    }

    fn start(&self) -> Program {
        let settings = Settings::default()
            .set("DD_LEADER_ELECTION", "true")
            .set("DD_LEADER_LEASE_DURATION", "4")
            .set("DD_POD_NAME", "replica")
            .set("DD_KUBE_RESOURCES_NAMESPACE", &self.namespace.name)
            .set("DD_COLLECT_KUBERNETES_EVENTS", "true")
            .set("DD_FORWARDER_BACKOFF_BASE", "0.05")
            .set("DD_FORWARDER_BACKOFF_MAX", "0.2")
            .set("DD_CONFD_PATH", &self.directory.path().display().to_string())
            .set("DD_DD_URL", &self.intake.url());
        let binary = Path::new(env!("CARGO_BIN_EXE_datadog-cluster-agent"));
        Program::start(binary, &self.kubeconfig, &settings)
    }

    /// Creates a burst of events, each about an object of its own.
    fn burst(&mut self) {
        for _ in 0..BURST {
            let number = self.created;
            let kind = KINDS[number % KINDS.len()];
            let about = if kind == "Node" { "" } else { self.namespace.name.as_str() };
            let home = if about.is_empty() { "default" } else { about };
            let event = json!({
                "apiVersion": "v1", "kind": "Event", "type": "Normal", "reason": "Happened", "count": 1,
                "metadata": {"name": format!("{}-{number}", self.namespace.name), "namespace": home},
                "involvedObject": {
                    "kind": kind, "namespace": about, "name": format!("object-{number}"), "uid": self.uid(number),
                },
                "message": format!("message {number}"), "source": {"component": "test"},
            });
            let path = format!("/api/v1/namespaces/{home}/events");
            self.namespace.api().create(&path, &event).expect("an event that the API server takes");
            self.created += 1;
        }
    }

    fn uid(&self, number: usize) -> String {
        format!("{}-uid-{number}", self.namespace.name)
    }

    /// How often each event of this test was accepted.
    fn delivered(&self) -> BTreeMap<String, usize> {
        let prefix = format!("kubernetes_apiserver:{}-uid-", self.namespace.name);
        let mut counts = BTreeMap::new();
        for event in self.intake.events() {
            let key = event["aggregation_key"].as_str().unwrap_or_default();
            if key.starts_with(&prefix) {
                *counts.entry(key.to_owned()).or_default() += 1;
            }
        }
        counts
    }

    fn token(&self) -> Option<u64> {
        let path = self.namespace.path("ConfigMap", "datadogtoken");
        let object: Value = self.namespace.api().get(&path).ok()?;
        object["data"]["event.tokenKey"].as_str()?.parse().ok()
    }

    /// Waits until everything has arrived and the position is behind it, and notes what this round made of it.
    #[track_caller]
    fn finish(&mut self, what: &'static str) {
        let created = self.created;
        wait::until(what, PATIENCE, || self.delivered().len() == created);
        let path = "/api/v1/events";
        let newest = || {
            let events = self.namespace.api().list(path).unwrap_or_default();
            let own = events.iter().filter(|event| event["source"]["component"] == "test");
            let version =
                |event: &Value| event["metadata"]["resourceVersion"].as_str()?.parse().ok();
            own.filter_map(version).max().unwrap_or(0_u64)
        };
        wait::until("the position has caught up", PATIENCE, || self.token() >= Some(newest()));
        let delivered = self.delivered();
        let doubled = delivered.values().filter(|count| **count > 1).count();
        self.rows.push(Row { what, created, delivered: delivered.len(), doubled });
    }

    #[track_caller]
    fn wait_refused(&self, status: u16) {
        wait::until("the intake has refused events", PATIENCE, || {
            let requests = self.intake.received("/intake/");
            requests.last().is_some_and(|request| request.status == status)
        });
    }
}

#[test]
fn no_event_is_lost_or_doubled_by_kills_outages_and_a_forgotten_history() {
    let cluster = Cluster::own();
    let namespace = cluster.namespace("events");
    let mut scene = Scene::new(&cluster, &namespace);
    let mut program = scene.start();
    wait::until("a position is stored", PATIENCE, || scene.token().is_some());

    scene.burst();
    scene.finish("everything is well");

    scene.intake.answer(503);
    scene.burst();
    scene.wait_refused(503);
    scene.intake.answer(202);
    scene.finish("the intake answered 503 for a while");

    scene.intake.answer(429);
    scene.burst();
    scene.wait_refused(429);
    program.signal("KILL");
    program.wait_for_exit();
    scene.burst();
    scene.intake.answer(202);
    program = scene.start();
    scene.finish("killed -9 while the intake answered 429");

    program.signal("KILL");
    program.wait_for_exit();
    scene.burst();
    cluster.compact();
    cluster.control_plane().api_server.restart();
    cluster.wait_ready();
    program = scene.start();
    scene.burst();
    scene.finish("killed -9, history compacted, API server restarted");

    program.signal("TERM");
    assert!(program.wait_for_exit().success(), "{}", program.log());
    scene.burst();
    let program = scene.start();
    scene.finish("ended and started again");

    println!("{:<52} {:>8} {:>9} {:>5} {:>8}", "after", "created", "delivered", "lost", "doubled");
    for Row { what, created, delivered, doubled } in &scene.rows {
        let lost = created - delivered;
        println!("{what:<52} {created:>8} {delivered:>9} {lost:>5} {doubled:>8}");
    }
    assert!(scene.rows.iter().all(|row| row.doubled == 0 && row.delivered == row.created));

    // The control plane's state comes with the same rights.
    let checks = || scene.intake.received("/api/v1/check_run");
    wait::until("the state of the control plane is sent", PATIENCE, || {
        checks().iter().any(|request| request.body[0]["check"] == "kube_apiserver_controlplane.up")
    });
    // The cluster id belongs into the namespace of the pod, and this replica has none.
    let refused = |line: &&str| line.contains("may not") && !line.contains("cluster ID");
    assert_eq!(program.log().lines().find(refused), None);
}
