//! The resume position of the events in its ConfigMap (spec events-and-leader §2.2).
//!
//! Two keys of the ConfigMap are this program's; all else in it stays. Writes carry the version of the last read, so
//! that a leader of the past cannot take the position back: its write is a conflict.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::kube::{Cause, Client, Error, Target};
use crate::leader::timestamp::Timestamp;
use crate::time_format::rfc3339;

const VERSION: &str = "event.tokenKey";
const TIME: &str = "event.tokenTimestamp";

/// The ConfigMap, as last read or written.
pub struct Store {
    client: Client,
    collection: Target,
    name: String,
    object: Value,
}

impl Store {
    /// The ConfigMap `name`, which need not exist.
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        let collection = Target::new("/api/v1", "configmaps").in_namespace(namespace);
        Self { client, collection, name: name.to_owned(), object: Value::Null }
    }

    /// The version up to which events were delivered; `None` to start fresh. Makes the ConfigMap if it is missing.
    ///
    /// # Errors
    /// When it can neither be read nor made: then nothing may be collected, because it could not be resumed.
    pub fn read(&mut self, now: SystemTime) -> Result<Option<u64>, Error> {
        self.object = match self.fetch() {
            Err(Error { cause: Cause::NotFound, .. }) => match self.create(now) {
                Err(Error { cause: Cause::Conflict { .. }, .. }) => self.fetch()?,
                outcome => outcome?,
            },
            outcome => outcome?,
        };
        if !has_valid_time(&self.object) {
            log::error!(
                "Could not convert the timestamp associated with event from the ConfigMap {}, resync might not work \
                 correctly.",
                self.name
            );
        }
        Ok(version(&self.object))
    }

    /// Stores a version up to which everything was delivered.
    ///
    /// # Errors
    /// A conflict means that somebody else has written: the next attempt goes on from what is there then.
    pub fn write(&mut self, version: u64, now: SystemTime) -> Result<(), Error> {
        let mut object = self.object.clone();
        set(&mut object, version, now);
        let target = self.collection.clone().named(&self.name);
        match self.client.replace(&target, &object) {
            Ok(written) => {
                self.object = written;
                Ok(())
            }
            Err(error) => {
                if matches!(error.cause, Cause::Conflict { .. } | Cause::NotFound) {
                    self.read(now)?;
                }
                Err(error)
            }
        }
    }

    fn fetch(&self) -> Result<Value, Error> {
        self.client.get(&self.collection.clone().named(&self.name))
    }

    fn create(&self, now: SystemTime) -> Result<Value, Error> {
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.name},
            "data": {VERSION: "", TIME: rfc3339(now)},
        });
        self.client.create(&self.collection, &object)
    }
}

fn version(object: &Value) -> Option<u64> {
    object["data"][VERSION].as_str()?.trim().parse().ok().filter(|version| *version > 0)
}

/// RFC 3339, or what the official agent wrote before 1.4: `02 Jan 06 15:04 UTC`.
fn has_valid_time(object: &Value) -> bool {
    let Some(text) = object["data"][TIME].as_str() else { return version(object).is_none() };
    let fields: Vec<&str> = text.split(' ').collect();
    let is_rfc_822 = matches!(fields[..], [day, month, year, time, _zone]
        if day.len() == 2 && month.len() == 3 && year.len() == 2 && time.len() == 5);
    Timestamp::parse(text).is_some() || is_rfc_822
}

fn set(object: &mut Value, version: u64, now: SystemTime) {
    if !object["data"].is_object() {
        object["data"] = json!({});
    }
    object["data"][VERSION] = json!(version.to_string());
    object["data"][TIME] = json!(rfc3339(now));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_or_zero_position_starts_fresh() {
        for (data, expected) in [
            (json!({}), None),
            (json!({VERSION: ""}), None),
            (json!({VERSION: "0"}), None),
            (json!({VERSION: "x"}), None),
            (json!({VERSION: "100"}), Some(100)),
            (json!({VERSION: "18446744073709551615"}), Some(u64::MAX)),
        ] {
            assert_eq!(version(&json!({"data": data})), expected, "{data}");
        }
        assert_eq!(version(&json!({"metadata": {}})), None);
    }

    #[test]
    fn times_of_old_versions_are_read() {
        for (time, valid) in
            [("2024-05-02T10:00:00Z", true), ("02 May 24 10:00 UTC", true), ("soon", false)]
        {
            let object = json!({"data": {VERSION: "1", TIME: time}});
            assert_eq!(has_valid_time(&object), valid, "{time}");
        }
        assert!(has_valid_time(&json!({})), "nothing was written yet");
    }

    #[test]
    fn writing_keeps_what_others_put_there() {
        let mut object = json!({"metadata": {"resourceVersion": "5"}, "data": {"other": "kept"}});
        set(&mut object, 7, SystemTime::UNIX_EPOCH);
        let expected = json!({
            "metadata": {"resourceVersion": "5"},
            "data": {"other": "kept", VERSION: "7", TIME: "1970-01-01T00:00:00Z"},
        });
        assert_eq!(object, expected);
    }
}
