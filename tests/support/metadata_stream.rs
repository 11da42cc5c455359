//! The newest node Agents' way to ask: one gRPC stream with a full state and then its changes (spec node-api §8.4).
//!
//! The messages are declared here a second time, from the specification: the program's own declarations must not vouch
//! for themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use prost::Message;
use rustls::ClientConfig;
use shiguredo_http2::{Connection, Event, HeaderField, Limits, StreamId};

use super::tls_client::{self, Offer, TlsStream};

const PATH: &str = "/datadog.api.v1.AgentSecure/StreamKubeMetadata";
/// The flag and the length before each message.
const PREFIX: usize = 5;

/// One open stream.
pub struct MetadataStream {
    socket: TlsStream,
    http2: Connection,
    body: Vec<u8>,
    updates: VecDeque<Update>,
    ended: Option<u32>,
}

/// What comes within a time.
#[derive(Debug)]
pub enum Received {
    /// A message; an empty one keeps the stream alive.
    Update(Update),
    /// The stream ended with this gRPC status.
    Ended(u32),
    /// Nothing.
    Silence,
}

/// What an Agent knows from the messages so far.
#[derive(Debug, Default, PartialEq)]
pub struct Known {
    /// Whether the full state has come.
    pub complete: bool,
    /// Namespace and pod → services.
    pub pods: BTreeMap<(String, String), BTreeSet<String>>,
    /// Namespace → labels.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    node_name: String,
}

/// `KubeMetadataStreamResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct Update {
    #[prost(bool, tag = "1")]
    pub is_full_state: bool,
    #[prost(message, repeated, tag = "2")]
    pub mappings: Vec<Mapping>,
    #[prost(message, repeated, tag = "3")]
    pub namespaces: Vec<NamespaceMetadata>,
}

/// `PodServiceMapping`.
#[derive(Clone, PartialEq, Message)]
pub struct Mapping {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub pod_name: String,
    #[prost(string, repeated, tag = "3")]
    pub service_names: Vec<String>,
    /// 0 sets, 1 unsets.
    #[prost(int32, tag = "4")]
    pub kind: i32,
}

/// `NamespaceMetadata`.
#[derive(Clone, PartialEq, Message)]
pub struct NamespaceMetadata {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub annotations: BTreeMap<String, String>,
    /// 0 sets, 1 unsets.
    #[prost(int32, tag = "4")]
    pub kind: i32,
}

impl MetadataStream {
    /// Connects with ALPN `h2` and asks for a node.
    pub fn open(address: SocketAddr, token: &str, node: &str) -> io::Result<Self> {
        let socket = tls_client::connect_with(address, Arc::clone(configuration()), "127.0.0.1")?;
        let limits = Limits::builder().build().map_err(io::Error::other)?;
        let mut http2 = Connection::client(limits);
        http2.initiate().map_err(io::Error::other)?;
        let field = |name: &str, value: &str| {
            HeaderField::new(name, value).map_err(|error| io::Error::other(format!("{error:?}")))
        };
        let head = vec![
            field(":method", "POST")?,
            field(":scheme", "https")?,
            field(":path", PATH)?,
            field(":authority", &address.to_string())?,
            field("content-type", "application/grpc")?,
            field("user-agent", "grpc-go/1.80.0")?,
            field("te", "trailers")?,
            field("authorization", &format!("Bearer {token}"))?,
        ];
        let stream = http2.start_stream(head, false).map_err(io::Error::other)?;
        let message = Request { node_name: node.to_owned() }.encode_to_vec();
        let mut body = vec![0];
        body.extend_from_slice(
            &u32::try_from(message.len()).map_err(io::Error::other)?.to_be_bytes(),
        );
        body.extend_from_slice(&message);
        http2.send_data(stream, body, true).map_err(io::Error::other)?;
        let mut opened =
            Self { socket, http2, body: Vec::new(), updates: VecDeque::new(), ended: None };
        opened.send()?;
        Ok(opened)
    }

