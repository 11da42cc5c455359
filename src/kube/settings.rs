//! Where the API server is and how to prove who is asking: in the cluster or from a kubeconfig (spec config §1.6, §2.3).
//!
//! The caller passes every value; nothing here looks at the environment. Files are named, not read, because they
//! rotate: the connection layer reads them again and again.

use std::fmt;
use std::io;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::secret::Secret;

/// Where Kubernetes mounts a pod's credentials.
pub const SERVICE_ACCOUNT_DIRECTORY: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// `kubernetes_apiserver_client_timeout` when it is not set.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// `kubernetes_informers_restclient_timeout` when it is not set.
pub const DEFAULT_LIST_TIMEOUT: Duration = Duration::from_secs(60);

/// How to reach one API server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://host:port`, perhaps with a path, without a slash at the end.
    pub server: String,
    /// The certificates that may have signed the server's; `None` means the public roots.
    pub ca: Option<Source>,
    /// Whether the server's certificate is checked at all.
    pub verify: bool,
    /// Certificate chain and key of the client, if it has them.
    pub certificate: Option<(Source, Source)>,
    /// The bearer token, if there is one.
    pub token: Option<Source>,
    /// The namespace that the credentials belong to.
    pub namespace: Option<String>,
    /// Whole budget of one short request.
    pub request_timeout: Duration,
    /// Longest silence within the body of a list.
    pub list_timeout: Duration,
}

/// Something that is in a file, which may change, or was given as it is.
#[derive(Clone)]
pub enum Source {
    /// Read again when it may have changed.
    File(PathBuf),
    /// Never changes.
    Data(Secret),
}

/// Why there is no way to the API server.
#[derive(Debug)]
pub enum Error {
    /// Neither in a cluster nor given a kubeconfig.
    NotInCluster {
        /// The variable that is missing.
        variable: &'static str,
    },
    /// A file cannot be read.
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A kubeconfig cannot be used.
    Kubeconfig {
        /// Which file.
        path: PathBuf,
        /// Why, naming the entry.
        problem: String,
    },
    /// A certificate, key or token is there but unusable.
    Unusable {
        /// Which, and from where.
        what: String,
        /// Why.
        problem: String,
    },
}

impl Settings {
    /// The settings of a pod: `host` and `port` are `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`,
    /// `directory` is usually [`SERVICE_ACCOUNT_DIRECTORY`].
    pub fn in_cluster(host: &str, port: &str, directory: &Path) -> Result<Self, Error> {
        for (value, variable) in
            [(host, "KUBERNETES_SERVICE_HOST"), (port, "KUBERNETES_SERVICE_PORT")]
        {
            if value.is_empty() {
                return Err(Error::NotInCluster { variable });
            }
        }
        let host = match host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => host.to_owned(),
        };
        Ok(Self {
            server: format!("https://{host}:{port}"),
            ca: Some(Source::File(directory.join("ca.crt"))),
            verify: true,
            certificate: None,
            token: Some(Source::File(directory.join("token"))),
            namespace: own_namespace(&directory.join("namespace")),
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            list_timeout: DEFAULT_LIST_TIMEOUT,
        })
    }
}

impl Source {
    /// The present contents.
    pub(super) fn read(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::File(path) => {
                std::fs::read(path).map_err(|source| Error::Read { path: path.clone(), source })
            }
            Self::Data(data) => Ok(data.expose().as_bytes().to_owned()),
        }
    }

    /// Whether reading again may give something else.
    pub(super) fn can_change(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Data(_) => formatter.write_str("inline data"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInCluster { variable } => write!(
                formatter,
                "{variable} is not set: not in a pod, and kubernetes_kubeconfig_path is empty"
            ),
            Self::Read { path, source } => {
                write!(formatter, "cannot read {}: {source}", path.display())
            }
            Self::Kubeconfig { path, problem } => {
                write!(formatter, "kubeconfig {}: {problem}", path.display())
            }
            Self::Unusable { what, problem } => write!(formatter, "{what}: {problem}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The pod's namespace; a pod without a mounted one has to be told by configuration.
fn own_namespace(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let name = text.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_hosts_are_bracketed() {
        let directory = Path::new("/nowhere");
        for (host, server) in [
            ("10.96.0.1", "https://10.96.0.1:443"),
            ("fd00::1", "https://[fd00::1]:443"),
            ("kubernetes.default", "https://kubernetes.default:443"),
        ] {
            let settings = Settings::in_cluster(host, "443", directory).expect("both are set");
            assert_eq!(settings.server, server);
            assert_eq!(settings.namespace, None);
        }
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error =
            Settings::in_cluster("10.96.0.1", "", Path::new("/nowhere")).expect_err("no port");
        assert!(error.to_string().starts_with("KUBERNETES_SERVICE_PORT is not set"), "{error}");
    }

    #[test]
    fn inline_secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Source::Data(Secret::new("hunter2"))), "inline data");
    }
}
