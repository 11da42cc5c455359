//! Account, addresses, delivery and TLS towards Datadog (spec config §2.1, §2.8, spec events-and-leader §5, §6.4).

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::Reader;
use crate::{
    config::{Source, Value, url::Url, value},
    secret::Secret,
};

/// Site of an account unless another is given.
const DEFAULT_SITE: &str = "datadoghq.com";

/// Unit of `forwarder_retry_queue_max_size`, the older size of the retry queue.
const PAYLOAD_SIZE: u64 = 2 << 20;

/// Account and addresses.
#[derive(Clone, Debug)]
pub struct Datadog {
    /// API key; empty only for commands.
    pub api_key: Secret,
    /// Application key; empty when there is none.
    pub application_key: Secret,
    /// Site, such as `datadoghq.com`.
    pub site: String,
    /// Base URL of the intake without a slash at its end, when it is given; it wins over the site.
    pub url: Option<String>,
    /// Further intakes.
    pub additional_endpoints: Vec<Endpoint>,
    /// Whether host names of well-known sites get a dot at their end.
    pub fully_qualified_sites: bool,
    /// Whether the intake is asked to keep tag values as they are.
    pub allow_arbitrary_tags: bool,
}

/// A further intake.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Base URL without a slash at its end.
    pub url: String,
    /// API keys, at least one; every payload is sent once with each.
    pub api_keys: Vec<Secret>,
}

/// Delivery to Datadog.
#[derive(Clone, Debug)]
pub struct Forwarder {
    /// Time for one request.
    pub timeout: Duration,
    /// Bytes that wait for a retry, for each intake.
    pub retry_queue_size: u64,
    /// Spread of the random backoff, at least 2.
    pub backoff_factor: f64,
    /// Backoff after the first error, in seconds.
    pub backoff_base: f64,
    /// Longest backoff, in seconds.
    pub backoff_max: f64,
    /// Errors that one success makes up for.
    pub recovery_interval: u32,
    /// Whether one success makes up for all errors.
    pub recovery_reset: bool,
    /// Time for the last delivery when stopping.
    pub stop_timeout: Duration,
    /// Whether events are sent.
    pub send_events: bool,
    /// Whether service checks are sent.
    pub send_service_checks: bool,
    /// Whether metrics are sent.
    pub send_series: bool,
}

/// TLS towards Datadog.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Whether any certificate is accepted.
    pub skip_verification: bool,
    /// Oldest version that is offered.
    pub minimum_version: TlsVersion,
    /// Time for a handshake.
    pub handshake_timeout: Duration,
    /// File of trusted roots, `SSL_CERT_FILE`.
    pub roots_file: Option<PathBuf>,
    /// Directory of trusted roots, `SSL_CERT_DIR`.
    pub roots_directory: Option<PathBuf>,
}

/// A TLS version that this build can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl Datadog {
    pub(super) fn check(reader: &mut Reader) -> Self {
        let api_key = reader.secret("api_key");
        let key = api_key.expose();
        let well_formed = key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !key.is_empty() && !well_formed {
            reader.warn("api_key does not have the form of an API key, 32 hexadecimal digits");
        }
        compare_urls(reader);
        Self {
            api_key,
            application_key: reader.secret("app_key"),
            site: site(reader),
            url: reader.given_text("dd_url"),
            additional_endpoints: additional_endpoints(reader),
            fully_qualified_sites: reader.boolean("convert_dd_site_fqdn.enabled"),
            allow_arbitrary_tags: reader.boolean("allow_arbitrary_tags"),
        }
    }
}

impl Forwarder {
    pub(super) fn check(reader: &mut Reader) -> Self {
        for kind in ["events", "service_checks", "series"] {
            let key = format!("enable_payloads.{kind}");
            if !reader.boolean(&key) {
                reader.warn(format!(
                    "{key} is false: no {} will be sent to Datadog",
                    kind.replace('_', " ")
                ));
            }
        }
        let older = reader.count("forwarder_retry_queue_max_size") as u64;
        let retry_queue_size =
            if older > 0 && !reader.is_set("forwarder_retry_queue_payloads_max_size") {
                older.saturating_mul(PAYLOAD_SIZE)
            } else {
                reader.count("forwarder_retry_queue_payloads_max_size") as u64
            };
        Self {
            timeout: reader.seconds("forwarder_timeout"),
            retry_queue_size,
            backoff_factor: reader.number("forwarder_backoff_factor"),
            backoff_base: reader.number("forwarder_backoff_base"),
            backoff_max: reader.number("forwarder_backoff_max"),
            recovery_interval: reader
                .count("forwarder_recovery_interval")
                .try_into()
                .unwrap_or(u32::MAX),
            recovery_reset: reader.boolean("forwarder_recovery_reset"),
            stop_timeout: reader.seconds("forwarder_stop_timeout"),
            send_events: reader.boolean("enable_payloads.events"),
            send_service_checks: reader.boolean("enable_payloads.service_checks"),
            send_series: reader.boolean("enable_payloads.series"),
        }
    }
}

impl Tls {
    pub(super) fn check(reader: &mut Reader) -> Self {
        let minimum_version = match reader.text("min_tls_version").as_str() {
            "tlsv1.3" => TlsVersion::Tls13,
            "tlsv1.2" => TlsVersion::Tls12,
            older => {
                reader.warn(format!(
                    "min_tls_version is {older}, which is not safe: tlsv1.2 is used"
                ));
                TlsVersion::Tls12
            }
        };
        Self {
            skip_verification: reader.boolean("skip_ssl_validation"),
            minimum_version,
            handshake_timeout: reader.duration("tls_handshake_timeout"),
            roots_file: reader.sources.variable("SSL_CERT_FILE").map(PathBuf::from),
            roots_directory: reader.sources.variable("SSL_CERT_DIR").map(PathBuf::from),
        }
    }
}

/// The site, without blanks.
pub(super) fn site(reader: &Reader) -> String {
    reader.given_text("site").unwrap_or_else(|| DEFAULT_SITE.to_owned())
}

fn compare_urls(reader: &mut Reader) {
    let layers = reader.setting("dd_url").layers.iter();
    let given: Vec<&str> = layers
        .filter_map(|layer| match layer {
            (Source::Environment(_), Value::Text(url)) => Some(url.as_str()),
            _ => None,
        })
        .collect();
    if given.windows(2).any(|pair| pair[0] != pair[1]) {
        reader.warn("'DD_URL' and 'DD_DD_URL' variables are both set in environment. Using 'DD_DD_URL' value");
    }
}

fn additional_endpoints(reader: &mut Reader) -> Vec<Endpoint> {
    let empty = BTreeMap::new();
    let given = match reader.setting("additional_endpoints").value() {
        Value::Endpoints(endpoints) => endpoints,
        _ => &empty,
    };
    let mut endpoints = Vec::new();
    for (url, keys) in given {
        let url = url.trim().trim_end_matches('/');
        let shown = value::without_userinfo(url);
        let api_keys: Vec<Secret> = keys.iter().filter(|key| !key.is_empty()).cloned().collect();
        if let Err(problem) = Url::parse(url) {
            reader
                .error(format!("\"{shown}\" in \"additional_endpoints\" {problem} and is ignored"));
        } else if api_keys.is_empty() {
            reader.inform(format!(
                "No API key provided for domain \"{shown}\", removing domain from endpoints"
            ));
        } else {
            endpoints.push(Endpoint { url: url.to_owned(), api_keys });
        }
    }
    endpoints
}
