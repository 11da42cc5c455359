//! Where the two tokens come from, and where missing ones are put (spec node-api §2.1, cli §2.1).
//!
//! The shared token is configured, or stands in a file that is made when it is missing. The local token stands in the
//! first of several files that can be read or made. Nothing here fails: a server that cannot write a file still has to
//! serve, so the worst outcome is a token that only lives in memory. What a person should know comes back as lines to be
//! logged.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use log::Level;

use super::auth::Tokens;
use super::random;
use crate::secret::Secret;

/// Shorter tokens are refused by the clients themselves.
const SHORTEST_TOKEN: usize = 32;

/// Random bytes in a token that is made here; twice as many characters.
const TOKEN_BYTES: usize = 32;

/// Largest token file that is read: far more than any token, so that a wrong path cannot fill the memory.
const LARGEST_FILE: u64 = 4096;

/// Where to look for tokens.
#[derive(Clone, Debug)]
pub struct Sources {
    /// `cluster_agent.auth_token` as it was given, if it was.
    pub configured: Option<Secret>,
    /// The file of the shared token where none is configured: `cluster_agent.auth_token` beside the configuration file.
    pub shared_file: PathBuf,
    /// The files of the local token, best first: the explicit one, `auth_token` beside the configuration file, and
    /// places that may be writable where that one is not.
    pub local_files: Vec<PathBuf>,
}

/// The tokens, and what there is to say about them.
#[derive(Debug)]
pub struct Loaded {
    /// The tokens to serve with.
    pub tokens: Tokens,
    /// The file that holds the local token; `None` when it is only in memory.
    pub local_file: Option<PathBuf>,
    /// Lines for the log; none holds a token.
    pub notes: Vec<(Level, String)>,
}

/// A token and where it is kept: the outcome of looking through some files.
struct Found {
    token: Secret,
    file: Option<PathBuf>,
}

/// Reads the tokens, and makes those that are missing.
pub fn load(sources: &Sources) -> Loaded {
    let mut notes = Vec::new();
    let shared = shared_token(sources, &mut notes);
    let files: Vec<&Path> = sources.local_files.iter().map(PathBuf::as_path).collect();
    let local = read_or_create(&files, "the local session token", &mut notes);
    if local.file.is_none() {
        let line = "the local session token could be written nowhere: commands in this pod use the cluster agent token";
        notes.push((Level::Warn, line.to_owned()));
    }
    let shared_on_loopback = local.file.is_none();
    let tokens = Tokens { shared, local: local.token, shared_on_loopback };
    Loaded { tokens, local_file: local.file, notes }
}

fn shared_token(sources: &Sources, notes: &mut Vec<(Level, String)>) -> Secret {
    let configured = sources
        .configured
        .as_ref()
        .map(|token| trimmed(token.expose(), "cluster_agent.auth_token", notes))
        .filter(|token| !token.is_empty());
    if let Some(token) = configured {
        let length = token.expose().chars().count();
        if length < SHORTEST_TOKEN {
            let line = format!(
                "cluster_agent.auth_token has {length} characters: node Agents refuse to start with \
                 fewer than {SHORTEST_TOKEN}"
            );
            notes.push((Level::Error, line));
        }
        return token;
    }
    let found = read_or_create(&[&sources.shared_file], "the cluster agent token", notes);
    let line = match &found.file {
        Some(file) => format!(
            "cluster_agent.auth_token is not set: using {}; node Agents cannot connect without the same token",
            file.display()
        ),
        None => "cluster_agent.auth_token is not set and no file can hold one: node Agents cannot connect"
            .to_owned(),
    };
    notes.push((Level::Warn, line));
    found.token
}

