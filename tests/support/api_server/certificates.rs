//! A certificate authority and a serving certificate, made anew for each server.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The serving side, and what clients need to trust it.
pub struct Certificates {
    /// The server's configuration: TLS 1.2 and 1.3, HTTP/1.1 only.
    pub server: Arc<ServerConfig>,
    /// The authority in PEM.
    pub authority: String,
}

impl Certificates {
    /// A new authority, and a certificate of it for the names under which the server is reached.
    pub fn new() -> Self {
        let mut authority_parameters = CertificateParams::default();
        authority_parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority_parameters.distinguished_name.push(DnType::CommonName, "kubernetes");
        let authority_key = KeyPair::generate().expect("ring makes P-256 keys");
        let authority =
            authority_parameters.self_signed(&authority_key).expect("the parameters are complete");
        let issuer = Issuer::new(authority_parameters, authority_key);

        let names = ["localhost", "kubernetes", "kubernetes.default.svc", "127.0.0.1", "::1"];
        let key = KeyPair::generate().expect("ring makes P-256 keys");
        let certificate = CertificateParams::new(names.map(str::to_owned))
            .expect("the names are ASCII")
            .signed_by(&key, &issuer)
            .expect("the authority may sign");
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));

        let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])
            .expect("ring has suites for both versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("key and certificate belong together");
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { server: Arc::new(server), authority: authority.pem() }
    }
}
