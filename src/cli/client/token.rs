//! The session token, and the certificate beside it (spec cli §2.1).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use crate::config::Config;
use crate::secret::Secret;

/// A shorter content is no token but a file that is being written or was cut.
const SHORTEST: usize = 32;

/// What the client goes by.
#[derive(Debug)]
pub(super) struct Found {
    pub token: Secret,
    /// Where the server keeps its certificate, if it could write one.
    pub certificate: Option<PathBuf>,
}

/// The token of the first file that has one, else the cluster's own token, which the server accepts from this host
/// when it could write no file.
pub(super) fn find(config: &Config) -> Result<Found, Error> {
    let agent = &config.cluster_agent;
    let configured = agent.certificate_path.clone();
    let mut problem = None;
    for file in config.session_token_files() {
        match read(&file) {
            Ok(token) => {
                let beside = || Some(file.parent()?.join("ipc_cert.pem"));
                return Ok(Found { token, certificate: configured.or_else(beside) });
            }
            Err(error) => problem = problem.or(Some((file, error))),
        }
    }
    if !agent.auth_token.is_empty() {
        return Ok(Found { token: agent.auth_token.clone(), certificate: configured });
    }
    let (file, error) = problem.expect("there is at least one place, and none had a token");
    Err(Error::token(&file, &error))
}

fn read(file: &Path) -> io::Result<Secret> {
    let text = fs::read_to_string(file)?;
    let token = text.trim();
    if token.len() < SHORTEST {
        let problem = format!("invalid authentication token: {} characters", token.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str) -> Config {
        let directory = std::env::temp_dir().join(format!("token-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("the temporary directory is writable");
        Config { directory, ..Config::default() }
    }

    #[test]
    fn the_explicit_file_comes_before_the_one_beside_the_configuration() {
        let mut config = config("order");
        let beside = "b".repeat(64);
        fs::write(config.directory.join("auth_token"), &beside).expect("the directory is ours");
        let found = find(&config).expect("there is a token");
        assert!(found.token.matches(&beside));
        assert_eq!(found.certificate, Some(config.directory.join("ipc_cert.pem")));

        let explicit = config.directory.join("explicit/token");
        config.cluster_agent.session_token_path = Some(explicit.clone());
        assert!(find(&config).expect("there is still a token").token.matches(&beside));
        fs::create_dir(config.directory.join("explicit")).expect("the directory is ours");
        fs::write(&explicit, format!("{}\n", "e".repeat(32))).expect("the directory is ours");
        let found = find(&config).expect("there is a token");
        assert!(found.token.matches(&"e".repeat(32)));
        assert_eq!(found.certificate, Some(config.directory.join("explicit/ipc_cert.pem")));
        fs::remove_dir_all(&config.directory).expect("the directory is ours");
    }

    #[test]
    fn a_cut_token_counts_as_none() {
        let mut config = config("cut");
        fs::write(config.directory.join("auth_token"), "short").expect("the directory is ours");
        config.cluster_agent.auth_token = Secret::new("the token of the whole cluster");
        let found = find(&config).expect("the cluster's token is there");
        assert!(found.token.matches("the token of the whole cluster"));
        fs::remove_dir_all(&config.directory).expect("the directory is ours");
    }
}
