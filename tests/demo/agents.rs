//! Two generations of node Agents, each on a thread that says what it learns when it learns it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::screen::Screen;
use super::support::metadata_stream::{Known, MetadataStream, Received};
use super::support::node_agent::NodeAgent;
use super::world::Services;

/// A real Agent polls every 60 s; nobody wants to watch that.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How often the stream's thread looks whether it should end.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How an Agent asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `GET /api/v1/tags/pod/{node}` again and again.
    Poll,
    /// `StreamKubeMetadata`.
    Stream,
}

/// A running Agent; ends when dropped.
pub struct Agent {
    name: &'static str,
    node: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    known: Mutex<Option<Services>>,
    answers: AtomicU64,
    failures: AtomicU64,
    closed: AtomicBool,
}

impl Agent {
    /// Starts an Agent of `node` against the program at `address`, with the token that both share.
    pub fn start(
        way: Way,
        node: &str,
        address: SocketAddr,
        token: &'static str,
        screen: &Screen,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let name = if way == Way::Poll { "Agent 7.50" } else { "newest Agent" };
        let how =
            if way == Way::Poll { "polls REST 5 times a second" } else { "holds a gRPC stream" };
        screen.say(name, &format!("on {node} {how}"));
        let voice = Voice { name, token, screen: screen.clone(), shared: Arc::clone(&shared) };
        let of = node.to_owned();
        let run = move || match way {
            Way::Poll => poll(&voice, address, &of),
            Way::Stream => stream(&voice, address, &of),
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = Some(thread.expect("the system has room for a thread"));
        Self { name, node: node.to_owned(), shared, thread }
    }

    /// How lines call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What it knows; `None` before the first answer.
    pub fn known(&self) -> Option<Services> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers or messages so far.
    pub fn answers(&self) -> u64 {
        self.shared.answers.load(Ordering::SeqCst)
    }

    /// Requests without a useful answer, and broken streams, after the first success.
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::SeqCst)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic was printed by its own thread.
            drop(thread.join());
        }
    }
}

/// What an Agent's thread speaks with.
struct Voice {
    name: &'static str,
    token: &'static str,
    screen: Screen,
    shared: Arc<Shared>,
}

impl Voice {
    fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::SeqCst)
    }

    fn fail(&self) {
        let known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some() {
            self.shared.failures.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Prints what is new and keeps it.
    fn learn(&self, services: Services) {
        self.shared.answers.fetch_add(1, Ordering::SeqCst);
        let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        let old = known.replace(services.clone()).unwrap_or_default();
        drop(known);
        for ((namespace, pod), services) in &services {
            if old.get(&(namespace.clone(), pod.clone())) != Some(services) {
                let tags: Vec<String> =
                    services.iter().map(|service| format!("kube_service:{service}")).collect();
                let pod = format!("{namespace}/{pod}");
                self.screen.say(self.name, &format!("{pod:<36}  {}", tags.join(" ")));
            }
        }
        for (namespace, pod) in old.keys().filter(|pod| !services.contains_key(pod)) {
            let pod = format!("{namespace}/{pod}");
            self.screen.say(self.name, &format!("{pod:<36}  gone"));
        }
    }
}

fn poll(voice: &Voice, address: SocketAddr, node: &str) {
    let mut agent = NodeAgent::new(address, voice.token);
    while !voice.is_closed() {
        match agent.services(node) {
            None => voice.fail(),
            Some(answer) => {
                let mut services = Services::new();
                for (namespace, pods) in answer.as_object().into_iter().flatten() {
                    for (pod, of_pod) in pods.as_object().into_iter().flatten() {
                        let names = of_pod.as_object().into_iter().flatten();
                        let names = names.map(|(name, _)| name.clone()).collect();
                        services.insert((namespace.clone(), pod.clone()), names);
                    }
                }
                voice.learn(services);
            }
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn stream(voice: &Voice, address: SocketAddr, node: &str) {
    while !voice.is_closed() {
        let mut known = Known::default();
        let Ok(mut stream) = MetadataStream::open(address, voice.token, node) else {
            voice.fail();
            thread::sleep(POLL_INTERVAL);
            continue;
        };
        while !voice.is_closed() {
            match stream.next(LOOK_INTERVAL) {
                Ok(Received::Silence) => {}
                Ok(Received::Update(update)) => {
                    known.apply(&update);
                    if known.complete {
                        voice.learn(known.pods.clone());
                    }
                }
                Ok(Received::Ended(_)) | Err(_) => {
                    voice.fail();
                    thread::sleep(POLL_INTERVAL);
                    break;
                }
            }
        }
    }
}
