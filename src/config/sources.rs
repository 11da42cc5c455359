//! Where settings come from: flags, environment and files, handed in so that nothing below reads global state.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Largest file that is read. A ConfigMap, the usual home of a configuration file, holds 1 MiB at most.
const FILE_LIMIT: u64 = 4 << 20;

/// Reads one file whole; tests give a closure over a map.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// Everything a configuration is loaded from.
pub struct Sources<'a> {
    /// All environment variables.
    pub environment: BTreeMap<String, String>,
    /// Keys set by flags, which win over everything.
    pub flags: BTreeMap<&'static str, String>,
    /// Argument of `-c`: a file when it ends in `.yaml` or `.yml`, else a directory that is searched first.
    pub path: Option<PathBuf>,
    /// Reads the configuration file and the namespace of the service account.
    pub read: ReadFile<'a>,
}

impl<'a> Sources<'a> {
    /// Sources with these environment variables and no files.
    pub fn new<I, N, T>(environment: I) -> Self
    where
        I: IntoIterator<Item = (N, T)>,
        N: Into<String>,
        T: Into<String>,
    {
        let environment =
            environment.into_iter().map(|(name, text)| (name.into(), text.into())).collect();
        Self { environment, flags: BTreeMap::new(), path: None, read: &no_files }
    }

    /// The same sources with files.
    pub fn with_files(self, read: ReadFile<'a>) -> Self {
        Self { read, ..self }
    }

    /// The sources of this process; `path` is the argument of `-c`.
    pub fn of_process(path: Option<PathBuf>) -> Self {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        Self { path, ..Self::new(environment).with_files(&read_file) }
    }

    /// The value of an environment variable that is not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }
}

/// Reads a file of at most [`FILE_LIMIT`] bytes.
fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4 MiB"));
    }
    Ok(text)
}

fn no_files(_: &Path) -> io::Result<String> {
    Err(io::ErrorKind::NotFound.into())
}
