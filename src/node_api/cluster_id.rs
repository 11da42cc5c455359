//! The cluster's id: where it is kept, and how a replica gets it (spec node-api §9).
//!
//! The id stands in the ConfigMap `datadog-cluster-id` of the pod's own namespace. It is read, or made, at the start:
//! old manifests mount the ConfigMap, and their node Agents do not start before it is there. A valid one always wins; a
//! new one is the UID of the namespace `kube-system` where that can be read, so that it survives the ConfigMap.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::random;
use crate::kube::objects::{ConfigMap, Namespace};
use crate::kube::{Cause, Client, Error, Target};
use crate::retry::{Backoff, Throttle};
use crate::sync::{Published, Stop};

/// The ConfigMap's name.
const NAME: &str = "datadog-cluster-id";

/// The key in it.
const KEY: &str = "id";

/// How often one attempt looks again when another replica was faster; each time somebody made progress.
const CONFLICTS: usize = 4;

/// First and longest pause between attempts: node Agents ask for the id at most every few minutes.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Holds the id once it is known; clones share it.
#[derive(Clone, Debug)]
pub struct ClusterId {
    state: Arc<Published<Result<Arc<str>, String>>>,
}

/// What the algorithm asks of the API server.
trait Store {
    /// The whole ConfigMap, or `None` when there is none.
    fn fetch(&self) -> Result<Option<Value>, Error>;
    /// Makes the ConfigMap; a conflict when somebody else was faster.
    fn create(&self, object: &Value) -> Result<(), Error>;
    /// Replaces the ConfigMap; a conflict when somebody else changed it since it was fetched.
    fn replace(&self, object: &Value) -> Result<(), Error>;
    /// The UID of `kube-system`, or `None` when it cannot be read.
    fn system_uid(&self) -> Result<Option<String>, Error>;
}

/// The ConfigMap in one namespace of a real cluster.
struct InCluster<'a> {
    client: &'a Client,
    namespace: &'a str,
}

impl ClusterId {
    /// The id, or one sentence that says why it is not known.
    ///
    /// # Errors
    /// It was not read yet, or the last attempt failed.
    pub fn get(&self) -> Result<Arc<str>, String> {
        self.state.get().as_ref().clone()
    }

    /// Keeps an id, or why there is none.
    pub fn set(&self, outcome: Result<Arc<str>, String>) {
        self.state.set(outcome);
    }

    /// Reads or makes the id in `namespace`, again and again until it is known or `stop` says so; for a thread of its
    /// own.
    pub fn run(&self, client: &Client, namespace: &str, stop: &Stop) {
        let store = InCluster { client, namespace };
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let mut complaints = Complaints::default();
        while !stop.is_stopped() {
            match resolve(&store) {
                Ok(id) => {
                    log::info!("the cluster ID is {id}");
                    return self.set(Ok(id.into()));
                }
                Err(error) => {
                    let reason = format!("the cluster ID is not known: {error}");
                    if complaints.admit(&error, Instant::now()) {
                        log::warn!("{reason}");
                    }
                    self.set(Err(reason));
                    let pause = backoff.next_pause();
                    stop.wait(error.cause.retry_after().map_or(pause, |after| after.max(pause)));
                }
            }
        }
    }
}

impl Default for ClusterId {
    fn default() -> Self {
        let reason = "the cluster ID was not read from the API server yet".to_owned();
        Self { state: Arc::new(Published::new(Err(reason))) }
    }
}

/// Says a missing permission once, because only a person can mend it, and anything else at most once a minute.
#[derive(Default)]
struct Complaints {
    forbidden: bool,
    others: Throttle,
}

impl Complaints {
    fn admit(&mut self, error: &Error, now: Instant) -> bool {
        if matches!(error.cause, Cause::Forbidden { .. }) {
            return !std::mem::replace(&mut self.forbidden, true);
        }
        self.forbidden = false;
        self.others.admit(now).is_some()
    }
}

/// One attempt: the id that is in the ConfigMap after it.
fn resolve(store: &impl Store) -> Result<String, Error> {
    let mut conflicts = 0;
    loop {
        let outcome = match store.fetch()? {
            Some(object) => {
                if let Some(id) = object["data"][KEY].as_str().filter(|id| is_uuid(id)) {
                    return Ok(id.to_owned());
                }
                log::warn!(
                    "the ConfigMap {NAME} holds no valid id under {KEY:?}: putting a new one there"
                );
                let id = new_id(store)?;
                store.replace(&with_id(object, &id)).map(|()| id)
            }
            None => {
                let id = new_id(store)?;
                let object =
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}});
                store.create(&with_id(object, &id)).map(|()| id)
            }
        };
        match outcome {
            // Another replica was faster: its id is as good as ours, and now it is the cluster's.
            Err(Error { cause: Cause::Conflict { .. } | Cause::NotFound, .. })
                if conflicts < CONFLICTS =>
            {
                conflicts += 1;
            }
            outcome => return outcome,
        }
    }
}

fn new_id(store: &impl Store) -> Result<String, Error> {
    let uid = store.system_uid()?;
    Ok(uid.filter(|uid| is_uuid(uid)).unwrap_or_else(random::uuid))
}

