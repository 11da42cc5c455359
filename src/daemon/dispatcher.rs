//! The dispatcher thread: the only writer of cluster state.
//!
//! Watch threads send it events through a bounded inbox; it applies them to the pure cores and publishes a snapshot when
//! the inbox is empty, or when events have waited for [`COALESCE`]. Nothing in it blocks or does I/O.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select, tick};

use super::checks::Duty;
use super::message::Message;
use crate::health::Heartbeat;
use crate::metadata::{Core, Hub};
use crate::sync::Stop;

/// How long a steady stream of events may hold a snapshot back: a quarter of a second below the second in which a change
/// must reach its node, less than the window in which streams gather changes.
const COALESCE: Duration = Duration::from_millis(100);

/// How often the thread looks at what is due by time, and says that it is alive.
const TICK: Duration = Duration::from_secs(1);

/// What the thread owns.
pub struct Cores {
    /// Services, nodes and namespaces.
    pub metadata: Core,
    /// Cluster checks, where they are on.
    pub checks: Option<Duty>,
}

/// Applies and publishes until `stop`.
pub fn run(
    mut cores: Cores,
    hub: &Hub,
    inbox: &Receiver<Message>,
    heartbeat: &Heartbeat,
    stop: &Stop,
) {
    let tick = tick(TICK);
    heartbeat.beat(Instant::now());
    loop {
        select! {
            recv(inbox) -> message => {
                // Every sender gone means that every watch thread has ended.
                let Ok(message) = message else { return };
                cores.apply(message);
                let deadline = Instant::now() + COALESCE;
                while let Ok(message) = inbox.try_recv() {
                    cores.apply(message);
                    if Instant::now() >= deadline {
                        break;
                    }
                }
                cores.metadata.publish(hub);
                if let Some(checks) = &mut cores.checks {
                    checks.advance();
                }
            }
            recv(tick) -> _ => {
                heartbeat.beat(Instant::now());
                if let Some(checks) = &mut cores.checks {
                    checks.advance();
                    checks.count();
                }
            }
            recv(stop.receiver()) -> _ => return,
        }
    }
}

impl Cores {
    fn apply(&mut self, message: Message) {
        let checks = self.checks.as_mut();
        match message {
            Message::EndpointSlice(event) => {
                if let Some(checks) = checks {
                    checks.checks().catalog().apply_endpoint_slice(&event);
                }
                self.metadata.apply_endpoint_slice(event);
            }
            Message::Endpoints(event) => {
                if let Some(checks) = checks {
                    checks.checks().catalog().apply_endpoints(&event);
                }
                self.metadata.apply_endpoints(event);
            }
            Message::Service(event) => {
                if let Some(checks) = checks {
                    checks.checks().catalog().apply_service(&event);
                }
            }
            Message::Check(request) => {
                if let Some(checks) = checks {
                    checks.answer(request);
                }
            }
            Message::Node(event) => self.metadata.apply_node(event),
            Message::Namespace(event) => self.metadata.apply_namespace(event),
            Message::Forbidden(kind) => self.metadata.set_forbidden(kind),
        }
    }
}
