//! The checked stage: settings as the types that the rooms work with.
//!
//! Defaults that depend on other settings, units, namespaces and rules across keys are settled here and nowhere else.
//! Each group of fields is a file with its structure and the function that fills it.

mod autodiscovery;
mod datadog;
mod external_metrics;
mod kubernetes;
mod logging;
mod proxy;
mod reader;
mod serving;
mod tags;

use std::path::{Path, PathBuf};

pub use autodiscovery::{Autodiscovery, ClusterChecks};
pub use datadog::{Datadog, Endpoint, Forwarder, Tls, TlsVersion};
pub use external_metrics::{Aggregator, ExternalMetrics, FallbackEndpoint};
pub use kubernetes::{AdmissionController, Events, Kubernetes, LeaderElection, LockKind, Metadata};
pub use logging::{LogLevel, Logging};
pub use proxy::{Proxy, ProxyUrl};
pub use serving::{ClusterAgent, Listeners};
pub use tags::TagRules;

use super::{DEFAULT_DIRECTORY, Error, Message, Settings, Sources, cluster_name::ClusterName};
use crate::secret::Secret;
use reader::Reader;

/// The configuration of the program.
#[derive(Clone, Debug)]
pub struct Config {
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
    /// Directory of the configuration file; token and certificate files stand beside it.
    pub directory: PathBuf,
    /// Name of the own pod, `DD_POD_NAME`; the host name stands in for it when it is not set.
    pub pod_name: Option<String>,
    /// Host name to report, when it is given.
    pub hostname: Option<String>,
    /// File whose content is the host name to report.
    pub hostname_file: Option<PathBuf>,
    /// Name of the cluster, when a valid one is given.
    pub cluster_name: Option<ClusterName>,
    /// Whether the cluster name as a tag value has hyphens instead of underscores.
    pub rfc1123_cluster_name_tag: bool,
    /// Whether the tag `cluster_name` is left out where it repeats `kube_cluster_name`.
    pub omit_cluster_name_tag: bool,
    /// Tags of everything sent to Datadog, sorted and unique.
    pub tags: Vec<String>,
    /// Levels, formats and destinations of the log.
    pub logging: Logging,
    /// Ports of the listeners.
    pub listeners: Listeners,
    /// The API of node Agents.
    pub cluster_agent: ClusterAgent,
    /// Access to the API server.
    pub kubernetes: Kubernetes,
    /// Election of a leader.
    pub leader_election: LeaderElection,
    /// Collection of events.
    pub events: Events,
    /// What the official agent may have left behind.
    pub admission_controller: AdmissionController,
    /// Metadata served to node Agents.
    pub metadata: Metadata,
    /// Dispatching of checks.
    pub cluster_checks: ClusterChecks,
    /// Where checks come from.
    pub autodiscovery: Autodiscovery,
    /// External metrics.
    pub external_metrics: ExternalMetrics,
    /// Account and address of Datadog.
    pub datadog: Datadog,
    /// Delivery to Datadog.
    pub forwarder: Forwarder,
    /// Proxies towards Datadog; never used inside the cluster.
    pub proxy: Proxy,
    /// TLS towards Datadog.
    pub tls: Tls,
}

