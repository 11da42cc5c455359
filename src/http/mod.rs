//! HTTP/1.1 over TLS and plain sockets: the server loop and the messages that handlers speak.
//!
//! `tiny_http`'s message types are the vocabulary; its server does not face the network (README, "Dependencies").

pub mod message;

pub use message::{Body, Handler, Request, Response};
