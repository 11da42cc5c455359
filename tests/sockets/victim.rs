//! A process of its own for tests that count memory, threads and descriptors: this test binary once more, in a role.
//!
//! The test [`child_process`] does nothing unless [`Victim::start`] or [`Idlers::start`] gave it a role by environment.
//! A child ends when its standard input does, so none outlives its test.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use cluster_agent::grpc::Limits as GrpcLimits;
use cluster_agent::http::Limits;
use rustix::net::{AddressFamily, SocketType};

use crate::grpc::listener;

const ROLE: &str = "CHILD_ROLE";
const TARGET: &str = "CHILD_TARGET";
/// Connections that the idlers open from one address: what one address may keep.
const PER_ADDRESS: usize = 2000;

/// A server process under attack.
pub struct Victim {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A process that holds connections on which it says nothing.
pub struct Idlers {
    _process: Process,
    /// How many it holds.
    pub count: usize,
}

struct Process {
    child: Child,
    /// Its end is the child's end.
    _input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

impl Victim {
    /// A TLS listener with HTTP/1.1 and gRPC; `times` shortens the request, write and linger times.
    pub fn start(times: Option<Duration>) -> Self {
        let times = times.map_or(String::new(), |times| times.as_millis().to_string());
        let mut process = Process::start("victim", &times);
        let address = process.line("listening on ").parse().expect("it is an address");
        Self { process, address }
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> usize {
        let id = self.process.child.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("the kernel tells the memory")
    }

    /// Processor time used so far.
    pub fn cpu(&self) -> Duration {
        let id = self.process.child.id();
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        // Linux counts in hundredths of a second.
        Duration::from_millis(ticks * 10)
    }

    /// Threads that run now.
    pub fn threads(&self) -> usize {
        let id = self.process.child.id();
        std::fs::read_dir(format!("/proc/{id}/task")).expect("it runs").count()
    }
}

impl Idlers {
    /// Opens up to `count` connections, fewer where the system's limit of descriptors is lower.
    pub fn start(address: SocketAddr, count: usize) -> Self {
        let mut process = Process::start("idlers", &format!("{address} {count}"));
        let count = process.line("holding ").parse().expect("it is a number");
        Self { _process: process, count }
    }
}

impl Process {
    fn start(role: &str, target: &str) -> Self {
        let program = std::env::current_exe().expect("the test binary has a path");
        // The soft limit of descriptors is often 1,024; the shell raises it to the hard one.
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" --exact victim::child_process --nocapture"])
            .arg(program)
            .env(ROLE, role)
            .env(TARGET, target)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the child starts");
        let input = child.stdin.take().expect("the input is a pipe");
        let output = BufReader::new(child.stdout.take().expect("the output is a pipe"));
        Self { child, _input: input, output }
    }

    /// The rest of the first line that holds `marker`; the test runner writes around it.
    fn line(&mut self, marker: &str) -> String {
        loop {
            let mut line = String::new();
            let length = self.output.read_line(&mut line).expect("the output can be read");
            assert!(length > 0, "the child ended without saying {marker:?}");
            if let Some((_, rest)) = line.split_once(marker) {
                return rest.trim().to_owned();
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn child_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let target = std::env::var(TARGET).unwrap_or_default();
    match role.as_str() {
        "victim" => serve(&target),
        "idlers" => idle(&target),
        _ => panic!("unknown role {role}"),
    }
}

fn serve(times: &str) {
    let mut limits = Limits::default();
    if let Ok(times) = times.parse() {
        let times = Duration::from_millis(times);
        limits = Limits { request: times, write: times, linger: times, ..limits };
    }
    let (listener, _desk) = listener(limits, GrpcLimits::default());
    println!("listening on {}", listener.address());
    wait_for_the_end();
}

fn idle(target: &str) {
    let (address, count) = target.split_once(' ').expect("address and count are given");
    let address: SocketAddr = address.parse().expect("it is an address");
    let count: usize = count.parse().expect("it is a number");
    let sockets: Vec<TcpStream> =
        (0..count).map_while(|number| connect_from(source(number), address).ok()).collect();
    println!("holding {}", sockets.len());
    wait_for_the_end();
}

/// The address of the idler with this number: 127.0.0.2 and up.
fn source(number: usize) -> IpAddr {
    let last = u8::try_from(2 + number / PER_ADDRESS).expect("there are few addresses");
    Ipv4Addr::new(127, 0, 0, last).into()
}

fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket.into())
}

fn wait_for_the_end() {
    let _ = io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}
