//! What a configuration becomes before it is sent to a node (spec cluster-checks §5.3, §7).

use serde_yaml::{Mapping, Value};

use super::configuration::Configuration;
use super::yaml_text;

/// Tags that every dispatched instance gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraTags(Vec<String>);

impl ExtraTags {
    /// The user's tags, then the cluster's name under `tag_name` (empty for none) and under `kube_cluster_name`.
    pub fn new(own: &[String], cluster: Option<&str>, tag_name: &str) -> Self {
        let mut tags = own.to_vec();
        if let Some(cluster) = cluster {
            if !tag_name.is_empty() {
                tags.push(format!("{tag_name}:{cluster}"));
            }
            tags.push(format!("kube_cluster_name:{cluster}"));
        }
        Self(tags)
    }
}

/// The form in which a cluster check goes to a node: no identifiers, not marked as cluster check, the node's own
/// hostname left out and the extra tags added.
///
/// # Errors
/// The parser's text when an instance is not a YAML map.
pub fn cluster_check(
    configuration: &Configuration,
    tags: &ExtraTags,
) -> Result<Configuration, String> {
    let mut patched = configuration.clone();
    patched.ad_identifiers.clear();
    patch(&mut patched, tags, |instance| {
        instance.insert("empty_default_hostname".into(), true.into());
    })?;
    Ok(patched)
}

/// The form in which an endpoint check goes to the node of its pod: identifiers and node are kept, and so is the node's
/// hostname.
///
/// # Errors
/// The parser's text when an instance is not a YAML map.
pub fn endpoint_check(
    configuration: &Configuration,
    tags: &ExtraTags,
) -> Result<Configuration, String> {
    let mut patched = configuration.clone();
    patch(&mut patched, tags, |_| {})?;
    Ok(patched)
}

fn patch(
    configuration: &mut Configuration,
    tags: &ExtraTags,
    change: impl Fn(&mut Mapping),
) -> Result<(), String> {
    configuration.cluster_check = false;
    for instance in &mut configuration.instances {
        let mut map = match serde_yaml::from_slice(instance) {
            Ok(Value::Mapping(map)) => map,
            Ok(Value::Null) => Mapping::new(),
            Ok(_) => return Err("an instance must be a map of settings".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        change(&mut map);
        add_tags(&mut map, tags);
        *instance = yaml_text::to_text(&Value::Mapping(map)).into_bytes();
    }
    Ok(())
}

/// Appends what is new and keeps the order of what is there: stable bytes keep instance IDs stable over restarts.
fn add_tags(instance: &mut Mapping, extra: &ExtraTags) {
    if extra.0.is_empty() {
        return;
    }
    let mut tags: Vec<String> = match instance.get("tags") {
        Some(Value::Sequence(own)) => own.iter().filter_map(tag_text).collect(),
        _ => Vec::new(),
    };
    for tag in &extra.0 {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    instance.insert("tags".into(), Value::Sequence(tags.into_iter().map(Value::String).collect()));
}

fn tag_text(tag: &Value) -> Option<String> {
    match tag {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(instance: &str) -> Configuration {
        Configuration {
            instances: vec![instance.as_bytes().to_vec()],
            ad_identifiers: vec!["kube_service://a/b".to_owned()],
            cluster_check: true,
            ..Configuration::default()
        }
    }

    fn text(configuration: &Configuration) -> &str {
        std::str::from_utf8(&configuration.instances[0]).expect("YAML text is UTF-8")
    }

    #[test]
    fn a_cluster_check_loses_its_identifiers_and_gains_tags() {
        let tags = ExtraTags::new(&["site:north".to_owned()], Some("lab"), "cluster_name");
        let patched = cluster_check(&configuration("{url: x, tags: [b, 'site:north']}"), &tags)
            .expect("a map");
        assert!(patched.ad_identifiers.is_empty() && !patched.cluster_check);
        assert_eq!(
            text(&patched),
            "empty_default_hostname: true\ntags:\n- b\n- site:north\n- cluster_name:lab\n- kube_cluster_name:lab\nurl: x\n"
        );
    }

    #[test]
    fn an_endpoint_check_keeps_its_identifiers_and_hostname() {
        let tags = ExtraTags::new(&[], Some("lab"), "");
        let patched = endpoint_check(&configuration("url: x"), &tags).expect("a map");
        assert_eq!(patched.ad_identifiers, ["kube_service://a/b"]);
        assert_eq!(text(&patched), "tags:\n- kube_cluster_name:lab\nurl: x\n");
    }

    #[test]
    fn an_instance_that_is_no_map_is_refused() {
        assert!(cluster_check(&configuration("- a"), &ExtraTags::default()).is_err());
    }
}
