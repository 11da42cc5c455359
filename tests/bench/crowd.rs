//! A crowd of node Agents in this process: a thread and a connection each, half of them polling, half on the stream.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::support::metadata_stream::{MetadataStream, Received};
use super::support::node_agent::NodeAgent;
use super::support::program::SHARED_TOKEN;

/// An Agent with cluster checks asks something every ten seconds (spec node-api §12).
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// TLS and HTTP/2 in an optimised build stay far below this.
const STACK: usize = 256 * 1024;
/// How often a waiting thread looks whether it should end.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The Agents; they leave when dropped.
pub struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the Agents note.
#[derive(Default)]
struct Shared {
    closed: AtomicBool,
    connected: AtomicUsize,
    failed: AtomicUsize,
    latencies: Mutex<Vec<Duration>>,
    seen: Mutex<HashMap<String, Instant>>,
}

impl Crowd {
    /// An empty one.
    pub fn new() -> Self {
        Self { shared: Arc::default(), threads: Vec::new() }
    }

    /// Adds Agents that poll, of `node-0` and on; their requests spread over the interval.
    pub fn add_polling(&mut self, address: SocketAddr, count: usize, nodes: usize) {
        for number in 0..count {
            let shared = Arc::clone(&self.shared);
            let path = format!("/api/v1/tags/pod/node-{}", number % nodes.max(1));
            let share = u32::try_from(number).unwrap_or(0) * POLL_INTERVAL
                / u32::try_from(count).unwrap_or(1);
            self.spawn(move || poll(&shared, address, &path, share));
        }
    }

    /// Adds Agents on the stream, one for each of these nodes.
    pub fn add_streaming(&mut self, address: SocketAddr, nodes: std::ops::Range<usize>) {
        for number in nodes {
            let shared = Arc::clone(&self.shared);
            self.spawn(move || stream(&shared, address, &format!("node-{number}")));
        }
    }

    /// Agents that have had their first answer.
    pub fn connected(&self) -> usize {
        self.shared.connected.load(Ordering::SeqCst)
    }

    /// Requests and streams that went wrong.
    pub fn failed(&self) -> usize {
        self.shared.failed.load(Ordering::SeqCst)
    }

    /// Waits until all have had their first answer.
    pub fn wait_connected(&self) -> Result<(), String> {
        let give_up = Instant::now() + Duration::from_secs(120);
        while self.connected() < self.threads.len() {
            if Instant::now() > give_up {
                return Err(format!(
                    "{} of {} Agents connected",
                    self.connected(),
                    self.threads.len()
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Forgets the latencies so far.
    pub fn reset(&self) {
        self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The latencies of the polls since the last reset, sorted.
    pub fn latencies(&self) -> Vec<Duration> {
        let mut latencies =
            self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        latencies.sort();
        latencies
    }

    /// When a pod was first seen on a stream.
    pub fn seen(&self) -> HashMap<String, Instant> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn spawn(&mut self, run: impl FnOnce() + Send + 'static) {
        let name = format!("agent-{}", self.threads.len());
        let spawned = thread::Builder::new().name(name).stack_size(STACK).spawn(run);
        self.threads.push(spawned.expect("scripts/bench raises the limits that this needs"));
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A panic was printed by its own thread.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn wait(&self, until: Instant) {
        while !self.is_closed() && Instant::now() < until {
            thread::sleep(LOOK_INTERVAL.min(until.saturating_duration_since(Instant::now())));
        }
    }
}

fn poll(shared: &Shared, address: SocketAddr, path: &str, share: Duration) {
    let mut agent = NodeAgent::new(address, SHARED_TOKEN);
    let mut next = Instant::now();
    let mut first = true;
    while !shared.is_closed() {
        let start = Instant::now();
        let served = agent.get(path).is_ok_and(|answer| answer.status == 200);
        if !served {
            shared.failed.fetch_add(1, Ordering::SeqCst);
        } else if first {
            // The first request pays for the handshake; the others follow in the Agent's own place of the interval.
            first = false;
            shared.connected.fetch_add(1, Ordering::SeqCst);
            next += share;
        } else {
            let mut latencies = shared.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            latencies.push(start.elapsed());
        }
        next += POLL_INTERVAL;
        shared.wait(next);
    }
}

fn stream(shared: &Shared, address: SocketAddr, node: &str) {
    let Ok(mut stream) = MetadataStream::open(address, SHARED_TOKEN, node) else {
        shared.failed.fetch_add(1, Ordering::SeqCst);
        return;
    };
    while !shared.is_closed() {
        match stream.next(LOOK_INTERVAL) {
            Ok(Received::Silence) => {}
            Ok(Received::Update(update)) => {
                let now = Instant::now();
                if update.is_full_state {
                    shared.connected.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
                for mapping in update.mappings.into_iter().filter(|mapping| mapping.kind == 0) {
                    seen.entry(mapping.pod_name).or_insert(now);
                }
            }
            Ok(Received::Ended(_)) | Err(_) => {
                shared.failed.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    }
}

/// The value below which this share of a sorted list lies; zero for an empty one.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}
