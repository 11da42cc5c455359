//! The HTTP and gRPC loops against raw bytes on loopback sockets, every listener on a port of its own.

#[allow(dead_code, reason = "each test binary uses a part of the client")]
#[path = "../support/tls_client.rs"]
mod tls_client;

#[allow(dead_code, reason = "each test binary uses a part of the client")]
#[path = "../support/h2_client.rs"]
mod h2_client;

#[allow(dead_code, reason = "each test binary uses a part of the client")]
#[path = "../support/metadata_stream.rs"]
mod metadata_stream;

mod drain;
mod exchange;
mod grpc;
mod hostile;
mod kube_client;
mod kube_server;
mod kube_watch;
mod listener;
mod node_api;
mod tls;
mod victim;
