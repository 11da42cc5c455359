//! The record inside a lock object: who holds it, for how long, and since when (spec events-and-leader §1.3, §1.4).
//!
//! Reading is lenient, because the record may come from any version of the official agent or from a person with
//! `kubectl`; writing is exact, because those read it too. A lock object is kept as a whole JSON value: only the record
//! in it is replaced, so that labels, data, other annotations and the `resourceVersion` go back as they came.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::timestamp::Timestamp;

/// The annotation of a ConfigMap that holds the record.
pub const ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";

/// Which kind of object the lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// An annotation of a ConfigMap, times in whole seconds.
    ConfigMap,
    /// A Lease of the coordination API, times in microseconds.
    Lease,
}

/// Who holds the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The pod name of the holder; empty when the lock was released.
    pub holder: String,
    /// How long others wait after they saw the record change, in seconds; 0 or less when unknown.
    pub duration_seconds: i64,
    /// When the holder took the lock, by its calendar.
    pub acquired: Option<Timestamp>,
    /// When the holder wrote the record, by its calendar.
    pub renewed: Option<Timestamp>,
    /// How often the holder changed.
    pub transitions: i64,
}

/// What a lock object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Nothing: the object exists without a record.
    Empty,
    /// A record.
    Record(Record),
    /// Something that is no record, and why.
    Invalid(String),
}

/// The annotation's value; the order of the fields is the order on the wire.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Annotation {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<i64>,
    acquire_time: Option<String>,
    renew_time: Option<String>,
    leader_transitions: Option<i64>,
}

/// The `spec` of a Lease.
#[derive(Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct LeaseSpec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<i64>,
    acquire_time: Option<String>,
    renew_time: Option<String>,
    lease_transitions: Option<i64>,
}

impl LockKind {
    /// The plural of the resource in URLs and RBAC rules.
    pub fn plural(self) -> &'static str {
        match self {
            LockKind::ConfigMap => "configmaps",
            LockKind::Lease => "leases",
        }
    }

    /// The path of the API group and version that serve it.
    pub fn api(self) -> &'static str {
        match self {
            LockKind::ConfigMap => "/api/v1",
            LockKind::Lease => "/apis/coordination.k8s.io/v1",
        }
    }

    /// `time` as precisely as this kind writes it in the ordinary case.
    pub fn written_time(self, time: Timestamp) -> Timestamp {
        match self {
            LockKind::ConfigMap => time.whole_seconds(),
            LockKind::Lease => time,
        }
    }
}

/// What `object` says, and a text that differs whenever the record was written anew.
///
/// The text is the annotation as it stands, or the record's fields of a Lease: an edit elsewhere in the object is not a
/// renewal.
pub fn read(kind: LockKind, object: &Value) -> (Contents, String) {
    match kind {
        LockKind::ConfigMap => match &object["metadata"]["annotations"][ANNOTATION] {
            Value::Null => (Contents::Empty, String::new()),
            Value::String(text) => (read_annotation(text), text.clone()),
            other => {
                (Contents::Invalid("the annotation is not a text".to_owned()), other.to_string())
            }
        },
        LockKind::Lease => {
            let spec = Option::<LeaseSpec>::deserialize(&object["spec"]);
            match spec.map(Option::unwrap_or_default) {
                // Serialised again: the same fields in the same order, whatever else the specification carries.
                Ok(spec) => (read_lease(&spec), json!(spec).to_string()),
                Err(error) => (Contents::Invalid(error.to_string()), object["spec"].to_string()),
            }
        }
    }
}

/// `object` with its record replaced by `record`, and nothing else changed.
pub fn written(kind: LockKind, mut object: Value, record: &Record) -> Value {
    match kind {
        LockKind::ConfigMap => {
            *entry(entry(entry(&mut object, "metadata"), "annotations"), ANNOTATION) =
                Value::String(annotation(record));
        }
        LockKind::Lease => {
            let spec = entry(&mut object, "spec");
            for (key, value) in lease_fields(record) {
                *entry(spec, key) = value;
            }
        }
    }
    object
}

