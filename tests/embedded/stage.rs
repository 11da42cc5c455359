//! A shop's cluster on an embedded API server, and what tests of the whole program ask again and again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api_server::Server;
use crate::support::node_agent::NodeAgent;
use crate::support::program::{PATIENCE, Program, SHARED_TOKEN, Settings};
use crate::support::scratch::Scratch;
use crate::support::wait;

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_datadog-cluster-agent");
/// The slices' qualified name.
pub const SLICES: &str = "endpointslices.discovery.k8s.io";

/// An API server with nodes `node-a` and `node-b`, and a service `cart` in namespace `shop` before `pods`.
pub struct Stage {
    /// The API server.
    pub server: Server,
    /// The pods of `shop/cart`: the first on node-a, the second on node-b.
    pub pods: Vec<String>,
    kubeconfig: PathBuf,
    directory: Scratch,
}

/// Asks for a node's services all the time and notes every answer that is not complete.
pub struct Steady {
    closed: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    thread: JoinHandle<Vec<String>>,
}

impl Stage {
    /// Sets it up.
    pub fn new() -> Self {
        let server = Server::start();
        server.add_node("node-a");
        server.add_node("node-b");
        server.add_namespace("shop", json!({"team": "web"}));
        server.add_service("shop", "cart", "cart");
        let pods = server.deploy("shop", "cart", &["node-a", "node-b"]);
        let stage = {
            let directory = Scratch::new();
            let kubeconfig = server.write_kubeconfig(directory.path());
            Self { server, pods, kubeconfig, directory }
        };
        stage.wait_for_endpoints("cart", 2);
        stage
    }

    /// Starts the program and waits until it has read the cluster.
    pub fn start(&self) -> Program {
        let program = self.start_with(&Settings::default());
        program.wait_synced();
        program
    }

    /// Starts the program with more settings and waits until it answers at all.
    pub fn start_with(&self, settings: &Settings) -> Program {
        Program::start(Path::new(BINARY), &self.kubeconfig, settings)
    }

    /// The kubeconfig that the program is given.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Replaces the token in the file that the kubeconfig names.
    pub fn write_token(&self, token: &str) {
        self.directory.write("token", token);
    }

    /// Waits until the server's controller has put this many pods behind a service of the shop.
    #[track_caller]
    pub fn wait_for_endpoints(&self, service: &str, count: usize) {
        wait::until("the endpoints are made", PATIENCE, || {
            let slices = self.server.list(SLICES, Some("shop")).into_iter();
            let own = slices.filter(|slice| {
                slice["metadata"]["labels"]["kubernetes.io/service-name"] == service
            });
            let counts = own.map(|slice| slice["endpoints"].as_array().map_or(0, Vec::len));
            counts.sum::<usize>() == count
        });
    }
}

impl Steady {
    /// Starts asking.
    pub fn start(program: &Program, node: &'static str) -> Self {
        let (closed, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let address = program.address();
        let (seen, count) = (Arc::clone(&closed), Arc::clone(&answers));
        let ask = move || {
            let mut agent = NodeAgent::new(address, SHARED_TOKEN);
            let mut wrong = Vec::new();
            while !seen.load(Ordering::SeqCst) {
                let answer = agent.get(&format!("/api/v1/tags/pod/{node}"));
                match answer {
                    Ok(answer) if answer.status == 200 && answer.text().contains("cart") => {}
                    Ok(answer) => wrong.push(format!("{} {}", answer.status, answer.text())),
                    Err(error) => wrong.push(error.to_string()),
                }
                count.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(5));
            }
            wrong
        };
        let thread = thread::Builder::new().name("steady".to_owned()).spawn(ask);
        Self { closed, answers, thread: thread.expect("the system has room for a thread") }
    }

    /// Waits for this many more answers.
    #[track_caller]
    pub fn ask(&self, more: u64) {
        let target = self.answers.load(Ordering::SeqCst) + more;
        wait::until("further answers came", PATIENCE, || {
            self.answers.load(Ordering::SeqCst) >= target
        });
    }

    /// Ends asking; panics when an answer was not complete.
    #[track_caller]
    pub fn stop(self) {
        self.closed.store(true, Ordering::SeqCst);
        let wrong = self.thread.join().expect("the asking thread does not panic");
        assert!(wrong.is_empty(), "{} answers were wrong, first {:?}", wrong.len(), wrong.first());
    }
}

/// Waits until a node's services are exactly these.
#[track_caller]
pub fn expect_services(program: &Program, node: &str, expected: &Value) {
    let mut agent = program.node_agent();
    let what = format!("the services of {node} are {expected}");
    wait::until(&what, PATIENCE, || agent.services(node).as_ref() == Some(expected));
}
