//! The API client and its watches against a real API server: versions that expire, servers that die, rights that
//! come and go, and locks that others write.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use cluster_agent::kube::objects::ConfigMap;
use cluster_agent::kube::settings::{self, Source};
use cluster_agent::kube::status::{Activity, Snapshot, WatchStatus};
use cluster_agent::kube::watch::{self, Event, Spec};
use cluster_agent::kube::{Cause, Client, Settings, Target};
use cluster_agent::secret::Secret;
use cluster_agent::sync::{Stop, StopSource};
use serde_json::{Value, json};

use crate::harness::{Cluster, Namespace, PATIENCE, wait_until};

/// Passes connections on to the API server until it is cut.
struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<RelayState>>,
}

#[derive(Default)]
struct RelayState {
    cut: bool,
    sockets: Vec<TcpStream>,
}

impl Relay {
    fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(RelayState::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for inner in listener.incoming().map_while(Result::ok) {
                // A server that is down is a connection that closes at once.
                let Ok(outer) = TcpStream::connect(&to) else { continue };
                let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if state.cut {
                    continue;
                }
                for (mut from, mut to) in [(&inner, &outer), (&outer, &inner)]
                    .map(|(from, to)| (from.try_clone(), to.try_clone()))
                    .into_iter()
                    .filter_map(|(from, to)| Some((from.ok()?, to.ok()?)))
                {
                    std::thread::spawn(move || {
                        // However it ends, the other side is told.
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                state.sockets.extend([inner, outer]);
            }
        });
        Self { address, state }
    }

    /// Closes what is open and lets nothing new through.
    fn cut(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.cut = true;
        for socket in state.sockets.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn heal(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).cut = false;
    }
}

fn administrator(cluster: &Cluster, server: String) -> Settings {
    let file = |name: &str| Source::File(cluster.directory().join(name));
    Settings {
        server,
        ca: Some(file("ca.crt")),
        verify: true,
        certificate: Some((file("admin.crt"), file("admin.key"))),
        token: None,
        namespace: None,
        request_timeout: settings::DEFAULT_REQUEST_TIMEOUT,
        list_timeout: settings::DEFAULT_LIST_TIMEOUT,
    }
}

/// A consumer that keeps names and the value `v` of each ConfigMap, as the events say.
#[derive(Default)]
struct Mirror {
    shown: BTreeMap<String, String>,
    next: BTreeMap<String, String>,
    /// Fewest objects shown since the first list.
    fewest: Option<usize>,
}

impl Mirror {
    fn apply(&mut self, event: Event<ConfigMap>) {
        let entry =
            |map: ConfigMap| (map.metadata.name, map.data.get("v").cloned().unwrap_or_default());
        match event {
            Event::Init => self.next.clear(),
            Event::InitApply(map) => self.next.extend([entry(map)]),
            Event::InitDone => {
                self.shown = std::mem::take(&mut self.next);
                self.fewest.get_or_insert(self.shown.len());
            }
            Event::Apply(map) => self.shown.extend([entry(map)]),
            Event::Delete(map) => drop(self.shown.remove(&map.metadata.name)),
        }
        self.fewest = self.fewest.map(|fewest| fewest.min(self.shown.len()));
    }
}

/// A watch of the ConfigMaps of one namespace.
struct Watched {
    mirror: Arc<Mutex<Mirror>>,
    status: Arc<WatchStatus>,
    _stop: StopSource,
}

impl Watched {
    fn start(settings: Settings, namespace: &Namespace<'_>) -> Self {
        let (source, stop) = Stop::new();
        let client = Client::start(settings, stop.clone()).expect("a thread starts");
        let mut spec = Spec::of(Target::of::<ConfigMap>().in_namespace(&namespace.name), &client);
        // Every namespace has one with the cluster's CA; it is not the test's.
        spec.selection.fields = "metadata.name!=kube-root-ca.crt".to_owned();
        let status = Arc::clone(&spec.status);
        let mirror = Arc::new(Mutex::new(Mirror::default()));
        let shared = Arc::clone(&mirror);
        let sink = move |event| {
            shared.lock().unwrap_or_else(PoisonError::into_inner).apply(event);
        };
        watch::spawn(client, spec, || {}, sink, stop).expect("a thread starts");
        Self { mirror, status, _stop: source }
    }

    #[track_caller]
    fn wait_for(&self, what: &str, expected: &[(&str, &str)]) {
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(name, v)| ((*name).to_owned(), (*v).to_owned())).collect();
        wait_until(PATIENCE, what, || {
            let mirror = self.mirror.lock().unwrap_or_else(PoisonError::into_inner);
            if mirror.fewest.is_some() && mirror.shown == expected {
                Ok(())
            } else {
                Err(format!("{:?}, {:?}", mirror.shown, self.status.snapshot()))
            }
        });
    }

    #[track_caller]
    fn wait_status(&self, what: &str, holds: impl Fn(&Snapshot) -> bool) -> Snapshot {
        wait_until(PATIENCE, what, || {
            let snapshot = self.status.snapshot();
            if holds(&snapshot) { Ok(snapshot) } else { Err(format!("{snapshot:?}")) }
        })
    }
}