impl Config {
    /// Checks the settings as a whole.
    pub(super) fn check(
        settings: &Settings,
        sources: &Sources,
        file: Option<PathBuf>,
        messages: &mut Vec<Message>,
    ) -> Result<Self, Error> {
        let reader = &mut Reader { settings, sources, messages };
        if reader.boolean("fips.enabled") {
            return Err(Error::Fips);
        }
        let directory = match (&file, &sources.path) {
            (Some(file), _) => file.parent().unwrap_or(Path::new("")).to_owned(),
            // A directory that was named is meant, even when the file is missing from it.
            (None, Some(directory)) => directory.clone(),
            (None, None) => PathBuf::from(DEFAULT_DIRECTORY),
        };
        Ok(Self {
            file,
            directory,
            pod_name: sources.variable("DD_POD_NAME").map(str::to_owned),
            hostname: reader.given_text("hostname"),
            hostname_file: reader.path("hostname_file"),
            cluster_name: cluster_name(reader),
            rfc1123_cluster_name_tag: reader.boolean("enabled_rfc1123_compliant_cluster_name_tag"),
            omit_cluster_name_tag: reader.boolean("disable_cluster_name_tag_key"),
            tags: tags::host_tags(reader),
            logging: Logging::check(reader),
            listeners: Listeners::check(reader),
            cluster_agent: ClusterAgent::check(reader),
            kubernetes: Kubernetes::check(reader),
            leader_election: LeaderElection::check(reader),
            events: Events::check(reader),
            admission_controller: AdmissionController::check(reader),
            metadata: Metadata::check(reader),
            cluster_checks: ClusterChecks::check(reader),
            autodiscovery: Autodiscovery::check(reader),
            external_metrics: ExternalMetrics::check(reader),
            datadog: Datadog::check(reader),
            forwarder: Forwarder::check(reader),
            proxy: Proxy::check(reader),
            tls: Tls::check(reader),
        })
    }

    /// Every secret that is configured, none of them empty, for the scrubbing of logs and flares (spec cli §7.5).
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let datadog = &self.datadog;
        let own = [&datadog.api_key, &datadog.application_key, &self.cluster_agent.auth_token];
        let queries = [&self.external_metrics.api_key, &self.external_metrics.application_key];
        let fallbacks = self.external_metrics.fallback_endpoints.iter();
        let proxies = [&self.proxy.http, &self.proxy.https].into_iter().flatten();
        own.into_iter()
            .chain(queries)
            .chain(fallbacks.flat_map(|endpoint| [&endpoint.api_key, &endpoint.application_key]))
            .chain(datadog.additional_endpoints.iter().flat_map(|endpoint| &endpoint.api_keys))
            .chain(
                proxies
                    .filter_map(|proxy| proxy.credentials.as_ref())
                    .map(|(_, password)| password),
            )
            .filter(|secret| !secret.is_empty())
    }

    /// Where the session token of the command line may stand, best first: the server writes it to the first place that
    /// takes it, and commands look through all of them (spec cli §2.1).
    pub fn session_token_files(&self) -> Vec<PathBuf> {
        let explicit = self.cluster_agent.session_token_path.clone();
        let beside = self.directory.join("auth_token");
        let others = ["/opt/datadog-agent/run/auth_token", "/tmp/.datadog-auth_token"];
        explicit.into_iter().chain([beside]).chain(others.map(PathBuf::from)).collect()
    }

    /// What the server needs beyond a command: an API key, and a port for each listener.
    pub(super) fn check_for_server(&self) -> Result<(), Error> {
        if self.datadog.api_key.is_empty() {
            return Err(Error::NoApiKey);
        }
        let external_metrics = self.external_metrics.enabled.then_some(self.external_metrics.port);
        let ports = [
            (Some(self.listeners.command_port), "cluster_agent.cmd_port"),
            (self.listeners.telemetry_port, "metrics_port"),
            (self.listeners.health_port, "health_port"),
            (external_metrics, "external_metrics_provider.port"),
        ];
        for (position, (port, second)) in ports.iter().enumerate() {
            let Some(port) = *port else { continue };
            if let Some((_, first)) =
                ports[..position].iter().find(|(other, _)| *other == Some(port))
            {
                return Err(Error::SharedPort { port, first, second });
            }
        }
        Ok(())
    }
}

/// The configuration of an empty environment without files; it has no API key.
impl Default for Config {
    fn default() -> Self {
        let sources = Sources::new(Vec::<(String, String)>::new());
        super::load_for_command(&sources).expect("the defaults of the table are valid").config
    }
}

fn cluster_name(reader: &mut Reader) -> Option<ClusterName> {
    let given = reader.given_text("cluster_name")?;
    let name = ClusterName::parse(&given);
    if name.is_none() {
        reader.error(format!(
            "\"{}\" is not a valid cluster name and is ignored: it must be dot-separated labels of lower-case letters, \
             digits, hyphens and underscores that begin and end with a letter or digit, at most 80 characters",
            super::text::excerpt(&given)
        ));
    }
    name
}
