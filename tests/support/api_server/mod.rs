//! An API server in one process: enough of Kubernetes for the program, for `curl`, and for client-go.
//!
//! Requests come over TLS or plain HTTP/1.1 on a port that the system chooses, one thread per connection
//! (`connection`), are routed (`routes`) to reads (`reading`, `watching`) and writes (`writing`) of the objects in
//! memory (`store`), and can be made to fail on purpose (`faults`). A controller makes endpoints of services and pods
//! (`endpoints`), `workloads` plays user, scheduler and kubelet. Contract tests hold it to the real server's answers.
//!
//! Limits: no admission, no validation beyond names, no strategic or JSON patches, no server-side apply, no
//! deletecollection, no graceful deletion; permissions are all there except those that a test takes away.

pub mod access;
mod certificates;
mod connection;
mod discovery;
mod endpoints;
pub mod faults;
pub mod population;
mod reading;
mod resources;
mod routes;
mod selector;
mod status;
mod store;
mod watching;
mod workloads;
mod writing;

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use serde_json::{Value, json};

use access::{Tokens, User};
use certificates::Certificates;
use connection::{Connection, Control, Gate, Order, Request};
pub use faults::{Fault, Faults, Requests};
use resources::{Catalogue, Resource};
use store::{Edit, Store};

/// The content type of nearly every answer.
#[allow(non_snake_case, reason = "a constant, were it not for the owned text")]
fn JSON() -> (&'static str, String) {
    ("Content-Type", "application/json".to_owned())
}

/// Requests that the log keeps; older ones are dropped.
const LOG_LIMIT: usize = 20_000;
/// How long a listener is retried on a port that a moment ago was its own.
const REOPEN_LIMIT: Duration = Duration::from_secs(10);

/// One request, as the log keeps it.
#[derive(Clone, Debug)]
pub struct Logged {
    /// `GET` and the like.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// The user behind the token; empty for an invalid one.
    pub user: String,
}

/// A running embedded API server; stops when dropped.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: Option<Certificates>,
    accepting: Mutex<Option<Accepting>>,
    closed: Arc<AtomicBool>,
    controller: Option<JoinHandle<()>>,
}

struct Accepting {
    closed: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What all connection threads share.
struct Shared {
    store: Store,
    catalogue: RwLock<Catalogue>,
    tokens: Tokens,
    faults: Faults,
    log: Mutex<VecDeque<Logged>>,
    gate: Arc<Gate>,
    connections: Mutex<HashMap<u64, Arc<Control>>>,
    next_connection: AtomicU64,
    bookmark_interval: Mutex<Duration>,
    too_large_wait: Mutex<Duration>,
    next_name: Mutex<u64>,
}

impl Server {
    /// The token of the service account `default/datadog-cluster-agent`.
    pub const TOKEN: &str = "embedded-service-account-token";
    /// The token of a user in `system:masters`.
    pub const ADMINISTRATOR_TOKEN: &str = "embedded-administrator-token";

    /// Starts a server that speaks TLS, with the namespaces that every cluster has.
    pub fn start() -> Self {
        Self::start_with(Some(Certificates::new()))
    }

    /// Starts one without TLS.
    pub fn start_plain() -> Self {
        Self::start_with(None)
    }

