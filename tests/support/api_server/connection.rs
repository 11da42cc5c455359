//! One HTTP/1.1 connection of the embedded server: requests in, whole answers or chunked streams out.
//!
//! A thread per connection. The control block lets the server cut a connection from outside, also in the middle of a
//! line, and holds every read and write back while the server is frozen.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request's head, more than any client of the API sends.
const HEAD_LIMIT: usize = 64 * 1024;
/// A request's body: the real server refuses more than 3 MiB as well.
const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// A streamed body leaves in chunks of this size.
const CHUNK: usize = 32 * 1024;

/// One request.
#[derive(Debug)]
pub struct Request {
    /// `GET` and the like.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Holds everything up while the server is frozen.
#[derive(Debug, Default)]
pub struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

/// What the server can do to a connection from outside.
#[derive(Debug)]
pub struct Control {
    socket: TcpStream,
    order: AtomicU8,
    watching: Mutex<Option<String>>,
}

/// An order to the watch that runs on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    None,
    /// End the stream properly, as the real server does at the end of `timeoutSeconds`.
    End,
    /// Break the connection in the middle of a line.
    Cut,
}

/// The server's side of a connection.
pub struct Connection {
    stream: Stream,
    control: Arc<Control>,
    gate: Arc<Gate>,
    unread: Vec<u8>,
    /// Bytes of the answer that may still go out before the connection breaks; a fault sets it.
    pub budget: Option<usize>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Request {
    /// A header's value by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The decoded path segments.
    pub fn segments(&self) -> Vec<String> {
        self.path().split('/').filter(|segment| !segment.is_empty()).map(decoded).collect()
    }

    /// A query parameter's first value, decoded; empty values count as absent.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs
            .filter(|(key, _)| decoded(key) == name)
            .map(|(_, value)| decoded(&value.replace('+', " ")))
            .next()
            .filter(|value| !value.is_empty())
    }
}

