//! External metrics (spec config §2.7, spec external-metrics §2).

use std::{path::PathBuf, time::Duration};

use super::Reader;
use crate::{
    config::{Value, url::Url},
    secret::Secret,
};

/// External metrics.
#[derive(Clone, Debug)]
pub struct ExternalMetrics {
    /// Whether they are served.
    pub enabled: bool,
    /// HTTPS port of their API.
    pub port: u16,
    /// Base URL of queries without a slash at its end.
    pub endpoint: String,
    /// API key of queries: their own or the global one.
    pub api_key: Secret,
    /// Application key of queries: their own or the global one; empty when there is none.
    pub application_key: Secret,
    /// Endpoints to query when the main one fails, in order.
    pub fallback_endpoints: Vec<FallbackEndpoint>,
    /// Time between two rounds of queries.
    pub refresh_period: Duration,
    /// Age at which a value is no longer valid.
    pub max_age: Duration,
    /// How points of one bucket become a value.
    pub aggregator: Aggregator,
    /// Length of the query window; not more than `max_time_window`.
    pub bucket_size: Duration,
    /// Longest query window.
    pub max_time_window: Duration,
    /// Resolution of queried points.
    pub rollup: Duration,
    /// Time between two readings of the metrics store.
    pub local_copy_refresh_rate: Duration,
    /// Queries in one HTTP request, 1–35.
    pub chunk_size: usize,
    /// Grace added to the age limit of values of DatadogMetrics.
    pub query_validity_period: Duration,
    /// Whether failing DatadogMetrics are queried alone, with a backoff.
    pub split_batches_with_backoff: bool,
    /// HTTP requests at a time, 1–300.
    pub max_parallel_queries: usize,
    /// Whether DatadogMetric resources are used instead of the ConfigMap store.
    pub use_datadogmetrics: bool,
    /// Whether DatadogMetrics are created for metric names in HPAs.
    pub create_datadogmetrics: bool,
    /// Label selector of the HPAs that count for that, as configured.
    pub autogen_label_selector: String,
    /// ConfigMap of the metrics store.
    pub configmap_name: String,
    /// Time between two removals of unused metrics.
    pub collection_period: Duration,
    /// Directory of `apiserver.crt` and `apiserver.key`.
    pub certificate_directory: Option<PathBuf>,
    /// Certificate and key file, when both are given.
    pub certificate_files: Option<(PathBuf, PathBuf)>,
}

/// How points of one bucket become a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregator {
    /// Their mean.
    Average,
    /// Their sum.
    Sum,
    /// The largest.
    Maximum,
    /// The smallest.
    Minimum,
}

/// An endpoint to query when the main one fails.
#[derive(Clone, Debug)]
pub struct FallbackEndpoint {
    /// Base URL without a slash at its end.
    pub url: String,
    /// API key: its own or the main one.
    pub api_key: Secret,
    /// Application key: its own or the main one.
    pub application_key: Secret,
}

impl Aggregator {
    /// The word of queries and of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Average => "avg",
            Self::Sum => "sum",
            Self::Maximum => "max",
            Self::Minimum => "min",
        }
    }
}

impl ExternalMetrics {
    pub(super) fn check(reader: &mut Reader) -> Self {
        let enabled = reader.boolean("external_metrics_provider.enabled");
        if enabled && reader.boolean("external_metrics_provider.wpa_controller") {
            reader.warn("external_metrics_provider.wpa_controller is not supported by this build");
        }
        let own_or = |reader: &Reader, own: &str, global: &str| match reader.secret(own) {
            key if key.is_empty() => reader.secret(global),
            key => key,
        };
        let api_key = own_or(reader, "external_metrics_provider.api_key", "api_key");
        let application_key = own_or(reader, "external_metrics_provider.app_key", "app_key");
        let fallback_endpoints = fallback_endpoints(reader, &api_key, &application_key);
        let max_time_window = reader.seconds("external_metrics_provider.max_time_window");
        let server = server_options(reader);
        Self {
            enabled,
            port: server.port.unwrap_or_else(|| reader.port("external_metrics_provider.port")),
            endpoint: reader
                .given_text("external_metrics_provider.endpoint")
                .unwrap_or_else(|| format!("https://api.{}", super::datadog::site(reader))),
            api_key,
            application_key,
            fallback_endpoints,
            refresh_period: reader.seconds("external_metrics_provider.refresh_period"),
            max_age: reader.seconds("external_metrics_provider.max_age"),
            aggregator: match reader.text("external_metrics.aggregator").as_str() {
                "sum" => Aggregator::Sum,
                "max" => Aggregator::Maximum,
                "min" => Aggregator::Minimum,
                _ => Aggregator::Average,
            },
            bucket_size: bucket_size(reader, max_time_window),
            max_time_window,
            rollup: reader.seconds("external_metrics_provider.rollup"),
            local_copy_refresh_rate: reader
                .seconds("external_metrics_provider.local_copy_refresh_rate"),
            chunk_size: reader.count("external_metrics_provider.chunk_size"),
            query_validity_period: reader
                .seconds("external_metrics_provider.query_validity_period"),
            split_batches_with_backoff: reader
                .boolean("external_metrics_provider.split_batches_with_backoff"),
            max_parallel_queries: reader.count("external_metrics_provider.max_parallel_queries"),
            use_datadogmetrics: reader.boolean("external_metrics_provider.use_datadogmetric_crd"),
            create_datadogmetrics: reader
                .boolean("external_metrics_provider.enable_datadogmetric_autogen"),
            autogen_label_selector: reader
                .text("external_metrics_provider.autoscaler_autogen_label_selector"),
            configmap_name: reader.text("hpa_configmap_name"),
            collection_period: reader.seconds("hpa_watcher_gc_period"),
            certificate_directory: server.certificate_directory,
            certificate_files: server.certificate_files,
        }
    }
}

