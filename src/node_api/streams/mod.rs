//! The gRPC side of port 5005: the metadata stream of node Agents, and the tagger stream of runners (spec node-api §8).
//!
//! Every call shows the same tokens as a request does. What is not served ends with `Unimplemented`, on which node
//! Agents fall back to polling; that is also the answer when all stream permits are out.

mod difference;
mod held;
mod messages;
mod metadata_stream;
mod permits;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use prost::Message;

use super::auth::{Class, Gate};
use crate::grpc::{Call, Code, Reply, Service, Status};
use crate::metadata::Hub;
use crate::telemetry::Registry;
use held::HeldStream;
use messages::Request;
use metadata_stream::MetadataStream;
use permits::Permits;

const STREAM_KUBE_METADATA: &str = "/datadog.api.v1.AgentSecure/StreamKubeMetadata";
const TAGGER_STREAM_ENTITIES: &str = "/datadog.api.v1.AgentSecure/TaggerStreamEntities";

/// The service; one for the process, called from all connection threads.
pub struct NodeStreams {
    gate: Arc<Gate>,
    hub: Hub,
    permits: Permits,
}

impl NodeStreams {
    /// Streams what `hub` shows to callers that `gate` lets in, to at most `maximum` of them at a time.
    pub fn new(gate: Arc<Gate>, hub: Hub, maximum: usize, telemetry: &Registry) -> Self {
        let gauge = telemetry.gauge(
            "dca_metadata_streams",
            "Metadata streams of node Agents that are open",
            &[],
        );
        gauge.set(&[], 0.0);
        Self { gate, hub, permits: Permits::new(maximum, gauge) }
    }

    fn stream_metadata(&self, call: &Call, message: &[u8]) -> Reply {
        let node = match Request::decode(message) {
            Ok(Request { node_name }) if !node_name.is_empty() => node_name,
            Ok(_) => return refused(Code::InvalidArgument, "the request names no node"),
            Err(_) => return refused(Code::InvalidArgument, "the request cannot be read"),
        };
        let Some(permit) = self.permits.take() else {
            log::debug!("no stream is left for node {node}: it polls instead");
            return refused(Code::Unimplemented, "too many metadata streams: poll instead");
        };
        let waker = call.waker.clone();
        // Subscribed before the first look, so that no change falls between the two.
        let subscription = self.hub.subscribe(&node, Arc::new(move || waker.wake()));
        let stream = MetadataStream::new(node, self.hub.clone(), subscription, permit);
        Reply::Stream(Box::new(stream))
    }
}

impl Service for NodeStreams {
    fn admit(&self, call: &Call) -> Result<(), Status> {
        let authorization = call.metadata("authorization");
        self.gate
            .check(authorization, Class::External, call.peer.ip(), &call.path)
            .map_err(|refusal| Status::new(Code::Unauthenticated, refusal.reason()))?;
        match call.path.as_str() {
            STREAM_KUBE_METADATA | TAGGER_STREAM_ENTITIES => Ok(()),
            path => Err(Status::new(Code::Unimplemented, format!("unknown method {path}"))),
        }
    }

    fn call(&self, call: &Call, message: &[u8]) -> Reply {
        match call.path.as_str() {
            STREAM_KUBE_METADATA => self.stream_metadata(call, message),
            TAGGER_STREAM_ENTITIES => Reply::Stream(Box::new(HeldStream::new(Instant::now()))),
            _ => refused(Code::Unimplemented, "unknown method"),
        }
    }
}

fn refused(code: Code, message: &'static str) -> Reply {
    Reply::Status(Status::new(code, message))
}
