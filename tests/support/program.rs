//! Runs the program as a pod would: a clean environment, its own directory, ports that are free.
//!
//! The process is ended by its id when the value is dropped, also when a test panics, and its log is then part of the
//! test's output.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::node_agent::NodeAgent;
use super::scratch::Scratch;
use super::wait;

/// The token of node Agents: 64 characters, as the program would make one.
pub const SHARED_TOKEN: &str = "5f0e7c1a9b3d48e6a2c4f8071d6b5e3990ab12cd34ef56a7b8c9d0e1f2a3b4c5";
/// Longer than anything takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Below the range from which the system takes ports for outgoing connections, which could otherwise be in the way.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
/// How often a start is tried when another process took a port in the meantime.
const STARTS: u32 = 5;

/// What a start of the program is given.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    environment: Vec<(String, String)>,
    file: String,
}

/// The running program.
pub struct Program {
    child: Child,
    directory: Scratch,
    log: Arc<Mutex<String>>,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    command: u16,
    telemetry: u16,
    health: u16,
}

impl Settings {
    /// Sets an environment variable; the last of a name wins, and an empty value takes a default of the runner away.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the text of `datadog-cluster.yaml`.
    pub fn file(mut self, text: &str) -> Self {
        text.clone_into(&mut self.file);
        self
    }
}

impl Program {
    /// Starts `binary` against the API server of a kubeconfig, and waits until it answers on its API port.
    pub fn start(binary: &Path, kubeconfig: &Path, settings: &Settings) -> Self {
        for _ in 1..STARTS {
            let mut program = Self::spawn(binary, kubeconfig, settings);
            let came_up = wait::some("the program listens or ends", PATIENCE, || {
                if program.node_agent().get("/version").is_ok_and(|answer| answer.status == 200) {
                    return Some(true);
                }
                program.exit_status().map(|_| false)
            });
            if came_up {
                return program;
            }
            let log = program.log();
            assert!(log.contains("in use"), "the program ended at its start:\n{log}");
        }
        panic!("{STARTS} starts met ports that were in use");
    }

    /// Starts it without waiting for anything.
    pub fn spawn(binary: &Path, kubeconfig: &Path, settings: &Settings) -> Self {
        let directory = Scratch::new();
        let ports = Ports { command: free_port(), telemetry: free_port(), health: free_port() };
        directory.write("datadog-cluster.yaml", &settings.file);
        let mut command = Command::new(binary);
        command.arg("start").arg("--cfgpath").arg(directory.path()).env_clear();
        let defaults = [
            ("DD_API_KEY", "0123456789abcdef0123456789abcdef".to_owned()),
            ("DD_CLUSTER_AGENT_AUTH_TOKEN", SHARED_TOKEN.to_owned()),
            ("DD_CLUSTER_AGENT_CMD_PORT", ports.command.to_string()),
            ("DD_METRICS_PORT", ports.telemetry.to_string()),
            ("DD_HEALTH_PORT", ports.health.to_string()),
            ("DD_AUTH_TOKEN_FILE_PATH", directory.path().join("auth_token").display().to_string()),
            ("DD_KUBERNETES_KUBECONFIG_PATH", kubeconfig.display().to_string()),
            ("DD_DISABLE_FILE_LOGGING", "true".to_owned()),
            ("DD_HOSTNAME", "embedded-test".to_owned()),
            // Nothing listens there: whatever is sent to Datadog fails at once.
            ("DD_DD_URL", "http://127.0.0.1:9".to_owned()),
        ];
        command.envs(defaults);
        for (name, value) in &settings.environment {
            if value.is_empty() {
                command.env_remove(name);
            } else {
                command.env(name, value);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let log = Arc::default();
        collect(child.stdout.take().expect("stdout is piped"), &log);
        collect(child.stderr.take().expect("stderr is piped"), &log);
        Self { child, directory, log, ports }
    }

    /// The API port.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.command).into()
    }

    /// The telemetry port.
    pub fn telemetry_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.telemetry).into()
    }

    /// The health port.
    pub fn health_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.health).into()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its configuration directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A client with the token of node Agents.
    pub fn node_agent(&self) -> NodeAgent {
        NodeAgent::new(self.address(), SHARED_TOKEN)
    }

    /// A client with the token of the command line, once the program has written it.
    pub fn local_client(&self) -> NodeAgent {
        let path: PathBuf = self.directory.path().join("auth_token");
        let token = wait::some("the session token is written", PATIENCE, || {
            std::fs::read_to_string(&path).ok().filter(|token| !token.trim().is_empty())
        });
        NodeAgent::new(self.address(), token.trim())
    }

    /// Waits until it has read the cluster, that is until metadata routes answer something other than 503.
    #[track_caller]
    pub fn wait_synced(&self) {
        let mut agent = self.node_agent();
        wait::until("the program has read the cluster", PATIENCE, || {
            let answer = agent.get("/api/v1/tags/pod/no-such-node");
            answer.is_ok_and(|answer| answer.status != 503)
        });
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `text` stands in the log.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        let what = format!("the log says {text:?}");
        wait::until(&what, PATIENCE, || self.log().contains(text));
    }

    /// Sends a signal by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(id).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name} failed");
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours to wait for")
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        wait::some("the program ends", PATIENCE, || self.exit_status())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of the program\n{}---", self.log());
        }
    }
}

fn collect(output: impl std::io::Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = Arc::clone(log);
    let read = move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
        }
    };
    let spawned = thread::Builder::new().name("program-log".to_owned()).spawn(read);
    drop(spawned.expect("the system has room for a thread"));
}

/// A port that is free now; tests that run beside each other start their search at different places.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 2_000 * 11).expect("below 22,000");
    loop {
        let step = NEXT.fetch_add(1, Ordering::SeqCst);
        let port = PORTS.start + start.wrapping_add(step) % (PORTS.end - PORTS.start);
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}
