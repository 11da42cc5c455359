//! Requests to the API server: fetch, list, write, and what a server can do.
//!
//! A [`Client`] is a handle that is cheap to clone. Short requests have one budget for everything from the name
//! look-up to the last byte and survive the stop signal, because the leader lock is released last; lists and watches
//! end within milliseconds of it (except while a connection is being made: up to 5 s when the server is not
//! reachable).
//!
//! Objects that are written back are fetched as [`serde_json::Value`]: a PUT of a trimmed shape would erase what the
//! shape left out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Method;

use super::error::{Cause, Error, Result};
use super::list::{self, Selection};
use super::objects::Resource;
use super::settings::Settings;
use super::target::{Target, Verb};
use super::transport::{Call, Lane, Transport};
use crate::sync::Stop;

/// Largest object that is taken from the server: etcd refuses what is over 1.5 MiB in its own encoding, and JSON adds
/// the field names and escapes.
pub const OBJECT_LIMIT: usize = 3 << 20;

const JSON: &str = "application/json";

/// A handle to one API server.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) transport: Arc<Transport>,
    timeout: Duration,
}

impl Client {
    /// A client for `settings` whose lists and watches end when `stop` says so.
    ///
    /// Nothing is read or connected yet, so an unreachable server or a missing token fails the requests and not the
    /// start. The error is that of starting the thread `kube-cancel`.
    pub fn start(settings: Settings, stop: Stop) -> io::Result<Self> {
        let timeout = settings.request_timeout;
        let transport = Arc::new(Transport::new(settings));
        let watched = Arc::downgrade(&transport);
        std::thread::Builder::new().name("kube-cancel".to_owned()).spawn(move || {
            // Nothing is sent on this channel; the error is the signal.
            let _ = stop.receiver().recv();
            if let Some(transport) = watched.upgrade() {
                transport.cancel();
            }
        })?;
        Ok(Self { transport, timeout })
    }

    /// The same server, with at most `limit` for each short request.
    pub fn within(&self, limit: Duration) -> Self {
        Self { transport: Arc::clone(&self.transport), timeout: self.timeout.min(limit) }
    }

    /// The server's address, for the status page.
    pub fn server(&self) -> &str {
        &self.transport.settings().server
    }

    /// The namespace that the credentials belong to.
    pub fn namespace(&self) -> Option<&str> {
        self.transport.settings().namespace.as_deref()
    }

    /// Fetches one object.
    pub fn get<T: DeserializeOwned>(&self, target: &Target) -> Result<T> {
        self.exchange(Verb::Get, target, Method::GET, target.path(), None)
    }

    /// Hands every object of a collection to `visit`, one at a time and in pages, and returns the collection's version.
    ///
    /// Objects that cannot be read as `T` are logged and left out. After an error what was visited is incomplete;
    /// [`Cause::Gone`] means that the list expired half-way and may be begun again.
    pub fn list<T: Resource>(
        &self,
        target: &Target,
        selection: &Selection,
        mut visit: impl FnMut(T),
    ) -> Result<String> {
        let mut continue_token = None;
        loop {
            let page =
                list::page(self, target, selection, continue_token.as_deref(), &|| {}, |item| {
                    match item {
                        Ok(object) => visit(object),
                        Err(bad) => warn!("leaving out an object of {target}: {bad}"),
                    }
                })?;
            match page.continue_token {
                Some(token) => continue_token = Some(token),
                None => return Ok(page.version),
            }
        }
    }

    /// Makes an object, or asks for a review; returns what the server made of it.
    pub fn create<T: DeserializeOwned>(
        &self,
        target: &Target,
        object: &impl Serialize,
    ) -> Result<T> {
        self.exchange(
            Verb::Create,
            target,
            Method::POST,
            target.path(),
            Some((JSON, &encoded(object))),
        )
    }

    /// Replaces an object. The `resourceVersion` in it makes this an optimistic lock: [`Cause::Conflict`] means that
    /// somebody else wrote since it was fetched. Never leave it out of a Lease: the server would re-create one that
    /// was deleted.
    pub fn replace<T: DeserializeOwned>(
        &self,
        target: &Target,
        object: &impl Serialize,
    ) -> Result<T> {
        self.exchange(
            Verb::Update,
            target,
            Method::PUT,
            target.path(),
            Some((JSON, &encoded(object))),
        )
    }

    /// Changes the fields in `patch`, by the rules of RFC 7386 (`null` removes).
    pub fn merge_patch<T: DeserializeOwned>(
        &self,
        target: &Target,
        patch: &impl Serialize,
    ) -> Result<T> {
        const MERGE_PATCH: &str = "application/merge-patch+json";
        let body = encoded(patch);
        self.exchange(Verb::Patch, target, Method::PATCH, target.path(), Some((MERGE_PATCH, &body)))
    }

    /// Removes an object.
    pub fn delete(&self, target: &Target) -> Result<()> {
        let answer = self.send(Verb::Delete, target, Method::DELETE, target.path(), None)?;
        drop(answer);
        Ok(())
    }

    /// Whether the server has the kind of `target` in that group and version.
    pub fn serves(&self, target: &Target) -> Result<bool> {
        #[derive(serde::Deserialize)]
        struct Group {
            #[serde(default)]
            resources: Vec<Entry>,
        }
        #[derive(serde::Deserialize)]
        struct Entry {
            name: String,
        }
        let path = target.api().to_owned();
        match self.exchange::<Group>(Verb::Get, target, Method::GET, path, None) {
            Ok(group) => Ok(group.resources.iter().any(|entry| entry.name == target.plural())),
            Err(Error { cause: Cause::NotFound, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fetches a path that is no object, such as `/version`, as text of at most [`OBJECT_LIMIT`] bytes.
    pub fn fetch(&self, path: &'static str) -> Result<Vec<u8>> {
        let target = Target::new("", path.trim_start_matches('/'));
        self.send(Verb::Get, &target, Method::GET, path.to_owned(), None)
    }

    fn exchange<T: DeserializeOwned>(
        &self,
        verb: Verb,
        target: &Target,
        method: Method,
        path: String,
        body: Option<(&'static str, &[u8])>,
    ) -> Result<T> {
        let answer = self.send(verb, target, method, path, body)?;
        serde_json::from_slice(&answer)
            .map_err(|error| Error::new(verb, target, Cause::Decode(error)))
    }

    fn send(
        &self,
        verb: Verb,
        target: &Target,
        method: Method,
        path: String,
        body: Option<(&'static str, &[u8])>,
    ) -> Result<Vec<u8>> {
        let call = Call { method, path, body, lane: Lane::Short { total: self.timeout } };
        self.transport
            .send(&call)
            .and_then(|mut answer| {
                let body = answer.body_mut().with_config().limit(OBJECT_LIMIT as u64);
                body.read_to_vec().map_err(Cause::from)
            })
            .map_err(|cause| Error::new(verb, target, cause))
    }
}

fn encoded(object: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(object).expect("objects that are written have text keys and finite numbers")
}
