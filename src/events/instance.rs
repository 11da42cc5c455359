//! The settings of the `kubernetes_apiserver` check, from its file (spec events-and-leader §2.1).

use serde::Deserialize;

/// One instance; keys that only matter for polling are read and ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// Whether events are collected; `None` leaves it to `collect_kubernetes_events`.
    pub collect_events: Option<bool>,
    /// Terms of a field selector, or reasons to leave out.
    pub filtered_event_types: Vec<String>,
    /// One Datadog event for each event of the cluster.
    pub unbundle_events: bool,
    /// With it: the others are bundled instead of dropped.
    pub bundle_unspecified_events: bool,
    /// With it: what is sent one by one.
    pub collected_event_types: Vec<Collected>,
    /// Whether only events known to be useful are kept.
    pub filtering_enabled: bool,
    /// Whether every replica runs the check.
    pub skip_leader_election: bool,
    /// Whether component statuses are read; otherwise the API server's readiness.
    pub use_component_status: Option<bool>,
    /// Seconds between two runs; `None` for 15.
    pub min_collection_interval: Option<u64>,
    /// Tags of everything that the check sends.
    pub tags: Vec<String>,
}

/// Events that are wanted: empty fields match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Collected {
    /// Kind of the object.
    pub kind: String,
    /// Component of the source.
    pub source: String,
    /// Reasons.
    pub reasons: Vec<String>,
}

impl Instance {
    /// Reads the text of a check's file; the second value says what is wrong with it or left out of it.
    ///
    /// # Errors
    /// One sentence when the file is of another shape: then nothing of it can be used.
    pub fn parse(text: &str) -> Result<(Self, Vec<String>), String> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            instances: Option<Vec<Option<Instance>>>,
        }
        let file: File = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        let mut instances = file.instances.unwrap_or_default().into_iter();
        let mut instance = instances.next().flatten().unwrap_or_default();
        let mut warnings = Vec::new();
        if instances.next().is_some() {
            warnings.push(
                "only the first instance is used: two would share one resume token".to_owned(),
            );
        }
        instance.collected_event_types.retain(|entry| {
            let is_specific = !entry.kind.is_empty() || !entry.source.is_empty();
            if !is_specific {
                warnings.push(
                    "an entry of collected_event_types has neither kind nor source and is ignored"
                        .to_owned(),
                );
            }
            is_specific
        });
        Ok((instance, warnings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_instance_is_an_empty_one_and_a_second_one_is_refused() {
        for text in
            ["init_config:\ninstances:\n  -\n", "instances: [{}]", "init_config: null", "{}"]
        {
            assert_eq!(Instance::parse(text), Ok((Instance::default(), Vec::new())), "{text}");
        }
        let (_, warnings) = Instance::parse("instances: [{}, {}]").expect("it can be read");
        assert_eq!(warnings.len(), 1);
        assert!(Instance::parse("instances: 5").is_err());
    }

    #[test]
    fn entries_that_would_match_everything_are_ignored() {
        let text = "instances:\n- unbundle_events: true\n  collected_event_types:\n  - {reasons: [A]}\n  - {kind: Pod}\n";
        let (instance, warnings) = Instance::parse(text).expect("it can be read");
        assert_eq!(instance.collected_event_types.len(), 1);
        assert_eq!(warnings.len(), 1);
    }
}
