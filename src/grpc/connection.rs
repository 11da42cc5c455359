//! One HTTP/2 connection: bytes in and out of the protocol library, calls opened and pumped, and the end.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::sockopt;
use shiguredo_http2::{Connection as Protocol, ErrorCode, Event, HeaderField, StreamId};

use super::calm::Calm;
use super::exchange::{self, Exchange, Step};
use super::service::{Call, Service};
use super::status::{Code, Status};
use super::waker::Waker;
use crate::http::{Http2, Session};

/// Probes of a quiet connection: a node that vanished is noticed after 60 s + 4 × 15 s, not when the kernel gives up
/// on the next message.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// Bounds of each connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Streams at a time; what gRPC clients expect.
    pub streams: u32,
    /// Streams over the life of a connection; then it is closed behind the last one, and the client opens another.
    /// The protocol library remembers the number of each closed stream, 1,000 × about 16 bytes.
    pub total_streams: usize,
    /// Bytes of a call's header fields, decoded.
    pub header_list: u32,
    /// Bytes of a request message. Those of node Agents have less than 1 KiB.
    pub message: usize,
    /// For the connection's first frames, and for the message of each call.
    pub request: Duration,
    /// For handing a message to a client (spec node-api §8.4); one that does not read loses the stream.
    pub send: Duration,
    /// How long a connection without streams is kept (spec node-api §8.2).
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 100,
            total_streams: 1000,
            header_list: 8 << 10,
            message: 64 << 10,
            request: Duration::from_secs(10),
            send: Duration::from_secs(10),
            idle: Duration::from_secs(60),
        }
    }
}

/// Serves gRPC on the HTTP/2 connections of a listener.
pub struct Grpc {
    service: Arc<dyn Service>,
    limits: Limits,
}

impl Grpc {
    /// Serves `service` within `limits`.
    pub fn new(service: Arc<dyn Service>, limits: Limits) -> Self {
        Self { service, limits }
    }
}

impl Http2 for Grpc {
    fn serve(&self, session: Session) {
        let (peer, now) = (session.peer, Instant::now());
        let Ok(waker) = Waker::new() else {
            return log::warn!("no descriptor is left for the streams of {peer}");
        };
        let hook = waker.clone();
        session.on_drain(move || hook.wake());
        let protocol_limits = shiguredo_http2::Limits::builder()
            .max_concurrent_streams(Some(self.limits.streams))
            .max_header_list_size(Some(self.limits.header_list))
            .build_static();
        let mut connection = Connection {
            session,
            service: &*self.service,
            limits: &self.limits,
            protocol: Protocol::server(protocol_limits),
            exchanges: HashMap::new(),
            waker,
            calm: Calm::new(now),
            opened: 0,
            leaving: false,
            draining: false,
            idle_until: now + self.limits.request,
        };
        match connection.run() {
            End::Gone => log::trace!("HTTP/2 connection of {peer} is gone"),
            End::Goodbye(code) => {
                if code != ErrorCode::NoError {
                    log::debug!("HTTP/2 connection of {peer} ends with {code:?}");
                }
                let _ = connection.protocol.send_goaway(code, Vec::new());
                if connection.flush().is_ok() {
                    connection.session.close();
                }
            }
        }
    }
}

struct Connection<'a> {
    session: Session,
    service: &'a dyn Service,
    limits: &'a Limits,
    protocol: Protocol,
    exchanges: HashMap<u32, Exchange>,
    waker: Waker,
    calm: Calm,
    /// Streams that were opened so far.
    opened: usize,
    /// One side said goodbye: the connection ends with its last stream.
    leaving: bool,
    /// The listener drains, and the streams know.
    draining: bool,
    /// When a connection without streams ends.
    idle_until: Instant,
}

/// How a connection ends.
enum End {
    /// The peer is gone or cannot be reached.
    Gone,
    /// The peer is told why.
    Goodbye(ErrorCode),
}