/// The window, which must not exceed the longest one.
fn bucket_size(reader: &mut Reader, max_time_window: Duration) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(300);
    let bucket_size = reader.seconds("external_metrics_provider.bucket_size");
    if bucket_size <= max_time_window {
        return bucket_size;
    }
    let taken = DEFAULT.min(max_time_window);
    reader.warn(format!(
        "external_metrics_provider.bucket_size is {} s, more than external_metrics_provider.max_time_window with {} \
         s, and is taken as {} s",
        bucket_size.as_secs(),
        max_time_window.as_secs(),
        taken.as_secs()
    ));
    taken
}

fn fallback_endpoints(
    reader: &mut Reader,
    api_key: &Secret,
    application_key: &Secret,
) -> Vec<FallbackEndpoint> {
    const KEY: &str = "external_metrics_provider.endpoints";
    let Value::Objects(maps) = reader.setting(KEY).value() else { return Vec::new() };
    let mut endpoints = Vec::new();
    for map in maps {
        let text = |name: &str| {
            map.get(name).and_then(|text| text.as_str()).map(str::trim).unwrap_or_default()
        };
        let url = match (text("url"), text("site")) {
            ("", "") => {
                reader
                    .warn(format!("an entry of \"{KEY}\" has neither url nor site and is ignored"));
                continue;
            }
            ("", site) => format!("https://api.{site}"),
            (url, _) => url.trim_end_matches('/').to_owned(),
        };
        if let Err(problem) = Url::parse(&url) {
            reader.warn(format!("an entry of \"{KEY}\" {problem} and is ignored"));
            continue;
        }
        let own_or = |name: &str, main: &Secret| match text(name) {
            "" => main.clone(),
            key => Secret::new(key),
        };
        let (api_key, application_key) =
            (own_or("api_key", api_key), own_or("app_key", application_key));
        endpoints.push(FallbackEndpoint { url, api_key, application_key });
    }
    endpoints
}

/// What is honoured of the options of the official API server library.
#[derive(Default)]
struct ServerOptions {
    port: Option<u16>,
    certificate_directory: Option<PathBuf>,
    certificate_files: Option<(PathBuf, PathBuf)>,
}

fn server_options(reader: &mut Reader) -> ServerOptions {
    const KEY: &str = "external_metrics_provider.config";
    let mut options = ServerOptions::default();
    let (mut certificate, mut key) = (None, None);
    for (name, text) in reader.map(KEY) {
        match name.as_str() {
            "secure-port" => match text.trim().parse() {
                Ok(port) if port != 0 => options.port = Some(port),
                _ => reader
                    .warn(format!("\"secure-port\" in \"{KEY}\" is not a port and is ignored")),
            },
            "cert-dir" => options.certificate_directory = Some(PathBuf::from(text)),
            "tls-cert-file" => certificate = Some(PathBuf::from(text)),
            "tls-private-key-file" => key = Some(PathBuf::from(text)),
            other => {
                let other = crate::config::text::excerpt(other);
                reader.warn(format!(
                    "\"{other}\" in \"{KEY}\" is not supported by this build and is ignored"
                ));
            }
        }
    }
    options.certificate_files = certificate.zip(key);
    options
}