impl Gate {
    /// Closes or opens it.
    pub fn set_closed(&self, closed: bool) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = closed;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        while *closed {
            closed = self.opened.wait(closed).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Control {
    /// The control block of an accepted socket.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, order: AtomicU8::new(0), watching: Mutex::new(None) }
    }

    /// Breaks the connection at once.
    pub fn shut_down(&self) {
        // It may be gone already, which is what is wanted.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Orders the running watch to end.
    pub fn order(&self, order: Order) {
        self.order.store(order as u8, Ordering::SeqCst);
    }

    /// The order, if there is one.
    pub fn ordered(&self) -> Order {
        match self.order.load(Ordering::SeqCst) {
            1 => Order::End,
            2 => Order::Cut,
            _ => Order::None,
        }
    }

    /// Notes which resource this connection watches.
    pub fn set_watching(&self, resource: Option<&str>) {
        self.order(Order::None);
        *self.watching.lock().unwrap_or_else(PoisonError::into_inner) = resource.map(str::to_owned);
    }

    /// The qualified name of the resource that this connection watches.
    pub fn watching(&self) -> Option<String> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the peer has sent something or left, while it should silently read.
    pub fn peer_is_gone(&self) -> bool {
        // The thread that serves this socket is the one that asks, so no other read or write meets this mode.
        if self.socket.set_nonblocking(true).is_err() {
            return true;
        }
        let peeked = self.socket.peek(&mut [0]);
        let restored = self.socket.set_nonblocking(false);
        restored.is_err()
            || !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Connection {
    /// A connection on an accepted socket, with the TLS handshake done.
    pub fn new(
        socket: TcpStream,
        tls: Option<Arc<ServerConfig>>,
        control: Arc<Control>,
        gate: Arc<Gate>,
    ) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let stream = match tls {
            None => Stream::Plain(socket),
            Some(config) => {
                let session = ServerConnection::new(config).map_err(io::Error::other)?;
                let mut stream = StreamOwned::new(session, socket);
                gate.pass();
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                Stream::Tls(Box::new(stream))
            }
        };
        Ok(Self { stream, control, gate, unread: Vec::new(), budget: None })
    }

    /// The control block.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The next request; `None` when the peer has closed the connection.
    pub fn read_request(&mut self) -> io::Result<Option<Request>> {
        let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
        loop {
            let mut slots = [httparse::EMPTY_HEADER; 64];
            let mut head = httparse::Request::new(&mut slots);
            let parsed = head.parse(&self.unread).map_err(|error| invalid(&error.to_string()))?;
            if let httparse::Status::Complete(length) = parsed {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let headers = head.headers.iter();
                let mut request = Request {
                    method: head.method.unwrap_or_default().to_owned(),
                    target: head.path.unwrap_or_default().to_owned(),
                    headers: headers.map(|h| (h.name.to_lowercase(), text(h.value))).collect(),
                    body: Vec::new(),
                };
                self.unread.drain(..length);
                if request.header("expect").is_some() {
                    self.write_raw(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                }
                let chunked = request.header("transfer-encoding").is_some();
                request.body = if chunked {
                    self.read_chunks()?
                } else {
                    let length = request.header("content-length").unwrap_or("0").trim().parse();
                    let length = length.map_err(|_| invalid("bad content-length"))?;
                    self.read_exactly(length)?
                };
                return Ok(Some(request));
            }
            if self.unread.len() > HEAD_LIMIT {
                return Err(invalid("the request head is too long"));
            }
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
    }

    /// Sends a whole answer.
    pub fn respond(
        &mut self,
        status: u16,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut bytes = head(status, headers);
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        self.write_raw(&bytes)?;
        self.write_body(body)
    }

    /// Starts a chunked answer; [`Stream::finish`] or an error ends it.
    pub fn start_stream(
        &mut self,
        status: u16,
        headers: &[(&str, String)],
    ) -> io::Result<Chunked<'_>> {
        let mut bytes = head(status, headers);
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        self.write_raw(&bytes)?;
        Ok(Chunked { connection: self, pending: Vec::new() })
    }

    /// Never answers: returns when the peer or the server has closed the connection.
    pub fn stall(&mut self) {
        while !self.control.peer_is_gone() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits, but not beyond the end of the connection; false when the peer is gone.
    pub fn pause(&self, duration: Duration) -> bool {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            if self.control.peer_is_gone() {
                return false;
            }
            let left = end.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
        true
    }

    /// Waits while the server is frozen.
    pub fn pass_gate(&self) {
        self.gate.pass();
    }

    fn write_body(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.budget {
            Some(budget) if budget < bytes.len() => {
                self.write_raw(&bytes[..budget])?;
                self.control.shut_down();
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut by a scripted fault"))
            }
            Some(budget) => {
                self.budget = Some(budget - bytes.len());
                self.write_raw(bytes)
            }
            None => self.write_raw(bytes),
        }
    }

    fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.gate.pass();
        match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 8 * 1024];
        let read = match &mut self.stream {
            Stream::Plain(socket) => socket.read(&mut buffer)?,
            Stream::Tls(stream) => stream.read(&mut buffer)?,
        };
        self.unread.extend_from_slice(&buffer[..read]);
        self.gate.pass();
        Ok(read)
    }

    fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > BODY_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the body is too long"));
        }
        while self.unread.len() < length {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.drain(..length).collect())
    }

    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.extend(self.read_exactly(1)?);
            }
            let size = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            body.extend(self.read_exactly(size)?);
            self.read_exactly(2)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

/// A chunked body that is being written.
pub struct Chunked<'a> {
    connection: &'a mut Connection,
    pending: Vec<u8>,
}

impl Chunked<'_> {
    /// Adds bytes; they leave when a chunk is full, or at the next flush.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    /// Sends what was added.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut chunk = format!("{:x}\r\n", self.pending.len()).into_bytes();
        chunk.append(&mut self.pending);
        chunk.extend_from_slice(b"\r\n");
        self.connection.write_body(&chunk)
    }

    /// Ends the body properly.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.connection.write_body(b"0\r\n\r\n")
    }

    /// Sends half a line and breaks the connection.
    pub fn cut_mid_line(mut self) -> io::Error {
        let sent = self.push(br#"{"type":"MODIFIED","object":{"ki"#).and_then(|()| self.flush());
        self.connection.control.shut_down();
        sent.err().unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into())
    }

    /// The control block of the connection underneath.
    pub fn control(&self) -> &Control {
        &self.connection.control
    }
}

fn head(status: u16, headers: &[(&str, String)]) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        410 => "Gone",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    };
    let mut text = format!("HTTP/1.1 {status} {reason}\r\nCache-Control: no-cache, private\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.into_bytes()
}

fn decoded(text: &str) -> String {
    cluster_agent::http::message::percent_decoded(text).into_owned()
}
