//! The bundled form: what happened to one object becomes one event, or several when its text is too long (spec
//! events-and-leader §2.5).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use super::object::ClusterEvent;
use super::source;
use super::tags::{self, Context};
use crate::datadog::intake::{self, Event};
use crate::time_format::Utc;

/// Most bytes of a text by the estimate below; Datadog cuts at 4,000.
const LARGEST: usize = 3_750;

/// What the frame of a text takes, without the component's name.
const FRAME: usize = 250;

/// What a line takes besides its key: the count and blanks.
const LINE: usize = 11;

/// Events of one object and one type that share a text.
struct Bundle<'a> {
    /// The event that names object and type.
    event: &'a ClusterEvent,
    /// Count of each line, by its text.
    lines: BTreeMap<String, u64>,
    size: usize,
    first: Option<SystemTime>,
    last: Option<SystemTime>,
}

/// The events that a batch becomes, in the order in which its objects appear.
pub fn bundled(batch: &[&ClusterEvent], context: &Context, now: SystemTime) -> Vec<Event> {
    let mut bundles: Vec<Bundle<'_>> = Vec::new();
    // The open bundle of each object and type.
    let mut open: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for event in batch.iter().copied().filter(|event| event.is_complete()) {
        let about = &event.involved_object;
        let group = (about.kind.as_str(), about.uid.as_str(), event.kind.as_str());
        let line = line(event);
        let fitting = open.get(&group).copied().filter(|index| bundles[*index].fits(&line));
        let index = fitting.unwrap_or_else(|| {
            bundles.push(Bundle::new(event));
            open.insert(group, bundles.len() - 1);
            bundles.len() - 1
        });
        bundles[index].add(event, line);
    }
    bundles.iter().map(|bundle| bundle.finish(context, now)).collect()
}

/// The key of an event, cut where it would not even fit alone.
fn line(event: &ClusterEvent) -> String {
    let frame = format!("**{}**: ", event.reason);
    let room = LARGEST.saturating_sub(
        FRAME + LINE + event.source.component.len() + escaped_length(&frame) + "…\n".len(),
    );
    let mut message = event.message.as_str();
    let mut ending = "";
    if escaped_length(message) > room {
        let mut used = 0;
        let end = message.char_indices().find(|(_, c)| {
            used += c.len_utf8() + usize::from(*c == '~');
            used > room
        });
        message = &message[..end.map_or(message.len(), |(index, _)| index)];
        ending = "…";
    }
    format!("{frame}{message}{ending}\n")
}

/// Bytes after [`Bundle::finish`] has put a backslash before each tilde.
fn escaped_length(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| *byte == b'~').count()
}

impl<'a> Bundle<'a> {
    fn new(event: &'a ClusterEvent) -> Self {
        let size = FRAME + event.source.component.len();
        Self { event, lines: BTreeMap::new(), size, first: None, last: None }
    }

    fn fits(&self, line: &str) -> bool {
        self.lines.contains_key(line) || self.size + LINE + escaped_length(line) <= LARGEST
    }

    fn add(&mut self, event: &'a ClusterEvent, line: String) {
        if !self.lines.contains_key(&line) {
            self.size += LINE + escaped_length(&line);
        }
        *self.lines.entry(line).or_default() += event.occurrences();
        let earlier = |seen: SystemTime| self.first.map_or(seen, |first| first.min(seen));
        self.first = event.first_seen().map(earlier).or(self.first);
        self.last = self.last.max(event.last_seen());
    }

    fn finish(&self, context: &Context, now: SystemTime) -> Event {
        let about = &self.event.involved_object;
        let place = if about.namespace.is_empty() {
            about.name.clone()
        } else {
            format!("{}/{}", about.namespace, about.name)
        };
        let last = self.last.unwrap_or(now);
        let lines: Vec<String> =
            self.lines.iter().map(|(line, count)| format!("{count} {line}")).collect();
        let mut text = format!("%%% \n{}", lines.join(" "));
        let _ = write!(
            text,
            " \n _Events emitted by the {} seen at {} since {}_ \n\n %%%",
            self.event.source.component,
            shown(last),
            shown(self.first.unwrap_or(last)),
        );
        Event {
            msg_title: format!("Events from the {} {place}", about.kind),
            msg_text: text.replace('~', "\\~"),
            timestamp: intake::unix_seconds(last),
            priority: "normal",
            host: tags::host(self.event, context),
            tags: tags::of(self.event, context, None),
            alert_type: tags::alert_type(self.event),
            aggregation_key: format!("kubernetes_apiserver:{}", about.uid),
            source_type_name: source::of(self.event, context.detect_sources).to_owned(),
            event_type: "kubernetes_apiserver",
        }
    }
}

