//! HorizontalPodAutoscalers of every version that was ever served, reduced to the external metrics that they want
//! (spec external-metrics §9).
//!
//! One lenient shape reads `autoscaling/v2`, `v2beta2` and `v2beta1`. [`Autoscalers`] follows the watch and keeps, for
//! each autoscaler, only what it wants. A metric that cannot be served is explained and left out; the others go on.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::entry::{Labels, Reference};
use crate::kube::objects::{ObjectMeta, Resource, null_as_default};
use crate::kube::watch::Event;

/// The versions in which autoscalers with external metrics are served, best first.
pub const VERSIONS: [&str; 3] = ["v2", "v2beta2", "v2beta1"];

/// Metric names longer than this are refused, as Datadog does.
const NAME_LIMIT: usize = 200;

/// An autoscaler, as far as external metrics are concerned.
#[derive(Clone, Debug, Deserialize)]
pub struct HorizontalPodAutoscaler {
    /// Name, namespace and UID.
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "null_as_default")]
    spec: Spec,
}

impl Resource for HorizontalPodAutoscaler {
    const API: &'static str = "/apis/autoscaling/v2";
    const PLURAL: &'static str = "horizontalpodautoscalers";
    const KIND: &'static str = "HorizontalPodAutoscaler";
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(deserialize_with = "null_as_default")]
    metrics: Vec<Metric>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Metric {
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    kind: String,
    external: Option<External>,
}

/// The newer versions nest name and selector in `metric`, v2beta1 has them flat.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct External {
    metric: Option<Identifier>,
    #[serde(deserialize_with = "null_as_default")]
    metric_name: String,
    metric_selector: Option<Selector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Identifier {
    #[serde(deserialize_with = "null_as_default")]
    name: String,
    selector: Option<Selector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Selector {
    #[serde(deserialize_with = "null_as_default")]
    match_labels: Labels,
}

/// One external metric that an autoscaler wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// The metric's name, case kept.
    pub metric: String,
    /// The selector's `matchLabels`, which become tags.
    pub labels: Labels,
    /// Who wants it.
    pub reference: Reference,
}

/// What one autoscaler wants, and what of it cannot be served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// In the order of the specification, each once.
    pub wanted: Vec<Wanted>,
    /// One sentence for each metric that is left out.
    pub problems: Vec<String>,
}

impl HorizontalPodAutoscaler {
    /// The external metrics in the specification.
    pub fn extract(&self) -> Extracted {
        let ObjectMeta { name, namespace, uid, .. } = &self.metadata;
        let reference = Reference::horizontal(namespace, name, uid);
        let mut extracted = Extracted::default();
        for metric in self.spec.metrics.iter().filter(|metric| metric.kind == "External") {
            let Some(external) = &metric.external else {
                extracted.problems.push(format!(
                    "missing required \"external\" section in the {namespace}/{name} Ref, skipping processing"
                ));
                continue;
            };
            let (metric, selector) = match &external.metric {
                Some(identifier) => (&identifier.name, &identifier.selector),
                None => (&external.metric_name, &external.metric_selector),
            };
            if !is_metric_name(metric) {
                extracted.problems.push(format!(
                    "cannot build external metric value for HPA {namespace}/{name}, skipping: metric name {metric:?} is \
                     invalid"
                ));
                continue;
            }
            let labels = selector.as_ref().map(|selector| selector.match_labels.clone());
            let wanted = Wanted {
                metric: metric.clone(),
                labels: labels.unwrap_or_default(),
                reference: reference.clone(),
            };
            if !extracted.wanted.contains(&wanted) {
                extracted.wanted.push(wanted);
            }
        }
        extracted
    }
}

/// A letter, then letters, digits, `_` and `.`.
fn is_metric_name(name: &str) -> bool {
    let mut characters = name.chars();
    name.len() <= NAME_LIMIT
        && characters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
}

/// Namespace and name of an autoscaler.
type Key = (String, String);

/// What all autoscalers want, fed by their watch.
#[derive(Debug, Default)]
pub struct Autoscalers {
    present: BTreeMap<Key, Extracted>,
    arriving: BTreeMap<Key, Extracted>,
    synced: bool,
}

impl Autoscalers {
    /// Applies one step of the watch; true when what is wanted may have changed.
    pub fn apply(&mut self, event: Event<HorizontalPodAutoscaler>) -> bool {
        match event {
            Event::Init => {
                self.arriving.clear();
                false
            }
            Event::InitApply(autoscaler) => {
                let extracted = explained(&autoscaler, self.present.get(&key(&autoscaler)));
                self.arriving.insert(key(&autoscaler), extracted);
                false
            }
            Event::InitDone => {
                let arrived = std::mem::take(&mut self.arriving);
                let changed = !self.synced || arrived != self.present;
                self.present = arrived;
                self.synced = true;
                changed
            }
            Event::Apply(autoscaler) => {
                let key = key(&autoscaler);
                let extracted = explained(&autoscaler, self.present.get(&key));
                let changed = self.present.get(&key) != Some(&extracted);
                self.present.insert(key, extracted);
                changed
            }
            Event::Delete(autoscaler) => {
                let removed = self.present.remove(&key(&autoscaler));
                removed.is_some_and(|removed| !removed.wanted.is_empty())
            }
        }
    }

