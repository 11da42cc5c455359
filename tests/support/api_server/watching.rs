//! WATCH: resume from the history, bookmarks, 410 as an ERROR event, and ends on order.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::connection::{Chunked, Connection, Order, Request};
use super::reading::{Selection, number};
use super::resources::{Place, Resource};
use super::status::Failure;
use super::store::{Change, ChangeKind, Object};
use super::{JSON, Shared};

/// How often a watch looks for orders and for a peer that has left, while nothing changes.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// A watch without `timeoutSeconds`: the lower end of the real server's 30 to 60 minutes.
const DEFAULT_TIMEOUT_SECONDS: u64 = 1800;
/// The real server sends a last bookmark this long before the end.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

/// What a WATCH asks for.
pub struct Watch {
    selection: Selection,
    resource: std::sync::Arc<Resource>,
    /// None: begin with what is there.
    from: Option<u64>,
    bookmarks: bool,
    initial_events: bool,
    timeout: Duration,
}

impl Watch {
    /// Reads the query.
    pub fn of(request: &Request, place: &Place) -> Result<Self, Failure> {
        let flag = |name: &str| matches!(request.query(name).as_deref(), Some("1" | "true"));
        let from: Option<u64> = number(request, "resourceVersion")?;
        let initial_events = flag("sendInitialEvents");
        let timeout = number(request, "timeoutSeconds")?.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        Ok(Self {
            selection: Selection::of(request, place)?,
            resource: std::sync::Arc::clone(&place.resource),
            from: from.filter(|from| *from > 0 && !initial_events),
            bookmarks: flag("allowWatchBookmarks"),
            initial_events,
            timeout: Duration::from_secs(timeout),
        })
    }

    /// Streams events until the timeout, an order, or the end of the connection.
    pub fn run(&self, shared: &Shared, connection: &mut Connection) -> io::Result<()> {
        let name = self.resource.qualified();
        connection.control().set_watching(Some(&name));
        let ended = self.stream(shared, connection, &name);
        connection.control().set_watching(None);
        ended
    }

    fn stream(&self, shared: &Shared, connection: &mut Connection, name: &str) -> io::Result<()> {
        let mut body = connection.start_stream(200, &[JSON()])?;
        let end = Instant::now() + self.timeout;
        let mut position = match self.begin(shared, name, &mut body)? {
            Some(position) => position,
            None => return body.finish(),
        };
        let mut last_bookmark = Instant::now();
        let mut said_goodbye = false;
        loop {
            let (changes, revision) = {
                let state = shared.store.lock();
                (state.changes_after(position), state.revision)
            };
            // A change that was made before an order is sent before the order is obeyed.
            match changes {
                Ok(changes) => {
                    for change in changes.iter().filter(|change| *change.resource == *name) {
                        self.send_change(change, &mut body)?;
                    }
                }
                Err(_) => {
                    self.send_error(&too_old(position, revision), &mut body)?;
                    return body.finish();
                }
            }
            position = position.max(revision);
            body.flush()?;

            match body.control().ordered() {
                Order::None => {}
                Order::End => return body.finish(),
                Order::Cut => return Err(body.cut_mid_line()),
            }
            let now = Instant::now();
            let goodbye = !said_goodbye && now + LAST_BOOKMARK >= end;
            if self.bookmarks && (goodbye || now >= last_bookmark + shared.bookmark_interval()) {
                said_goodbye |= goodbye;
                last_bookmark = now;
                self.send("BOOKMARK", &bookmark(&self.resource, position, false), &mut body)?;
                body.flush()?;
            }
            if now >= end {
                return body.finish();
            }
            if body.control().peer_is_gone() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let look = LOOK_INTERVAL.min(shared.bookmark_interval());
            shared.store.wait_for_change(position, (now + look).min(end));
        }
    }

    /// Sends what comes before the live events; `None` when the watch cannot start.
    fn begin(
        &self,
        shared: &Shared,
        name: &str,
        body: &mut Chunked<'_>,
    ) -> io::Result<Option<u64>> {
        if let Some(from) = self.from {
            let compacted = shared.store.lock().compacted;
            if from < compacted {
                self.send_error(&too_old(from, compacted), body)?;
                return Ok(None);
            }
            return Ok(Some(from));
        }
        let (objects, revision) = {
            let state = shared.store.lock();
            (state.list(name, self.selection.namespace()), state.revision)
        };
        for object in objects.iter().filter(|object| self.selection.matches(object)) {
            self.send("ADDED", &self.text(object), body)?;
        }
        if self.initial_events && self.bookmarks {
            self.send("BOOKMARK", &bookmark(&self.resource, revision, true), body)?;
        }
        Ok(Some(revision))
    }

    fn send_change(&self, change: &Change, body: &mut Chunked<'_>) -> io::Result<()> {
        let before = change.previous.as_ref().is_some_and(|object| self.selection.matches(object));
        let after = change.kind != ChangeKind::Deleted && self.selection.matches(&change.object);
        let kind = match (before, after) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return Ok(()),
        };
        self.send(kind, &self.text(&change.object), body)
    }

    fn send_error(&self, failure: &Failure, body: &mut Chunked<'_>) -> io::Result<()> {
        self.send("ERROR", &failure.status().to_string(), body)
    }

    fn send(&self, kind: &str, object: &str, body: &mut Chunked<'_>) -> io::Result<()> {
        body.push(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").as_bytes())
    }

    fn text(&self, object: &Object) -> String {
        object.text_with_kind(&self.resource.kind, &self.resource.api_version())
    }
}

/// Sends one ERROR event with a 410, as a watch from before the history gets it.
pub fn send_expired(connection: &mut Connection, revision: u64) -> io::Result<()> {
    let status = too_old(revision, revision).status();
    let mut body = connection.start_stream(200, &[JSON()])?;
    body.push(format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n").as_bytes())?;
    body.finish()
}

fn too_old(wanted: u64, oldest: u64) -> Failure {
    Failure::expired(format!("too old resource version: {wanted} ({oldest})"))
}

fn bookmark(resource: &Resource, revision: u64, initial_events_end: bool) -> String {
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if initial_events_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let mut object = json!({
        "kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata,
    });
    // The real server encodes an object of the kind in which nothing but these fields is set.
    let empty: &[(&str, Value)] = match resource.plural.as_str() {
        "pods" => &[("spec", json!({"containers": null})), ("status", json!({}))],
        "endpointslices" => {
            &[("endpoints", Value::Null), ("addressType", json!("")), ("ports", Value::Null)]
        }
        "nodes" | "services" | "namespaces" => &[("spec", json!({})), ("status", json!({}))],
        _ => &[],
    };
    for (key, value) in empty {
        object[*key] = value.clone();
    }
    object.to_string()
}
