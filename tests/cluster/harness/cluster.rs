//! A whole cluster: made once a run and shared by the tests, or a test's own to break.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::api::Api;
use super::control_plane::{self, ControlPlane};
use super::namespace::Namespace;
use super::network::{self, Network};
use super::prerequisites;
use super::reaper::{self, Reaper};
use super::wait::{PATIENCE, wait_until};

/// Nodes that every cluster starts with.
pub const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// First part of the names of everything that is outside a cluster's own directory.
const NAME: &str = "cluster-agent";

/// A running control plane with KWOK nodes.
pub struct Cluster {
    // Dropped first: it ends all processes at once, the others then only collect them.
    _reaper: Reaper,
    api: Api,
    control_plane: ControlPlane,
    network: Network,
    directory: PathBuf,
    next_name: AtomicU32,
}

impl Cluster {
    /// The cluster of this run, started by the first test that asks. It lives until the run ends, so tests keep
    /// to a namespace of their own and break nothing that others need.
    pub fn shared() -> &'static Self {
        // A start that fails is tried once: the tests after it fail at once.
        static SHARED: LazyLock<Cluster> = LazyLock::new(Cluster::start);
        &SHARED
    }

    /// A cluster that the test may break; it goes when the value is dropped.
    pub fn own() -> OwnCluster {
        // Half a gigabyte each: one beside the shared one is what a two-core machine carries.
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        OwnCluster { cluster: Self::start(), _turn: turn }
    }

    /// Its API server, as administrator.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Its API server, as the owner of `token`.
    pub fn api_as(&self, token: String) -> Api {
        Api::with_token(self.api_base(), &self.directory, token)
    }

    /// URL of its API server.
    pub fn api_base(&self) -> String {
        control_plane::base(self.network.control_plane())
    }

    /// The authority of the API server's certificate, in PEM.
    pub fn authority(&self) -> String {
        fs::read_to_string(self.directory.join("ca.crt")).expect("it was written at the start")
    }

    /// The programs of the control plane, to be broken in [`Cluster::own`] clusters only.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The bridge and the addresses on it.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Directory of the cluster's keys, certificates and logs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A namespace nobody else uses, deleted when the value is dropped. `hint` makes logs readable.
    pub fn namespace(&self, hint: &str) -> Namespace<'_> {
        Namespace::create(self, &self.unique(hint))
    }

    /// A name nobody else in this cluster has.
    pub fn unique(&self, hint: &str) -> String {
        format!("{hint}-{}", self.next_name.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a KWOK node and waits until it is ready.
    pub fn add_node(&self, name: &str) {
        let capacity = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {
                    "type": "kwok",
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                },
                "annotations": {"kwok.x-k8s.io/node": "fake"},
            },
            "status": {"capacity": capacity, "allocatable": capacity},
        });
        // Unlike apply, create takes the status along.
        self.api.create("/api/v1/nodes", &node).unwrap_or_else(|error| panic!("{name}: {error}"));
        wait_until(PATIENCE, "ready node", || {
            let node = self.api.get(&format!("/api/v1/nodes/{name}")).map_err(|e| e.to_string())?;
            match condition(&node, "Ready") {
                Some("True") => Ok(()),
                other => Err(format!("{name} is Ready: {other:?}")),
            }
        });
    }

    /// Throws away etcd's history: watches of events from before end with 410 at once, all others when the API
    /// server has been restarted, because it keeps a history of its own.
    pub fn compact(&self) {
        let etcd = format!("http://{}:2379/v3/kv", self.network.control_plane());
        // Base64 of one NUL byte: no such key, but the answer's header says how far etcd is.
        let answer = post(&format!("{etcd}/range"), r#"{"key":"AA=="}"#);
        let revision = answer["header"]["revision"].as_str().expect("etcd names its revision");
        post(
            &format!("{etcd}/compaction"),
            &format!(r#"{{"revision":"{revision}","physical":true}}"#),
        );
    }

    /// Every request that the API server has finished so far (audit events, oldest first).
    pub fn audit_log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.directory.join("audit.log")).unwrap_or_default();
        // The last line may still be in the making.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until the API server answers again after a fault.
    pub fn wait_ready(&self) {
        wait_until(PATIENCE, "ready API server", || {
            self.control_plane.alive()?;
            self.api.get("/readyz").map_err(|error| error.to_string())
        });
    }

    fn start() -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        // Asked before anything is made: what is missing is a sentence, not a puzzle.
        prerequisites::programs();
        if STARTED.load(Ordering::Relaxed) == 0 {
            reap_the_dead();
        }
        let id = std::process::id();
        let name = format!("{NAME}-{id}-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let prefix = format!("{name}-");
        let reaper = Reaper::start(&prefix, &directory);
        let network = Network::start(&prefix);
        let control_plane = ControlPlane::start(&network, &directory);
        let api = Api::administrator(control_plane::base(network.control_plane()), &directory);
        let next_name = AtomicU32::new(0);
        let cluster = Self { _reaper: reaper, api, control_plane, network, directory, next_name };
        for node in NODES {
            cluster.add_node(node);
        }
        cluster
    }
}

/// A cluster of one test.
pub struct OwnCluster {
    // Dropped before the turn is passed on.
    cluster: Cluster,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for OwnCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

/// Status (`True`, `False`, `Unknown`) of a condition of `object`.
pub fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == name)?["status"].as_str()
}

/// Takes down what killed runs left whose reapers were killed too (a crash of the machine's session).
fn reap_the_dead() {
    let dead_run = |name: &str| {
        let mut parts = name.strip_prefix(NAME)?.strip_prefix('-')?.splitn(3, '-');
        let (id, number) = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<u32>().ok()?);
        let gone = !Path::new("/proc").join(id.to_string()).exists();
        gone.then(|| format!("{NAME}-{id}-{number}"))
    };
    let mut dead: Vec<String> =
        network::namespaces().iter().filter_map(|name| dead_run(name)).collect();
    let temporary = std::env::temp_dir();
    let left = fs::read_dir(&temporary).into_iter().flatten().flatten();
    dead.extend(left.filter_map(|entry| dead_run(entry.file_name().to_str()?)));
    dead.sort_unstable();
    dead.dedup();
    for run in dead {
        reaper::reap_now(&format!("{run}-"), &temporary.join(&run));
    }
}

fn post(url: &str, body: &str) -> Value {
    let answer = ureq::post(url)
        .send(body)
        .and_then(|mut answer| answer.body_mut().read_to_string())
        .unwrap_or_else(|error| panic!("{url}: {error}"));
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{url}: {error}: {answer}"))
}
