//! Checks in the annotations of Services run on exactly one runner each, whatever happens to runners and to the program.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::harness::{AUTH_TOKEN, Cluster, Namespace, PATIENCE, wait_until};
use crate::support::node_agent::NodeAgent;

/// Port of the node API, as in the manifests.
const PORT: u16 = 5005;
const CHECK: &str =
    r#"{"http_check":{"instances":[{"name":"%%env_NOTHING%%","url":"http://%%host%%"}]}}"#;

/// A runner that follows the protocol of the Agents: it reports, and fetches when it is told that it is behind.
struct Runner {
    name: &'static str,
    client: NodeAgent,
    version: i64,
    /// The services whose checks it runs.
    services: BTreeSet<String>,
}

impl Runner {
    fn new(name: &'static str, address: SocketAddr) -> Self {
        let client = NodeAgent::new(address, AUTH_TOKEN);
        Self { name, client, version: 0, services: BTreeSet::new() }
    }

    /// One round; without an answer it keeps what it has, as Agents do.
    fn poll(&mut self, namespace: &str) {
        let report = json!({"last_change": self.version, "node_type": 1}).to_string();
        let path = format!("/api/v1/clusterchecks/status/{}", self.name);
        let Ok(answer) = self.client.post(&path, report.as_bytes()) else { return };
        if answer.status != 200 || !answer.text().contains("false") {
            return;
        }
        let Ok(answer) = self.client.get(&format!("/api/v1/clusterchecks/configs/{}", self.name))
        else {
            return;
        };
        if answer.status != 200 {
            return;
        }
        let list: Value = serde_json::from_str(&answer.text()).expect("a 200 is JSON");
        self.version = list["last_change"].as_i64().expect("the version is a number");
        let prefix = format!("kube_service://{namespace}/");
        let services = list["configs"].as_array().expect("the configurations are a list").iter();
        let services = services.filter_map(|one| one["service_id"].as_str()?.strip_prefix(&prefix));
        self.services = services.map(str::to_owned).collect();
    }
}

/// The runners that are alive.
struct Crew<'a> {
    namespace: &'a Namespace<'a>,
    runners: Vec<Runner>,
}

impl Crew<'_> {
    /// Where each check runs after one more round of all; an error says which runs twice.
    fn round(&mut self) -> Result<BTreeMap<String, &'static str>, String> {
        let mut places = BTreeMap::new();
        for runner in &mut self.runners {
            runner.poll(&self.namespace.name);
        }
        for runner in &self.runners {
            for service in &runner.services {
                if let Some(other) = places.insert(service.clone(), runner.name) {
                    return Err(format!("{service} runs on {other} and on {}", runner.name));
                }
            }
        }
        Ok(places)
    }

    /// Waits until exactly these checks run, each once.
    #[track_caller]
    fn wait_for(&mut self, services: &[String]) -> BTreeMap<String, &'static str> {
        wait_until(PATIENCE, "every check on one runner", || {
            let places = self.round()?;
            if places.keys().eq(services.iter()) { Ok(places) } else { Err(format!("{places:?}")) }
        })
    }
}

#[test]
fn every_check_is_on_one_runner_through_death_deletion_and_restart() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("checks");
    let mut services: Vec<String> = (0..6).map(|number| format!("web-{number}")).collect();
    for service in &services {
        annotated(&namespace, service);
    }
    let mut agent = Agent::install(
        &namespace,
        &[
            ("DD_LEADER_ELECTION", "false"),
            ("DD_CLUSTER_CHECKS_ENABLED", "true"),
            ("DD_CLUSTER_CHECKS_WARMUP_DURATION", "2"),
            ("DD_CLUSTER_CHECKS_NODE_EXPIRATION_TIMEOUT", "5"),
            ("DD_EXTRA_CONFIG_PROVIDERS", "kube_services"),
            ("DD_EXTRA_LISTENERS", "kube_services"),
            ("NOTHING", "front page"),
        ],
    );
    agent.wait_for("/version");
    let address = SocketAddr::from((agent.replica.address(), PORT));
    let names = ["runner-a", "runner-b", "runner-c"];
    let runners = names.map(|name| Runner::new(name, address)).into();
    let mut crew = Crew { namespace: &namespace, runners };
    let before = crew.wait_for(&services);
    for name in names {
        assert_eq!(before.values().filter(|runner| **runner == name).count(), 2, "{before:?}");
    }

    // A runner dies: its checks move, and only its.
    crew.runners.retain(|runner| runner.name != "runner-b");
    let after = crew.wait_for(&services);
    for (service, runner) in &before {
        assert!(
            *runner == "runner-b" || after[service] == *runner,
            "{service}: {before:?}, {after:?}"
        );
    }

    // A service goes: its check goes, and only its.
    let gone = services.remove(0);
    namespace.api().delete(&namespace.path("Service", &gone)).expect("it is there");
    let fewer = crew.wait_for(&services);
    assert!(
        fewer.iter().all(|(service, runner)| after[service] == *runner),
        "{after:?}, {fewer:?}"
    );

    // The program is killed and begins anew: until it knows everything again the runners keep what they have.
    agent.replica.process().kill();
    assert_eq!(crew.round().expect("nobody runs anything twice"), fewer);
    agent.replica.restart();
    agent.wait_for("/version");
    assert_eq!(crew.round().expect("nobody runs anything twice"), fewer);
    crew.wait_for(&services);
}

fn annotated(namespace: &Namespace<'_>, name: &str) {
    namespace.apply(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "annotations": {"ad.datadoghq.com/service.checks": CHECK}},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
    }));
}