/// The token of the first file that has one or can be made to have one.
fn read_or_create(files: &[&Path], what: &str, notes: &mut Vec<(Level, String)>) -> Found {
    let new = Secret::new(random::hexadecimal(&random::bytes::<TOKEN_BYTES>()));
    for file in files {
        match read(file) {
            Ok(text) => {
                let token = trimmed(&text, &file.display().to_string(), notes);
                if token.expose().len() >= SHORTEST_TOKEN {
                    return Found { token, file: Some(file.to_path_buf()) };
                }
                let line = format!(
                    "{} holds no token of {SHORTEST_TOKEN} characters: making one",
                    file.display()
                );
                notes.push((Level::Warn, line));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                notes.push((
                    Level::Warn,
                    format!("cannot read {what} from {}: {error}", file.display()),
                ));
                continue;
            }
        }
        match create(file, &new) {
            Ok(()) => return Found { token: new, file: Some(file.to_path_buf()) },
            Err(error) => {
                notes.push((
                    Level::Warn,
                    format!("cannot write {what} to {}: {error}", file.display()),
                ));
            }
        }
    }
    Found { token: new, file: None }
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(file)?.take(LARGEST_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes beside the file and renames, so that nobody ever reads half a token; readable by the owner only.
fn create(file: &Path, token: &Secret) -> io::Result<()> {
    let suffix = random::hexadecimal(&random::bytes::<4>());
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{suffix}"));
    let temporary = file.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut open| open.write_all(token.expose().as_bytes()))
        .and_then(|()| fs::rename(&temporary, file));
    if written.is_err() {
        // It may not even exist; the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Without the line feed that a Secret made from a file ends with, a classic of support cases.
fn trimmed(text: &str, what: &str, notes: &mut Vec<(Level, String)>) -> Secret {
    let token = text.trim();
    if token.len() != text.len() {
        let line = format!("{what} has white space around the token: it is left out");
        notes.push((Level::Warn, line));
    }
    Secret::new(token)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    /// A directory of its own for a test, removed at its end.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            let name = format!("tokens-{}", random::hexadecimal(&random::bytes::<8>()));
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).expect("the temporary directory is writable");
            Self(path)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn sources(directory: &Directory, configured: Option<&str>) -> Sources {
        Sources {
            configured: configured.map(Secret::new),
            shared_file: directory.file("cluster_agent.auth_token"),
            local_files: vec![directory.file("missing/auth_token"), directory.file("auth_token")],
        }
    }

    fn levels(loaded: &Loaded, containing: &str) -> Vec<Level> {
        let notes = loaded.notes.iter().filter(|(_, line)| line.contains(containing));
        notes.map(|(level, _)| *level).collect()
    }

    #[test]
    fn node_api_35_white_space_is_trimmed_and_a_short_token_is_served_with_an_error() {
        let directory = Directory::new();
        let loaded = load(&sources(&directory, Some(&format!("{TOKEN}\n"))));
        assert!(loaded.tokens.shared.matches(TOKEN));
        assert_eq!(levels(&loaded, "white space"), [Level::Warn]);

        fs::write(directory.file("cluster_agent.auth_token"), format!("{TOKEN}\r\n"))
            .expect("the directory is writable");
        let loaded = load(&sources(&directory, None));
        assert!(loaded.tokens.shared.matches(TOKEN));
        assert_eq!(levels(&loaded, "white space"), [Level::Warn]);
        assert_eq!(levels(&loaded, "cannot connect without the same token"), [Level::Warn]);

        let loaded = load(&sources(&directory, Some(&TOKEN[1..])));
        assert!(loaded.tokens.shared.matches(&TOKEN[1..]));
        assert_eq!(levels(&loaded, "has 31 characters"), [Level::Error]);
        let loaded = load(&sources(&directory, Some(TOKEN)));
        assert!(levels(&loaded, "characters").is_empty());
    }

    #[test]
    fn missing_tokens_are_made_once_and_only_for_the_owner() {
        let directory = Directory::new();
        let first = load(&sources(&directory, Some("")));
        let second = load(&sources(&directory, None));
        for (token, again, file) in [
            (&first.tokens.shared, &second.tokens.shared, "cluster_agent.auth_token"),
            (&first.tokens.local, &second.tokens.local, "auth_token"),
        ] {
            assert_eq!(token.expose().len(), 2 * TOKEN_BYTES);
            assert!(token.matches(again.expose()));
            let path = directory.file(file);
            let mode = fs::metadata(&path).expect("the file was made").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
            assert_eq!(fs::read_to_string(path).expect("the file was made"), token.expose());
        }
        assert_eq!(first.local_file, Some(directory.file("auth_token")));
        assert!(!first.tokens.shared_on_loopback);
        assert!(!first.tokens.shared.matches(first.tokens.local.expose()));
        let names = fs::read_dir(&directory.0).expect("the directory is there").count();
        assert_eq!(names, 2, "no temporary file is left");
    }

    #[test]
    fn without_a_writable_place_the_tokens_live_in_memory() {
        let directory = Directory::new();
        let sources = Sources {
            configured: None,
            shared_file: directory.file("missing/shared"),
            local_files: vec![directory.file("missing/local"), directory.0.clone()],
        };
        let loaded = load(&sources);
        assert!(loaded.tokens.shared_on_loopback);
        assert_eq!(loaded.local_file, None);
        assert!(!loaded.tokens.local.is_empty() && !loaded.tokens.shared.is_empty());
        assert_eq!(levels(&loaded, "could be written nowhere"), [Level::Warn]);
        assert_eq!(levels(&loaded, "node Agents cannot connect"), [Level::Warn]);
        let told: String = loaded.notes.iter().map(|(_, line)| line.as_str()).collect();
        assert!(!told.contains(loaded.tokens.local.expose()), "a note holds a token");
    }

    #[test]
    fn a_file_with_half_a_token_is_replaced() {
        let directory = Directory::new();
        let file = directory.file("auth_token");
        fs::write(&file, "abc").expect("the directory is writable");
        let loaded = load(&sources(&directory, Some(TOKEN)));
        assert_eq!(fs::read_to_string(&file).ok().as_deref(), Some(loaded.tokens.local.expose()));
        assert_eq!(loaded.tokens.local.expose().len(), 2 * TOKEN_BYTES);
    }
}
