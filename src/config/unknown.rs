//! Environment names that nothing reads, and features that are not in this build (spec config §1.4).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Message, Settings, Sources, Value,
    keys::{self, Class, names},
    text::excerpt,
};

/// Unknown names that are shown; an environment made for something else would otherwise fill the log.
const UNKNOWN_LIMIT: usize = 50;

/// Warns about variables with the prefix `DD_` that nothing knows, once each.
pub fn report_environment(sources: &Sources, messages: &mut Vec<Message>) {
    let known: BTreeSet<String> =
        keys::all().flat_map(|key| key.environment_names()).map(|(name, _)| name).collect();
    let sections: Vec<String> =
        names::SECTIONS.iter().map(|section| keys::regular_name(section)).collect();
    let is_known = |name: &str| {
        known.contains(name)
            || names::ENVIRONMENT.contains(&name)
            || sections.iter().any(|section| name.starts_with(section))
            || is_service_link(name, &sources.environment)
    };
    let given = sources
        .environment
        .iter()
        .filter(|(name, text)| name.starts_with("DD_") && !text.is_empty());
    let unknown: Vec<&String> =
        given.map(|(name, _)| name).filter(|name| !is_known(name)).collect();
    for name in unknown.iter().take(UNKNOWN_LIMIT) {
        messages.push(Message::warning(
            match names::MISNOMERS.iter().find(|(wrong, _)| wrong == name) {
                Some((wrong, meant)) => format!("{wrong} is not read, did you mean {meant}?"),
                None => format!("Unknown environment variable: {}", excerpt(name)),
            },
        ));
    }
    if unknown.len() > UNKNOWN_LIMIT {
        messages.push(Message::warning(format!(
            "{} more unknown environment variables",
            unknown.len() - UNKNOWN_LIMIT
        )));
    }
}

/// Names all features that are switched on and are not in this build, in one line.
pub fn report_features(settings: &Settings, messages: &mut Vec<Message>) {
    let features: BTreeSet<&str> = settings
        .iter()
        .filter_map(|setting| match (setting.key.class, setting.value()) {
            (Class::Feature(feature), Value::Boolean(true)) => Some(feature),
            _ => None,
        })
        .collect();
    if !features.is_empty() {
        let features: Vec<&str> = features.into_iter().collect();
        messages.push(Message::info(format!(
            "features not in this build, ignored: {}",
            features.join(", ")
        )));
    }
}

/// Whether the kubelet set the variable for a Service whose name begins with `dd-`: of each Service it sets
/// `<NAME>_SERVICE_HOST`, `<NAME>_SERVICE_PORT…` and `<NAME>_PORT…`.
fn is_service_link(name: &str, environment: &BTreeMap<String, String>) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].iter().any(|part| {
        name.match_indices(part)
            .any(|(at, _)| environment.contains_key(&format!("{}_SERVICE_HOST", &name[..at])))
    })
}
