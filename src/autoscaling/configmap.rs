//! The ConfigMap in which values outlive the process and reach the other replicas, also those of other builds (spec
//! external-metrics §10.1).
//!
//! A value is one JSON object under a key that names who wants it. What is not such an entry of a
//! HorizontalPodAutoscaler is somebody else's and is left as it is. Limits: a ConfigMap holds 1 MiB, about 3,000
//! entries, and one key that is too long would have the whole write refused.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};

use super::digest;
use super::entry::{Entry, Labels, Reference};
use crate::kube::objects::null_as_default;
use crate::time_format;

/// Keys of entries begin with this.
const PREFIX: &str = "external_metric";

/// The annotation that says when the ConfigMap was written last.
const LAST_UPDATED: &str = "custom-metrics.datadoghq.com/last-updated";

/// Longest key of a ConfigMap.
const KEY_LIMIT: usize = 253;

/// What is kept of a key that gets a suffix.
const KEPT: usize = 200;

/// Hexadecimal digits of such a suffix.
const SUFFIX: usize = 8;

/// One value of the ConfigMap, in the order of its fields.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "metricName")]
    metric: String,
    #[serde(default)]
    labels: Option<Labels>,
    #[serde(default)]
    ts: i64,
    #[serde(default, deserialize_with = "null_as_default")]
    reference: StoredReference,
    value: Number,
    #[serde(default)]
    valid: bool,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredReference {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    namespace: String,
    uid: String,
}

/// What a key of the ConfigMap holds.
enum Content {
    Entry(Entry),
    /// An entry of the oldest versions, which name no kind: deleted, because the autoscaler's watch makes it anew.
    Legacy,
    Foreign,
}

/// The entries of HorizontalPodAutoscalers in the ConfigMap.
pub fn entries(object: &Value) -> Vec<Entry> {
    let data = object["data"].as_object().into_iter().flatten();
    data.filter_map(|(key, value)| match content(key, value) {
        Content::Entry(entry) => Some(entry),
        Content::Legacy | Content::Foreign => None,
    })
    .collect()
}

/// The ConfigMap with exactly `entries` as its entries; `query` names the query of one.
pub fn with_entries(
    mut object: Value,
    entries: &[Entry],
    query: impl Fn(&Entry) -> String,
    now: SystemTime,
) -> Value {
    let mut data = match object["data"].take() {
        Value::Object(data) => data,
        _ => Map::new(),
    };
    data.retain(|key, value| matches!(content(key, value), Content::Foreign));
    for (key, entry) in keys(entries, query) {
        let text = serde_json::to_string(&stored(entry)).expect("an entry is text and numbers");
        data.insert(key, text.into());
    }
    object["data"] = Value::Object(data);
    object["metadata"]["annotations"][LAST_UPDATED] = time_format::rfc3339(now).into();
    object
}

/// A ConfigMap without entries.
pub fn empty(namespace: &str, name: &str, now: SystemTime) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {LAST_UPDATED: time_format::rfc3339(now)},
        },
    })
}

/// A key for each entry. An autoscaler that wants one metric with several label sets, and names that are too long, get
/// a suffix; readers look at the values only.
fn keys(entries: &[Entry], query: impl Fn(&Entry) -> String) -> BTreeMap<String, &Entry> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|a, b| {
        (&a.reference, &a.metric, &a.labels).cmp(&(&b.reference, &b.metric, &b.labels))
    });
    let mut keys = BTreeMap::new();
    for entry in sorted {
        let Reference { kind, namespace, name, .. } = &entry.reference;
        let mut key = format!("{PREFIX}-{kind}-{namespace}-{name}-{}", entry.metric);
        if key.len() > KEY_LIMIT || keys.contains_key(&key) {
            key.truncate(KEPT);
            key = format!("{key}-{}", digest::hexadecimal(&query(entry), SUFFIX));
        }
        keys.insert(key, entry);
    }
    keys
}

fn content(key: &str, value: &Value) -> Content {
    if !key.starts_with(PREFIX) {
        return Content::Foreign;
    }
    let Some(Ok(stored)) = value.as_str().map(serde_json::from_str::<Stored>) else {
        return Content::Foreign;
    };
    let StoredReference { kind, name, namespace, uid } = stored.reference;
    match (kind.as_str(), stored.value.as_f64()) {
        ("", _) => Content::Legacy,
        ("horizontal", Some(value)) if value.is_finite() => Content::Entry(Entry {
            metric: stored.metric,
            labels: stored.labels.unwrap_or_default(),
            reference: Reference { kind, namespace, name, uid },
            value,
            timestamp: stored.ts,
            valid: stored.valid,
            problem: None,
        }),
        _ => Content::Foreign,
    }
}

