//! Requests of one small GET over kept TLS connections per second of processor time: ours, Go's net/http, nginx.
//!
//! Each server is bound to one core and wrk to the other. What counts is the processor time that a server used, so that
//! other work on its core costs accuracy but does not decide; on an idle machine it is the requests a second of one core.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::process::{self, Peer};
use super::support::program::{SHARED_TOKEN, free_port};
use super::support::scratch::Scratch;

/// Rounds, of which the median counts; they alternate between the servers, so that all meet the same disturbances.
const ROUNDS: usize = 3;
/// One round.
const ROUND: &str = "5s";

/// Requests per second of processor time of each server.
pub struct Throughput {
    pub ours: f64,
    pub go: f64,
    pub nginx: f64,
}

/// Measures all three; `address` and `path` are of the running program with process id `id`.
pub fn measure(
    address: SocketAddr,
    id: u32,
    path: &str,
    body: &[u8],
    peers: &Path,
) -> Result<Throughput, String> {
    let directory = Scratch::new();
    write_certificate(&directory);
    let body_file = directory.path().join("body");
    std::fs::write(&body_file, body).map_err(|error| error.to_string())?;

    let go_address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let mut go = Peer::start(
        Command::new(peers.join("nethttp"))
            .arg(go_address.to_string())
            .args([directory.path().join("cert.pem"), directory.path().join("key.pem")])
            .arg(SHARED_TOKEN)
            .arg(&body_file)
            .env("GOMAXPROCS", "1"),
    )?;
    go.line()?;
    let nginx_address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let nginx = start_nginx(&directory, nginx_address, path, body)?;

    let servers = [(address, id), (go_address, go.id()), (nginx_address, nginx.id())];
    let mut results = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for ((address, id), results) in servers.iter().zip(&mut results) {
            process::pin(*id, 0);
            let before = process::processor_time(*id);
            let requests = wrk(*address, path)?;
            results.push(requests / (process::processor_time(*id) - before));
        }
    }
    let [ours, go, nginx] = results.map(|mut values| {
        values.sort_by(f64::total_cmp);
        values[ROUNDS / 2]
    });
    Ok(Throughput { ours, go, nginx })
}

/// Keeps 64 connections busy for a round; gives the number of requests.
fn wrk(address: SocketAddr, path: &str) -> Result<f64, String> {
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "-t1", "-c64", "-d", ROUND])
        .args(["-H", &format!("Authorization: Bearer {SHARED_TOKEN}")])
        .arg(format!("https://localhost:{}{path}", address.port()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("wrk: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") {
        return Err(format!("wrk met errors: {text}"));
    }
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in"));
    let requests = requests.and_then(|(requests, _)| requests.parse().ok());
    requests.ok_or_else(|| format!("wrk printed {text}"))
}

fn start_nginx(
    directory: &Scratch,
    address: SocketAddr,
    path: &str,
    body: &[u8],
) -> Result<Peer, String> {
    let text = String::from_utf8_lossy(body);
    let home = directory.path().display();
    let configuration = directory.write(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; pid {home}/nginx.pid; error_log {home}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n  access_log off; keepalive_requests 100000000; client_body_temp_path {home};\n\
             proxy_temp_path {home}; fastcgi_temp_path {home}; uwsgi_temp_path {home}; scgi_temp_path {home};\n\
             server {{\n    listen {address} ssl; ssl_certificate {home}/cert.pem; ssl_certificate_key {home}/key.pem;\n\
             location = {path} {{\n      default_type application/json;\n\
             if ($http_authorization != \"Bearer {SHARED_TOKEN}\") {{ return 403; }}\n      return 200 '{text}';\n    }}\n  }}\n}}\n"
        ),
    );
    // One process without a master: it ends with its id, and stays the user that can read the directory.
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&configuration);
    let nginx = Peer::start(command.stderr(Stdio::null()))?;
    let give_up = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > give_up {
            let log = std::fs::read_to_string(directory.path().join("error.log"));
            return Err(format!("nginx does not listen: {}", log.unwrap_or_default()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(nginx)
}

fn write_certificate(directory: &Scratch) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("the names are ASCII");
    directory.write("cert.pem", &made.cert.pem());
    directory.write("key.pem", &made.signing_key.serialize_pem());
}