/// A new lock object that holds `record`.
pub fn created(kind: LockKind, namespace: &str, name: &str, record: &Record) -> Value {
    let (version, kind_name) = match kind {
        LockKind::ConfigMap => ("v1", "ConfigMap"),
        LockKind::Lease => ("coordination.k8s.io/v1", "Lease"),
    };
    let object = json!({
        "apiVersion": version,
        "kind": kind_name,
        "metadata": {"name": name, "namespace": namespace},
    });
    written(kind, object, record)
}

fn read_annotation(text: &str) -> Contents {
    match serde_json::from_str::<Annotation>(text) {
        Ok(annotation) => Contents::Record(Record {
            holder: annotation.holder_identity.unwrap_or_default(),
            duration_seconds: annotation.lease_duration_seconds.unwrap_or_default(),
            acquired: annotation.acquire_time.as_deref().and_then(Timestamp::parse),
            renewed: annotation.renew_time.as_deref().and_then(Timestamp::parse),
            transitions: annotation.leader_transitions.unwrap_or_default(),
        }),
        Err(error) => Contents::Invalid(error.to_string()),
    }
}

fn read_lease(spec: &LeaseSpec) -> Contents {
    if *spec == LeaseSpec::default() {
        return Contents::Empty;
    }
    Contents::Record(Record {
        holder: spec.holder_identity.clone().unwrap_or_default(),
        duration_seconds: spec.lease_duration_seconds.unwrap_or_default(),
        acquired: spec.acquire_time.as_deref().and_then(Timestamp::parse),
        renewed: spec.renew_time.as_deref().and_then(Timestamp::parse),
        transitions: spec.lease_transitions.unwrap_or_default(),
    })
}

fn annotation(record: &Record) -> String {
    let annotation = Annotation {
        holder_identity: Some(record.holder.clone()),
        lease_duration_seconds: Some(record.duration_seconds),
        acquire_time: record.acquired.map(Timestamp::to_seconds_text),
        renew_time: record.renewed.map(Timestamp::to_seconds_text),
        leader_transitions: Some(record.transitions),
    };
    serde_json::to_string(&annotation).expect("texts and numbers serialise")
}