    /// Everything that is wanted; `None` before the first complete list, because what was not listed yet must not be
    /// taken for deleted.
    pub fn wanted(&self) -> Option<Vec<Wanted>> {
        let all = || self.present.values().flat_map(|extracted| extracted.wanted.clone());
        self.synced.then(|| all().collect())
    }

    /// Why metrics of autoscalers are left out, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        self.present.values().flat_map(|extracted| extracted.problems.clone()).collect()
    }
}

fn key(autoscaler: &HorizontalPodAutoscaler) -> Key {
    (autoscaler.metadata.namespace.clone(), autoscaler.metadata.name.clone())
}

/// What the autoscaler wants; problems that it did not have `before` are logged.
fn explained(autoscaler: &HorizontalPodAutoscaler, before: Option<&Extracted>) -> Extracted {
    let extracted = autoscaler.extract();
    for problem in &extracted.problems {
        if !before.is_some_and(|before| before.problems.contains(problem)) {
            log::error!("{problem}");
        }
    }
    extracted
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = r#"{"type":"External","external":{"metric":{"name":"queue.depth","selector":{"matchLabels":{"queue":"orders"}}},"target":{"type":"AverageValue","averageValue":"9"}}}"#;
    const V2BETA1: &str = r#"{"type":"External","external":{"metricName":"queue.depth","metricSelector":{"matchLabels":{"queue":"orders"}},"targetAverageValue":"9"}}"#;

    fn autoscaler(name: &str, metrics: &str) -> HorizontalPodAutoscaler {
        let json = format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"shop","uid":"u-{name}"}},"spec":{{"metrics":{metrics}}}}}"#
        );
        serde_json::from_str(&json).expect("the test's autoscaler is valid")
    }

    #[test]
    fn external_metrics_28_all_versions_give_the_same_entry_and_the_rest_is_skipped() {
        let resource = r#"{"type":"Resource","resource":{"name":"cpu"}}"#;
        for metric in [V2, V2BETA1] {
            let extracted = autoscaler("web", &format!("[{resource},{metric}]")).extract();
            assert_eq!(extracted.problems, Vec::<String>::new());
            assert_eq!(
                extracted.wanted,
                [Wanted {
                    metric: "queue.depth".to_owned(),
                    labels: Labels::from([("queue".to_owned(), "orders".to_owned())]),
                    reference: Reference::horizontal("shop", "web", "u-web"),
                }]
            );
        }
        for name in ["datadogmetric@a:b", "queue-depth", "", "1st"] {
            let metric =
                format!(r#"[{{"type":"External","external":{{"metric":{{"name":"{name}"}}}}}}]"#);
            let extracted = autoscaler("web", &metric).extract();
            assert_eq!(extracted.wanted, []);
            assert_eq!(
                extracted.problems,
                [format!(
                    "cannot build external metric value for HPA shop/web, skipping: metric name \"{name}\" is invalid"
                )]
            );
        }
        let missing = autoscaler("web", r#"[{"type":"External"}]"#).extract();
        assert_eq!(
            missing.problems,
            ["missing required \"external\" section in the shop/web Ref, skipping processing"]
        );
    }

    #[test]
    fn nulls_and_missing_selectors_are_no_labels() {
        let metric = r#"[{"type":"External","resource":null,"external":{"metric":{"name":"Queue.Depth","selector":null}}}]"#;
        let extracted = autoscaler("web", metric).extract();
        assert_eq!(extracted.wanted[0].metric, "Queue.Depth");
        assert!(extracted.wanted[0].labels.is_empty());
        assert_eq!(autoscaler("web", "null").extract(), Extracted::default());
    }

    #[test]
    fn nothing_is_known_before_the_list_is_complete_and_a_list_replaces_all() {
        let mut autoscalers = Autoscalers::default();
        autoscalers.apply(Event::Init);
        autoscalers.apply(Event::InitApply(autoscaler("web", &format!("[{V2}]"))));
        assert_eq!(autoscalers.wanted(), None);
        assert!(autoscalers.apply(Event::InitDone));
        assert_eq!(autoscalers.wanted().expect("synced").len(), 1);

        assert!(!autoscalers.apply(Event::Apply(autoscaler("web", &format!("[{V2BETA1}]")))));
        assert!(autoscalers.apply(Event::Apply(autoscaler("api", &format!("[{V2}]")))));
        assert!(autoscalers.apply(Event::Delete(autoscaler("api", "[]"))));
        autoscalers.apply(Event::Init);
        assert!(autoscalers.apply(Event::InitDone), "the list does not have it any more");
        assert_eq!(autoscalers.wanted(), Some(Vec::new()));
    }
}
