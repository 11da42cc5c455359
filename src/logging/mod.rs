//! Log lines: formats, levels, scrubbing, console and file (spec cli §1.1, §3, events-and-leader §9).
//!
//! The program logs to standard output and to a file, a sub-command only to standard error and only failures, so that
//! its output stays parseable. A line is formatted, scrubbed, bounded and then written with one call to each output.
//! The level can be changed while the program runs. Libraries are heard from warnings on: their debug lines hold what
//! goes over the wire.

mod file;
mod format;
mod recent;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use log::LevelFilter;

pub use format::Style;
pub use recent::recent;

use crate::config::LogLevel;
use file::RollingFile;

/// The target that marks a record as critical; the `log` crate has no such level.
pub const CRITICAL: &str = "cluster_agent::critical";

/// The level in force, as its position in [`LEVELS`].
static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Off as u8);

/// The levels in the order of their declaration.
const LEVELS: [LogLevel; 7] = [
    LogLevel::Off,
    LogLevel::Critical,
    LogLevel::Error,
    LogLevel::Warn,
    LogLevel::Info,
    LogLevel::Debug,
    LogLevel::Trace,
];

/// Logs what ends the program.
#[macro_export]
macro_rules! critical {
    ($($message:tt)+) => { log::error!(target: $crate::logging::CRITICAL, $($message)+) };
}

/// Where lines go and how they look.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is logged.
    pub level: LogLevel,
    /// How a line looks.
    pub style: Style,
    /// The console, unless it is turned off (`log_to_console`).
    pub console: Option<Console>,
    /// The file, unless it is turned off (`disable_file_logging`).
    pub file: Option<File>,
}

/// Which of the process's streams is the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// Standard output: the running program.
    Output,
    /// Standard error: a sub-command.
    Error,
}

/// A log file and its bounds.
#[derive(Clone, Debug)]
pub struct File {
    /// The path (`log_file`).
    pub path: PathBuf,
    /// Bytes after which it is rolled (`log_file_max_size`).
    pub maximum_size: u64,
    /// Old files kept (`log_file_max_rolls`).
    pub maximum_rolls: usize,
}

/// Starts logging for the whole process. A file that cannot be opened is one warning on the console, never an error;
/// a second call changes nothing.
pub fn start(settings: Settings) {
    let opened = settings.file.as_ref().map(|file| {
        RollingFile::open(&file.path, file.maximum_size, file.maximum_rolls)
            .map_err(|error| format!("cannot log to {}: {error}", file.path.display()))
    });
    let (file, warning) = match opened {
        Some(Ok(file)) => (Some(file), None),
        Some(Err(warning)) => (None, Some(warning)),
        None => (None, None),
    };
    let style = settings.style;
    // What is in no file is kept for a flare; a sub-command makes none of its own lines.
    let remembered = file.is_none() && settings.console != Some(Console::Error);
    // A program that logs nowhere at all helps nobody: the console steps in for a file that is not there.
    let console = settings.console.or(warning.as_ref().map(|_| Console::Output));
    let mut builder = env_logger::Builder::new();
    builder
        .filter_level(LevelFilter::Warn)
        .filter_module("cluster_agent", LevelFilter::Trace)
        .target(env_logger::Target::Pipe(Box::new(Outputs { console, file, remembered })))
        .format(move |buffer, record| {
            if level() == LogLevel::Critical && record.target() != CRITICAL {
                return Ok(());
            }
            buffer.write_all(format::line(style, SystemTime::now(), record).as_bytes())
        });
    if builder.try_init().is_ok() {
        set_level(settings.level);
    }
    if let Some(warning) = warning {
        log::warn!("{warning}");
    }
}

/// Starts logging for a sub-command: to standard error, failures only, unless `DD_LOG_LEVEL` asks for debugging or for
/// silence (spec cli §1.1).
pub fn start_for_command() {
    use LogLevel::{Critical, Debug, Error, Off, Trace};
    let asked = std::env::var("DD_LOG_LEVEL").ok().and_then(|name| LogLevel::parse(&name));
    let level = match asked {
        Some(level @ (Off | Critical | Debug | Trace)) => level,
        _ => Error,
    };
    let style = Style::default();
    start(Settings { level, style, console: Some(Console::Error), file: None });
}

/// The level in force.
pub fn level() -> LogLevel {
    LEVELS.get(usize::from(LEVEL.load(Ordering::Relaxed))).copied().unwrap_or(LogLevel::Trace)
}

/// Changes the level at once for all outputs, until the end of the process.
pub fn set_level(level: LogLevel) {
    LEVEL.store(level as u8, Ordering::Relaxed);
    log::set_max_level(level.filter());
}

/// The open outputs; an error of one never keeps a line from the other, nor reaches the thread that logs.
struct Outputs {
    console: Option<Console>,
    file: Option<RollingFile>,
    remembered: bool,
}

impl Write for Outputs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = match self.console {
            Some(Console::Output) => io::stdout().write_all(line),
            Some(Console::Error) => io::stderr().write_all(line),
            None => Ok(()),
        };
        if let Some(file) = &mut self.file {
            let _ = file.append(line);
        }
        if self.remembered {
            recent::remember(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.console {
            Some(Console::Output) => io::stdout().flush(),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_stands_at_its_own_position() {
        for (position, level) in LEVELS.into_iter().enumerate() {
            assert_eq!(level as usize, position);
        }
    }
}
