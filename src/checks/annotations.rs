//! Check templates in the annotations of a Service (spec cluster-checks §1.3, §1.4).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::configuration::Configuration;
use super::yaml_text;

/// Which family of annotations: checks of the service itself, or of each address behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `ad.datadoghq.com/service.…`
    Service,
    /// `ad.datadoghq.com/endpoints.…`
    Endpoints,
}

/// Whether the pods behind endpoints are looked up (`endpoints.resolve`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolve {
    /// Pods run their checks on their own node.
    Auto,
    /// Every address is a plain cluster check.
    Address,
}

/// Why a Service's templates are not used; the Service's name is added by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The value of `checks` is not what it should be: the parser's text.
    Checks(String),
    /// The value of one of the three older keys is not what it should be: the key, the parser's text.
    Older(&'static str, String),
    /// One of the three older keys is missing.
    Missing(&'static str),
    /// `check_names` is an empty list.
    NoNames,
    /// The three older keys hold lists of different lengths.
    Lengths,
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checks(reason) => write!(formatter, "cannot parse check configuration: {reason}"),
            Self::Older(key, reason) => {
                write!(formatter, "could not extract checks config: in {key}: {reason}")
            }
            Self::Missing(key) => {
                write!(formatter, "could not extract checks config: missing {key} key")
            }
            Self::NoNames => {
                formatter.write_str("could not extract checks config: check_names is empty")
            }
            Self::Lengths => formatter
                .write_str("Template entries don't all have the same length, not using them."),
        }
    }
}

const PREFIX: &str = "ad.datadoghq.com/";
const LEGACY_PREFIX: &str = "service-discovery.datadoghq.com/";

impl Family {
    fn segment(self) -> &'static str {
        match self {
            Self::Service => "service.",
            Self::Endpoints => "endpoints.",
        }
    }
}

/// The templates of one family, in the order of the annotation; empty when there is none. Only name, instances,
/// init_config and the tag switch are set.
///
/// # Errors
/// The first fault; the Service then has no checks of this family at all.
pub fn templates(
    annotations: &BTreeMap<String, String>,
    family: Family,
) -> Result<Vec<Configuration>, Invalid> {
    let key = |prefix: &str, suffix: &str| format!("{prefix}{}{suffix}", family.segment());
    if let Some(checks) = annotations.get(&key(PREFIX, "checks")) {
        return current_form(checks);
    }
    for prefix in [PREFIX, LEGACY_PREFIX] {
        let get = |suffix: &str| annotations.get(&key(prefix, suffix)).map(String::as_str);
        if let Some(names) = get("check_names") {
            let ignore = matches!(
                get("ignore_autodiscovery_tags").map(str::trim),
                Some("1" | "t" | "T" | "TRUE" | "true" | "True")
            );
            return older_form(names, get("init_configs"), get("instances"), ignore);
        }
    }
    Ok(Vec::new())
}

/// Whether the Service carries any annotation of the family that makes it a target.
pub fn is_annotated(annotations: &BTreeMap<String, String>, family: Family) -> bool {
    [PREFIX, LEGACY_PREFIX].iter().any(|prefix| {
        ["checks", "instances", "check_names"].iter().any(|suffix| {
            annotations.contains_key(&format!("{prefix}{}{suffix}", family.segment()))
        })
    })
}

/// How endpoints are resolved, and the unknown word when there was one.
pub fn resolve_mode(annotations: &BTreeMap<String, String>) -> (Resolve, Option<&str>) {
    match annotations.get("ad.datadoghq.com/endpoints.resolve").map(String::as_str) {
        None | Some("" | "auto") => (Resolve::Auto, None),
        Some("ip") => (Resolve::Address, None),
        Some(other) => (Resolve::Auto, Some(other)),
    }
}

