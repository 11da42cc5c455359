//! Watches who leads: every 50 ms it asks each replica for its status, from inside the replica's network namespace (so
//! that a cut link hides nothing), and reads the lock object.
//!
//! A status is true at some moment between the request and the answer. A replica *surely* leads between two of its
//! samples that follow each other and both say so. Whoever else says that it leads within such a time, or whatever
//! other name stands in the lock, is a second leader.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::harness::Namespace;
use crate::support::node_agent::NodeAgent;

/// From one sample of a source to the next.
const PERIOD: Duration = Duration::from_millis(50);

/// Samples further apart than this do not prove what was between them.
const LONGEST_GAP: Duration = Duration::from_millis(500);

/// The token of the command line, in the replica's own file system.
pub const TOKEN_FILE: &str = "/opt/datadog-agent/run/auth_token";

const ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";

/// Everything that was seen.
pub struct Observer {
    seen: Arc<Seen>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Seen {
    samples: Mutex<Vec<Sample>>,
    over: AtomicBool,
}

/// One look at one source.
#[derive(Clone, Debug)]
struct Sample {
    /// The replica that was asked; `None` for the lock.
    replica: Option<String>,
    /// Tells the lives of a replica apart.
    process: u32,
    asked: Instant,
    answered: Instant,
    /// Whether the replica says that it leads.
    leads: bool,
    /// The name in the lock, or the error in the status.
    text: String,
}

impl Observer {
    /// Begins to read the lock `name` of `namespace`, a `ConfigMap` or a `Lease`.
    pub fn start<'scope>(
        scope: &'scope thread::Scope<'scope, '_>,
        namespace: &'scope Namespace<'_>,
        kind: &str,
        name: &str,
    ) -> Self {
        let seen = Arc::<Seen>::default();
        let (watched, path) = (seen.clone(), namespace.path(kind, name));
        scope.spawn(move || {
            while !watched.over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                if let Ok(object) = namespace.api().get(&path) {
                    let text = object["metadata"]["annotations"][ANNOTATION].as_str();
                    let record = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
                    let record = record.as_ref().unwrap_or(&object["spec"]);
                    let holder = record["holderIdentity"].as_str().unwrap_or_default();
                    watched.note(None, 0, asked, false, holder);
                }
                thread::sleep(PERIOD.saturating_sub(asked.elapsed()));
            }
        });
        Self { seen, threads: Mutex::default() }
    }

    /// Begins to ask the replica `name`, which runs as the process `id`, until that ends.
    pub fn watch(&self, name: &str, id: u32) {
        let (seen, name) = (self.seen.clone(), name.to_owned());
        let body = move || {
            let Some(mut client) = enter(id, &seen) else { return };
            while !seen.over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                match client.get("/status?format=json") {
                    Ok(answer) if answer.status == 200 => {
                        let document: Value =
                            serde_json::from_slice(&answer.body).unwrap_or_default();
                        let election = &document["leaderelection"];
                        let error = election["error"].as_str().unwrap_or_default();
                        let leads = election["role"] == "leader";
                        seen.note(Some(&name), id, asked, leads, error);
                    }
                    _ if !Path::new(&format!("/proc/{id}/root/usr")).exists() => return,
                    _ => {}
                }
                thread::sleep(PERIOD.saturating_sub(asked.elapsed()));
            }
        };
        let thread = thread::Builder::new().name("watch-replica".to_owned()).spawn(body);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.push(thread.expect("room for a thread"));
    }

    /// The replica that said last, within the last moments, that it leads.
    pub fn leader(&self) -> Option<String> {
        let samples = self.seen.lock();
        let recent = |sample: &&Sample| sample.answered.elapsed() < LONGEST_GAP;
        samples.iter().rev().take_while(recent).find(|sample| sample.leads)?.replica.clone()
    }

    /// When a replica other than `old` first said that it leads, in an answer to a question after `fault`.
    pub fn successor(&self, old: &str, fault: Instant) -> Option<(String, Instant)> {
        let samples = self.seen.lock();
        let mut after = samples.iter().filter(|sample| sample.leads && sample.asked > fault);
        let found = after.find(|sample| sample.replica.as_deref() != Some(old))?;
        Some((found.replica.clone()?, found.answered))
    }

    /// The latest sample of a replica: whether it leads, and what its election complains about.
    pub fn latest(&self, name: &str) -> Option<(Instant, bool, String)> {
        let samples = self.seen.lock();
        let sample = samples.iter().rev().find(|sample| sample.replica.as_deref() == Some(name))?;
        Some((sample.asked, sample.leads, sample.text.clone()))
    }

    /// Ends the watching and panics when anything seen proves two leaders at one time.
    pub fn finish(self) {
        self.seen.over.store(true, Ordering::Relaxed);
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.join().expect("a watching thread ends well");
        }
        let samples = self.seen.lock();
        let mut proofs = 0;
        for (leader, from, to) in sure_leaders(&samples) {
            for sample in samples.iter().filter(|other| from <= other.asked && other.answered <= to)
            {
                let (source, second) = match &sample.replica {
                    Some(name) => (name.as_str(), sample.leads && *name != leader),
                    None => ("the lock", sample.text != leader),
                };
                assert!(
                    !second,
                    "{leader} leads from {from:?} to {to:?}, and {source}: {sample:?}"
                );
                proofs += 1;
            }
        }
        println!("{} samples, {proofs} of them within a sure leadership", samples.len());
        assert!(proofs > 0, "nothing was proven");
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // Also when a test panics: its scope waits for the thread that reads the lock.
        self.seen.over.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    fn note(&self, replica: Option<&str>, process: u32, asked: Instant, leads: bool, text: &str) {
        let replica = replica.map(str::to_owned);
        let (answered, text) = (Instant::now(), text.to_owned());
        self.lock().push(Sample { replica, process, asked, answered, leads, text });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves the calling thread into the network namespace of the process, as soon as it stands in its own file system, and
/// returns a client with its token.
fn enter(id: u32, seen: &Seen) -> Option<NodeAgent> {
    let token_file = format!("/proc/{id}/root{TOKEN_FILE}");
    while !seen.over.load(Ordering::Relaxed) && Path::new(&format!("/proc/{id}")).exists() {
        let token = fs::read_to_string(&token_file).unwrap_or_default();
        if token.trim().is_empty() {
            thread::sleep(PERIOD);
            continue;
        }
        let namespace = File::open(format!("/proc/{id}/ns/net")).ok()?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("this layer runs as root");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 5005));
        return Some(NodeAgent::new(address, token.trim()));
    }
    None
}

/// Times in which a replica surely leads: from the answer of one sample to the question of a later one.
fn sure_leaders(samples: &[Sample]) -> Vec<(String, Instant, Instant)> {
    let mut sure: Vec<(String, Instant, Instant)> = Vec::new();
    let mut sources: Vec<(&String, u32)> = Vec::new();
    for sample in samples {
        if let Some(name) = &sample.replica
            && !sources.contains(&(name, sample.process))
        {
            sources.push((name, sample.process));
        }
    }
    for (name, process) in sources {
        let own = samples
            .iter()
            .filter(|sample| sample.replica.as_ref() == Some(name) && sample.process == process);
        let mut previous: Option<&Sample> = None;
        let mut extends = false;
        for sample in own {
            let follows = previous.filter(|previous| {
                previous.leads && sample.leads && sample.asked - previous.answered < LONGEST_GAP
            });
            match (follows, sure.last_mut()) {
                (Some(_), Some(last)) if extends => last.2 = sample.asked,
                (Some(previous), _) => sure.push((name.clone(), previous.answered, sample.asked)),
                (None, _) => {}
            }
            extends = follows.is_some();
            previous = Some(sample);
        }
    }
    sure
}
