//! Tags of everything sent to Datadog, and rules that turn labels and annotations into tags.

use std::collections::BTreeMap;

use super::Reader;
use crate::config::Value;

/// Which labels or annotations of an object become which tags.
///
/// Names of labels are lower case, because they are compared without case; a value is a tag name and may be a
/// template such as `%%label%%` (spec config §2.5).
pub type TagRules = BTreeMap<String, String>;

/// `tags` and `extra_tags`, sorted and unique (spec events-and-leader §4).
pub(super) fn host_tags(reader: &mut Reader) -> Vec<String> {
    let mut tags = list(reader, "tags");
    tags.extend(list(reader, "extra_tags"));
    tags.sort();
    tags.dedup();
    tags
}

/// A list of tags in the given order, without control characters and empty texts.
pub(super) fn list(reader: &mut Reader, name: &str) -> Vec<String> {
    let given = reader.list(name);
    let mut tags = Vec::with_capacity(given.len());
    for tag in given {
        let tag = reader.without_controls(name, tag);
        if !tag.is_empty() {
            tags.push(tag);
        }
    }
    tags
}

/// The rules of one `…_as_tags` key over those that the key of all resources gives for `resource`.
pub(super) fn rules(
    reader: &mut Reader,
    name: &str,
    of_all_resources: &str,
    resource: &str,
) -> TagRules {
    let mut given = match reader.setting(of_all_resources).value() {
        Value::NestedMap(maps) => maps
            .iter()
            .filter(|(name, _)| name.to_lowercase().trim_end_matches('.') == resource)
            .flat_map(|(_, map)| map.clone())
            .collect(),
        _ => TagRules::new(),
    };
    given.extend(reader.map(name));
    given
        .into_iter()
        .map(|(label, tag)| {
            let label = reader.without_controls(name, label);
            (label.to_lowercase(), reader.without_controls(name, tag))
        })
        .collect()
}
