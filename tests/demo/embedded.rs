//! The demonstration's cluster inside this process: needs nothing but the program.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;

use super::support::api_server::Server;
use super::support::program::{Program, SHARED_TOKEN, Settings};
use super::support::scratch::Scratch;
use super::world::{Services, World, services_of};

const NODES: [&str; 2] = ["node-1", "node-2"];
/// Services of the shop and the pods that each begins with.
const SHOP: [(&str, usize); 5] =
    [("frontend", 2), ("cart", 2), ("checkout", 2), ("payments", 2), ("redis", 1)];

/// The embedded API server with the shop in it.
pub struct Embedded {
    binary: PathBuf,
    server: Server,
    directory: Scratch,
    program: Option<Program>,
    /// The pods of each app, oldest first.
    pods: BTreeMap<String, Vec<String>>,
    /// Each service and its app.
    services: Vec<(String, String)>,
    /// How many pods have been placed, so that they spread over the nodes.
    placed: usize,
}

impl Embedded {
    /// Starts the API server; `binary` is the program.
    pub fn start(binary: PathBuf) -> Self {
        let server = Server::start();
        let directory = Scratch::new();
        let mut world = Self {
            binary,
            server,
            directory,
            program: None,
            pods: BTreeMap::new(),
            services: Vec::new(),
            placed: 0,
        };
        for node in NODES {
            world.server.add_node(node);
        }
        world.server.add_namespace("shop", json!({"team": "web"}));
        for (app, replicas) in SHOP {
            world.add_service(app, app);
            world.scale(app, replicas);
        }
        world.server.add_service("kube-system", "kube-dns", "coredns");
        world.server.deploy("kube-system", "coredns", &NODES);
        world
    }
}

impl World for Embedded {
    fn describe(&self) -> Vec<String> {
        let apps: Vec<String> =
            SHOP.iter().map(|(app, replicas)| format!("{app} ({replicas})")).collect();
        vec![
            format!(
                "an embedded API server on {}, nodes {}",
                self.server.url(),
                NODES.join(" and ")
            ),
            format!("namespace shop: {}", apps.join(", ")),
            "namespace kube-system: coredns (2) behind kube-dns".to_owned(),
        ]
    }

    fn token(&self) -> &'static str {
        SHARED_TOKEN
    }

    fn start_program(&mut self) -> SocketAddr {
        let kubeconfig = self.server.write_kubeconfig(self.directory.path());
        let program = Program::start(&self.binary, &kubeconfig, &Settings::default());
        let address = program.address();
        self.program = Some(program);
        address
    }

    fn end_program(&mut self) -> Result<(), String> {
        let Some(mut program) = self.program.take() else { return Ok(()) };
        program.signal("TERM");
        let status = program.wait_for_exit();
        if status.success() { Ok(()) } else { Err(format!("the program ended with {status}")) }
    }

    fn nodes(&self) -> [String; 2] {
        NODES.map(str::to_owned)
    }

    fn scale(&mut self, app: &str, replicas: usize) {
        let pods = self.pods.entry(app.to_owned()).or_default();
        while pods.len() < replicas {
            pods.push(self.server.add_pod("shop", app, NODES[self.placed % NODES.len()]));
            self.placed += 1;
        }
        for pod in pods.drain(replicas..) {
            self.server.delete("pods", "shop", &pod);
        }
    }

    fn add_service(&mut self, name: &str, app: &str) {
        self.server.add_service("shop", name, app);
        self.services.push((name.to_owned(), app.to_owned()));
    }

    fn replace_pod(&mut self, app: &str) {
        let Some(pods) = self.pods.get_mut(app).filter(|pods| !pods.is_empty()) else { return };
        let old = pods.remove(0);
        let object = self.server.get("pods", "shop", &old).unwrap_or_default();
        let elsewhere = NODES.iter().find(|node| object["spec"]["nodeName"] != **node);
        pods.push(self.server.move_pod("shop", &old, elsewhere.unwrap_or(&NODES[0])));
    }

    fn stop_api_server(&mut self) {
        self.server.go_down();
    }

    fn start_api_server(&mut self) {
        self.server.compact();
        self.server.come_back();
    }

    fn is_settled(&self) -> bool {
        // The controller inside the server is a moment behind the pods.
        let endpoints = self.server.list("endpoints", Some("shop"));
        let by_node = NODES.map(|node| services_of(node, &endpoints));
        let has = |service: &String, pod: &String| {
            let pod = ("shop".to_owned(), pod.clone());
            by_node
                .iter()
                .any(|pods| pods.get(&pod).is_some_and(|services| services.contains(service)))
        };
        let known: usize = by_node.iter().flat_map(Services::values).map(BTreeSet::len).sum();
        let wanted = self.services.iter().map(|(_, app)| self.pods[app].len()).sum::<usize>();
        let all =
            |(service, app): &(String, String)| self.pods[app].iter().all(|pod| has(service, pod));
        known == wanted && self.services.iter().all(all)
    }

    fn expected(&self, node: &str) -> Services {
        services_of(node, &self.server.list("endpoints", None))
    }
}
