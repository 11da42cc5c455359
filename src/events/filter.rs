//! Which events are sent, and in which form (spec events-and-leader §2.4, §2.6, §2.7).

use super::instance::{Collected, Instance};
use super::object::ClusterEvent;
use super::source;

/// What happens to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It is sent as one event.
    Single {
        /// Only the user's own list matches, where the built-in one counts as well.
        is_custom: bool,
    },
    /// It is sent with the others of its object.
    Bundled,
    /// It is not sent.
    Dropped,
}

/// Kinds and reasons that are known to be useful, whoever reports them.
const KNOWN: [(&str, &[&str]); 3] = [
    (
        "Pod",
        &[
            "Failed",
            "BackOff",
            "Unhealthy",
            "FailedScheduling",
            "FailedMount",
            "FailedAttachVolume",
        ],
    ),
    ("Node", &["TerminatingEvictedPod", "NodeNotReady", "Rebooted", "HostPortConflict"]),
    ("CronJob", &["SawCompletedJob"]),
];

const KARPENTER: [&str; 9] = [
    "DisruptionBlocked",
    "DisruptionLaunching",
    "DisruptionTerminating",
    "DisruptionWaitingReadiness",
    "FailedDraining",
    "InstanceTerminating",
    "SpotInterrupted",
    "SpotRebalanceRecommendation",
    "TerminatingOnInterruption",
];

/// The field selector of the watch; empty when everything is needed.
pub fn field_selector(instance: &Instance) -> String {
    if instance.unbundle_events && !instance.bundle_unspecified_events {
        return String::new();
    }
    let terms = instance
        .filtered_event_types
        .iter()
        .map(|term| if term.contains('=') { term.clone() } else { format!("reason!={term}") });
    terms.collect::<Vec<_>>().join(",")
}

/// The form in which an event is sent.
pub fn form(event: &ClusterEvent, instance: &Instance, detect_sources: bool) -> Form {
    let is_collected = instance.collected_event_types.iter().any(|entry| matches(entry, event));
    let is_known = instance.filtering_enabled && is_known(event, detect_sources);
    if instance.unbundle_events && (is_collected || is_known) {
        return Form::Single { is_custom: instance.filtering_enabled && !is_known };
    }
    let is_bundled = !instance.unbundle_events || instance.bundle_unspecified_events;
    let is_kept = !instance.filtering_enabled || is_collected || is_known;
    if is_bundled && is_kept { Form::Bundled } else { Form::Dropped }
}

fn matches(entry: &Collected, event: &ClusterEvent) -> bool {
    (entry.kind.is_empty() || entry.kind == event.involved_object.kind)
        && (entry.source.is_empty() || entry.source == event.source.component)
        && (entry.reasons.is_empty() || entry.reasons.contains(&event.reason))
}

fn is_known(event: &ClusterEvent, detect_sources: bool) -> bool {
    let kind = event.involved_object.kind.as_str();
    let reason = event.reason.as_str();
    reason == "BackOff"
        || match source::of(event, detect_sources) {
            "kubernetes" | "kube_scheduler" | "kubernetes controller manager" => {
                KNOWN.iter().any(|(known, reasons)| *known == kind && reasons.contains(&reason))
            }
            "karpenter" => KARPENTER.contains(&reason),
            // Every event of these integrations is kept.
            _ => true,
        }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, reason: &str, component: &str) -> ClusterEvent {
        serde_json::from_value(json!({
            "metadata": {}, "reason": reason, "source": {"component": component},
            "involvedObject": {"kind": kind, "name": "p"},
        }))
        .expect("it has the shape of an event")
    }

    fn instance(text: &str) -> Instance {
        Instance::parse(&format!("instances: [{{{text}}}]")).expect("it can be read").0
    }

    // spec: events_and_leader_21
    #[test]
    fn reasons_become_terms_of_the_selector() {
        let types = r#"filtered_event_types: [Pulled, "type!=Normal"]"#;
        assert_eq!(field_selector(&instance(types)), "reason!=Pulled,type!=Normal");
        assert_eq!(field_selector(&instance(&format!("{types}, unbundle_events: true"))), "");
        let both = format!("{types}, unbundle_events: true, bundle_unspecified_events: true");
        assert_eq!(field_selector(&instance(&both)), "reason!=Pulled,type!=Normal");
    }

    // spec: events_and_leader_20
    #[test]
    fn unbundled_sends_what_is_collected_and_bundles_or_drops_the_rest() {
        let types = "unbundle_events: true, collected_event_types: [{kind: Pod, reasons: [BackOff, Failed]}]";
        let (backoff, pulled) =
            (event("Pod", "BackOff", "kubelet"), event("Pod", "Pulled", "kubelet"));
        let strict = instance(types);
        assert_eq!(form(&backoff, &strict, false), Form::Single { is_custom: false });
        assert_eq!(form(&pulled, &strict, false), Form::Dropped);
        let lenient = instance(&format!("{types}, bundle_unspecified_events: true"));
        assert_eq!(form(&pulled, &lenient, false), Form::Bundled);
        assert_eq!(form(&pulled, &Instance::default(), false), Form::Bundled);
    }

    #[test]
    fn filtering_keeps_what_is_known_and_what_the_user_asks_for() {
        let filtered = instance("filtering_enabled: true");
        for (kind, reason, component, kept) in [
            ("Pod", "FailedMount", "kubelet", true),
            ("Pod", "Pulled", "kubelet", false),
            ("Machine", "BackOff", "x", true),
            ("Node", "DisruptionBlocked", "karpenter", true),
            ("Node", "Registered", "karpenter", false),
            ("Node", "ScaleDown", "cluster-autoscaler", true),
        ] {
            let expected = if kept { Form::Bundled } else { Form::Dropped };
            assert_eq!(
                form(&event(kind, reason, component), &filtered, true),
                expected,
                "{reason}"
            );
        }
        let own = instance(
            "filtering_enabled: true, unbundle_events: true, collected_event_types: [{kind: Pod}]",
        );
        assert_eq!(
            form(&event("Pod", "Pulled", ""), &own, false),
            Form::Single { is_custom: true }
        );
        assert_eq!(
            form(&event("Pod", "Failed", ""), &own, false),
            Form::Single { is_custom: false }
        );
    }
}
