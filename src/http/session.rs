//! The seam between this room and the one that serves HTTP/2: a connection after its TLS handshake.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};

use super::connection::Transport;
use super::registry::Ticket;
use super::timed::Timed;

/// Bytes to and from a client within TLS.
pub type TlsStream = StreamOwned<ServerConnection, Timed>;

/// Serves connections on which `h2` was negotiated; called on the connection's own thread.
pub trait Http2: Send + Sync {
    /// Serves one connection to its end. A panic costs that connection.
    fn serve(&self, session: Session);
}

/// A connection whose handshake is done. It counts as open until this is dropped.
pub struct Session {
    /// The bytes.
    pub stream: TlsStream,
    /// The peer's address.
    pub peer: SocketAddr,
    ticket: Ticket,
    linger: Duration,
}

impl Session {
    pub(super) fn new(
        stream: TlsStream,
        peer: SocketAddr,
        ticket: Ticket,
        linger: Duration,
    ) -> Self {
        Self { stream, peer, ticket, linger }
    }

    /// Tells the peer that nothing more comes, and gives it a moment to read what was sent.
    pub fn close(&mut self) {
        self.stream.finish();
        self.stream.sock.linger(self.linger);
    }

    /// Whether the listener drains: streams should end, and the connection after them.
    pub fn is_draining(&self) -> bool {
        self.ticket.is_draining()
    }

    /// Whether the connection is above the listener's caps: it may be answered, but not be kept.
    pub fn is_overflow(&self) -> bool {
        self.ticket.is_overflow()
    }

    /// Notes that a call was admitted: a full listener makes room by ending connections that only hold a place.
    pub fn prove(&self) {
        self.ticket.prove();
    }

    /// Has `hook` called from another thread when the listener begins to drain, at once if it has begun. Until a hook
    /// is set, draining ends the connection as an idle one.
    pub fn on_drain(&self, hook: impl Fn() + Send + 'static) {
        self.ticket.on_drain(Box::new(hook));
    }
}
