//! The name under which this replica takes part in the election: the bare pod name (spec events-and-leader §1.1).
//!
//! `kubectl get configmap`, the status page and the look-up of the leader's address all compare it with pod names, and
//! two replicas with one name would both lead. The host name is the pod name only where the pod has a host name of its
//! own.

use std::fmt;
use std::fs;
use std::path::Path;

/// What `/proc/self/ns/uts` points to for processes that share the host name of the machine.
const MACHINE_UTS_NAMESPACE: &str = "uts:[4026531838]";

/// Why a replica has no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The host name is the machine's, which other replicas may have too.
    HostNamespace,
    /// The system does not say.
    NoHostName,
}

/// The pod name: `configured` (`DD_POD_NAME`) where it is given, else the host name.
///
/// `proc` is where the process information is mounted, `/proc` outside of tests.
///
/// # Errors
/// When the host name is not the pod's own or cannot be read.
pub fn resolve(configured: Option<&str>, proc: &Path) -> Result<String, Error> {
    if let Some(name) = configured.map(str::trim).filter(|name| !name.is_empty()) {
        return Ok(name.to_owned());
    }
    let namespace = fs::read_link(proc.join("self/ns/uts"));
    if namespace.is_ok_and(|namespace| namespace == Path::new(MACHINE_UTS_NAMESPACE)) {
        return Err(Error::HostNamespace);
    }
    match fs::read_to_string(proc.join("sys/kernel/hostname")) {
        Ok(name) if !name.trim().is_empty() => Ok(name.trim().to_owned()),
        _ => Err(Error::NoHostName),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Error::HostNamespace => {
                "DD_POD_NAME is not set and running in host UTS namespace; cannot reliably determine self pod name"
            }
            Error::NoHostName => "DD_POD_NAME is not set and the host name cannot be read",
        })
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// A directory that looks like `/proc`.
    fn proc(test: &str, namespace: &str, host_name: Option<&str>) -> PathBuf {
        let directory =
            std::env::temp_dir().join(format!("identity-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("self/ns")).expect("a temporary directory");
        fs::create_dir_all(directory.join("sys/kernel")).expect("a temporary directory");
        symlink(namespace, directory.join("self/ns/uts")).expect("a link");
        if let Some(name) = host_name {
            fs::write(directory.join("sys/kernel/hostname"), name).expect("a file");
        }
        directory
    }

    #[test]
    fn the_configured_pod_name_goes_before_everything() {
        let proc = proc("configured", MACHINE_UTS_NAMESPACE, Some("machine\n"));
        assert_eq!(resolve(Some(" dca-7c9d-abcde\n"), &proc), Ok("dca-7c9d-abcde".to_owned()));
        let _ = fs::remove_dir_all(proc);
    }

    #[test]
    fn a_host_name_counts_only_where_it_is_the_pods_own() {
        let own = proc("own", "uts:[4026532999]", Some("dca-0\n"));
        assert_eq!(resolve(Some(""), &own), Ok("dca-0".to_owned()));
        let shared = proc("shared", MACHINE_UTS_NAMESPACE, Some("machine\n"));
        assert_eq!(resolve(None, &shared), Err(Error::HostNamespace));
        let nameless = proc("nameless", "uts:[4026532999]", None);
        assert_eq!(resolve(None, &nameless), Err(Error::NoHostName));
        for directory in [own, shared, nameless] {
            let _ = fs::remove_dir_all(directory);
        }
    }
}
