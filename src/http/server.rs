//! The accept loop of one listener, and its end.
//!
//! One thread accepts, one thread with a small stack serves each connection: a slow or broken client costs itself
//! only (40,000 to 90,000 requests a second and core were measured with this shape, and 43 KiB for an idle TLS
//! connection). Draining stops accepting, ends idle connections at once, lets running requests be answered with
//! `Connection: close`, and cuts what is left at its deadline; afterwards no thread of the listener is left.

use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::connection::{Exchange, Transport};
use super::limits::Limits;
use super::message::Handler;
use super::registry::{Admission, Registry, Ticket};
use super::session::{Http2, Session};
use super::timed::Timed;
use crate::retry::Throttle;
use crate::sync::Published;
use crate::telemetry::{self, Counter, Gauge};

/// Stack of a connection thread. Release builds live with 32 KiB and debug builds need more; untouched pages cost
/// nothing. It stays below 2 MiB so that huge pages cannot back it.
const CONNECTION_STACK: usize = 256 << 10;
/// Pause after an accept or a thread start failed for want of descriptors, memory or processes.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);
/// How long connections that were cut have to notice it: their blocking calls return at once, a handler within its
/// second.
const CUT_TIME: Duration = Duration::from_secs(5);
/// First byte of a TLS connection: the record type of a handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// What a client gets that speaks plain HTTP to a TLS port (spec node-api §1.5).
const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\
    Content-Length: 23\r\n\
    \r\n\
    this port speaks HTTPS\n";

/// What a listener needs.
pub struct Options {
    /// Names the listener in thread names, telemetry and log lines, such as `node-api`; Linux shows 15 bytes.
    pub name: String,
    /// The socket, from [`super::listen`].
    pub listener: TcpListener,
    /// TLS settings, taken anew for each connection so that they can be replaced; plain HTTP without.
    pub tls: Option<Arc<Published<ServerConfig>>>,
    /// Bounds of the listener and of each connection.
    pub limits: Limits,
    /// Answers HTTP/1.1 requests.
    pub handler: Arc<dyn Handler>,
    /// Serves connections on which `h2` was negotiated; needed when the TLS settings offer it.
    pub http2: Option<Arc<dyn Http2>>,
    /// Takes `dca_api_connections`, `dca_api_refused_connections` and `dca_api_panics`, labelled with the name.
    pub telemetry: telemetry::Registry,
}

/// A running listener; dropping it cuts its connections.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    name: String,
    listener: TcpListener,
    tls: Option<Arc<Published<ServerConfig>>>,
    limits: Limits,
    handler: Arc<dyn Handler>,
    http2: Option<Arc<dyn Http2>>,
    registry: Arc<Registry>,
    connections: Gauge,
    refused: Counter,
    panics: Counter,
}

impl Server {
    /// Starts to accept connections.
    ///
    /// # Errors
    /// When the listener has no address or no thread can be started.
    pub fn start(options: Options) -> io::Result<Server> {
        let address = options.listener.local_addr()?;
        let telemetry = &options.telemetry;
        let label = &["listener"];
        let shared = Arc::new(Shared {
            connections: telemetry.gauge("dca_api_connections", "Open connections", label),
            refused: telemetry.counter(
                "dca_api_refused_connections",
                "Connections closed unserved because their address holds too many",
                label,
            ),
            panics: telemetry.counter(
                "dca_api_panics",
                "Requests and connections that ended in a panic",
                label,
            ),
            name: options.name,
            listener: options.listener,
            tls: options.tls,
            limits: options.limits,
            handler: options.handler,
            http2: options.http2,
            registry: Arc::default(),
        });
        shared.connections.add(&[&shared.name], 0.0);
        let accepting = shared.clone();
        let acceptor = thread::Builder::new()
            .name(shared.name.clone())
            .stack_size(CONNECTION_STACK)
            .spawn(move || accept(&accepting))?;
        Ok(Server { shared, address, acceptor: Some(acceptor) })
    }

    /// Where the listener is reached; tells the port when 0 was asked for.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.registry.count()
    }

    /// Stops accepting, lets running requests be answered until `deadline`, and cuts what is left then. Returns when
    /// no thread of the listener is left, or, with a warning, a few seconds after the deadline.
    pub fn drain(mut self, deadline: Instant) {
        self.end(deadline);
    }

    fn end(&mut self, deadline: Instant) {
        let Some(acceptor) = self.acceptor.take() else { return };
        let registry = &self.shared.registry;
        registry.begin_drain();
        // A blocked accept returns, and the port refuses connections from now on.
        let _ = rustix::net::shutdown(&self.shared.listener, rustix::net::Shutdown::Both);
        let _ = acceptor.join();
        if registry.wait_until_empty(deadline) == 0 {
            return;
        }
        registry.cut();
        let left = registry.wait_until_empty(Instant::now() + CUT_TIME);
        if left > 0 {
            log::warn!("{left} connections of {} did not end in time", self.shared.name);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(Instant::now());
    }
}

