//! HTTP/1.1 over TLS and plain sockets: the server loop and the messages that handlers speak.
//!
//! ```text
//! listen ─▶ server: accept ─▶ registry: admit ─▶ thread: TLS handshake ─┬─ http/1.1 ─▶ connection: parse ─▶ Handler ─▶ encode
//!                                                                       └─ h2 ─▶ session ─▶ Http2 (the grpc room)
//! ```
//!
//! Every byte of a peer passes [`timed`], so that no peer can hold a thread longer than its deadlines allow, and every
//! size is bounded by [`Limits`]. `tiny_http`'s message types are the vocabulary; its server does not face the network
//! (README, "Dependencies").

pub mod certificate;
mod connection;
mod date;
mod encode;
mod limits;
pub mod listen;
pub mod message;
mod parse;
mod registry;
mod server;
mod session;
mod timed;
pub mod tls;

pub use limits::Limits;
pub use message::{Body, Handler, Request, Response};
pub use server::{Options, Server};
pub use session::{Http2, Session, TlsStream};
pub use timed::Timed;
