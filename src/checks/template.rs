//! Resolves `%%…%%` variables against a service or an endpoint (spec cluster-checks §2.2, §2.3).

use std::fmt;

use serde_yaml::{Mapping, Value};

use super::configuration::Configuration;
use super::yaml_text;

/// What a service or an endpoint offers to the templates that match it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The entity, for example `kube_service://shop/cart`.
    pub entity: String,
    /// The one address; `None` for headless and ExternalName services.
    pub host: Option<String>,
    /// Number and name of each port: a service's sorted by number, an endpoint's in the order of the API.
    pub ports: Vec<(u16, String)>,
    /// Tags that every instance gets unless the template says otherwise.
    pub tags: Vec<String>,
}

/// Why a template cannot be resolved; the whole configuration is dropped and the text kept as a resolve warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// `%%host%%` of a target without an address.
    NoHost(String),
    /// `%%port%%` of a target without ports.
    NoPort(String),
    /// `%%port_9%%` beyond the last port.
    PortIndex(String),
    /// `%%port_web%%` without such a port: the name and the target.
    PortName(String, String),
    /// `%%env_X%%` that is not set: the name and the target.
    Environment(String, String),
    /// `%%env%%` without a name.
    EnvironmentName(String),
    /// A variable that only pods have: what could not be had, and the target.
    OnlyPods(&'static str, String),
    /// Not a variable at all: its text and the target.
    Unknown(String, String),
    /// An instance that is not a YAML map, or init_config that is not YAML: the parser's text.
    Yaml(String),
}

impl fmt::Display for Unresolved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost(target) => {
                write!(formatter, "no network found for container {target}, ignoring it")
            }
            Self::NoPort(target) => {
                write!(formatter, "no port found for container {target} - ignoring it")
            }
            Self::PortIndex(target) => {
                write!(
                    formatter,
                    "index given for the port template var is too big, skipping container {target}"
                )
            }
            Self::PortName(port, target) => {
                write!(formatter, "port {port} not found, skipping container {target}")
            }
            Self::Environment(name, target) => {
                write!(formatter, "failed to retrieve envvar {name}, skipping service {target}")
            }
            Self::EnvironmentName(target) => {
                write!(formatter, "envvar name is missing, skipping service {target}")
            }
            Self::OnlyPods(what, target) => write!(
                formatter,
                "failed to get {what} for service {target}, skipping config - services and endpoints do not have it"
            ),
            Self::Unknown(text, target) => {
                write!(
                    formatter,
                    "unable to add tags for service '{target}', err: invalid %%{text}%% tag"
                )
            }
            Self::Yaml(reason) => write!(formatter, "the template is not a YAML map: {reason}"),
        }
    }
}