    /// What comes within `limit`; an error when the connection breaks without a status.
    pub fn next(&mut self, limit: Duration) -> io::Result<Received> {
        let give_up = Instant::now() + limit;
        loop {
            if let Some(update) = self.updates.pop_front() {
                return Ok(Received::Update(update));
            }
            if let Some(status) = self.ended {
                return Ok(Received::Ended(status));
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Received::Silence);
            }
            self.socket.sock.set_read_timeout(Some(left))?;
            let mut buffer = [0; 4 * 1024];
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.take(&buffer[..read])?,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes messages into `known` until `done` says so; panics when it does not within `limit`.
    #[track_caller]
    pub fn learn(&mut self, known: &mut Known, limit: Duration, done: impl Fn(&Known) -> bool) {
        let give_up = Instant::now() + limit;
        while !done(known) {
            let left = give_up.saturating_duration_since(Instant::now());
            match self.next(left) {
                Ok(Received::Update(update)) => known.apply(&update),
                other => panic!("{other:?} after {known:?}"),
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.http2.feed(bytes).map_err(io::Error::other)?;
            self.http2.process().map_err(io::Error::other)?;
            bytes = &bytes[taken..];
        }
        while let Some(event) = self.http2.poll_event() {
            match event {
                Event::HeadersReceived { headers, end_stream: true, .. } => self.end(&headers),
                Event::TrailersReceived { trailers, .. } => self.end(&trailers),
                Event::DataReceived { stream_id, data, .. } => self.take_data(stream_id, &data)?,
                Event::StreamReset { error_code, .. } => {
                    return Err(io::Error::other(format!("reset: {error_code:?}")));
                }
                _ => {}
            }
        }
        self.send()
    }

    fn take_data(&mut self, stream: StreamId, data: &[u8]) -> io::Result<()> {
        self.body.extend_from_slice(data);
        if let Ok(length @ 1..) = u32::try_from(data.len()) {
            self.http2
                .send_window_update(StreamId::Connection, length)
                .map_err(io::Error::other)?;
            // The stream may have ended with this very frame.
            let _ = self.http2.send_window_update(stream, length);
        }
        while let Some(prefix) = self.body.first_chunk::<PREFIX>() {
            let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
            let end = PREFIX + usize::try_from(length).map_err(io::Error::other)?;
            if self.body.len() < end {
                break;
            }
            let update = Update::decode(&self.body[PREFIX..end]).map_err(io::Error::other)?;
            self.body.drain(..end);
            self.updates.push_back(update);
        }
        Ok(())
    }

    fn end(&mut self, fields: &[HeaderField]) {
        let status = fields.iter().find(|field| field.name() == b"grpc-status");
        let status = status.and_then(|field| String::from_utf8_lossy(field.value()).parse().ok());
        // A stream that ends without a status counts as Unknown.
        self.ended = Some(status.unwrap_or(2));
    }

    fn send(&mut self) -> io::Result<()> {
        while let Some(output) = self.http2.poll_output() {
            self.socket.write_all(&output)?;
        }
        self.socket.flush()
    }
}

impl Known {
    /// Does with a message what the Agent does: nothing before the full state counts.
    pub fn apply(&mut self, update: &Update) {
        if update.is_full_state {
            *self = Self { complete: true, ..Self::default() };
        }
        if !self.complete {
            return;
        }
        for mapping in &update.mappings {
            let pod = (mapping.namespace.clone(), mapping.pod_name.clone());
            match mapping.kind {
                0 => self.pods.insert(pod, mapping.service_names.iter().cloned().collect()),
                _ => self.pods.remove(&pod),
            };
        }
        for namespace in &update.namespaces {
            match namespace.kind {
                0 => self.namespaces.insert(namespace.namespace.clone(), namespace.labels.clone()),
                _ => self.namespaces.remove(&namespace.namespace),
            };
        }
    }

    /// The services of a pod; empty when it has none.
    pub fn services(&self, namespace: &str, pod: &str) -> Vec<String> {
        let services = self.pods.get(&(namespace.to_owned(), pod.to_owned()));
        services.into_iter().flatten().cloned().collect()
    }
}

fn configuration() -> &'static Arc<ClientConfig> {
    static CONFIGURATION: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    CONFIGURATION.get_or_init(|| {
        tls_client::client_config(&Offer { protocols: vec![b"h2"], ..Offer::default() })
    })
}
