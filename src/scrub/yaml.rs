//! YAML documents: secrets are found by the names in the tree, not by the look of the lines (spec cli §7.5).

use serde_yaml::{Mapping, Value};

use super::keys::{Position, is_secret};
use super::secrets::{MASK, tells_nothing};

/// Names of keys whose end may be shown.
const ACCOUNT_KEYS: [&str; 9] = [
    "api_key",
    "apikey",
    "api-key",
    "app_key",
    "appkey",
    "app-key",
    "application_key",
    "applicationkey",
    "application-key",
];

/// The document with masked values; `None` when it is not YAML.
pub(super) fn scrub(document: &str) -> Option<String> {
    let mut value: Value = serde_yaml::from_str(document).ok()?;
    walk(&mut value);
    serde_yaml::to_string(&value).ok()
}

fn walk(value: &mut Value) {
    match value {
        Value::Sequence(items) => items.iter_mut().for_each(walk),
        Value::Mapping(map) => walk_map(map),
        Value::Tagged(tagged) => walk(&mut tagged.value),
        _ => {}
    }
}

fn walk_map(map: &mut Mapping) {
    for (key, value) in map.iter_mut() {
        let Value::String(name) = key else {
            walk(value);
            continue;
        };
        let name = name.to_ascii_lowercase();
        if is_kept(value) {
            // A handle of a secret store and an empty value tell nothing.
        } else if is_secret(&name, Position::Start) {
            *value = MASK.into();
        } else if ACCOUNT_KEYS.iter().any(|part| name.contains(part)) {
            mask_account_key(value);
        } else if name == "additional_endpoints" && value.is_mapping() {
            mask_leaves(value);
        } else {
            walk(value);
        }
    }
}

fn is_kept(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => tells_nothing(text),
        _ => false,
    }
}

fn mask_leaves(value: &mut Value) {
    match value {
        Value::Sequence(items) => items.iter_mut().for_each(mask_leaves),
        Value::Mapping(map) => map.iter_mut().for_each(|(_, value)| mask_leaves(value)),
        leaf if is_kept(leaf) => {}
        leaf => mask_account_key(leaf),
    }
}

/// Masks a key but for its end, which is longer the longer the key is.
fn mask_account_key(value: &mut Value) {
    let masked = match value.as_str() {
        Some(text) => {
            let length = text.chars().count();
            let tail = match length {
                0..=4 => 0,
                5..=7 => 1,
                8..=15 => 2,
                16..=31 => 3,
                _ => 4,
            };
            let asterisks = if tail == 0 { MASK.len() } else { length - tail };
            let tail = text.chars().skip(length - tail);
            std::iter::repeat_n('*', asterisks).chain(tail).collect()
        }
        None => MASK.to_owned(),
    };
    *value = masked.into();
}