/// The configuration that `template` becomes for `target`; `environment` looks an own variable up.
///
/// # Errors
/// The first variable that cannot be resolved drops the whole configuration.
pub fn resolve(
    template: &Configuration,
    target: &Target,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Configuration, Unresolved> {
    let resolver = Resolver { target, environment };
    let mut resolved = template.clone();
    resolved.service_id.clone_from(&target.entity);
    if let Some(text) = &template.init_config {
        resolved.init_config = Some(resolver.text(text)?.into_bytes());
    }
    resolved.instances = template
        .instances
        .iter()
        .map(|text| {
            let mut instance = resolver.map(text)?;
            if !template.ignore_autodiscovery_tags {
                set_tags(&mut instance, &target.tags);
            }
            Ok(yaml_text::to_text(&Value::Mapping(instance)).into_bytes())
        })
        .collect::<Result<_, _>>()?;
    // The resolved form always hashes and travels with these two unset (spec cluster-checks §2.3).
    resolved.ignore_autodiscovery_tags = false;
    resolved.check_tag_cardinality.clear();
    Ok(resolved)
}

/// Substitutes `%%env_X%%` alone, which files get at load time; a missing variable is reported and left as it is.
pub fn substitute_environment(
    value: &mut Value,
    environment: &dyn Fn(&str) -> Option<String>,
    missing: &mut Vec<String>,
) {
    match value {
        Value::String(text) => {
            let mut changed = false;
            let substituted = substitute(text, &mut |variable| {
                let Some(name) = variable.strip_prefix("env_") else {
                    return Ok(format!("%%{variable}%%"));
                };
                Ok::<_, Unresolved>(match environment(name) {
                    Some(found) => {
                        changed = true;
                        found
                    }
                    None => {
                        missing.push(name.to_owned());
                        format!("%%{variable}%%")
                    }
                })
            });
            if let (true, Ok(substituted)) = (changed, substituted) {
                let whole = is_one_variable(text);
                *value = if whole { typed(&substituted) } else { Value::String(substituted) };
            }
        }
        Value::Sequence(items) => {
            items.iter_mut().for_each(|item| substitute_environment(item, environment, missing))
        }
        Value::Mapping(mapping) => {
            mapping
                .values_mut()
                .for_each(|item| substitute_environment(item, environment, missing));
        }
        _ => {}
    }
}

struct Resolver<'a> {
    target: &'a Target,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Resolver<'_> {
    fn text(&self, text: &[u8]) -> Result<String, Unresolved> {
        let mut value: Value =
            serde_yaml::from_slice(text).map_err(|error| Unresolved::Yaml(error.to_string()))?;
        self.value(&mut value)?;
        Ok(yaml_text::to_text(&value))
    }

    fn map(&self, text: &[u8]) -> Result<Mapping, Unresolved> {
        let mut value: Value =
            serde_yaml::from_slice(text).map_err(|error| Unresolved::Yaml(error.to_string()))?;
        self.value(&mut value)?;
        match value {
            Value::Mapping(mapping) => Ok(mapping),
            Value::Null => Ok(Mapping::new()),
            _ => Err(Unresolved::Yaml("an instance must be a map of settings".to_owned())),
        }
    }

    fn value(&self, value: &mut Value) -> Result<(), Unresolved> {
        match value {
            Value::String(text) if text.contains("%%") => *value = self.string(text)?,
            Value::Sequence(items) => items.iter_mut().try_for_each(|item| self.value(item))?,
            Value::Mapping(mapping) => {
                mapping.values_mut().try_for_each(|item| self.value(item))?
            }
            _ => {}
        }
        Ok(())
    }

    fn string(&self, text: &str) -> Result<Value, Unresolved> {
        if is_one_variable(text) {
            return Ok(typed(&self.variable(&text[2..text.len() - 2])?));
        }
        // An IPv6 address needs brackets where something follows it as part of a URL or an address.
        let mut bracketed = text.contains("://") || text.contains("%%:%%port");
        bracketed &= self.target.host.as_deref().is_some_and(|host| host.contains(':'));
        let substituted = substitute(text, &mut |variable| {
            let value = self.variable(variable)?;
            let is_host = variable == "host" || variable.starts_with("host_");
            Ok::<_, Unresolved>(if bracketed && is_host { format!("[{value}]") } else { value })
        })?;
        Ok(Value::String(substituted))
    }

    fn variable(&self, text: &str) -> Result<String, Unresolved> {
        let target = || self.target.entity.clone();
        let (name, key) = text.split_once('_').unwrap_or((text, ""));
        match name {
            "host" => self.target.host.clone().ok_or_else(|| Unresolved::NoHost(target())),
            "port" => self.port(key),
            "env" if key.is_empty() => Err(Unresolved::EnvironmentName(target())),
            "env" => (self.environment)(key)
                .ok_or_else(|| Unresolved::Environment(key.to_owned(), target())),
            "hostname" => Err(Unresolved::OnlyPods("hostname", target())),
            "pid" => Err(Unresolved::OnlyPods("pid", target())),
            "extra" | "kube" => Err(Unresolved::OnlyPods("extra info", target())),
            _ => Err(Unresolved::Unknown(text.to_owned(), target())),
        }
    }

    fn port(&self, key: &str) -> Result<String, Unresolved> {
        let ports = &self.target.ports;
        let entity = || self.target.entity.clone();
        let port = if key.is_empty() {
            ports.last().ok_or_else(|| Unresolved::NoPort(entity()))?
        } else if ports.is_empty() {
            return Err(Unresolved::NoPort(entity()));
        } else if let Ok(index) = key.parse::<usize>() {
            ports.get(index).ok_or_else(|| Unresolved::PortIndex(entity()))?
        } else {
            ports
                .iter()
                .find(|(_, name)| name == key)
                .ok_or_else(|| Unresolved::PortName(key.to_owned(), entity()))?
        };
        Ok(port.0.to_string())
    }
}

/// Replaces each `%%name%%`; a `%%` that opens none stays.
fn substitute<E>(
    text: &str,
    replace: &mut dyn FnMut(&str) -> Result<String, E>,
) -> Result<String, E> {
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("%%") {
        let inner = &rest[start + 2..];
        let end = inner.find("%%").filter(|end| is_variable_name(&inner[..*end]));
        result.push_str(&rest[..start]);
        match end {
            Some(end) => {
                result.push_str(&replace(&inner[..end])?);
                rest = &inner[end + 2..];
            }
            None => {
                result.push_str("%%");
                rest = inner;
            }
        }
    }
    result.push_str(rest);
    Ok(result)
}

fn is_variable_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|character| character.is_alphanumeric() || "_-.".contains(character))
}

