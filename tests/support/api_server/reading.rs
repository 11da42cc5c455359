//! GET and LIST.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::connection::{Connection, Request};
use super::resources::{Place, Resource};
use super::selector::{FieldSelector, LabelSelector};
use super::status::Failure;
use super::store::{Object, Store};
use super::{JSON, Shared};

/// One page of a list.
pub struct Page {
    resource: Arc<Resource>,
    revision: u64,
    objects: Vec<Arc<Object>>,
    next: Option<String>,
    remaining: Option<usize>,
}

/// What a LIST or WATCH selects.
pub struct Selection {
    namespace: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// Reads the path's namespace and the query's selectors.
    pub fn of(request: &Request, place: &Place) -> Result<Self, Failure> {
        let text = |name: &str| request.query(name).unwrap_or_default();
        Ok(Self {
            namespace: place.namespace.clone(),
            labels: LabelSelector::parse(&text("labelSelector"))?,
            fields: FieldSelector::parse(&text("fieldSelector"), &place.resource)?,
        })
    }

    /// Whether the object is selected.
    pub fn matches(&self, object: &Object) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == object.namespace)
            && self.labels.matches(&object.labels)
            && self.fields.matches(object)
    }

    /// The namespace that bounds it.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }
}

/// One object's text.
pub fn get(store: &Store, place: &Place) -> Result<String, Failure> {
    let (resource, name) = (&place.resource, place.name.as_deref().unwrap_or_default());
    let namespace = place.namespace.as_deref().unwrap_or_default();
    let found = store.lock().get(&resource.qualified(), namespace, name);
    found
        .map(|object| object.text_with_kind(&resource.kind, &resource.api_version()))
        .ok_or_else(|| Failure::not_found(resource, name))
}

/// The page that a LIST asks for.
pub fn list(shared: &Shared, request: &Request, place: &Place) -> Result<Page, Failure> {
    let selection = Selection::of(request, place)?;
    let name = place.resource.qualified();
    let version = request.query("resourceVersion");
    let limit: usize = number(request, "limit")?.unwrap_or(0);
    let token = request.query("continue").map(|token| ContinueToken::read(&token)).transpose()?;
    let wanted: u64 = number(request, "resourceVersion")?.unwrap_or(0);

    let state = shared.store.lock();
    let (revision, start) = match token {
        Some(_) if version.as_deref().is_some_and(|version| version != "0") => {
            let message = "specifying resource version is not allowed when using continue";
            return Err(Failure::bad_request(message));
        }
        // A fresh token of a 410 goes on from its place in the present.
        Some(token) => (token.revision.unwrap_or(state.revision), token.start),
        None if request.query("resourceVersionMatch").as_deref() == Some("Exact") => {
            (wanted, String::new())
        }
        None => (state.revision, String::new()),
    };
    if wanted > state.revision {
        let current = state.revision;
        drop(state);
        std::thread::sleep(shared.too_large_wait());
        return Err(too_large(wanted, current));
    }
    let all = state.list_at(&name, selection.namespace(), revision).map_err(|_| {
        if start.is_empty() {
            Failure::expired("The resourceVersion for the provided list is too old.")
        } else {
            let fresh = ContinueToken { revision: None, start: start.clone() };
            Failure::expired(EXPIRED_CONTINUE).with_metadata("continue", json!(fresh.text()))
        }
    })?;
    drop(state);

    let from_start = &all[all.partition_point(|object| object_key(object) < start)..];
    // Lists at version 0 come from the watch cache, which does not page.
    let limit = if version.as_deref() == Some("0") { 0 } else { limit };
    let mut objects = Vec::new();
    let mut behind = 0;
    for (index, object) in from_start.iter().enumerate() {
        if selection.matches(object) {
            objects.push(Arc::clone(object));
        }
        if limit > 0 && objects.len() == limit {
            behind = from_start.len() - index - 1;
            break;
        }
    }
    let (mut next, mut remaining) = (None, None);
    // Whether any of what is behind is selected the real server does not know before it reads on.
    if behind > 0 {
        let last = objects.last().map(|object| object_key(object)).unwrap_or_default();
        remaining = selection.is_everything().then_some(behind);
        next = Some(ContinueToken { revision: Some(revision), start: last + "\0" }.text());
    }
    Ok(Page { resource: Arc::clone(&place.resource), revision, objects, next, remaining })
}

impl Page {
    /// Streams the page in chunks, so that a big list needs no second copy.
    pub fn send(&self, connection: &mut Connection) -> io::Result<()> {
        let resource = &self.resource;
        let (kind, api_version) = (&resource.kind, resource.api_version());
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if let Some(next) = &self.next {
            metadata["continue"] = json!(next);
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = json!(remaining);
        }
        let mut body = connection.start_stream(200, &[JSON()])?;
        // Custom objects are sent with their keys sorted, which puts the metadata behind the items.
        let (before, after) = if resource.custom {
            metadata["continue"] = json!(self.next.clone().unwrap_or_default());
            let before = format!(r#"{{"apiVersion":"{api_version}","items":["#);
            (before, format!(r#"],"kind":"{kind}List","metadata":{metadata}}}"#))
        } else {
            let before = format!(
                r#"{{"kind":"{kind}List","apiVersion":"{api_version}","metadata":{metadata},"items":["#
            );
            (before, "]}".to_owned())
        };
        body.push(before.as_bytes())?;
        for (index, object) in self.objects.iter().enumerate() {
            if index > 0 {
                body.push(b",")?;
            }
            if resource.custom {
                body.push(object.text_with_kind(kind, &api_version).as_bytes())?;
            } else {
                body.push(object.text.as_bytes())?;
            }
        }
        body.push(after.as_bytes())?;
        body.push(b"\n")?;
        body.finish()
    }
}

/// A query parameter that is a number.
pub fn number<T: std::str::FromStr>(request: &Request, name: &str) -> Result<Option<T>, Failure> {
    let Some(text) = request.query(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        Failure::bad_request(format!("{name}: Invalid value: {text:?}: must be a number"))
    })
}

/// How long the real server waits for a revision that is not there yet.
pub const TOO_LARGE_WAIT: Duration = Duration::from_secs(3);

const EXPIRED_CONTINUE: &str = "The provided continue parameter is too old to display a consistent list result. \
    You can start a new list without the continue parameter, or use the continue token in this response to retrieve \
    the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that \
    were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

struct ContinueToken {
    /// None: whatever is current.
    revision: Option<u64>,
    start: String,
}

impl ContinueToken {
    fn read(text: &str) -> Result<Self, Failure> {
        let bad = |why: &str| Failure::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|error| bad(&error.to_string()))?;
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|error| bad(&error.to_string()))?;
        let start = value["start"].as_str().ok_or_else(|| bad("no start"))?.to_owned();
        // The real server writes -1 for "now".
        Ok(Self { revision: value["rv"].as_u64(), start })
    }

    fn text(&self) -> String {
        let revision = self.revision.map_or(json!(-1), |revision| json!(revision));
        let token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": self.start});
        URL_SAFE_NO_PAD.encode(token.to_string())
    }
}

fn object_key(object: &Object) -> String {
    if object.namespace.is_empty() {
        object.name.clone()
    } else {
        format!("{}/{}", object.namespace, object.name)
    }
}

fn too_large(wanted: u64, current: u64) -> Failure {
    let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    let cause =
        json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
    let details = json!({"causes": [cause], "retryAfterSeconds": 1});
    let mut failure = Failure::detailed(504, "Timeout", message, details);
    failure.retry_after = Some(1);
    failure
}
