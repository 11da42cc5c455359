//! TLS settings of a listener: versions, protocols and client certificates.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;

use super::certificate::Identity;

/// HTTP/1.1 only, for 8443.
pub const HTTP1_ONLY: &[&[u8]] = &[b"http/1.1"];
/// HTTP/1.1 for everyone who speaks it, HTTP/2 for gRPC clients, which offer nothing else (spec node-api §1.4). The
/// order is the server's preference.
pub const HTTP1_AND_HTTP2: &[&[u8]] = &[b"http/1.1", b"h2"];

/// The cryptography that all TLS of the process uses. It is passed explicitly everywhere, so no process-wide default
/// has to be installed.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Settings for TLS 1.2 and 1.3 (clients built with old Go releases speak only 1.2, spec node-api §1.3). The identity
/// is used whether or not a client names a server. With `clients` given, client certificates are asked for and judged
/// by it; without, none is asked for.
///
/// # Errors
/// When key and certificate do not fit together.
pub fn server_config(
    identity: &Identity,
    protocols: &[&[u8]],
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // Node Agents keep no sessions: tickets would cost each connection 1.6 KiB and nobody would redeem them.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}