fn stored(entry: &Entry) -> Stored {
    let Reference { kind, namespace, name, uid } = entry.reference.clone();
    Stored {
        metric: entry.metric.clone(),
        labels: (!entry.labels.is_empty()).then(|| entry.labels.clone()),
        ts: entry.timestamp,
        reference: StoredReference { kind, name, namespace, uid },
        value: number(entry.value),
        valid: entry.valid,
    }
}

/// Whole numbers without a point, as other builds write them.
fn number(value: f64) -> Number {
    /// Below it every whole `f64` is exact as an integer.
    const EXACT: f64 = 9e15;
    if value.fract() == 0.0 && value.abs() < EXACT {
        return Number::from(value as i64);
    }
    Number::from_f64(value).unwrap_or_else(|| Number::from(0))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const STORED: &str = r#"{"metricName":"queue.depth","labels":{"queue":"orders"},"ts":1709634030,"reference":{"type":"horizontal","name":"web","namespace":"shop","uid":"6f0e"},"value":42.5,"valid":true}"#;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_709_634_030)
    }

    fn entry(metric: &str, label: &str, value: f64) -> Entry {
        Entry {
            metric: metric.to_owned(),
            labels: Labels::from([("queue".to_owned(), label.to_owned())]),
            reference: Reference::horizontal("shop", "web", "6f0e"),
            value,
            timestamp: 1_709_634_030,
            valid: true,
            problem: None,
        }
    }

    fn query(entry: &Entry) -> String {
        format!("{}{:?}", entry.metric, entry.labels)
    }

    #[test]
    fn an_entry_is_written_and_read_to_the_byte() {
        let written = with_entries(
            empty("mon", "store", now()),
            &[entry("queue.depth", "orders", 42.5)],
            query,
            now(),
        );
        assert_eq!(written["data"]["external_metric-horizontal-shop-web-queue.depth"], STORED);
        assert_eq!(
            written["metadata"]["annotations"][LAST_UPDATED].as_str(),
            Some("2024-03-05T10:20:30Z")
        );
        assert_eq!(entries(&written), [entry("queue.depth", "orders", 42.5)]);
        let whole = with_entries(written, &[entry("a", "b", 1000.0)], query, now());
        let text = whole["data"]["external_metric-horizontal-shop-web-a"].as_str();
        assert!(text.is_some_and(|text| text.contains(r#""value":1000,"#)), "{whole}");
        assert_eq!(whole["data"].as_object().map(Map::len), Some(1), "the old entry is gone");
    }

    #[test]
    fn legacy_entries_go_and_foreign_keys_stay() {
        let object = json!({"data": {
            "external_metric-shop-web-queue.depth":
                r#"{"metricName":"queue.depth","labels":null,"ts":1,"hpa":{"name":"web","namespace":"shop","uid":"u"},"value":42,"valid":true}"#,
            "external_metric-watermark-shop-web-a":
                r#"{"metricName":"a","labels":null,"ts":1,"reference":{"type":"watermark","name":"w","namespace":"s","uid":"u"},"value":1,"valid":true}"#,
            "external_metric-broken": "{",
            "external.metrics.shop.web-a": "{}",
            "notes": "mine",
        }});
        assert_eq!(entries(&object), []);
        let written = with_entries(object, &[], query, now());
        let keys: Vec<&String> = written["data"].as_object().expect("a map").keys().collect();
        assert_eq!(
            keys,
            [
                "external.metrics.shop.web-a",
                "external_metric-broken",
                "external_metric-watermark-shop-web-a",
                "notes",
            ]
        );
    }

    #[test]
    fn two_label_sets_and_long_names_get_keys_of_their_own() {
        let mut long = entry(&"m".repeat(200), "x", 1.0);
        long.reference.name = "h".repeat(100);
        let all = [entry("a", "one", 1.0), entry("a", "two", 2.0), long];
        let written = with_entries(empty("mon", "store", now()), &all, query, now());
        let data = written["data"].as_object().expect("a map");
        assert_eq!(data.len(), 3);
        assert!(data.keys().all(|key| key.len() <= KEY_LIMIT));
        assert!(data.contains_key("external_metric-horizontal-shop-web-a"));
        let mut read = entries(&written);
        read.sort_by(|a, b| a.value.total_cmp(&b.value));
        assert_eq!(read.len(), 3);
        assert!(all.iter().all(|entry| read.contains(entry)));
    }
}
