//! A gRPC client for tests: calls over one HTTP/2 connection, everything that comes back kept for inspection.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use shiguredo_http2::{Connection, ErrorCode, Event, HeaderField, Limits, StreamId};

use crate::tls_client::{Offer, PATIENCE, TlsStream, client_config, connect_with};

/// How long one read waits; the client is otherwise driven by [`GrpcClient::until`].
const READ_TIME: Duration = Duration::from_millis(20);

/// A connection with its calls.
pub struct GrpcClient {
    stream: TlsStream,
    protocol: Connection,
    /// What came back, by stream.
    pub calls: HashMap<u32, Received>,
    /// The server's goodbye.
    pub goaway: Option<ErrorCode>,
    /// Answers to PINGs.
    pub pongs: usize,
    /// The server ended the connection.
    pub closed: bool,
    /// Whether windows are opened again by what is received; a client that does not read leaves them shut.
    pub reads: bool,
}

/// What came back on one stream.
#[derive(Debug, Default)]
pub struct Received {
    pub headers: Vec<(String, String)>,
    pub messages: VecDeque<Vec<u8>>,
    pub trailers: Vec<(String, String)>,
    pub reset: Option<ErrorCode>,
    pub ended: bool,
    /// The beginning of a message.
    partial: Vec<u8>,
}

impl Received {
    /// The gRPC status, from the trailers or from a head that is all there is.
    pub fn status(&self) -> Option<u32> {
        self.field("grpc-status")?.parse().ok()
    }

    /// The first field of this name, in the trailers or in the head.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.trailers.iter().chain(&self.headers);
        fields.find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// TLS settings that offer only `h2`, to be made once for many connections.
pub fn h2_config() -> Arc<ClientConfig> {
    client_config(&Offer { protocols: vec![b"h2"], ..Offer::default() })
}

impl GrpcClient {
    /// Connects and sends the opening frames.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::connect_with(address, h2_config())
    }

    /// Connects with shared TLS settings.
    pub fn connect_with(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        let stream = connect_with(address, config, "localhost")?;
        stream.sock.set_read_timeout(Some(READ_TIME))?;
        let mut protocol = Connection::client(Limits::default());
        protocol.initiate().map_err(io::Error::other)?;
        let calls = HashMap::new();
        let mut client =
            Self { stream, protocol, calls, goaway: None, pongs: 0, closed: false, reads: true };
        client.flush()?;
        Ok(client)
    }

    /// Makes a call with its only message; returns the stream's number.
    pub fn call(
        &mut self,
        path: &str,
        metadata: &[(&str, &str)],
        message: &[u8],
    ) -> io::Result<u32> {
        let id = self.open(path, metadata)?;
        self.send(id, &framed(message), true)?;
        Ok(id)
    }

    /// Opens a call without its message.
    pub fn open(&mut self, path: &str, metadata: &[(&str, &str)]) -> io::Result<u32> {
        let head = [
            (":method", "POST"),
            (":scheme", "https"),
            (":path", path),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        self.request(head.iter().chain(metadata).copied(), false)
    }

    /// Sends any request head.
    pub fn request<'a>(
        &mut self,
        head: impl IntoIterator<Item = (&'a str, &'a str)>,
        ended: bool,
    ) -> io::Result<u32> {
        let fields: Result<Vec<_>, _> =
            head.into_iter().map(|(name, value)| HeaderField::new(name, value)).collect();
        let fields = fields.expect("the tests use valid fields");
        let id = self.protocol.start_stream(fields, ended).map_err(io::Error::other)?;
        self.calls.insert(id.as_u32(), Received::default());
        self.flush()?;
        Ok(id.as_u32())
    }

    /// Sends body bytes.
    pub fn send(&mut self, id: u32, bytes: &[u8], ended: bool) -> io::Result<()> {
        let id = StreamId::from_wire(id);
        self.protocol.send_data(id, bytes.to_vec(), ended).map_err(io::Error::other)?;
        self.flush()
    }

    /// Cancels a call.
    pub fn cancel(&mut self, id: u32) -> io::Result<()> {
        let id = StreamId::from_wire(id);
        self.protocol.reset_stream(id, ErrorCode::Cancel).map_err(io::Error::other)?;
        self.flush()
    }

    /// Sends a PING.
    pub fn ping(&mut self) -> io::Result<()> {
        self.protocol.send_ping(*b"are you?").map_err(io::Error::other)?;
        self.flush()
    }

    /// Sends bytes past the protocol library.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads until `condition` holds.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < end, "{what} did not happen in time");
            assert!(!self.closed, "the connection ended before {what}");
            self.poll();
        }
    }

    /// The next message of a call.
    #[track_caller]
    pub fn message(&mut self, id: u32) -> Vec<u8> {
        self.until("a message", |client| !client.calls[&id].messages.is_empty());
        self.calls
            .get_mut(&id)
            .and_then(|call| call.messages.pop_front())
            .expect("there is a message by now")
    }

    /// The status that a call ends with.
    #[track_caller]
    pub fn status(&mut self, id: u32) -> u32 {
        self.until("a status", |client| client.calls[&id].status().is_some());
        self.calls[&id].status().expect("there is a status by now")
    }

    /// Reads what has arrived, waiting for a moment when there is nothing.
    pub fn poll(&mut self) {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(length @ 1..) => self.take(&piece[..length]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(_) | Err(_) => self.closed = true,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let fed = self.protocol.feed(bytes).and_then(|_| self.protocol.process());
        fed.expect("the server keeps to the protocol");
        while let Some(event) = self.protocol.poll_event() {
            self.handle(event);
        }
        // A connection that has ended takes no acknowledgements any more.
        let _ = self.flush();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::HeadersReceived { stream_id, headers, end_stream, .. } => {
                let call = self.calls.entry(stream_id.as_u32()).or_default();
                call.headers = pairs(&headers);
                call.ended |= end_stream;
            }
            Event::DataReceived { stream_id, data, end_stream } => {
                let call = self.calls.entry(stream_id.as_u32()).or_default();
                call.partial.extend_from_slice(&data);
                call.ended |= end_stream;
                while let Some(message) = split(&mut call.partial) {
                    call.messages.push_back(message);
                }
                let length = u32::try_from(data.len()).expect("frames are small");
                if self.reads && length > 0 {
                    for id in [StreamId::Connection, stream_id] {
                        let _ = self.protocol.send_window_update(id, length);
                    }
                }
            }
            Event::TrailersReceived { stream_id, trailers } => {
                let call = self.calls.entry(stream_id.as_u32()).or_default();
                call.trailers = pairs(&trailers);
                call.ended = true;
            }
            Event::StreamReset { stream_id, error_code, .. } => {
                let call = self.calls.entry(stream_id.as_u32()).or_default();
                call.reset = Some(error_code);
                call.ended = true;
            }
            Event::PingReceived { ack: true, .. } => self.pongs += 1,
            Event::GoawayReceived { error_code, .. } => self.goaway = Some(error_code),
            _ => {}
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.protocol.poll_output() {
            self.stream.write_all(&bytes)?;
        }
        self.stream.flush()
    }
}

/// A message with its prefix.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("messages are small");
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// Takes a complete message off the front.
fn split(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(bytes.get(1..5)?.try_into().ok()?) as usize;
    if bytes.len() < 5 + length {
        return None;
    }
    let rest = bytes.split_off(5 + length);
    Some(std::mem::replace(bytes, rest).split_off(5))
}

fn pairs(fields: &[HeaderField]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|field| (text(field.name()), text(field.value()))).collect()
}