fn lease_fields(record: &Record) -> [(&'static str, Value); 5] {
    [
        ("holderIdentity", json!(record.holder)),
        ("leaseDurationSeconds", json!(record.duration_seconds)),
        ("acquireTime", json!(record.acquired.map(Timestamp::to_micro_text))),
        ("renewTime", json!(record.renewed.map(Timestamp::to_micro_text))),
        ("leaseTransitions", json!(record.transitions)),
    ]
}

/// The member of that name, made when it is absent; a parent that is no object becomes one.
fn entry<'a>(parent: &'a mut Value, key: &str) -> &'a mut Value {
    if !parent.is_object() {
        *parent = Value::Object(Map::new());
    }
    &mut parent[key]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            holder: "dca-7c9d-abcde".to_owned(),
            duration_seconds: 60,
            acquired: Timestamp::parse("2024-05-02T10:00:00Z"),
            renewed: Timestamp::parse("2024-05-02T10:03:15.25Z"),
            transitions: 4,
        }
    }

    fn config_map(annotation: Value) -> Value {
        json!({"metadata": {"name": "lock", "annotations": {ANNOTATION: annotation}}})
    }

    #[test]
    fn an_annotation_is_written_to_the_byte() {
        let mut record = record();
        record.renewed = record.renewed.map(Timestamp::whole_seconds);
        let object = created(LockKind::ConfigMap, "mon", "lock", &record);
        assert_eq!(
            object,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "lock", "namespace": "mon",
                "annotations": {"control-plane.alpha.kubernetes.io/leader":
                    r#"{"holderIdentity":"dca-7c9d-abcde","leaseDurationSeconds":60,"acquireTime":"2024-05-02T10:00:00Z","renewTime":"2024-05-02T10:03:15Z","leaderTransitions":4}"#}}})
        );
        assert_eq!(read(LockKind::ConfigMap, &object).0, Contents::Record(record));
    }

    #[test]
    fn a_lease_is_written_with_six_fraction_digits() {
        let object = created(LockKind::Lease, "mon", "lock", &record());
        assert_eq!(
            object,
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": "lock", "namespace": "mon"},
                "spec": {"holderIdentity": "dca-7c9d-abcde", "leaseDurationSeconds": 60,
                    "acquireTime": "2024-05-02T10:00:00.000000Z", "renewTime": "2024-05-02T10:03:15.250000Z",
                    "leaseTransitions": 4}})
        );
        assert_eq!(read(LockKind::Lease, &object).0, Contents::Record(record()));
    }

    #[test]
    fn only_the_record_is_replaced() {
        let object = json!({"metadata": {"name": "lock", "resourceVersion": "812", "labels": {"team": "a"},
            "annotations": {"note": "keep", ANNOTATION: "old"}}, "data": {"key": "value"}});
        let written = written(LockKind::ConfigMap, object.clone(), &record());
        let mut expected = object;
        expected["metadata"]["annotations"][ANNOTATION] =
            written["metadata"]["annotations"][ANNOTATION].clone();
        assert_eq!(written, expected);

        let lease = json!({"metadata": {"resourceVersion": "7"}, "spec": {"strategy": "x", "holderIdentity": "b"}});
        let written = super::written(LockKind::Lease, lease, &record());
        assert_eq!(written["spec"]["strategy"], "x");
        assert_eq!(written["metadata"]["resourceVersion"], "7");
    }

    // spec: events_and_leader_11
    #[test]
    fn an_annotation_is_read_leniently() {
        let text = r#"{"holderIdentity":"a","leaseDurationSeconds":15,"acquireTime":null,"renewTime":"2024-05-02T10:03:15.123456789+02:00","leaderTransitions":2,"strategy":"","preferredHolder":"","x":[1]}"#;
        let (contents, fingerprint) = read(LockKind::ConfigMap, &config_map(text.into()));
        let Contents::Record(record) = contents else { panic!("{contents:?} is not a record") };
        assert_eq!(
            (record.holder.as_str(), record.duration_seconds, record.transitions),
            ("a", 15, 2)
        );
        assert_eq!(record.acquired, None);
        assert_eq!(record.renewed, Timestamp::parse("2024-05-02T08:03:15.123456Z"));
        assert_eq!(fingerprint, text);

        let (bare, _) = read(LockKind::ConfigMap, &config_map("{}".into()));
        assert!(matches!(bare, Contents::Record(record) if record.holder.is_empty()));
    }

    #[test]
    fn what_is_no_record_keeps_its_bytes() {
        for (value, fingerprint) in [
            (json!("not json"), "not json"),
            (json!(""), ""),
            (json!("[]x"), "[]x"),
            (json!(5), "5"),
        ] {
            let (contents, read) = read(LockKind::ConfigMap, &config_map(value));
            assert!(matches!(contents, Contents::Invalid(_)), "{fingerprint}");
            assert_eq!(read, fingerprint);
        }
        let wrong = json!({"spec": {"holderIdentity": 5}});
        assert!(matches!(read(LockKind::Lease, &wrong).0, Contents::Invalid(_)));
    }

    #[test]
    fn an_object_without_a_record_is_empty() {
        for object in
            [json!({"metadata": {"name": "lock"}}), json!({"metadata": {"annotations": null}})]
        {
            assert_eq!(read(LockKind::ConfigMap, &object).0, Contents::Empty);
        }
        for object in [json!({"metadata": {}}), json!({"spec": null}), json!({"spec": {}})] {
            assert_eq!(read(LockKind::Lease, &object).0, Contents::Empty);
        }
    }

    #[test]
    fn edits_elsewhere_are_no_renewal_and_renewals_are_seen() {
        let object = created(LockKind::Lease, "mon", "lock", &record());
        let mut edited = object.clone();
        edited["metadata"]["labels"] = json!({"touched": "yes"});
        edited["spec"]["strategy"] = json!("x");
        assert_eq!(read(LockKind::Lease, &object), read(LockKind::Lease, &edited));
        // Even a time that cannot be read counts as a change.
        edited["spec"]["renewTime"] = json!("later");
        assert_ne!(read(LockKind::Lease, &object).1, read(LockKind::Lease, &edited).1);
    }
}
