//! What the other threads tell and ask the dispatcher, and the inbox that it arrives in.

use crossbeam_channel::{Receiver, Sender};

use crate::checks::owner::Request;
use crate::kube::objects::{EndpointSlice, Endpoints, Namespace, Node, Service};
use crate::kube::watch::Event;
use crate::metadata::Optional;

/// Messages that may wait: a watch thread that is faster than the dispatcher waits for it, so a relist of any size costs
/// this many objects at most (256 × about 1 KiB).
const INBOX: usize = 256;

/// What happened in the cluster.
#[derive(Debug)]
pub enum Message {
    /// A step of the EndpointSlices.
    EndpointSlice(Event<EndpointSlice>),
    /// A step of the Endpoints.
    Endpoints(Event<Endpoints>),
    /// A step of the Nodes.
    Node(Event<Node>),
    /// A step of the Namespaces.
    Namespace(Event<Namespace>),
    /// A step of the Services.
    Service(Event<Service>),
    /// A question about cluster checks.
    Check(Request),
    /// The API server forbids reading a kind.
    Forbidden(Optional),
}

/// The two ends of the inbox.
pub fn inbox() -> (Sender<Message>, Receiver<Message>) {
    crossbeam_channel::bounded(INBOX)
}
