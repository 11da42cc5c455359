//! The listeners: node API, telemetry, health.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::Error;
use super::identity;
use crate::config::Config;
use crate::http::{Handler, Http2, Limits, Options, Server, listen, tls};
use crate::sync::Published;
use crate::telemetry::Registry;
use crate::{health, telemetry};

/// Probes and scrapers get little: kubelet and Prometheus hold one connection each, and send a line.
const SIDE_CONNECTIONS: usize = 64;

/// Lets the process hold as many descriptors as the system allows: a connection takes one, a stream two, and the usual
/// soft limit of 1,024 would be reached by a thousand node Agents.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        log::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

/// The telemetry port. A port that cannot be had costs the metrics and nothing else.
pub fn telemetry(config: &Config, registry: &Registry) -> Option<Server> {
    let port = config.listeners.telemetry_port?;
    let handler = Arc::new(telemetry::Handler::new(registry.clone()));
    match plain("telemetry", port, handler, registry) {
        Ok(server) => Some(server),
        Err(error) => {
            log::error!("Error creating expvar server on port {port}: {error}");
            None
        }
    }
}

/// The health port, where one is set.
///
/// # Errors
/// When it cannot be had: without probes the pod would be killed later and nobody would know why.
pub fn health(
    config: &Config,
    health: &health::Registry,
    registry: &Registry,
) -> Result<Option<Server>, Error> {
    let Some(port) = config.listeners.health_port else { return Ok(None) };
    let handler = Arc::new(health::Handler::new(health.clone()));
    plain("health", port, handler, registry).map(Some).map_err(Error::Health)
}

/// What answers on the port of the node API.
pub struct NodeService {
    /// HTTP/1.1.
    pub requests: Arc<dyn Handler>,
    /// gRPC.
    pub streams: Arc<dyn Http2>,
}

/// The node API.
///
/// # Errors
/// When there is no port or no certificate.
pub fn node_api(
    config: &Config,
    session_token: Option<&std::path::Path>,
    service: NodeService,
    registry: &Registry,
) -> Result<Server, Error> {
    let agent = &config.cluster_agent;
    let names = identity::names(&agent.service_name, &config.kubernetes.resources_namespace);
    let file = identity::place(agent.certificate_path.as_deref(), session_token);
    let identity = identity::load_or_make(file.as_deref(), &names, SystemTime::now())
        .map_err(Error::Certificate)?;
    let tls = tls::server_config(&identity, tls::HTTP1_AND_HTTP2, None).map_err(Error::Tls)?;
    let limits = Limits {
        connections: agent.max_connections,
        connections_per_peer: (agent.max_connections / 4).max(1),
        idle: agent.idle_timeout,
        request: agent.read_timeout,
        write: agent.write_timeout,
        ..Limits::default()
    };
    let listener =
        listen::on_all_addresses(config.listeners.command_port).map_err(Error::NodeApi)?;
    let options = Options {
        name: "node-api".to_owned(),
        listener,
        tls: Some(Arc::new(Published::new(tls))),
        limits,
        handler: service.requests,
        http2: Some(service.streams),
        telemetry: registry.clone(),
    };
    Server::start(options).map_err(Error::NodeApi)
}

fn plain(
    name: &str,
    port: u16,
    handler: Arc<dyn Handler>,
    registry: &Registry,
) -> std::io::Result<Server> {
    let limits = Limits {
        connections: SIDE_CONNECTIONS,
        connections_per_peer: SIDE_CONNECTIONS,
        overflow: SIDE_CONNECTIONS,
        body: 0,
        write: Duration::from_secs(5),
        ..Limits::default()
    };
    Server::start(Options {
        name: name.to_owned(),
        listener: listen::on_all_addresses(port)?,
        tls: None,
        limits,
        handler,
        http2: None,
        telemetry: registry.clone(),
    })
}
