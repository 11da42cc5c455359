//! What one listener allows its peers: connections, sizes and times, each with its default and the reason for it.

use std::time::Duration;

/// Header slots that the parser has at most; [`Limits::headers`] above it are cut to it. 32 bytes each on the stack
/// of a connection thread, so 4 KiB of its 256.
pub const MAXIMUM_HEADERS: usize = 128;

/// The bounds of one listener (spec node-api §1.5, §12).
///
/// One connection costs a thread with about 43 KiB resident (60 with a gRPC stream) and one descriptor (two), so the
/// default caps bound a listener of polling clients to 8,192 × 43 KiB ≈ 350 MB and 8,704 descriptors.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Connections that are kept alive. Above it a connection is accepted, answered once and closed. Keep it below
    /// the pod's process limit (often 4,096) where there is one.
    pub connections: usize,
    /// Connections above [`Limits::connections`] or [`Limits::connections_per_peer`] that are being answered at the
    /// same time. While all of these are busy, the oldest connection that waits and was never answered with success is
    /// cut for the next one.
    pub overflow: usize,
    /// Connections of one address that are kept alive: a quarter of all, so that one address cannot take the places
    /// of the others. Node Agents hold one or two each, a translated address in front of many nodes a few hundred.
    pub connections_per_peer: usize,
    /// Bytes of request line and header fields together; more is 431.
    pub head: usize,
    /// Header fields; more is 431.
    pub headers: usize,
    /// Bytes of a request body; a longer declared length is 413 before anything is allocated for it.
    pub body: usize,
    /// How long a connection may wait between requests. Clients close after 60 s, so the client always closes first
    /// and never writes into a connection that is being closed.
    pub idle: Duration,
    /// From the first byte of a request to its last one; also for the whole TLS handshake.
    pub request: Duration,
    /// For writing one response.
    pub write: Duration,
    /// How long unread input is discarded after a refusal, so that the peer sees the answer instead of a reset.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            overflow: 512,
            connections_per_peer: 2048,
            head: 16 << 10,
            headers: 48,
            body: 4 << 20,
            idle: Duration::from_secs(90),
            request: Duration::from_secs(10),
            write: Duration::from_secs(10),
            linger: Duration::from_secs(1),
        }
    }
}
