//! HTTP clients towards Datadog: proxy, trusted roots and TLS versions from the configuration (spec events-and-leader
//! §6.4).
//!
//! The library's own look at proxy variables is off: the configuration has settled them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, ProxyProtocol};

use super::proxy;
use crate::config::url::Url;
use crate::config::{Proxy, ProxyUrl, Tls, TlsVersion};
use crate::http::tls;

/// A connect to Datadog, through a proxy or not: a lost SYN is sent again after 1 and 3 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Idle connections are not used again after this; load balancers close theirs after 60 s.
const IDLE_AGE: Duration = Duration::from_secs(45);

/// Why there is no client.
#[derive(Debug)]
pub enum Error {
    /// A file or directory of trusted roots cannot be read or holds none.
    Roots(PathBuf, String),
    /// The proxy's address cannot be used.
    Proxy(String),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Roots(path, problem) => {
                write!(formatter, "trusted roots in {}: {problem}", path.display())
            }
            Self::Proxy(problem) => write!(formatter, "the proxy cannot be used: {problem}"),
        }
    }
}

impl std::error::Error for Error {}

/// A client for requests to `target`.
///
/// # Errors
/// When roots or proxy cannot be used.
pub fn make(target: &Url, proxy: &Proxy, tls: &Tls) -> Result<Agent, Error> {
    let proxy = proxy::choose(proxy, target).map(connected).transpose()?;
    let config = Agent::config_builder()
        .proxy(proxy)
        .http_status_as_error(false)
        .max_redirects(0)
        .tls_config(tls_config(tls)?)
        .timeout_connect(Some(CONNECT_TIMEOUT + tls.handshake_timeout))
        .max_idle_age(IDLE_AGE)
        .max_idle_connections(1)
        .max_idle_connections_per_host(1)
        .build();
    Ok(Agent::new_with_config(config))
}

fn connected(proxy: &ProxyUrl) -> Result<ureq::Proxy, Error> {
    // The library makes a URL of it again.
    let host =
        if proxy.host.contains(':') { format!("[{}]", proxy.host) } else { proxy.host.clone() };
    let mut builder = ureq::Proxy::builder(ProxyProtocol::Http).host(&host).port(proxy.port);
    if let Some((user, password)) = &proxy.credentials {
        builder = builder.username(user.expose()).password(password.expose());
    }
    builder.build().map_err(|error| Error::Proxy(error.to_string()))
}

fn tls_config(settings: &Tls) -> Result<TlsConfig, Error> {
    let mut provider = (*tls::provider()).clone();
    if settings.minimum_version == TlsVersion::Tls13 {
        // Without suites for it, TLS 1.2 cannot be agreed on.
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    }
    let roots = match (&settings.roots_file, &settings.roots_directory) {
        (Some(file), _) => RootCerts::from(certificates(file, std::slice::from_ref(file))?),
        (None, Some(directory)) => RootCerts::from(certificates(directory, &files(directory)?)?),
        (None, None) => RootCerts::WebPki,
    };
    Ok(TlsConfig::builder()
        .root_certs(roots)
        .disable_verification(settings.skip_verification)
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .build())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let problem = |error: std::io::Error| Error::Roots(directory.to_owned(), error.to_string());
    let entries = std::fs::read_dir(directory).map_err(problem)?;
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

/// All certificates in `files`; what is none is skipped, as other programs do with such directories.
fn certificates(origin: &Path, files: &[PathBuf]) -> Result<Vec<Certificate<'static>>, Error> {
    let mut found = Vec::new();
    for file in files {
        let pem =
            std::fs::read(file).map_err(|error| Error::Roots(file.clone(), error.to_string()))?;
        found.extend(parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        }));
    }
    if found.is_empty() {
        return Err(Error::Roots(origin.to_owned(), "no certificate is there".to_owned()));
    }
    Ok(found)
}
