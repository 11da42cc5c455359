//! The unbundled form: one event for each event of the cluster (spec events-and-leader §2.6).

use std::time::SystemTime;

use super::object::ClusterEvent;
use super::source;
use super::tags::{self, Context};
use crate::datadog::intake::{self, Event};

/// What is appended to the source of an event that only the user asked for (§2.7).
const CUSTOM: &str = "_custom";

/// The event as it is sent; `is_custom` when filtering is on and only the user's own list matches.
pub fn unbundled(
    event: &ClusterEvent,
    context: &Context,
    is_custom: bool,
    now: SystemTime,
) -> Event {
    let about = &event.involved_object;
    let place = if about.namespace.is_empty() {
        format!("{} {}", about.kind, about.name)
    } else {
        format!("{} {}/{}", about.kind, about.namespace, about.name)
    };
    let source = source::of(event, context.detect_sources);
    Event {
        msg_title: format!("{place}: {}", event.reason),
        msg_text: event.message.clone(),
        timestamp: intake::unix_seconds(event.last_seen().unwrap_or(now)),
        priority: "normal",
        host: tags::host(event, context),
        tags: tags::of(event, context, Some(format!("event_reason:{}", event.reason))),
        alert_type: tags::alert_type(event),
        aggregation_key: format!("kubernetes_apiserver:{}", about.uid),
        source_type_name: format!("{source}{}", if is_custom { CUSTOM } else { "" }),
        event_type: "kubernetes_apiserver",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // spec: events_and_leader_20
    #[test]
    fn an_event_keeps_its_text_and_names_its_reason() {
        let event: ClusterEvent = serde_json::from_value(json!({
            "metadata": {}, "type": "Warning", "reason": "BackOff", "message": "back ~ off",
            "involvedObject": {"kind": "Pod", "namespace": "ns", "name": "p", "uid": "u"},
            "lastTimestamp": "2024-05-02T10:03:15Z",
        }))
        .expect("it has the shape of an event");
        let sent = unbundled(&event, &Context::default(), true, SystemTime::UNIX_EPOCH);
        assert_eq!(sent.msg_title, "Pod ns/p: BackOff");
        assert_eq!(sent.msg_text, "back ~ off");
        assert_eq!((sent.timestamp, sent.alert_type), (1_714_644_195, "warning"));
        assert_eq!(sent.source_type_name, "kubernetes_custom");
        assert!(sent.tags.contains(&"event_reason:BackOff".to_owned()), "{:?}", sent.tags);
    }
}
