//! Listeners, and the API of node Agents (spec node-api §1, §2).

use std::{path::PathBuf, time::Duration};

use super::Reader;
use crate::{config::Source, secret::Secret};

/// Shortest token that node Agents accept (spec node-api §2.1).
const TOKEN_LENGTH: usize = 32;

/// Ports of the listeners, all on every address; `None` switches one off.
#[derive(Clone, Debug)]
pub struct Listeners {
    /// HTTPS and gRPC for node Agents and the command line.
    pub command_port: u16,
    /// Plain HTTP for Prometheus.
    pub telemetry_port: Option<u16>,
    /// Plain HTTP for the probes of the kubelet.
    pub health_port: Option<u16>,
}

/// The API of node Agents.
#[derive(Clone, Debug)]
pub struct ClusterAgent {
    /// Token of node Agents; empty when it is to be read from, or written to, its file.
    pub auth_token: Secret,
    /// File of the session token of the command line, when it is not to be searched.
    pub session_token_path: Option<PathBuf>,
    /// File of the certificate that the command line trusts, when it is not to be searched.
    pub certificate_path: Option<PathBuf>,
    /// Service of the cluster agents, for the leader's address and the certificate.
    pub service_name: String,
    /// ConfigMap of the event resume token.
    pub resume_token_name: String,
    /// Time for a client to send a whole request.
    pub read_timeout: Duration,
    /// Time for a client to take an answer.
    pub write_timeout: Duration,
    /// Time an idle connection is kept.
    pub idle_timeout: Duration,
    /// Connections at a time on the API port.
    pub max_connections: usize,
    /// gRPC metadata streams at a time.
    pub max_streams: usize,
    /// Connections from this replica to the leader.
    pub max_leader_connections: usize,
}

impl Listeners {
    pub(super) fn check(reader: &mut Reader) -> Self {
        Self {
            command_port: reader.port("cluster_agent.cmd_port"),
            telemetry_port: reader.port_or_off("metrics_port"),
            health_port: reader.port_or_off("health_port"),
        }
    }
}

impl ClusterAgent {
    pub(super) fn check(reader: &mut Reader) -> Self {
        let auth_token = reader.secret("cluster_agent.auth_token");
        let length = auth_token.expose().chars().count();
        if (1..TOKEN_LENGTH).contains(&length) {
            // Not fatal: the official server runs with such a token too, it is its clients that refuse.
            reader.error(format!(
                "cluster_agent.auth_token has a length of {length} characters; node Agents refuse tokens of less than \
                 {TOKEN_LENGTH}"
            ));
        }
        // Charts that share one block of variables between all pods set this; upstream then stops collecting events.
        if reader.boolean("cluster_agent.enabled") {
            let name = match reader.setting("cluster_agent.enabled").source() {
                Source::Environment(name) => name.clone(),
                _ => "cluster_agent.enabled".to_owned(),
            };
            reader.warn(format!("{name} is a setting of node Agents and has no effect here"));
        }
        Self {
            auth_token,
            session_token_path: reader.path("auth_token_file_path"),
            certificate_path: reader.path("ipc_cert_file_path"),
            service_name: reader.text("cluster_agent.kubernetes_service_name"),
            resume_token_name: reader.text("cluster_agent.token_name"),
            read_timeout: reader.seconds("cluster_agent.server.read_timeout_seconds"),
            write_timeout: reader.seconds("cluster_agent.server.write_timeout_seconds"),
            idle_timeout: reader.seconds("cluster_agent.server.idle_timeout_seconds"),
            max_connections: reader.count("cluster_agent.max_connections"),
            max_streams: reader.count("cluster_agent.max_streams"),
            max_leader_connections: reader.count("cluster_agent.max_leader_connections"),
        }
    }
}
