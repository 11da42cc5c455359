//! The network of one cluster: a bridge in the control plane's namespace and one namespace per actor.
//!
//! ```text
//!  test process ── 10.77.N.254 ─┐
//!  control plane ─ 10.77.N.1 ───┤ bridge br0, in the control plane's namespace
//!  replica ─────── 10.77.N.2 ───┤ each in a namespace of its own; default route via 10.77.N.1,
//!  replica ─────── 10.77.N.3 ───┘ so that 10.96.0.1 (the `kubernetes` Service) answers as in a real pod
//! ```
//!
//! The test process stays in the host's namespace and has one foot on the bridge: it reaches the API server and
//! every replica directly, and stubs that it serves on 10.77.N.254 are reachable for the replicas. N is free on
//! this machine, so any number of clusters and of test runs can be up at the same time.

use std::net::Ipv4Addr;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, Ordering};

/// ClusterIP of the `kubernetes` Service: the first address of the service range.
pub const KUBERNETES_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// Hardware address of the bridge. Without one it takes the lowest of its ports, which changes as actors come,
/// and everybody's packets go astray until their caches notice.
const BRIDGE: &str = "02:00:00:00:00:01";

/// Host part of the control plane's address.
const CONTROL_PLANE: u8 = 1;
/// Host part of the first actor; 252 of them fit before the test process.
const FIRST_ACTOR: u8 = 2;
/// Host part of the test process.
const TEST_PROCESS: u8 = 254;

/// Holds the bridge of one cluster and hands out addresses on it.
pub struct Network {
    prefix: String,
    number: u8,
    next_actor: AtomicU8,
}

impl Network {
    /// Makes the control plane's namespace `{prefix}control-plane`, its bridge, and the foot of the test process.
    pub fn start(prefix: &str) -> Self {
        let namespace = format!("{prefix}control-plane");
        ip(&["netns", "add", &namespace]);
        ip(&["-n", &namespace, "link", "set", "lo", "up"]);
        let number = claim_number(&namespace);
        let network =
            Self { prefix: prefix.to_owned(), number, next_actor: AtomicU8::new(FIRST_ACTOR) };
        let own = format!("{}/24", network.control_plane());
        let service = format!("{KUBERNETES_SERVICE}/32");
        let foot = foot_name(number);
        let foot_address = format!("{}/24", network.test_process());
        ip(&["-n", &namespace, "link", "add", "br0", "address", BRIDGE, "type", "bridge"]);
        ip(&["-n", &namespace, "address", "add", &own, "dev", "br0"]);
        ip(&["-n", &namespace, "address", "add", &service, "dev", "lo"]);
        ip(&["-n", &namespace, "link", "set", "br0", "up"]);
        ip(&["-n", &namespace, "link", "set", "test", "master", "br0", "up"]);
        ip(&["address", "add", &foot_address, "dev", &foot]);
        ip(&["link", "set", &foot, "up"]);
        network
    }

    /// Namespace that etcd, the API server and the controllers run in.
    pub fn control_plane_namespace(&self) -> String {
        format!("{}control-plane", self.prefix)
    }

    /// Address of the API server and of every KWOK node.
    pub fn control_plane(&self) -> Ipv4Addr {
        self.address(CONTROL_PLANE)
    }

    /// Address under which the cluster reaches servers of the test process.
    pub fn test_process(&self) -> Ipv4Addr {
        self.address(TEST_PROCESS)
    }

    /// Makes a namespace with a link to the bridge.
    pub fn attach(&self) -> Actor {
        let host = self.next_actor.fetch_add(1, Ordering::Relaxed);
        assert!(host < TEST_PROCESS, "252 actors have had an address in this cluster");
        let actor = Actor {
            namespace: format!("{}actor-{host}", self.prefix),
            control_plane_namespace: self.control_plane_namespace(),
            link: format!("actor-{host}"),
            address: self.address(host),
        };
        let (namespace, link) = (&actor.namespace, &actor.link);
        let address = format!("{}/24", actor.address);
        let gateway = self.control_plane().to_string();
        let control_plane = &actor.control_plane_namespace;
        ip(&["netns", "add", namespace]);
        ip(&["-n", namespace, "link", "set", "lo", "up"]);
        ip(&[
            "-n",
            control_plane,
            "link",
            "add",
            link,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            namespace,
        ]);
        ip(&["-n", control_plane, "link", "set", link, "master", "br0", "up"]);
        ip(&["-n", namespace, "address", "add", &address, "dev", "eth0"]);
        ip(&["-n", namespace, "link", "set", "eth0", "up"]);
        ip(&["-n", namespace, "route", "add", "default", "via", &gateway]);
        actor
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, host)
    }
}

/// One namespace on the bridge.
pub struct Actor {
    /// Name of the network namespace.
    pub namespace: String,
    /// The only address in it beside loopback.
    pub address: Ipv4Addr,
    control_plane_namespace: String,
    link: String,
}

impl Actor {
    /// Takes the link down: packets vanish, nothing is refused.
    pub fn cut(&self) {
        self.set_link("down");
    }

    /// Puts the link up again.
    pub fn heal(&self) {
        self.set_link("up");
    }

    fn set_link(&self, state: &str) {
        ip(&["-n", &self.control_plane_namespace, "link", "set", &self.link, state]);
    }
}

/// Names of the network namespaces of this machine.
pub fn namespaces() -> Vec<String> {
    let listed = run(&["netns", "list"]);
    String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

/// Claims 10.77.N.0/24: the link's name says N, and making it fails where another cluster has it.
fn claim_number(namespace: &str) -> u8 {
    let first = std::process::id();
    for offset in 0..250 {
        let number = u8::try_from((first + offset) % 250 + 1).expect("1 to 250 fits");
        let foot = foot_name(number);
        let made = run(&[
            "link", "add", &foot, "type", "veth", "peer", "name", "test", "netns", namespace,
        ]);
        if made.status.success() {
            return number;
        }
        let error = String::from_utf8_lossy(&made.stderr);
        assert!(error.contains("File exists"), "ip link add {foot}: {error}");
    }
    panic!("250 clusters are up on this machine")
}

/// Name of the test process's link; at most 15 bytes.
fn foot_name(number: u8) -> String {
    format!("ca-test-{number}")
}

#[track_caller]
fn ip(arguments: &[&str]) {
    let output = run(arguments);
    assert!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn run(arguments: &[&str]) -> Output {
    Command::new("ip").args(arguments).output().expect("prerequisites were checked: ip is there")
}
