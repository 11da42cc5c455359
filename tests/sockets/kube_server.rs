//! An API server of a few lines: every connection carries one exchange, which the test's script answers byte by byte.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cluster_agent::kube::Settings;
use cluster_agent::kube::objects::Node;
use cluster_agent::kube::settings::{DEFAULT_LIST_TIMEOUT, DEFAULT_REQUEST_TIMEOUT};
use cluster_agent::kube::watch::Event;
use crossbeam_channel::Receiver;

/// Longest wait for anything in these tests: far above what is expected, because the machine may be loaded.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Counts from 0.
    pub number: usize,
    /// `GET /api/v1/nodes?limit=500`
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Request {
    pub fn is_watch(&self) -> bool {
        self.line.contains("watch=1")
    }

    /// The value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.line.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Where a script writes its answer.
pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// Listens on a port of its own until the test process ends.
pub struct Server {
    pub address: SocketAddr,
    /// Every request, in the order of arrival.
    pub requests: Receiver<Request>,
}

impl Server {
    /// Answers each request by `script`, on a thread for each connection.
    pub fn start(script: impl Fn(&Request, &mut dyn Stream) + Send + Sync + 'static) -> Self {
        Self::start_wrapped(|socket| Some(Box::new(socket)), script)
    }

    /// The same with something between socket and HTTP, such as TLS; `None` drops the connection.
    pub fn start_wrapped(
        wrap: impl Fn(std::net::TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
        script: impl Fn(&Request, &mut dyn Stream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (sender, requests) = crossbeam_channel::unbounded();
        let shared = Arc::new((wrap, script, AtomicUsize::new(0), sender));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let (wrap, script, count, sender) = &*shared;
                    let Some(mut stream) = wrap(socket) else { return };
                    let Some(mut request) = read_request(&mut stream) else { return };
                    request.number = count.fetch_add(1, Ordering::SeqCst);
                    // The test may have seen enough.
                    let _ = sender.send(request.clone());
                    script(&request, &mut stream);
                });
            }
        });
        Self { address, requests }
    }

    /// The settings that lead to it.
    pub fn settings(&self) -> Settings {
        settings(format!("http://{}", self.address))
    }

    /// The next request, which has to come.
    #[track_caller]
    pub fn request(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).expect("a request comes")
    }
}

pub fn settings(server: String) -> Settings {
    Settings {
        server,
        ca: None,
        verify: true,
        certificate: None,
        token: None,
        namespace: None,
        request_timeout: DEFAULT_REQUEST_TIMEOUT,
        list_timeout: DEFAULT_LIST_TIMEOUT,
    }
}

fn read_request(stream: &mut dyn Stream) -> Option<Request> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (method_and_path, _) = line.trim_end().rsplit_once(' ')?;
    let mut request = Request {
        number: 0,
        line: method_and_path.to_owned(),
        headers: BTreeMap::new(),
        body: String::new(),
    };
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = request.headers.get("content-length").map_or(0, |text| text.parse().unwrap_or(0));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}

/// A whole answer.
pub fn answer(stream: &mut dyn Stream, status: u16, body: &str) {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    send(stream, &text);
}

/// The head of an answer whose body comes in chunks.
pub fn chunked(stream: &mut dyn Stream) {
    send(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
}

/// One chunk of such a body; the empty one ends it.
pub fn chunk(stream: &mut dyn Stream, text: &str) {
    send(stream, &format!("{:x}\r\n{text}\r\n", text.len()));
}

/// Bytes as they are; a client that has gone is no error.
pub fn send(stream: &mut dyn Stream, text: &str) {
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}

/// Keeps the connection open in silence until the client closes it.
pub fn hold(stream: &mut dyn Stream) {
    let _ = stream.read(&mut [0]);
}

/// A node as JSON.
pub fn node(name: &str, version: &str) -> String {
    format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"{version}"}}}}"#)
}

/// A page of nodes as JSON.
pub fn page(version: &str, continue_token: &str, names: &[&str]) -> String {
    let items: Vec<String> = names.iter().map(|name| node(name, "1")).collect();
    let items = items.join(",");
    format!(
        r#"{{"kind":"NodeList","metadata":{{"resourceVersion":"{version}","continue":"{continue_token}"}},"items":[{items}]}}"#
    )
}

/// A line of a watch.
pub fn line(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

/// A Status as JSON.
pub fn status(code: u16, message: &str) -> String {
    format!(r#"{{"kind":"Status","status":"Failure","message":"{message}","code":{code}}}"#)
}

/// An event in a word: `init`, `+a` (listed), `done`, `a` (applied), `-a` (deleted).
pub fn word(event: &Event<Node>) -> String {
    match event {
        Event::Init => "init".to_owned(),
        Event::InitApply(node) => format!("+{}", node.metadata.name),
        Event::InitDone => "done".to_owned(),
        Event::Apply(node) => node.metadata.name.clone(),
        Event::Delete(node) => format!("-{}", node.metadata.name),
    }
}