/// One configuration for each entry of the map, with all its instances.
fn current_form(text: &str) -> Result<Vec<Configuration>, Invalid> {
    let invalid = |reason: &dyn fmt::Display| Invalid::Checks(reason.to_string());
    let checks: BTreeMap<String, Value> =
        serde_json::from_str(text).map_err(|error| invalid(&error))?;
    checks
        .into_iter()
        .map(|(name, check)| current_check(name, check).map_err(|reason| invalid(&reason)))
        .collect()
}

fn current_check(name: String, check: Value) -> Result<Configuration, String> {
    let Value::Object(mut fields) = check else { return Err(not_an_object(&check)) };
    let name = match fields.remove("name") {
        Some(Value::String(own)) if !own.is_empty() => own,
        _ => name,
    };
    let init_config = match fields.remove("init_config") {
        None | Some(Value::Null) => yaml(&Value::Object(serde_json::Map::new()))?,
        Some(object @ Value::Object(_)) => yaml(&object)?,
        Some(other) => return Err(not_an_object(&other)),
    };
    let instances = match fields.remove("instances") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(instances)) => {
            instances.iter().map(object_yaml).collect::<Result<_, _>>()?
        }
        Some(other) => return Err(format!("found non JSON array type, value is: '{other}'")),
    };
    let ignore = fields.get("ignore_autodiscovery_tags").and_then(Value::as_bool).unwrap_or(false);
    Ok(Configuration {
        name,
        instances,
        init_config: Some(init_config),
        ignore_autodiscovery_tags: ignore,
        ..Configuration::default()
    })
}

/// One configuration for each instance.
fn older_form(
    names: &str,
    init_configs: Option<&str>,
    instances: Option<&str>,
    ignore_autodiscovery_tags: bool,
) -> Result<Vec<Configuration>, Invalid> {
    let names: Vec<String> = older_list("check_names", names)?;
    if names.is_empty() {
        return Err(Invalid::NoNames);
    }
    let init_configs = older_objects("init_configs", init_configs)?;
    let instances = older_objects("instances", instances)?;
    let one_each = init_configs.iter().all(|list| list.len() == 1);
    if names.len() != init_configs.len() || names.len() != instances.len() || !one_each {
        return Err(Invalid::Lengths);
    }
    let mut configurations = Vec::new();
    for ((name, mut init_config), instances) in names.into_iter().zip(init_configs).zip(instances) {
        let init_config = init_config.pop();
        configurations.extend(instances.into_iter().map(|instance| Configuration {
            name: name.clone(),
            instances: vec![instance],
            init_config: init_config.clone(),
            ignore_autodiscovery_tags,
            ..Configuration::default()
        }));
    }
    Ok(configurations)
}

/// A list whose elements are an object or a list of objects, each as YAML text.
fn older_objects(key: &'static str, text: Option<&str>) -> Result<Vec<Vec<Vec<u8>>>, Invalid> {
    let list: Vec<Value> = older_list(key, text.ok_or(Invalid::Missing(key))?)?;
    list.iter()
        .map(|element| match element {
            Value::Array(objects) => objects.iter().map(object_yaml).collect(),
            object => object_yaml(object).map(|text| vec![text]),
        })
        .collect::<Result<_, String>>()
        .map_err(|reason| Invalid::Older(key, reason))
}

fn older_list<T: serde::de::DeserializeOwned>(
    key: &'static str,
    text: &str,
) -> Result<Vec<T>, Invalid> {
    serde_json::from_str(text).map_err(|error| Invalid::Older(key, error.to_string()))
}

fn object_yaml(value: &Value) -> Result<Vec<u8>, String> {
    if value.is_object() { yaml(value) } else { Err(not_an_object(value)) }
}

fn not_an_object(value: &Value) -> String {
    format!("found non JSON object type, value is: '{value}'")
}

