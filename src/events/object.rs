//! An event of the cluster, trimmed to what is sent, and the fallbacks for what its writer left out.

use std::time::SystemTime;

use serde::Deserialize;

use crate::kube::objects::{Resource, null_as_default};
use crate::leader::timestamp::Timestamp;

/// An event as the API server tells it; about 600 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterEvent {
    /// The event's own name and version.
    pub metadata: Metadata,
    /// What it is about.
    #[serde(default, deserialize_with = "null_as_default")]
    pub involved_object: Involved,
    /// One word.
    #[serde(default, deserialize_with = "null_as_default")]
    pub reason: String,
    /// A sentence.
    #[serde(default, deserialize_with = "null_as_default")]
    pub message: String,
    /// `Normal` or `Warning`.
    #[serde(default, rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// Who noticed it, in the older form.
    #[serde(default, deserialize_with = "null_as_default")]
    pub source: Source,
    /// Who noticed it, in the newer form.
    #[serde(default, deserialize_with = "null_as_default")]
    pub reporting_component: String,
    /// How often, in the older form; 0 when it was written in the newer one.
    #[serde(default, deserialize_with = "null_as_default")]
    pub count: u64,
    /// How often, in the newer form.
    pub series: Option<Series>,
    first_timestamp: Option<String>,
    last_timestamp: Option<String>,
    event_time: Option<String>,
}

/// The event's own metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Unique in its namespace.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Its version.
    #[serde(deserialize_with = "null_as_default")]
    pub resource_version: String,
    creation_timestamp: Option<String>,
}

/// The object that an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Involved {
    /// Its kind.
    #[serde(deserialize_with = "null_as_default")]
    pub kind: String,
    /// Empty for objects of the whole cluster.
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: String,
    /// Its name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Unique in the life of the cluster.
    #[serde(deserialize_with = "null_as_default")]
    pub uid: String,
}

/// Who noticed an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Source {
    /// A program.
    #[serde(deserialize_with = "null_as_default")]
    pub component: String,
    /// The node it runs on.
    #[serde(deserialize_with = "null_as_default")]
    pub host: String,
}

/// Repetitions of an event in the newer form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Series {
    /// How often.
    #[serde(deserialize_with = "null_as_default")]
    pub count: u64,
    last_observed_time: Option<String>,
}

impl Resource for ClusterEvent {
    const API: &str = "/api/v1";
    const PLURAL: &str = "events";
    const KIND: &str = "Event";
}

impl ClusterEvent {
    /// The version as a number (spec events-and-leader §2.2); 0 when it is none.
    pub fn version(&self) -> u64 {
        self.metadata.resource_version.parse().unwrap_or_default()
    }

    /// Whether there is enough to say: what it is about, why, and a text.
    pub fn is_complete(&self) -> bool {
        let about = &self.involved_object;
        ![&about.kind, &about.name, &self.reason, &self.message].iter().any(|text| text.is_empty())
    }

    /// How often it happened, at least once.
    pub fn occurrences(&self) -> u64 {
        let series = self.series.as_ref().map_or(0, |series| series.count);
        [self.count, series].into_iter().find(|count| *count > 0).unwrap_or(1)
    }

    /// When it happened first, as far as its writer said.
    pub fn first_seen(&self) -> Option<SystemTime> {
        let created = self.metadata.creation_timestamp.as_ref();
        moment([self.first_timestamp.as_ref(), self.event_time.as_ref(), created])
    }

    /// When it happened last, as far as its writer said.
    pub fn last_seen(&self) -> Option<SystemTime> {
        let observed = self.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
        let created = self.metadata.creation_timestamp.as_ref();
        moment([self.last_timestamp.as_ref(), observed, self.event_time.as_ref(), created])
    }
}

fn moment<const N: usize>(candidates: [Option<&String>; N]) -> Option<SystemTime> {
    let mut given = candidates.into_iter().flatten();
    given.find_map(|text| Timestamp::parse(text)).map(Timestamp::to_wall)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::time_format::rfc3339;

    fn event(object: serde_json::Value) -> ClusterEvent {
        serde_json::from_value(object).expect("it has the shape of an event")
    }

    #[test]
    fn writers_of_the_newer_form_leave_the_older_fields_empty() {
        let event = event(json!({
            "metadata": {"name": "e", "resourceVersion": "18446744073709551615"},
            "firstTimestamp": null, "lastTimestamp": null, "source": {},
            "eventTime": "2024-05-02T10:00:00.000001Z",
            "series": {"count": 4, "lastObservedTime": "2024-05-02T10:03:15.000000Z"},
        }));
        assert_eq!(event.version(), u64::MAX);
        assert_eq!(event.occurrences(), 4);
        assert_eq!(event.first_seen().map(rfc3339).as_deref(), Some("2024-05-02T10:00:00Z"));
        assert_eq!(event.last_seen().map(rfc3339).as_deref(), Some("2024-05-02T10:03:15Z"));
    }

    #[test]
    fn an_event_without_any_time_was_seen_when_it_was_created() {
        let event = event(json!({"metadata": {"creationTimestamp": "2024-05-02T10:00:00Z"}}));
        assert_eq!(event.occurrences(), 1);
        assert_eq!(event.last_seen().map(rfc3339).as_deref(), Some("2024-05-02T10:00:00Z"));
        assert!(!event.is_complete());
    }
}
