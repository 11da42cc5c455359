//! How long a cluster takes to be read, by the program, by the informers of client-go, and by `curl` as the floor.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Programs;
use super::process::{self, Peer};
use super::support::api_server::Server;
use super::support::api_server::population::Size;
use super::support::program::{Program, Settings};
use super::support::scratch::Scratch;

/// A filled API server, and a directory with a kubeconfig of it.
pub struct Cluster {
    /// The server.
    pub server: Server,
    /// How big it is.
    pub size: Size,
    directory: Scratch,
}

/// What reading a cluster cost one process.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// From the start of the process until it had everything.
    pub time: Duration,
    /// Processor time until then, in seconds.
    pub processor: f64,
    /// Resident memory in MiB, a moment later.
    pub resident: f64,
}

/// A moment after the last object, for allocators to settle.
const SETTLE: Duration = Duration::from_secs(2);

impl Cluster {
    /// Fills a server.
    pub fn new(size: Size) -> Self {
        let server = Server::start();
        server.populate(size);
        let directory = Scratch::new();
        server.write_kubeconfig(directory.path());
        Self { server, size, directory }
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> std::path::PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// Starts the program, and measures until it answers for a node.
    pub fn read_by_program(&self, programs: &Programs) -> Result<(Program, Reading), String> {
        self.read_by_program_with(programs, &Settings::default())
    }

    /// The same with more settings.
    pub fn read_by_program_with(
        &self,
        programs: &Programs,
        settings: &Settings,
    ) -> Result<(Program, Reading), String> {
        let start = Instant::now();
        let program = Program::spawn(&programs.ours, &self.kubeconfig(), settings);
        let mut agent = program.node_agent();
        let synced =
            || agent.get("/api/v1/tags/pod/node-0").is_ok_and(|answer| answer.status == 200);
        wait_for(synced, "the program has read the cluster")
            .map_err(|why| format!("{why}:\n{}", program.log()))?;
        let reading = finish(program.id(), start.elapsed());
        Ok((program, reading))
    }

    /// Starts the informers, and measures until they have synced.
    pub fn read_by_informers(&self, programs: &Programs) -> Result<(Peer, Reading), String> {
        let start = Instant::now();
        let mut command = Command::new(programs.peers.join("informers"));
        let mut peer = Peer::start(command.arg(self.kubeconfig()))?;
        peer.line()?;
        let reading = finish(peer.id(), start.elapsed());
        Ok((peer, reading))
    }

    /// Downloads what the program listed first, with `curl` on one connection.
    pub fn download_by_curl(&self, targets: &[String]) -> Result<Duration, String> {
        let authority = self.directory.path().join("ca.crt");
        let mut command = Command::new("curl");
        command.args(["--silent", "--fail", "--user-agent", "bench", "--cacert"]).arg(authority);
        command.args(["-H", &format!("Authorization: Bearer {}", Server::TOKEN)]);
        for target in targets {
            command.args(["--output", "/dev/null"]).arg(format!("{}{target}", self.server.url()));
        }
        let start = Instant::now();
        let status =
            command.stdin(Stdio::null()).status().map_err(|error| format!("curl: {error}"))?;
        if status.success() { Ok(start.elapsed()) } else { Err(format!("curl: {status}")) }
    }

    /// The collections that were listed so far, whole instead of in pages.
    pub fn listed(&self) -> Vec<String> {
        let mut targets = Vec::new();
        for request in self.server.log() {
            let path = request.target.split('?').next().unwrap_or_default().to_owned();
            let is_list = request.method == "GET" && !request.target.contains("watch=");
            let of_cluster =
                ["/nodes", "/namespaces", "/endpointslices", "/endpoints", "/services", "/pods"]
                    .iter()
                    .any(|resource| path.ends_with(resource));
            if is_list && of_cluster && !targets.contains(&path) {
                targets.push(path);
            }
        }
        targets
    }
}

/// Polls `condition`; an error when it does not hold within two minutes.
pub fn wait_for(mut condition: impl FnMut() -> bool, what: &str) -> Result<(), String> {
    let give_up = Instant::now() + Duration::from_secs(120);
    while !condition() {
        if Instant::now() > give_up {
            return Err(format!("not within two minutes: {what}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Size of a file in MB.
pub fn megabytes(path: &Path) -> Result<f64, String> {
    let length =
        std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.len();
    Ok(length as f64 / 1e6)
}

fn finish(id: u32, time: Duration) -> Reading {
    let processor = process::processor_time(id);
    std::thread::sleep(SETTLE);
    Reading { time, processor, resident: process::resident(id) }
}
