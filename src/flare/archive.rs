//! Which members an archive has, and where it is put (spec cli §7.2).

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use super::zip::Zip;
use super::{environment, files};
use crate::config::Config;
use crate::{logging, scrub, time_format};

/// One text for the archive.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its name below the top directory.
    pub name: &'static str,
    /// The text, or why it could not be had.
    pub text: Result<String, String>,
}

/// What an archive is made from.
pub struct Making<'a> {
    /// The checked configuration: where files are.
    pub config: &'a Config,
    /// The environment of the process that it is about.
    pub environment: &'a BTreeMap<String, String>,
    /// The replica's name, for the top directory; may be empty.
    pub hostname: &'a str,
    /// What is not in a file.
    pub documents: Vec<Document>,
    /// Whether the running process could not be asked.
    pub local: bool,
    /// The date of the archive.
    pub now: SystemTime,
}

/// Makes the archive in the directory for temporary files, readable by its owner alone, and gives its path.
///
/// # Errors
/// When no file can be written there.
pub fn file(making: &Making<'_>) -> Result<PathBuf, String> {
    let directory = std::env::temp_dir();
    let unusable = |error: io::Error| {
        format!(
            "cannot write the archive to {}: {error}; make that directory writable, set TMPDIR, or use --output -",
            directory.display()
        )
    };
    let build = private_directory(&directory).map_err(unusable)?;
    let name = name(making);
    let (unfinished, finished) = (build.join(&name), directory.join(&name));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|file| write(making, BufWriter::new(file)))
        .and_then(|_| fs::rename(&unfinished, &finished));
    // Empty after the rename; whatever is left in it after an error is of no use.
    let _ = fs::remove_dir_all(&build);
    written.map_err(unusable)?;
    Ok(finished)
}

/// Makes the archive in memory: a compressed archive is a tenth of what [`files`] allows to go in.
///
/// # Errors
/// When it is too large for the format.
pub fn bytes(making: &Making<'_>) -> Result<Vec<u8>, String> {
    write(making, Vec::new()).map_err(|error| error.to_string())
}

/// `datadog-agent-2025-11-24T16-00-00Z-info.zip`.
fn name(making: &Making<'_>) -> String {
    let date = time_format::rfc3339(making.now).replace(':', "-");
    // A command's own level says nothing about the agent.
    let level = if making.local { making.config.logging.level } else { logging::level() };
    format!("datadog-agent-{date}-{}.zip", level.as_str())
}

fn private_directory(parent: &std::path::Path) -> io::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = parent.join(format!(".datadog-flare-{}-{number}", std::process::id()));
    // A process of this id may have been killed before it could clean up: in a container, ids repeat.
    let _ = fs::remove_dir_all(&path);
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}

fn write<W: Write>(making: &Making<'_>, out: W) -> io::Result<W> {
    let mut archive = Archive {
        zip: Zip::new(out, making.now),
        top: top_directory(making.hostname),
        problems: Vec::new(),
    };
    if making.local {
        archive.add("local", "")?;
    }
    for Document { name, text } in &making.documents {
        match text {
            Ok(text) => archive.add(name, &scrub::message(text))?,
            Err(problem) => {
                archive.problem(name, problem);
                archive.add(name, &scrub::message(problem))?;
            }
        }
    }
    archive.add("envvars.log", &environment::listing(making.environment))?;
    files::add(making.config, &mut archive)?;
    let problems = std::mem::take(&mut archive.problems).join("\n");
    archive.add("flare_creation.log", &scrub::message(&problems))?;
    archive.zip.finish()
}

/// The host's name as a file name.
fn top_directory(hostname: &str) -> String {
    let safe = |character: char| {
        let kept = character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
        if kept { character } else { '_' }
    };
    match hostname.trim_matches('.') {
        "" => "unknown".to_owned(),
        name => name.chars().map(safe).collect(),
    }
}

/// An archive that is being written, and what could not be collected so far.
pub(super) struct Archive<W> {
    zip: Zip<W>,
    top: String,
    problems: Vec<String>,
}

impl<W: Write> Archive<W> {
    /// Adds a member whose text is scrubbed already.
    pub(super) fn add(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.zip.add(&format!("{}/{name}", self.top), text.as_bytes())
    }

    /// Keeps a line for `flare_creation.log`.
    pub(super) fn problem(&mut self, name: &str, problem: &dyn std::fmt::Display) {
        self.problems.push(format!("error collecting data for '{name}': {problem}"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_name_has_no_colons_and_ends_with_the_level() {
        let now = UNIX_EPOCH + Duration::from_secs(1_764_000_000);
        let making = Making {
            config: &Config::default(),
            environment: &BTreeMap::new(),
            hostname: "",
            documents: Vec::new(),
            local: true,
            now,
        };
        assert_eq!(name(&making), "datadog-agent-2025-11-24T16-00-00Z-info.zip");
    }

    #[test]
    fn unsafe_characters_never_leave_the_top_directory() {
        for (hostname, expected) in [
            ("", "unknown"),
            ("..", "unknown"),
            ("node-1.edge", "node-1.edge"),
            ("a/../b c", "a_.._b_c"),
        ] {
            assert_eq!(top_directory(hostname), expected);
        }
    }
}
