//! The demonstration's cluster on the real control plane of `tests/cluster`: etcd, API server, controllers, scheduler,
//! KWOK nodes; the program runs as the pod of the project's own manifests.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::harness::{self, Cluster, Command, NODES, Namespace, PATIENCE, Replica, wait_until};
use super::support::node_agent::NodeAgent;
use super::world::{Services, World, services_of};

/// Deployments of the shop and the pods that each begins with.
const SHOP: [(&str, u32); 5] =
    [("frontend", 2), ("cart", 2), ("checkout", 2), ("payments", 2), ("redis", 1)];

/// The control plane of this process with the shop on it.
pub struct Real {
    binary: PathBuf,
    cluster: &'static Cluster,
    shop: &'static Namespace<'static>,
    agents: &'static Namespace<'static>,
    replica: Option<Replica<'static>>,
    /// Each service and its app.
    services: Vec<(String, String)>,
}

impl Real {
    /// Starts the control plane; `binary` is the program.
    pub fn start(binary: PathBuf) -> Self {
        // It lives as long as this process, after which its reaper takes everything down.
        let cluster = Cluster::shared();
        let namespace =
            |hint| -> &'static Namespace<'static> { Box::leak(Box::new(cluster.namespace(hint))) };
        // Two nodes have an Agent in the demonstration; what happens on a third one nobody would see.
        let closed = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODES[2]}, "spec": {"unschedulable": true},
        });
        cluster.api().apply(&closed).unwrap_or_else(|error| panic!("{}: {error}", NODES[2]));
        let (shop, agents) = (namespace("shop"), namespace("agents"));
        let mut world = Self { binary, cluster, shop, agents, replica: None, services: Vec::new() };
        for (app, replicas) in SHOP {
            shop.deployment(app, replicas);
            world.add_service(app, app);
        }
        for (app, replicas) in SHOP {
            shop.running_pods(app, replicas as usize);
        }
        world
    }

    fn endpoints(&self) -> Option<Vec<serde_json::Value>> {
        self.cluster.api().list("/api/v1/endpoints").ok()
    }
}

impl World for Real {
    fn describe(&self) -> Vec<String> {
        let apps: Vec<String> =
            SHOP.iter().map(|(app, replicas)| format!("{app} ({replicas})")).collect();
        vec![
            format!(
                "a real control plane on {}, nodes {}",
                self.cluster.api_base(),
                NODES.join(", ")
            ),
            format!("namespace {}: {}", self.shop.name, apps.join(", ")),
        ]
    }

    fn token(&self) -> &'static str {
        harness::AUTH_TOKEN
    }

    fn start_program(&mut self) -> SocketAddr {
        let template = harness::install(self.agents);
        let command = Command { program: Path::new(&self.binary), arguments: &["start"] };
        let mut replica = Replica::start(self.agents, "agent-0", &template, &command);
        let address = SocketAddr::from((replica.address(), 5005));
        let mut agent = NodeAgent::new(address, self.token());
        wait_until(PATIENCE, "answer of the program", || {
            replica.process().alive()?;
            let answer = agent.get("/version").map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
        });
        self.replica = Some(replica);
        address
    }

    fn end_program(&mut self) -> Result<(), String> {
        let Some(mut replica) = self.replica.take() else { return Ok(()) };
        let status = replica.process().terminate();
        if status.success() { Ok(()) } else { Err(format!("the program ended with {status}")) }
    }

    fn nodes(&self) -> [String; 2] {
        [NODES[0].to_owned(), NODES[1].to_owned()]
    }

    fn scale(&mut self, app: &str, replicas: usize) {
        let replicas = u32::try_from(replicas).expect("a handful of pods");
        self.shop.deployment(app, replicas);
        self.shop.running_pods(app, replicas as usize);
    }

    fn add_service(&mut self, name: &str, app: &str) {
        self.shop.service(name, app);
        self.services.push((name.to_owned(), app.to_owned()));
    }

    fn replace_pod(&mut self, app: &str) {
        let path = format!("{}?labelSelector=app%3D{app}", self.shop.collection("Pod"));
        let pods = self.cluster.api().list(&path).unwrap_or_default();
        let name =
            pods.first().and_then(|pod| pod["metadata"]["name"].as_str()).unwrap_or_default();
        let deleted = self.cluster.api().delete(&self.shop.path("Pod", name));
        deleted.unwrap_or_else(|error| panic!("pod {name}: {error}"));
        let gone = self.shop.path("Pod", name);
        wait_until(PATIENCE, "end of the pod", || match self.cluster.api().get(&gone) {
            Ok(pod) => Err(pod["status"]["phase"].to_string()),
            Err(_) => Ok(()),
        });
        self.shop.running_pods(app, pods.len());
    }

    fn stop_api_server(&mut self) {
        self.cluster.control_plane().api_server.kill();
    }

    fn start_api_server(&mut self) {
        self.cluster.compact();
        self.cluster.control_plane().api_server.restart();
        self.cluster.wait_ready();
    }

    fn is_settled(&self) -> bool {
        let Some(endpoints) = self.endpoints() else { return false };
        self.services.iter().all(|(service, app)| {
            let path = format!("{}?labelSelector=app%3D{app}", self.shop.collection("Pod"));
            let Ok(pods) = self.cluster.api().list(&path) else { return false };
            let name = |pod: &serde_json::Value| {
                pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()
            };
            let wanted: BTreeSet<String> = pods.iter().map(name).collect();
            let object: Vec<_> = endpoints
                .iter()
                .filter(|object| {
                    object["metadata"]["namespace"] == self.shop.name
                        && object["metadata"]["name"] == **service
                })
                .cloned()
                .collect();
            let found = NODES.iter().flat_map(|node| services_of(node, &object));
            found.map(|((_, pod), _)| pod).collect::<BTreeSet<_>>() == wanted
        })
    }

    fn expected(&self, node: &str) -> Services {
        services_of(node, &self.endpoints().unwrap_or_default())
    }
}