impl Connection<'_> {
    fn run(&mut self) -> End {
        self.watch_for_dead_peers();
        match self.serve() {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        self.protocol.initiate().map_err(refused)?;
        // What came together with the end of the handshake is in memory already: the socket would not tell of it.
        self.take_decrypted()?;
        loop {
            if self.session.is_draining() && !self.draining {
                self.drain()?;
            }
            let until = self.pump()?;
            self.flush()?;
            if self.exchanges.is_empty() && (self.leaving || self.idle_until <= Instant::now()) {
                return Err(End::Goodbye(ErrorCode::NoError));
            }
            let (readable, woken) = self.wait(until)?;
            if woken {
                self.waker.take();
                let now = Instant::now();
                self.exchanges.values_mut().for_each(|exchange| exchange.wake(now));
            }
            if readable {
                self.receive()?;
            }
        }
    }

    /// Lets every exchange go on; the time at which one of them, or the idle connection, wants attention again.
    fn pump(&mut self) -> Result<Instant, End> {
        let mut until: Option<Instant> = None;
        let ids: Vec<u32> = self.exchanges.keys().copied().collect();
        for id in ids {
            while let Some(exchange) = self.exchanges.get_mut(&id) {
                match exchange.step(&mut self.protocol, self.limits, Instant::now()) {
                    Ok(Step::Piece) => {
                        self.calm.sent();
                        // Written at once: a message of megabytes is never in memory twice.
                        self.flush()?;
                    }
                    Ok(Step::Again) => {}
                    Ok(Step::Wait(time)) => {
                        until = Some(until.map_or(time, |until| until.min(time)));
                        break;
                    }
                    Ok(Step::Ended) => self.ended(id),
                    Err(error) => {
                        log::debug!("stream {id} of {} ends: {error}", self.session.peer);
                        self.ended(id);
                    }
                }
            }
        }
        Ok(until.unwrap_or(self.idle_until))
    }

    /// Forgets an exchange, and starts the idle time behind the last one.
    fn ended(&mut self, id: u32) {
        self.exchanges.remove(&id);
        if self.exchanges.is_empty() {
            // A connection above the caps is kept for its first calls only.
            let kept = if self.session.is_overflow() { Duration::ZERO } else { self.limits.idle };
            self.idle_until = Instant::now() + kept;
        }
    }

    /// Sleeps until the client sends, a waker calls or `until` comes.
    fn wait(&mut self, until: Instant) -> Result<(bool, bool), End> {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let socket = &**self.session.stream.sock.socket();
        let mut descriptors =
            [PollFd::new(socket, PollFlags::IN), PollFd::new(&self.waker, PollFlags::IN)];
        match rustix::event::poll(&mut descriptors, Some(&timeout)) {
            Ok(_) => {
                let [socket, waker] =
                    descriptors.map(|descriptor| !descriptor.revents().is_empty());
                Ok((socket, waker))
            }
            Err(rustix::io::Errno::INTR) => Ok((false, false)),
            Err(_) => Err(End::Gone),
        }
    }

    /// Takes in what the client sent.
    fn receive(&mut self) -> Result<(), End> {
        let tls = &mut self.session.stream;
        // The socket is readable, so this does not wait; the idle time is what the socket's timeout is set to anyway.
        tls.sock.expect_request();
        match tls.conn.read_tls(&mut tls.sock) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Ok(_) | Err(_) => return Err(End::Gone),
        }
        if tls.conn.process_new_packets().is_err() {
            // The alert that says why.
            let _ = tls.conn.write_tls(&mut tls.sock);
            return Err(End::Gone);
        }
        self.take_decrypted()
    }

    /// Takes in what is decrypted.
    fn take_decrypted(&mut self) -> Result<(), End> {
        let mut piece = [0; 4096];
        loop {
            match self.session.stream.conn.reader().read(&mut piece) {
                Ok(length @ 1..) => self.take(&piece[..length])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Ok(_) | Err(_) => return Err(End::Gone),
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        if !self.calm.receive(bytes, Instant::now()) {
            return Err(End::Goodbye(ErrorCode::EnhanceYourCalm));
        }
        while !bytes.is_empty() {
            let taken = self.protocol.feed(bytes).map_err(refused)?;
            bytes = &bytes[taken..];
            self.protocol.process().map_err(refused)?;
            while let Some(event) = self.protocol.poll_event() {
                self.handle(event)?;
            }
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::HeadersReceived { stream_id, headers, end_stream, .. } => {
                self.open(stream_id, &headers, end_stream)
            }
            Event::DataReceived { stream_id, data, end_stream } => {
                self.data(stream_id, &data, end_stream)
            }
            Event::TrailersReceived { stream_id, .. } => self.finish(stream_id),
            Event::StreamReset { stream_id, connection_window_consumed: consumed, .. } => {
                self.ended(stream_id.as_u32());
                self.credit(StreamId::Connection, consumed)
            }
            Event::DataDiscarded { connection_window_consumed: consumed, .. } => {
                self.credit(StreamId::Connection, consumed)
            }
            Event::ConnectionPreface => {
                self.idle_until = Instant::now() + self.limits.idle;
                Ok(())
            }
            Event::GoawayReceived { .. } => {
                self.leaving = true;
                Ok(())
            }
            Event::ConnectionError { error_code, .. } => Err(End::Goodbye(error_code)),
            // The library answers or applies these itself.
            Event::SettingsReceived { .. }
            | Event::PingReceived { .. }
            | Event::WindowUpdateReceived { .. }
            | Event::PriorityUpdateReceived { .. }
            | Event::StreamClosed { .. } => Ok(()),
        }
    }

    /// A request head: a call is admitted and its message awaited, anything else refused.
    fn open(&mut self, id: StreamId, headers: &[HeaderField], ended: bool) -> Result<(), End> {
        self.opened += 1;
        self.calm.sent();
        if self.opened >= self.limits.total_streams && !self.leaving {
            self.protocol.send_goaway(ErrorCode::NoError, Vec::new()).map_err(refused)?;
            self.leaving = true;
        }
        let refusal = match self.admit(headers) {
            Ok(call) => {
                let exchange = Exchange::new(id, call, self.limits, Instant::now());
                self.exchanges.insert(id.as_u32(), exchange);
                return if ended { self.finish(id) } else { Ok(()) };
            }
            Err(refusal) => refusal,
        };
        match refusal {
            Refusal::Http(status) => exchange::refuse_http(&mut self.protocol, id, status),
            Refusal::Grpc(status) => exchange::refuse(&mut self.protocol, id, &status),
        }
        .and_then(|()| if ended { Ok(()) } else { exchange::stop_request(&mut self.protocol, id) })
        .map_err(refused)?;
        // For the idle time, a call that was refused is one that ended.
        self.ended(id.as_u32());
        Ok(())
    }

    fn admit(&self, headers: &[HeaderField]) -> Result<Call, Refusal> {
        let mut path = None;
        let mut metadata = Vec::new();
        for header in headers {
            let value = String::from_utf8_lossy(header.value());
            match header.name() {
                b":method" if value != "POST" => return Err(Refusal::Http("405")),
                b":path" => path = Some(value.into_owned()),
                name if name.starts_with(b":") => {}
                name => {
                    metadata.push((String::from_utf8_lossy(name).into_owned(), value.into_owned()));
                }
            }
        }
        let (peer, waker) = (self.session.peer, self.waker.clone());
        let call = Call { path: path.unwrap_or_default(), metadata, peer, waker };
        if !call.metadata("content-type").is_some_and(|kind| kind.starts_with("application/grpc")) {
            return Err(Refusal::Http("415"));
        }
        if self.draining {
            return Err(Refusal::Grpc(shutting_down()));
        }
        if self.session.is_overflow() {
            // Agents fall back to polling on this code, and polls are answered above the caps.
            let status = Status::new(Code::Unimplemented, "too many connections for streams");
            return Err(Refusal::Grpc(status));
        }
        self.service.admit(&call).map_err(Refusal::Grpc)?;
        self.session.prove();
        Ok(call)
    }

    fn data(&mut self, id: StreamId, data: &[u8], ended: bool) -> Result<(), End> {
        self.credit(StreamId::Connection, data.len())?;
        let Some(exchange) = self.exchanges.get_mut(&id.as_u32()) else { return Ok(()) };
        if let Err(status) = exchange.take(data) {
            let refusal = if ended {
                exchange::refuse(&mut self.protocol, id, &status)
            } else {
                exchange.refuse_early(&mut self.protocol, &status)
            };
            refusal.map_err(refused)?;
            self.ended(id.as_u32());
            return Ok(());
        }
        if ended { self.finish(id) } else { self.credit(id, data.len()) }
    }

    /// Opens the client's window again by what was received.
    fn credit(&mut self, id: StreamId, length: usize) -> Result<(), End> {
        match u32::try_from(length) {
            Ok(length @ 1..) => self.protocol.send_window_update(id, length).map_err(refused),
            _ => Ok(()),
        }
    }

    /// The request is complete.
    fn finish(&mut self, id: StreamId) -> Result<(), End> {
        let Some(exchange) = self.exchanges.get_mut(&id.as_u32()) else { return Ok(()) };
        let over =
            exchange.finish(self.service, &mut self.protocol, Instant::now()).map_err(refused)?;
        if over {
            self.ended(id.as_u32());
        }
        Ok(())
    }

    /// Ends all streams with "unavailable", which clients answer by connecting anew (spec node-api §8.3).
    fn drain(&mut self) -> Result<(), End> {
        (self.draining, self.leaving) = (true, true);
        self.protocol.send_goaway(ErrorCode::NoError, Vec::new()).map_err(refused)?;
        let mut over = Vec::new();
        for (id, exchange) in &mut self.exchanges {
            if exchange.end(&mut self.protocol, shutting_down()).map_err(refused)? {
                over.push(*id);
            }
        }
        over.into_iter().for_each(|id| self.ended(id));
        Ok(())
    }

    /// Writes what the library has to say. It blocks until the kernel has taken it, at most for the write time; a
    /// client that neither reads nor lets go loses the connection.
    fn flush(&mut self) -> Result<(), End> {
        let tls = &mut self.session.stream;
        let mut write = || -> io::Result<()> {
            tls.sock.start_writing();
            while let Some(bytes) = self.protocol.poll_output() {
                tls.write_all(&bytes)?;
            }
            tls.flush()
        };
        write().map_err(|_| End::Gone)
    }

    fn watch_for_dead_peers(&self) {
        let socket = self.session.stream.sock.socket();
        // Without probes the connection works just as well, so a failure is not worth more than a line.
        let set = sockopt::set_socket_keepalive(socket, true)
            .and_then(|()| sockopt::set_tcp_keepidle(socket, PROBE_AFTER))
            .and_then(|()| sockopt::set_tcp_keepintvl(socket, PROBE_EVERY))
            .and_then(|()| sockopt::set_tcp_keepcnt(socket, PROBES));
        if let Err(error) = set {
            log::debug!("no keep-alive probes for {}: {error}", self.session.peer);
        }
    }
}

/// Why a request is not let in.
enum Refusal {
    /// It is no gRPC call: an HTTP status.
    Http(&'static str),
    /// The call ends with this status.
    Grpc(Status),
}

fn shutting_down() -> Status {
    Status::new(Code::Unavailable, "the cluster agent is shutting down")
}

/// The peer broke a rule of the protocol, or asked for what it does not allow.
fn refused(error: shiguredo_http2::Error) -> End {
    log::debug!("HTTP/2: {error}");
    End::Goodbye(error.error_code().unwrap_or(ErrorCode::InternalError))
}
