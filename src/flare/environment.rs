//! Which environment variables an archive shows (spec cli §7.2, `envvars.log`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::config::keys;
use crate::scrub;

/// Variables that are no settings of ours but explain how the process was started.
const OTHERS: [&str; 16] = [
    "AGENT_DAEMONSET",
    "CHART_RELEASE_NAME",
    "CLUSTER_AGENT_DEPLOYMENT",
    "DATADOGAGENT_CR_NAME",
    "DD_POD_NAME",
    "DOCKER_DD_AGENT",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
    "NO_PROXY",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// A name with one of these parts is never shown, whatever its value.
const SECRET_PARTS: [&str; 2] = ["_KEY", "_AUTH_TOKEN"];

/// The variables in alphabetical order, scrubbed.
pub(super) fn listing(environment: &BTreeMap<String, String>) -> String {
    let settings = keys::all().flat_map(keys::Key::environment_names).map(|(name, _)| name);
    let allowed: BTreeSet<String> = settings.chain(OTHERS.map(str::to_owned)).collect();
    let shown: Vec<_> = environment
        .iter()
        .filter(|(name, _)| allowed.contains(*name))
        .filter(|(name, _)| !SECRET_PARTS.iter().any(|part| name.contains(part)))
        .collect();
    if shown.is_empty() {
        return "Found no allowed envvar\n".to_owned();
    }
    let mut text = "Found the following envvars:\n".to_owned();
    for (name, value) in shown {
        let _ = writeln!(text, " -  {}", scrub::message(&format!("{name}={value}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> String {
        let environment = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        listing(&environment.collect())
    }

    #[test]
    fn cli_28_keys_and_tokens_are_left_out_and_proxy_passwords_masked() {
        let text = of(&[
            ("DD_API_KEY", "0123456789abcdef0123456789abcdef"),
            ("DD_CLUSTER_AGENT_AUTH_TOKEN", "a token of the whole cluster"),
            ("DD_LOG_LEVEL", "debug"),
            ("DD_PROXY_HTTPS", "http://user:p4ssw0rd@proxy:3128"),
            ("PASSWORD", "secret"),
        ]);
        assert_eq!(
            text,
            "Found the following envvars:\n -  DD_LOG_LEVEL=debug\n \
             -  DD_PROXY_HTTPS=http://user:********@proxy:3128\n"
        );
    }

    #[test]
    fn an_environment_without_settings_is_said_to_be_one() {
        assert_eq!(of(&[("PATH", "/bin")]), "Found no allowed envvar\n");
    }
}
