//! Files that go into an archive: configuration, checks and logs, all scrubbed (spec cli §7.2).
//!
//! Limits: [`FILES`] check files, [`DEPTH`] directories deep, [`SIZE`] bytes of each file; of a longer log the end
//! counts, of other files the beginning.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::archive::Archive;
use crate::config::Config;
use crate::{logging, scrub};

/// Files of one directory tree: a ConfigMap of 1 MiB rarely holds more than a hundred.
const FILES: usize = 1000;

/// `conf.d/<check>.d/<file>` is two levels; users nest once more.
const DEPTH: usize = 4;

/// Bytes of one file: a log file of the default size, 10 MB, whole. One file at a time is in memory.
const SIZE: u64 = 16 << 20;

/// Where check files are mounted, beside `confd_path`.
const MOUNTED_CHECKS: &str = "/conf.d";

/// Where logs are when no log file is configured.
const LOGS: &str = "/var/log/datadog";

/// Adds everything there is.
pub(super) fn add<W: Write>(config: &Config, archive: &mut Archive<W>) -> io::Result<()> {
    if let Some(file) = &config.file {
        yaml("etc/datadog.yaml", file, archive)?;
    }
    // As when checks are loaded: what is mounted wins over what is built in.
    let roots = [Path::new(MOUNTED_CHECKS), &config.autodiscovery.confd_path];
    let mut taken: Vec<PathBuf> = Vec::new();
    for root in roots {
        let mut found = Vec::new();
        walk(root, DEPTH, &|name| is_check_file(name), &mut found);
        for path in found {
            let Ok(relative) = path.strip_prefix(root) else { continue };
            if !taken.iter().any(|taken| taken == relative) {
                taken.push(relative.to_owned());
                yaml(&format!("etc/confd/{}", relative.display()), &path, archive)?;
            }
        }
    }
    logs(config, archive)
}

fn yaml<W: Write>(name: &str, path: &Path, archive: &mut Archive<W>) -> io::Result<()> {
    match read(path, Part::Beginning) {
        Ok(text) => archive.add(name, &scrub::yaml(&text)),
        Err(error) => {
            archive.problem(name, &error);
            Ok(())
        }
    }
}

/// The files of the log directory; without a log file, the lines that the process remembers.
fn logs<W: Write>(config: &Config, archive: &mut Archive<W>) -> io::Result<()> {
    let recent = logging::recent();
    if !recent.is_empty() {
        archive.add("logs/cluster-agent.log", &recent)?;
    }
    let directory = config.logging.file.as_deref().and_then(Path::parent);
    let directory = directory.unwrap_or(Path::new(LOGS));
    let mut found = Vec::new();
    walk(directory, 1, &is_log_file, &mut found);
    for path in found {
        let Ok(relative) = path.strip_prefix(directory) else { continue };
        let name = format!("logs/{}", relative.display());
        if name == "logs/cluster-agent.log" && !recent.is_empty() {
            continue;
        }
        match read(&path, Part::End) {
            Ok(text) => archive.add(&name, &scrub::message(&text))?,
            Err(error) => archive.problem(&name, &error),
        }
    }
    Ok(())
}

fn is_check_file(name: &str) -> bool {
    let name = name.trim_end_matches(".default").trim_end_matches(".disabled");
    name.ends_with(".yaml") || name.ends_with(".yml")
}

fn is_log_file(name: &str) -> bool {
    let (base, last) = name.rsplit_once('.').unwrap_or((name, ""));
    last == "log" || (base.ends_with(".log") && last.parse::<u32>().is_ok())
}

/// The files below `directory` in alphabetical order. Links are followed, but for names that begin with `..`: those are
/// the copies that a ConfigMap volume keeps of the files that it shows.
fn walk(directory: &Path, depth: usize, wanted: &dyn Fn(&str) -> bool, found: &mut Vec<PathBuf>) {
    // A directory that is not there holds nothing.
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if found.len() >= FILES || name.starts_with("..") {
            continue;
        }
        if path.is_dir() {
            if depth > 1 {
                walk(&path, depth - 1, wanted, found);
            }
        } else if wanted(name) && path.is_file() {
            found.push(path);
        }
    }
}

/// Which part of a file that is too long counts.
#[derive(Clone, Copy)]
enum Part {
    Beginning,
    End,
}

fn read(path: &Path, part: Part) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if let (Part::End, true) = (part, length > SIZE) {
        file.seek(SeekFrom::Start(length - SIZE))?;
    }
    let mut bytes = Vec::new();
    file.take(SIZE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_what_is_a_check_and_what_a_log() {
        for (name, expected) in [
            ("a.yaml", true),
            ("b.yml", true),
            ("conf.yaml.default", true),
            ("conf.yaml.disabled", true),
            ("conf.yaml.example", false),
            ("metrics.txt", false),
        ] {
            assert_eq!(is_check_file(name), expected, "{name}");
        }
        for (name, expected) in [
            ("a.log", true),
            ("a.log.1", true),
            ("a.log.old", false),
            ("log", false),
            ("a.1", false),
        ] {
            assert_eq!(is_log_file(name), expected, "{name}");
        }
    }
}