fn set(namespace: &Namespace<'_>, name: &str, value: &str) {
    namespace.apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": value},
    }));
}

fn remove(namespace: &Namespace<'_>, name: &str) {
    namespace.api().delete(&namespace.path("ConfigMap", name)).expect("it is there");
}

#[test]
fn a_watch_outlives_the_api_server_and_its_history() {
    let cluster = Cluster::own();
    let namespace = cluster.namespace("watch");
    for (name, value) in [("a", "1"), ("b", "1"), ("c", "1")] {
        set(&namespace, name, value);
    }
    let relay = Relay::start(format!("{}:443", cluster.network().control_plane()));
    let watched =
        Watched::start(administrator(&cluster, format!("https://{}", relay.address)), &namespace);
    watched.wait_for("first list", &[("a", "1"), ("b", "1"), ("c", "1")]);

    // A dead server: what it does after its return is heard.
    cluster.control_plane().api_server.kill();
    watched.wait_status("noticed death", |status| status.activity == Activity::Failing);
    cluster.control_plane().api_server.restart();
    cluster.wait_ready();
    set(&namespace, "a", "2");
    watched.wait_for("change after the restart", &[("a", "2"), ("b", "1"), ("c", "1")]);
    // Its new cache begins at what is stored now; only where nothing was written meanwhile can a watch go on.
    let lists = watched.status.snapshot().lists;
    assert!(lists <= 2, "{lists} lists");

    // A forgotten history: what happened meanwhile shows at once, and nothing but that has gone.
    relay.cut();
    watched.wait_status("noticed cut", |status| status.activity == Activity::Failing);
    set(&namespace, "a", "3");
    remove(&namespace, "c");
    cluster.compact();
    cluster.control_plane().api_server.restart();
    cluster.wait_ready();
    relay.heal();
    watched.wait_for("state after the gap", &[("a", "3"), ("b", "1")]);
    let snapshot =
        watched.wait_status("open watch", |status| status.activity == Activity::Watching);
    assert_eq!((snapshot.lists, snapshot.objects), (lists + 1, 2));
    let mirror = watched.mirror.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(mirror.fewest, Some(2));
}

#[test]
fn a_missing_right_is_named_and_heals_when_it_is_given() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("rights");
    namespace.apply(json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "watcher"},
    }));
    set(&namespace, "a", "1");
    let token = namespace.api().token(&namespace.name, "watcher", None).expect("a token");
    let mut settings = administrator(cluster, cluster.api_base());
    settings.certificate = None;
    settings.token = Some(Source::Data(Secret::new(token)));
    let watched = Watched::start(settings, &namespace);
    let snapshot = watched.wait_status("refusal", |status| status.activity == Activity::Forbidden);
    assert_eq!(
        snapshot.last_failure.expect("it was refused").text,
        format!(
            "the service account may not list configmaps in namespace {:?}: \
             grant apiGroups [\"\"] resources [\"configmaps\"] verbs [\"list\",\"watch\"]",
            namespace.name
        )
    );

    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    let rules =
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]);
    namespace.apply(json!({
        "apiVersion": version, "kind": "Role", "metadata": {"name": "watcher"}, "rules": rules,
    }));
    namespace.apply(json!({
        "apiVersion": version, "kind": "RoleBinding", "metadata": {"name": "watcher"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "watcher"},
        "subjects": [{"kind": "ServiceAccount", "name": "watcher"}],
    }));
    watched.wait_for("list after the grant", &[("a", "1")]);
    set(&namespace, "b", "1");
    watched.wait_for("change after the grant", &[("a", "1"), ("b", "1")]);
}

#[test]
fn a_lock_that_somebody_else_wrote_is_a_conflict_and_foreign_fields_survive() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("lock");
    let (_stop, token) = Stop::new();
    let client =
        Client::start(administrator(cluster, cluster.api_base()), token).expect("a thread starts");
    let locks = Target::of::<ConfigMap>().in_namespace(&namespace.name);
    let lock = locks.clone().named("lock");
    let absent = client.get::<Value>(&lock).expect_err("nobody made it");
    assert!(matches!(absent.cause, Cause::NotFound), "{absent}");
    let new = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "lock", "labels": {"keep": "me"}},
        "binaryData": {"k": "AA=="},
    });
    let mut mine: Value = client.create(&locks, &new).expect("it is new");
    let again = client.create::<Value>(&locks, &new).expect_err("it exists");
    assert!(matches!(again.cause, Cause::Conflict { .. }), "{again}");

    mine["metadata"]["annotations"]["leader"] = json!("me");
    let stale = mine.clone();
    let written: Value = client.replace(&lock, &mine).expect("nobody else wrote");
    assert_eq!(written["metadata"]["labels"]["keep"], "me");
    assert_eq!(written["binaryData"]["k"], "AA==");
    let conflict = client.replace::<Value>(&lock, &stale).expect_err("the version is old");
    assert!(matches!(conflict.cause, Cause::Conflict { .. }), "{conflict}");
    client.delete(&lock).expect("it is there");

    assert!(client.serves(&locks).expect("the server answers"));
    let unknown = Target::new("/apis/example.com/v1", "things");
    assert!(!client.serves(&unknown).expect("the server answers"));
}