/// `2024-05-02 10:03:15 +0000 UTC`.
fn shown(time: SystemTime) -> String {
    let Utc { year, month, day, hour, minute, second, .. } = time.into();
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} +0000 UTC")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(kind: &str, reason: &str, message: &str, changes: Value) -> ClusterEvent {
        let mut object = json!({
            "metadata": {"name": "e", "resourceVersion": "1"},
            "involvedObject": {"kind": "Pod", "namespace": "web", "name": "front-1", "uid": "7a1e"},
            "type": kind, "reason": reason, "message": message, "count": 1,
            "source": {"component": "kubelet", "host": "node-1"},
            "reportingComponent": "kubelet",
            "firstTimestamp": "2024-05-02T10:00:01Z", "lastTimestamp": "2024-05-02T10:03:15Z",
        });
        for (key, value) in changes.as_object().expect("an object") {
            object[key] = value.clone();
        }
        serde_json::from_value(object).expect("it has the shape of an event")
    }

    fn context() -> Context {
        let hostname = "node-3-prod".to_owned();
        Context { host_suffix: "-prod".to_owned(), hostname, ..Context::default() }
    }

    fn bundle(events: &[ClusterEvent]) -> Vec<Event> {
        let events: Vec<&ClusterEvent> = events.iter().collect();
        bundled(&events, &context(), SystemTime::UNIX_EPOCH)
    }

    // spec: events_and_leader_17
    #[test]
    fn one_event_for_each_object_and_type_adds_up_the_counts() {
        let warning =
            |count| event("Warning", "BackOff", "Back-off restarting", json!({"count": count}));
        let events =
            bundle(&[warning(2), event("Normal", "Pulled", "done", json!({})), warning(3)]);
        assert_eq!(events.len(), 2);
        assert_eq!(
            events[0].msg_text,
            "%%% \n5 **BackOff**: Back-off restarting\n \n _Events emitted by the kubelet seen at \
             2024-05-02 10:03:15 +0000 UTC since 2024-05-02 10:00:01 +0000 UTC_ \n\n %%%"
        );
        assert_eq!(events[0].msg_title, "Events from the Pod web/front-1");
        assert_eq!(events[0].timestamp, 1_714_644_195);
        assert_eq!(events[0].host, "node-1-prod");
        assert_eq!((events[0].alert_type, events[1].alert_type), ("warning", "info"));
        assert!(events.iter().all(|event| event.aggregation_key == "kubernetes_apiserver:7a1e"));
        assert_eq!(
            events[0].tags,
            [
                "kube_kind:Pod",
                "kube_name:front-1",
                "kube_namespace:web",
                "kubernetes_kind:Pod",
                "name:front-1",
                "namespace:web",
                "orchestrator:kubernetes",
                "pod_name:front-1",
                "reporting_controller:kubelet",
                "source_component:kubelet",
            ]
        );
    }

    // spec: events_and_leader_18
    #[test]
    fn tildes_are_escaped_and_an_event_of_a_node_belongs_to_it() {
        let node = json!({"involvedObject": {"kind": "Node", "name": "n1", "uid": "n1"}});
        let events = bundle(&[event("Normal", "Ready", "~now~", node)]);
        assert!(events[0].msg_text.contains("**Ready**: \\~now\\~\n"), "{}", events[0].msg_text);
        assert_eq!(events[0].msg_title, "Events from the Node n1");
        assert_eq!(events[0].host, "n1-prod");
        assert!(
            !events[0].tags.iter().any(|tag| tag.contains("namespace")),
            "{:?}",
            events[0].tags
        );
    }

    // spec: events_and_leader_19
    #[test]
    fn texts_that_do_not_fit_into_one_event_are_spread_over_several() {
        let message = |number: usize| format!("{number:03}{}", "~".repeat(197));
        let all: Vec<ClusterEvent> =
            (0..40).map(|number| event("Normal", "Busy", &message(number), json!({}))).collect();
        let events = bundle(&all);
        assert!(events.len() > 2);
        assert!(events.iter().all(|event| event.msg_text.len() <= 4_000));
        for number in 0..40 {
            let line = format!("1 **Busy**: {number:03}");
            let found: usize =
                events.iter().map(|event| event.msg_text.matches(&line).count()).sum();
            assert_eq!(found, 1, "{number}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_alone_is_cut_between_characters() {
        let events = bundle(&[event("Normal", "Long", &"ü~".repeat(3_000), json!({}))]);
        assert_eq!(events.len(), 1);
        let text = &events[0].msg_text;
        assert!(
            text.contains("…\n") && text.len() <= 4_000 && text.len() > 3_500,
            "{}",
            text.len()
        );
    }

    #[test]
    fn events_without_object_reason_or_message_say_nothing() {
        assert!(
            bundle(&[event("Normal", "", "text", json!({})), event("Normal", "R", "", json!({}))])
                .is_empty()
        );
    }

    // spec: events_and_leader_16
    #[test]
    fn a_changed_event_gives_its_new_count() {
        let events = bundle(&[event("Warning", "BackOff", "text", json!({"count": 7}))]);
        assert!(events[0].msg_text.starts_with("%%% \n7 **BackOff**: text\n"));
    }
}