/// The object with the id in it, whatever its `data` was.
fn with_id(mut object: Value, id: &str) -> Value {
    if !object["data"].is_object() {
        object["data"] = json!({});
    }
    object["data"][KEY] = id.into();
    object
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(position, byte)| match position {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

impl InCluster<'_> {
    fn collection(&self) -> Target {
        Target::of::<ConfigMap>().in_namespace(self.namespace)
    }
}

impl Store for InCluster<'_> {
    fn fetch(&self) -> Result<Option<Value>, Error> {
        match self.client.get(&self.collection().named(NAME)) {
            Ok(object) => Ok(Some(object)),
            Err(Error { cause: Cause::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, object: &Value) -> Result<(), Error> {
        self.client.create::<Value>(&self.collection(), object).map(drop)
    }

    fn replace(&self, object: &Value) -> Result<(), Error> {
        self.client.replace::<Value>(&self.collection().named(NAME), object).map(drop)
    }

    fn system_uid(&self) -> Result<Option<String>, Error> {
        match self.client.get::<Namespace>(&Target::of::<Namespace>().named("kube-system")) {
            Ok(namespace) => Ok(Some(namespace.metadata.uid)),
            Err(Error { cause: Cause::Forbidden { .. } | Cause::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::kube::Verb;

    const ID: &str = "5a1f0c9e-3c1d-4e0a-9a51-3d6b0b0a7c11";
    const UID: &str = "11111111-2222-4333-8444-555555555555";

    /// A ConfigMap that another replica may write just before our write.
    #[derive(Default)]
    struct Fake {
        object: RefCell<Option<Value>>,
        faster: RefCell<Option<Value>>,
        system_uid: Option<&'static str>,
        forbidden: bool,
    }

    impl Fake {
        fn holding(object: Value) -> Self {
            Self { object: RefCell::new(Some(object)), ..Self::default() }
        }

        fn write(&self, object: &Value) -> Result<(), Error> {
            if let Some(other) = self.faster.take() {
                self.object.replace(Some(other));
                return Err(error(Cause::Conflict { message: String::new() }));
            }
            self.object.replace(Some(object.clone()));
            Ok(())
        }

        fn id(&self) -> String {
            let object = self.object.borrow();
            let id = object.as_ref().and_then(|object| object["data"][KEY].as_str());
            id.unwrap_or_default().to_owned()
        }
    }

    impl Store for Fake {
        fn fetch(&self) -> Result<Option<Value>, Error> {
            if self.forbidden {
                return Err(error(Cause::Forbidden { message: String::new() }));
            }
            Ok(self.object.borrow().clone())
        }

        fn create(&self, object: &Value) -> Result<(), Error> {
            assert!(self.object.borrow().is_none(), "created over an existing one");
            self.write(object)
        }

        fn replace(&self, object: &Value) -> Result<(), Error> {
            assert!(self.object.borrow().is_some(), "replaced one that does not exist");
            self.write(object)
        }

        fn system_uid(&self) -> Result<Option<String>, Error> {
            Ok(self.system_uid.map(str::to_owned))
        }
    }

    fn error(cause: Cause) -> Error {
        Error { verb: Verb::Get, target: Box::new(Target::of::<ConfigMap>()), cause }
    }

    #[test]
    fn node_api_34_an_absent_id_is_made() {
        let fake = Fake::default();
        let id = resolve(&fake).expect("the fake allows it");
        assert!(is_uuid(&id), "{id}");
        assert_eq!(fake.id(), id);
        assert_eq!(resolve(&fake).expect("the fake allows it"), id, "and kept");

        let fake = Fake { system_uid: Some(UID), ..Fake::default() };
        assert_eq!(resolve(&fake).expect("the fake allows it"), UID);
    }

    #[test]
    fn node_api_34_a_valid_id_wins() {
        let fake = Fake { system_uid: Some(UID), ..Fake::holding(json!({"data": {"id": ID}})) };
        assert_eq!(resolve(&fake).expect("the fake allows it"), ID);
    }

    #[test]
    fn node_api_34_racing_replicas_agree() {
        for (before, faster) in [
            (None, json!({"data": {"id": ID}})),
            (Some(json!({"data": {"id": "bad"}})), json!({"data": {"id": ID}})),
        ] {
            let fake = Fake {
                object: RefCell::new(before),
                faster: RefCell::new(Some(faster)),
                ..Fake::default()
            };
            assert_eq!(resolve(&fake).expect("the fake allows it"), ID);
            assert_eq!(fake.id(), ID);
        }
    }

    #[test]
    fn node_api_34_a_bad_id_is_replaced_and_the_rest_is_kept() {
        for object in [
            json!({"metadata": {"resourceVersion": "7"}}),
            json!({"metadata": {"resourceVersion": "7"}, "data": null}),
            json!({"metadata": {"resourceVersion": "7"}, "data": "text"}),
            json!({"metadata": {"resourceVersion": "7"}, "data": {"id": "short"}}),
            json!({"metadata": {"resourceVersion": "7"}, "data": {"id": "z".repeat(36)}}),
        ] {
            let fake = Fake::holding(object.clone());
            let id = resolve(&fake).expect("the fake allows it");
            assert!(is_uuid(&id), "{object} gave {id}");
            assert_eq!(fake.id(), id);
            let kept = fake.object.borrow();
            assert_eq!(
                kept.as_ref().map(|kept| kept["metadata"].clone()),
                Some(object["metadata"].clone())
            );
        }
    }

    #[test]
    fn a_missing_permission_is_said_once() {
        let fake = Fake { forbidden: true, ..Fake::default() };
        let refusal = resolve(&fake).expect_err("the fake forbids it");
        let broken = error(Cause::TooLarge { limit: 0 });
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let hour = Duration::from_secs(3600);
        assert!(complaints.admit(&refusal, start));
        assert!(!complaints.admit(&refusal, start + hour));
        assert!(complaints.admit(&broken, start + hour));
        assert!(!complaints.admit(&broken, start + hour));
        assert!(complaints.admit(&broken, start + 2 * hour));
        assert!(complaints.admit(&refusal, start + 2 * hour), "it was gone in between");
    }
}
