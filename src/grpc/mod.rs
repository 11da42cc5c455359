//! gRPC over HTTP/2 on the node API's port (spec node-api §8): unary calls and server streams.
//!
//! ```text
//! http::Session ─▶ connection: frames ⇄ shiguredo_http2 ─▶ exchange: one call ─▶ Service::admit, Service::call
//!        ▲                   ▲                                     │
//!        └─ poll(2) ─────────┴── Waker ◀── other threads           └─▶ StreamSource::next, asked when due or woken
//! ```
//!
//! One thread serves a connection with all its streams. It sleeps in `poll` until the client sends something, a
//! [`Waker`] calls, or a source asked to be called: a quiet stream costs no CPU. What a client may do without getting
//! work done (PINGs, SETTINGS, resets, empty frames) is counted by [`calm`], everything else is bounded by [`Limits`].
//! Not supported, because no client of the cluster agent uses it: client streams, compression.

mod calm;
mod connection;
mod exchange;
mod framing;
mod service;
mod status;
mod waker;

pub use connection::{Grpc, Limits};
pub use service::{Call, Next, Reply, Service, StreamSource};
pub use status::{Code, Status};
pub use waker::Waker;
