//! The server's certificate: kept in a file beside the session token, so that the pod's own command line can check that
//! it talks to this process (spec node-api §1.2, cli §2.1).

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::http::certificate::{Error, Identity};

/// A certificate for the names under which node Agents and the command line reach this replica. The file is read where
/// it exists, and made where it can be; without it the certificate lives in memory and clients do not check it, as they
/// do by default.
///
/// # Errors
/// When no certificate can be made.
pub fn load_or_make(
    file: Option<&Path>,
    names: &[String],
    now: SystemTime,
) -> Result<Identity, Error> {
    if let Some(file) = file.filter(|file| file.exists()) {
        match Identity::from_files(file, file) {
            Ok(identity) => return Ok(identity),
            Err(error) => log::warn!("{error}, a new certificate is made"),
        }
    }
    let identity = Identity::self_signed(names, now)?;
    if let Some(file) = file
        && let Err(error) = write_private(file, &identity.to_pem())
    {
        log::info!(
            "the certificate is kept in memory: {} could not be written: {error}",
            file.display()
        );
    }
    Ok(identity)
}

/// The DNS names and addresses that clients use.
pub fn names(service: &str, namespace: &str) -> Vec<String> {
    let service = [
        service.to_owned(),
        format!("{service}.{namespace}"),
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
    ];
    ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]
        .into_iter()
        .chain(service)
        .collect()
}

/// Where the certificate belongs: the configured place, else beside the session token.
pub fn place(configured: Option<&Path>, session_token: Option<&Path>) -> Option<PathBuf> {
    configured.map(Path::to_owned).or_else(|| Some(session_token?.parent()?.join("ipc_cert.pem")))
}

fn write_private(file: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = file.with_extension("tmp");
    let mut output = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    output.write_all(text.as_bytes())?;
    std::fs::rename(temporary, file)
}