fn yaml(value: &Value) -> Result<Vec<u8>, String> {
    let value = serde_yaml::to_value(value).map_err(|error| error.to_string())?;
    Ok(yaml_text::to_text(&value).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pairs: &[(&str, &str)]) -> Result<Vec<(String, Vec<String>)>, String> {
        let annotations = pairs
            .iter()
            .map(|(key, value)| (format!("ad.datadoghq.com/service.{key}"), (*value).to_owned()))
            .collect();
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).expect("YAML text is UTF-8");
        templates(&annotations, Family::Service)
            .map(|list| {
                list.iter()
                    .map(|c| (c.name.clone(), c.instances.iter().map(text).collect()))
                    .collect()
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn cluster_checks_04_the_older_form_makes_one_configuration_an_instance() {
        let list = parsed(&[
            ("check_names", r#"["a","b"]"#),
            ("init_configs", "[{},{}]"),
            ("instances", r#"[[{"x":1},{"x":2}],{"y":3}]"#),
        ]);
        let one = |name: &str, text: &str| (name.to_owned(), vec![text.to_owned()]);
        assert_eq!(list, Ok(vec![one("a", "x: 1\n"), one("a", "x: 2\n"), one("b", "\"y\": 3\n")]));
    }

    #[test]
    fn cluster_checks_05_lists_of_different_lengths_make_no_configuration() {
        let result = parsed(&[
            ("check_names", r#"["a","b"]"#),
            ("init_configs", "[{}]"),
            ("instances", r#"[{"x":1},{"y":3}]"#),
        ]);
        assert_eq!(
            result,
            Err("Template entries don't all have the same length, not using them.".to_owned())
        );
    }

    #[test]
    fn cluster_checks_06_a_missing_older_key_is_named() {
        let result = parsed(&[("check_names", r#"["a"]"#), ("instances", r#"[{"x":1}]"#)]);
        assert_eq!(
            result,
            Err("could not extract checks config: missing init_configs key".to_owned())
        );
    }

    #[test]
    fn cluster_checks_07_a_broken_current_form_is_not_replaced_by_the_older_one() {
        let result = parsed(&[
            ("checks", "{broken"),
            ("check_names", r#"["a"]"#),
            ("init_configs", "[{}]"),
            ("instances", r#"[{"x":1}]"#),
        ]);
        assert!(result.expect_err("broken").starts_with("cannot parse check configuration: "));
    }

    #[test]
    fn the_current_form_sorts_its_checks_and_fills_init_config() {
        let checks = r#"{"b":{"instances":[{"x":1},{"x":2}]},"a":{"name":"redisdb","init_config":{"k":true},"instances":[]}}"#;
        let annotations =
            BTreeMap::from([("ad.datadoghq.com/endpoints.checks".to_owned(), checks.to_owned())]);
        let list = templates(&annotations, Family::Endpoints).expect("valid");
        assert_eq!(list.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["redisdb", "b"]);
        assert_eq!(list[0].init_config.as_deref(), Some(b"k: true\n".as_slice()));
        assert_eq!(list[1].init_config.as_deref(), Some(b"{}\n".as_slice()));
        assert_eq!(list[1].instances.len(), 2);
    }

    #[test]
    fn the_legacy_prefix_is_read_when_the_current_one_has_no_names() {
        let key = |suffix: &str| format!("service-discovery.datadoghq.com/service.{suffix}");
        let annotations = BTreeMap::from([
            (key("check_names"), r#"["a"]"#.to_owned()),
            (key("init_configs"), "[{}]".to_owned()),
            (key("instances"), r#"[{"x":1}]"#.to_owned()),
        ]);
        assert_eq!(templates(&annotations, Family::Service).expect("valid").len(), 1);
        assert!(
            is_annotated(&annotations, Family::Service)
                && !is_annotated(&annotations, Family::Endpoints)
        );
    }

    #[test]
    fn an_unknown_resolve_word_falls_back_to_auto_and_is_reported() {
        let with = |word: &str| {
            BTreeMap::from([("ad.datadoghq.com/endpoints.resolve".to_owned(), word.to_owned())])
        };
        assert_eq!(resolve_mode(&with("ip")), (Resolve::Address, None));
        assert_eq!(resolve_mode(&with("")), (Resolve::Auto, None));
        assert_eq!(resolve_mode(&with("dns")), (Resolve::Auto, Some("dns")));
    }
}
