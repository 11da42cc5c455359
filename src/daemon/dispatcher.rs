//! The dispatcher thread: the only writer of cluster state.
//!
//! Watch threads send it events through a bounded inbox; it applies them to the pure cores and publishes a snapshot when
//! the inbox is empty, or when events have waited for [`COALESCE`]. Nothing in it blocks or does I/O.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select, tick};

use crate::health::Heartbeat;
use crate::kube::objects::{EndpointSlice, Endpoints, Namespace, Node};
use crate::kube::watch::Event;
use crate::metadata::{Core, Hub, Optional};
use crate::sync::Stop;

/// Messages that may wait: a watch thread that is faster than the dispatcher waits for it, so a relist of any size costs
/// this many objects at most (256 × about 1 KiB).
const INBOX: usize = 256;

/// How long a steady stream of events may hold a snapshot back: a quarter of a second below the second in which a change
/// must reach its node, less than the window in which streams gather changes.
const COALESCE: Duration = Duration::from_millis(100);

/// How often the thread says that it is alive; a third of the 15 s in which it must.
const BEAT: Duration = Duration::from_secs(5);

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
    /// The API server forbids reading a kind.
    Forbidden(Optional),
}

/// The two ends of the inbox.
pub fn inbox() -> (Sender<Message>, Receiver<Message>) {
    crossbeam_channel::bounded(INBOX)
}

/// Applies and publishes until `stop`.
pub fn run(
    mut core: Core,
    hub: &Hub,
    inbox: &Receiver<Message>,
    heartbeat: &Heartbeat,
    stop: &Stop,
) {
    let beat = tick(BEAT);
    heartbeat.beat(Instant::now());
    loop {
        select! {
            recv(inbox) -> message => {
                // Every sender gone means that every watch thread has ended.
                let Ok(message) = message else { return };
                apply(&mut core, message);
                let deadline = Instant::now() + COALESCE;
                while let Ok(message) = inbox.try_recv() {
                    apply(&mut core, message);
                    if Instant::now() >= deadline {
                        break;
                    }
                }
                core.publish(hub);
            }
            recv(beat) -> _ => heartbeat.beat(Instant::now()),
            recv(stop.receiver()) -> _ => return,
        }
    }
}

fn apply(core: &mut Core, message: Message) {
    match message {
        Message::EndpointSlice(event) => core.apply_endpoint_slice(event),
        Message::Endpoints(event) => core.apply_endpoints(event),
        Message::Node(event) => core.apply_node(event),
        Message::Namespace(event) => core.apply_namespace(event),
        Message::Forbidden(kind) => core.set_forbidden(kind),
    }
}
