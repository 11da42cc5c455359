//! A recording intake: answers as it is told, and keeps what it was sent.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use flate2::read::ZlibDecoder;
use serde_json::Value;

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Received {
    /// `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, decompressed.
    pub body: Value,
    /// The status it was answered with.
    pub status: u16,
    /// When it had come whole.
    pub at: Instant,
}

/// The intake; it listens until the process ends.
#[derive(Clone)]
pub struct Intake {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    /// Answers to the next requests with events.
    script: VecDeque<u16>,
    /// The answer after them.
    usual: u16,
}

impl Intake {
    /// Listens on loopback and accepts everything.
    pub fn start() -> Self {
        Self::bind("127.0.0.1:0")
    }

    /// Listens on `address` and accepts everything.
    pub fn bind(address: &str) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State { usual: 202, ..State::default() }));
        let intake = Self { address, state };
        let serving = intake.clone();
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(&socket));
            }
        });
        intake
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it answers from now on.
    pub fn answer(&self, status: u16) {
        self.lock().usual = status;
    }

    /// What it answers to the next requests with events, one each.
    pub fn answer_next(&self, statuses: &[u16]) {
        self.lock().script.extend(statuses);
    }

    /// All requests for `path` so far.
    pub fn received(&self, path: &str) -> Vec<Received> {
        let state = self.lock();
        state.received.iter().filter(|request| request.target == path).cloned().collect()
    }

    /// Every event that was accepted so far.
    pub fn events(&self) -> Vec<Value> {
        let accepted = self.received("/intake/").into_iter().filter(|request| request.status < 300);
        let sources = accepted.flat_map(|request| {
            let sources = request.body["events"].as_object().cloned().unwrap_or_default();
            sources.into_iter().map(|(_, events)| events)
        });
        sources.flat_map(|events| events.as_array().cloned().unwrap_or_default()).collect()
    }

    fn serve(&self, socket: &TcpStream) {
        let mut reader = BufReader::new(socket);
        while let Some(mut request) = read(&mut reader) {
            let status = {
                let mut state = self.lock();
                let scripted = (request.target == "/intake/").then(|| state.script.pop_front());
                request.status = scripted.flatten().unwrap_or(state.usual);
                let status = request.status;
                state.received.push(request);
                status
            };
            let body = r#"{"status":"ok"}"#;
            let answer =
                format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let mut writer = socket;
            if writer.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request; `None` at the end of the connection.
fn read(reader: &mut BufReader<&TcpStream>) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut parts = line.split_whitespace().map(str::to_owned);
    let (method, target) = (parts.next()?, parts.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length: usize =
        headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    if headers.get("content-encoding").is_some_and(|encoding| encoding == "deflate") {
        let mut plain = Vec::new();
        ZlibDecoder::new(&body[..]).read_to_end(&mut plain).ok()?;
        body = plain;
    }
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Received { method, target, headers, body, status: 0, at: Instant::now() })
}