fn is_one_variable(text: &str) -> bool {
    text.strip_prefix("%%").and_then(|rest| rest.strip_suffix("%%")).is_some_and(is_variable_name)
}

/// A value that is one variable becomes an integer or a boolean where its text reads as one.
fn typed(text: &str) -> Value {
    if let Some(number) = go_integer(text) {
        return Value::Number(number.into());
    }
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Value::Bool(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Value::Bool(false),
        _ => Value::String(text.to_owned()),
    }
}

/// An integer in Go's base-0 notation: `0x`, `0o`, `0b`, a leading zero for octal, a sign.
fn go_integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// The sorted union of the instance's own text tags and the target's.
fn set_tags(instance: &mut Mapping, target: &[String]) {
    let mut tags: Vec<String> = match instance.get("tags") {
        Some(Value::Sequence(own)) => {
            own.iter().filter_map(|tag| tag.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    };
    tags.extend(target.iter().cloned());
    if tags.is_empty() {
        return;
    }
    tags.sort();
    tags.dedup();
    instance.insert("tags".into(), Value::Sequence(tags.into_iter().map(Value::String).collect()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            entity: "kube_service://shop/web".to_owned(),
            host: Some("10.0.0.5".to_owned()),
            ports: vec![(80, "web".to_owned()), (8443, "tls".to_owned())],
            tags: vec!["kube_service:web".to_owned(), "kube_namespace:shop".to_owned()],
        }
    }

    fn resolved_as(
        target: &Target,
        instance: &str,
        ignore_tags: bool,
    ) -> Result<String, Unresolved> {
        let template = Configuration {
            name: "http_check".to_owned(),
            instances: vec![instance.as_bytes().to_vec()],
            init_config: Some(b"{}".to_vec()),
            ignore_autodiscovery_tags: ignore_tags,
            ..Configuration::default()
        };
        let environment = |name: &str| (name == "LEVEL").then(|| "0x1F".to_owned());
        let resolved = resolve(&template, target, &environment)?;
        assert_eq!(resolved.init_config.as_deref(), Some(b"{}\n".as_slice()));
        Ok(String::from_utf8(resolved.instances[0].clone()).expect("YAML text is UTF-8"))
    }

    #[test]
    fn cluster_checks_08_the_last_port_of_a_service_is_the_highest() {
        assert_eq!(
            resolved_as(&target(), r#"{"url":"http://%%host%%:%%port%%"}"#, true),
            Ok("url: http://10.0.0.5:8443\n".to_owned())
        );
    }

    #[test]
    fn cluster_checks_09_one_variable_becomes_a_number() {
        for port in ["%%port_0%%", "%%port_web%%"] {
            let instance = format!("port: \"{port}\"");
            assert_eq!(
                resolved_as(&target(), &instance, true),
                Ok("port: 80\n".to_owned()),
                "{port}"
            );
        }
        assert_eq!(
            resolved_as(&target(), "level: '%%env_LEVEL%%'", true),
            Ok("level: 31\n".to_owned())
        );
    }

    #[test]
    fn cluster_checks_10_what_cannot_be_resolved_drops_the_configuration_with_its_reason() {
        let entity = "kube_service://shop/web";
        for (variable, reason) in [
            (
                "%%port_5%%",
                format!(
                    "index given for the port template var is too big, skipping container {entity}"
                ),
            ),
            ("%%port_db%%", format!("port db not found, skipping container {entity}")),
            (
                "%%foo%%",
                format!("unable to add tags for service '{entity}', err: invalid %%foo%% tag"),
            ),
            (
                "%%env_MISSING%%",
                format!("failed to retrieve envvar MISSING, skipping service {entity}"),
            ),
            ("%%env%%", format!("envvar name is missing, skipping service {entity}")),
        ] {
            let error =
                resolved_as(&target(), &format!("a: x{variable}"), true).expect_err(variable);
            assert_eq!(error.to_string(), reason);
        }
        let headless = Target { host: None, ports: Vec::new(), ..target() };
        let error = resolved_as(&headless, "h: '%%host%%'", true).expect_err("headless");
        assert_eq!(
            error.to_string(),
            format!("no network found for container {entity}, ignoring it")
        );
        let error = resolved_as(&headless, "p: '%%port%%'", true).expect_err("no ports");
        assert_eq!(
            error.to_string(),
            format!("no port found for container {entity} - ignoring it")
        );
    }

    #[test]
    fn cluster_checks_11_an_ipv6_host_is_bracketed_inside_a_url_only() {
        let six = Target { host: Some("fd00::7".to_owned()), ..target() };
        let instance = "{url: 'http://%%host%%:80/', addr: '%%host%%', pair: '%%host%%:%%port%%'}";
        assert_eq!(
            resolved_as(&six, instance, true),
            Ok("addr: fd00::7\npair: '[fd00::7]:8443'\nurl: http://[fd00::7]:80/\n".to_owned())
        );
    }

    #[test]
    fn tags_of_the_target_are_merged_sorted_unless_ignored() {
        assert_eq!(
            resolved_as(&target(), "tags: [z, kube_service:web, 3]", false),
            Ok("tags:\n- kube_namespace:shop\n- kube_service:web\n- z\n".to_owned())
        );
        assert_eq!(resolved_as(&target(), "tags: [z]", true), Ok("tags:\n- z\n".to_owned()));
    }

    #[test]
    fn percent_signs_that_open_no_variable_stay() {
        assert_eq!(
            resolved_as(&target(), "a: '100%% of x %% y'", true),
            Ok("a: 100%% of x %% y\n".to_owned())
        );
    }

    #[test]
    fn files_get_only_environment_variables_at_load_time() {
        let mut value: Value =
            serde_yaml::from_str("{a: '%%env_X%%', b: '%%host%% %%env_Y%%'}").expect("YAML");
        let mut missing = Vec::new();
        substitute_environment(
            &mut value,
            &|name| (name == "X").then(|| "7".to_owned()),
            &mut missing,
        );
        assert_eq!(yaml_text::to_text(&value), "a: 7\nb: '%%host%% %%env_Y%%'\n");
        assert_eq!(missing, ["Y"]);
    }
}
