//! The lock object in the API server: which kind it is, and the three calls on it (spec events-and-leader §1.2–§1.4).
//!
//! The lock is polled with GET and written with PUT and POST, because that is what installers grant: no list, watch,
//! patch or delete. Every PUT carries the `resourceVersion` of the object it is based on; without one the server would
//! overwrite another's lock, or re-create a Lease that was deleted, so such a write is not sent at all.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::election::{Answer, Call, Snapshot};
use super::record::{self, LockKind};
use crate::config;
use crate::kube::{Cause, Client, Error, Target, Verb};

/// A lock that the election can be run against.
pub trait Lock: fmt::Display + Send {
    /// Does `call` within `timeout`. An error says nothing about the effect of a write, except for
    /// [`Cause::NotFound`] and [`Cause::Conflict`].
    fn call(&self, call: &Call<Value>, timeout: Duration) -> Result<Snapshot<Value>, Error>;
}

/// A lock object on the API server.
#[derive(Clone, Debug)]
pub struct ApiLock {
    client: Client,
    kind: LockKind,
    namespace: String,
    name: String,
}

/// The kind to use for `configured`; asks the server what it has when that is left to discovery.
///
/// A server without the coordination API has no Leases (404); any other failure leaves the choice open, because two
/// replicas that chose differently would both lead.
pub fn choose_kind(client: &Client, configured: config::LockKind) -> Result<LockKind, Error> {
    match configured {
        config::LockKind::ConfigMap => Ok(LockKind::ConfigMap),
        config::LockKind::Lease => Ok(LockKind::Lease),
        config::LockKind::Discover => {
            let has_leases = client.serves(&collection(LockKind::Lease))?;
            Ok(if has_leases { LockKind::Lease } else { LockKind::ConfigMap })
        }
    }
}

impl ApiLock {
    /// The lock of that kind, namespace and name.
    pub fn new(
        client: Client,
        kind: LockKind,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self { client, kind, namespace: namespace.into(), name: name.into() }
    }

    fn collection(&self) -> Target {
        collection(self.kind).in_namespace(&self.namespace)
    }

    fn target(&self) -> Target {
        self.collection().named(&self.name)
    }
}

impl Lock for ApiLock {
    fn call(&self, call: &Call<Value>, timeout: Duration) -> Result<Snapshot<Value>, Error> {
        let client = self.client.within(timeout);
        let (verb, object) = match call {
            Call::Get => (Verb::Get, client.get::<Value>(&self.target())?),
            Call::Create(record) => {
                let object = record::created(self.kind, &self.namespace, &self.name, record);
                (Verb::Create, client.create(&self.collection(), &object)?)
            }
            Call::Update { object, record } => {
                let object = record::written(self.kind, object.clone(), record);
                (Verb::Update, client.replace(&self.target(), &object)?)
            }
        };
        // Whatever is not versioned cannot be written back safely.
        if object["metadata"]["resourceVersion"].as_str().is_none_or(str::is_empty) {
            let message = "the lock object came without a resourceVersion".to_owned();
            let cause = Cause::Rejected { status: 200, message };
            return Err(Error { verb, target: Box::new(self.target()), cause });
        }
        let (contents, fingerprint) = record::read(self.kind, &object);
        Ok(Snapshot { object, contents, fingerprint })
    }
}

impl fmt::Display for ApiLock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.target())
    }
}

/// What an outcome means to the election.
pub fn answer(outcome: &Result<Snapshot<Value>, Error>) -> Answer<Value> {
    match outcome {
        Ok(snapshot) => Answer::Found(snapshot.clone()),
        Err(Error { cause: Cause::NotFound, .. }) => Answer::Missing,
        Err(Error { cause: Cause::Conflict { .. }, .. }) => Answer::Conflict,
        Err(_) => Answer::Failed,
    }
}

fn collection(kind: LockKind) -> Target {
    Target::new(kind.api(), kind.plural())
}