    fn start_with(tls: Option<Certificates>) -> Self {
        let shared = Arc::new(Shared {
            store: Store::default(),
            catalogue: RwLock::default(),
            tokens: Tokens::default(),
            faults: Faults::default(),
            log: Mutex::default(),
            gate: Arc::default(),
            connections: Mutex::default(),
            next_connection: AtomicU64::new(0),
            bookmark_interval: Mutex::new(Duration::from_secs(60)),
            too_large_wait: Mutex::new(reading::TOO_LARGE_WAIT),
            next_name: Mutex::default(),
        });
        let account = User::service_account("default", "datadog-cluster-agent");
        shared.tokens.add(Self::TOKEN, account);
        shared.tokens.add(Self::ADMINISTRATOR_TOKEN, User::administrator());
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let closed = Arc::new(AtomicBool::new(false));
        let controller = {
            let (shared, closed) = (Arc::clone(&shared), Arc::clone(&closed));
            let run = move || endpoints::run(&shared, &closed);
            thread::Builder::new().name("api-endpoints".to_owned()).spawn(run)
        };
        let controller = Some(controller.expect("the system has room for a thread"));
        let server = Self { shared, address, tls, accepting: Mutex::new(None), closed, controller };
        server.accept_on(listener);
        for namespace in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            server.apply(json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": namespace, "labels": {"kubernetes.io/metadata.name": namespace}},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
            }));
        }
        server
    }

    /// `https://127.0.0.1:PORT` (or `http`).
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate authority in PEM; `None` without TLS.
    pub fn authority(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.authority.as_str())
    }

    /// A kubeconfig for the service account; the token stands in a file, so that it can be rotated.
    pub fn write_kubeconfig(&self, directory: &Path) -> std::path::PathBuf {
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::write(&path, text).expect("the test's directory is writable");
            path
        };
        let token = write("token", Self::TOKEN);
        let mut cluster = json!({"server": self.url()});
        if let Some(authority) = self.authority() {
            cluster["certificate-authority"] = json!(write("ca.crt", authority));
        }
        // JSON is YAML.
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "embedded",
            "clusters": [{"name": "embedded", "cluster": cluster}],
            "users": [{"name": "service-account", "user": {"tokenFile": token}}],
            "contexts": [{"name": "embedded", "context": {
                "cluster": "embedded", "user": "service-account", "namespace": "default",
            }}],
        });
        write("kubeconfig", &format!("{kubeconfig:#}\n"))
    }

    /// Creates or replaces an object, status included, without going over HTTP. Its namespace need not exist.
    pub fn apply(&self, object: Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let resource = self.shared.catalogue().by_kind(&api_version, &kind);
        let resource = resource.unwrap_or_else(|| panic!("no resource for {api_version} {kind}"));
        if resource.plural == "customresourcedefinitions" {
            self.shared.catalogue_mut().define(&object);
        }
        let metadata = &object["metadata"];
        let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
        self.shared.put(&resource, &namespace, &name, object);
    }

    /// Changes an object in place; panics when it is not there.
    pub fn edit(&self, resource: &str, namespace: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        let resource = self.resource(resource);
        let written = self.shared.store.write(&resource.qualified(), namespace, name, |current| {
            let mut object = current.ok_or("no such object")?.value();
            edit(&mut object);
            Ok::<_, &str>(Edit::Put(object))
        });
        written.unwrap_or_else(|why| panic!("{} {namespace}/{name}: {why}", resource.plural));
    }

    /// Deletes an object; false when it was not there.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) -> bool {
        let resource = self.resource(resource);
        let deleted = self.shared.store.write(&resource.qualified(), namespace, name, |current| {
            if current.is_some() { Ok(Edit::Delete) } else { Err(()) }
        });
        deleted.is_ok()
    }

    /// An object, parsed, with its kind.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let resource = self.resource(resource);
        let object = self.shared.store.lock().get(&resource.qualified(), namespace, name)?;
        let text = object.text_with_kind(&resource.kind, &resource.api_version());
        Some(serde_json::from_str(&text).expect("the store keeps JSON"))
    }

    /// All objects of a resource, of one namespace or of all.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Value> {
        let name = self.resource(resource).qualified();
        let objects = self.shared.store.lock().list(&name, namespace);
        objects.iter().map(|object| object.value()).collect()
    }

    /// The revision of the newest change.
    pub fn revision(&self) -> u64 {
        self.shared.store.lock().revision
    }

    /// Scripted faults and missing permissions.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The valid tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.shared.tokens
    }

    /// The requests so far, oldest first.
    pub fn log(&self) -> Vec<Logged> {
        self.shared.log().iter().cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        self.shared.log().clear();
    }

    /// Serves an API group or answers 404 for it, as a server that is too old for it does.
    pub fn serve_group(&self, group: &str, served: bool) {
        self.shared.catalogue_mut().serve_group(group, served);
    }

    /// How often watches that asked for it get a bookmark; the real server does it once a minute.
    pub fn set_bookmark_interval(&self, interval: Duration) {
        *self.shared.bookmark_interval.lock().unwrap_or_else(PoisonError::into_inner) = interval;
    }

    /// Lets every later watch or page from before now get 410; open watches go on.
    pub fn compact(&self) {
        self.shared.store.compact();
    }

    /// Ends the open watches of a resource properly, as at the end of their `timeoutSeconds`. Gives their number.
    pub fn end_watches(&self, resource: &str) -> usize {
        self.order(resource, Order::End)
    }

    /// Breaks the open watches of a resource in the middle of a line. Gives their number.
    pub fn cut_watches(&self, resource: &str) -> usize {
        self.order(resource, Order::Cut)
    }

    /// How many watches of a resource are open.
    pub fn open_watches(&self, resource: &str) -> usize {
        self.order(resource, Order::None)
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.shared.connections().len()
    }

    /// Holds every answer back, with all connections open, as a stopped process does.
    pub fn freeze(&self) {
        self.shared.gate.set_closed(true);
    }

    /// Ends [`Server::freeze`].
    pub fn thaw(&self) {
        self.shared.gate.set_closed(false);
    }

    /// Refuses new connections and breaks the open ones, as a killed server does; the objects stay.
    pub fn go_down(&self) {
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(accepting) = accepting {
            accepting.closed.store(true, Ordering::SeqCst);
            // A connection of our own ends the blocking accept; where it fails the listener is gone already.
            drop(TcpStream::connect(self.address));
            accepting.thread.join().expect("the accept thread does not panic");
        }
        self.drop_connections();
    }

    /// Breaks every open connection; new ones are accepted.
    pub fn drop_connections(&self) {
        for control in self.shared.connections().values() {
            control.shut_down();
        }
    }

    /// Listens again on the same port.
    pub fn come_back(&self) {
        let give_up = Instant::now() + REOPEN_LIMIT;
        loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => return self.accept_on(listener),
                Err(error) if Instant::now() > give_up => {
                    panic!("cannot listen on {} again: {error}", self.address)
                }
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn accept_on(&self, listener: TcpListener) {
        let closed = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&self.shared);
        let tls = self.tls.as_ref().map(|tls| Arc::clone(&tls.server));
        let seen = Arc::clone(&closed);
        let accept = move || {
            for socket in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(socket) = socket {
                    serve_on_thread(Arc::clone(&shared), socket, tls.clone());
                }
            }
        };
        let thread = thread::Builder::new().name("api-accept".to_owned()).spawn(accept);
        let thread = thread.expect("the system has room for a thread");
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Accepting { closed, thread });
    }

    fn order(&self, resource: &str, order: Order) -> usize {
        let resource = self.resource(resource).qualified();
        let connections = self.shared.connections();
        let watching = connections
            .values()
            .filter(|control| control.watching().as_deref() == Some(resource.as_str()));
        let mut count = 0;
        for control in watching {
            count += 1;
            if order != Order::None {
                control.order(order);
            }
        }
        drop(connections);
        self.shared.store.wake();
        count
    }

    fn resource(&self, name: &str) -> Arc<Resource> {
        let found = self.shared.catalogue().by_name(name);
        found.unwrap_or_else(|| panic!("no resource {name}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.thaw();
        self.go_down();
        self.closed.store(true, Ordering::SeqCst);
        self.shared.store.wake();
        if let Some(controller) = self.controller.take() {
            // A panic of the controller is reported by its own thread; a second one here would abort.
            drop(controller.join());
        }
    }
}

impl Shared {
    fn catalogue(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.catalogue.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalogue_mut(&self) -> RwLockWriteGuard<'_, Catalogue> {
        self.catalogue.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Control>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> std::sync::MutexGuard<'_, VecDeque<Logged>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bookmark_interval(&self) -> Duration {
        *self.bookmark_interval.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn too_large_wait(&self) -> Duration {
        *self.too_large_wait.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, request: &Request, user: Option<&User>) {
        let mut log = self.log();
        if log.len() == LOG_LIMIT {
            log.pop_front();
        }
        log.push_back(Logged {
            method: request.method.clone(),
            target: request.target.clone(),
            user_agent: request.header("user-agent").unwrap_or_default().to_owned(),
            user: user.map(|user| user.name.clone()).unwrap_or_default(),
        });
    }

    fn put(&self, resource: &Resource, namespace: &str, name: &str, object: Value) {
        let put = |_: Option<&Arc<store::Object>>| Ok::<_, ()>(Edit::Put(object));
        let written = self.store.write(&resource.qualified(), namespace, name, put);
        written.expect("this edit refuses nothing");
    }

    fn empty_namespace(&self, namespace: &str) {
        let names: Vec<String> = self
            .catalogue()
            .served()
            .filter(|resource| resource.namespaced)
            .map(|resource| resource.qualified())
            .collect();
        for resource in names {
            let inside = self.store.lock().list(&resource, Some(namespace));
            for object in inside {
                let delete = |_: Option<&Arc<store::Object>>| Ok::<_, ()>(Edit::Delete);
                let deleted = self.store.write(&resource, namespace, &object.name, delete);
                deleted.expect("this edit refuses nothing");
            }
        }
    }
}

fn serve_on_thread(shared: Arc<Shared>, socket: TcpStream, tls: Option<Arc<ServerConfig>>) {
    let Ok(copy) = socket.try_clone() else { return };
    let control = Arc::new(Control::new(copy));
    let number = shared.next_connection.fetch_add(1, Ordering::SeqCst);
    shared.connections().insert(number, Arc::clone(&control));
    let serve = move || {
        let gate = Arc::clone(&shared.gate);
        let served = Connection::new(socket, tls, control, gate)
            .and_then(|connection| routes::serve(&shared, connection));
        if let Err(error) = served {
            log::trace!("a connection of the embedded API server ended: {error}");
        }
        shared.connections().remove(&number);
    };
    let spawned = thread::Builder::new().name(format!("api-{number}")).spawn(serve);
    drop(spawned.expect("the system has room for a thread"));
}