fn accept(shared: &Arc<Shared>) {
    let mut complaints = Throttle::default();
    while !shared.registry.is_draining() {
        let shortage = match shared.listener.accept() {
            Ok((socket, peer)) => match admit(shared, socket, peer, &mut complaints) {
                Ok(()) => continue,
                Err(error) => error,
            },
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            Err(error) => error,
        };
        if shared.registry.is_draining() {
            return;
        }
        if complaints.admit(Instant::now()).is_some() {
            log::warn!("{} cannot take a connection, trying again: {shortage}", shared.name);
        }
        shared.registry.pause(SHORTAGE_PAUSE);
    }
}

/// Registers a connection and starts its thread; an error when there is none to be had.
fn admit(
    shared: &Arc<Shared>,
    socket: TcpStream,
    peer: SocketAddr,
    complaints: &mut Throttle,
) -> io::Result<()> {
    // An IPv4 client of a dual-stack socket has an address of both families.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let socket = Arc::new(socket);
    let ticket = match shared.registry.admit(socket.clone(), peer.ip(), &shared.limits) {
        Admission::Admitted(ticket) => ticket,
        Admission::Draining => return Ok(()),
        Admission::Refused => {
            shared.refused.increment(&[&shared.name]);
            if let Some(more) = complaints.admit(Instant::now()) {
                let (name, address) = (&shared.name, peer.ip());
                log::warn!(
                    "{name} refuses connections of {address}, which holds too many ({more} like this since)"
                );
            }
            return Ok(());
        }
    };
    let serving = shared.clone();
    thread::Builder::new()
        .name(shared.name.clone())
        .stack_size(CONNECTION_STACK)
        .spawn(move || {
            serving.connections.add(&[&serving.name], 1.0);
            // Nothing is shared with the connection but locks whose poison is ignored.
            let served = catch_unwind(AssertUnwindSafe(|| serve(&serving, socket, peer, ticket)));
            serving.connections.add(&[&serving.name], -1.0);
            if served.is_err() {
                serving.panics.increment(&[&serving.name]);
            }
        })
        .map(drop)
}

fn serve(shared: &Shared, socket: Arc<TcpStream>, peer: SocketAddr, ticket: Ticket) {
    let _ = socket.set_nodelay(true);
    let Ok(mut timed) = Timed::new(socket, &shared.limits) else { return };
    let Some(tls) = &shared.tls else {
        return shared.exchange(peer, &ticket, None).run(&mut timed);
    };
    let mut stream = match handshake(tls.get(), timed, &shared.limits) {
        Ok(stream) => stream,
        Err(error) => {
            // Port scans and probes end here all the time (spec node-api §13.4).
            return log::debug!("TLS handshake of {peer} with {} failed: {error}", shared.name);
        }
    };
    let certificate = stream.conn.peer_certificates().map(owned);
    match &shared.http2 {
        Some(http2) if stream.conn.alpn_protocol() == Some(b"h2") => {
            http2.serve(Session::new(stream, peer, ticket, shared.limits.linger));
        }
        _ => shared.exchange(peer, &ticket, certificate).run(&mut stream),
    }
}

fn owned(chain: &[CertificateDer<'_>]) -> Arc<[CertificateDer<'static>]> {
    chain.iter().map(|certificate| certificate.clone().into_owned()).collect()
}

/// Completes the TLS handshake within the request time.
fn handshake(
    config: Arc<ServerConfig>,
    mut timed: Timed,
    limits: &Limits,
) -> io::Result<StreamOwned<ServerConnection, Timed>> {
    let mut first = [0];
    match timed.peek(&mut first)? {
        [] => return Err(ErrorKind::UnexpectedEof.into()),
        [TLS_HANDSHAKE] => {}
        // A method name; anything else gets the alert that it deserves.
        [b'A'..=b'Z'] => {
            timed.start_writing();
            timed.write_all(PLAIN_HTTP_ANSWER)?;
            timed.linger(limits.linger);
            return Err(io::Error::new(ErrorKind::InvalidData, "the client speaks plain HTTP"));
        }
        _ => {}
    }
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut timed)?;
    }
    let mut stream = StreamOwned::new(connection, timed);
    stream.timed().expect_request();
    Ok(stream)
}

impl Shared {
    fn exchange<'a>(
        &'a self,
        peer: SocketAddr,
        ticket: &'a Ticket,
        certificate: Option<Arc<[CertificateDer<'static>]>>,
    ) -> Exchange<'a> {
        Exchange {
            limits: &self.limits,
            handler: &*self.handler,
            ticket,
            peer,
            certificate,
            panics: self.panics.series(&[&self.name]),
        }
    }
}
