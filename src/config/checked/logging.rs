//! Levels, formats and destinations of the log (spec cli §3).

use std::path::PathBuf;

use log::LevelFilter;

use super::Reader;

/// Log file unless another is given.
const DEFAULT_FILE: &str = "/var/log/datadog/cluster-agent.log";

/// Levels, formats and destinations of the log.
#[derive(Clone, Debug)]
pub struct Logging {
    /// Least serious level that is logged.
    pub level: LogLevel,
    /// Whether a line is a JSON object.
    pub json: bool,
    /// Whether times are in RFC 3339.
    pub rfc3339: bool,
    /// Whether the log goes to the console.
    pub console: bool,
    /// Log file, unless there is to be none.
    pub file: Option<PathBuf>,
    /// Size in bytes at which the file is rolled over.
    pub file_size_limit: u64,
    /// Rolled files that are kept.
    pub rolled_files: usize,
    /// Successful deliveries between two lines about them.
    pub delivery_frequency: u64,
    /// Further keys whose values are masked.
    pub scrubbed_keys: Vec<String>,
}

/// A level of the official agent; `log` has no critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing is logged.
    Off,
    /// Only what ends the program is logged; for the `log` crate that is an error.
    Critical,
    /// Errors.
    Error,
    /// Warnings.
    Warn,
    /// Information.
    Info,
    /// Details for debugging.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Reads a level without regard to case.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" => Self::Error,
            "critical" => Self::Critical,
            "off" => Self::Off,
            _ => return None,
        })
    }

    /// The level in the configuration's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Off => "off",
        }
    }

    /// The filter of the `log` crate that comes nearest.
    pub fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::Off,
            Self::Critical | Self::Error => LevelFilter::Error,
            Self::Warn => LevelFilter::Warn,
            Self::Info => LevelFilter::Info,
            Self::Debug => LevelFilter::Debug,
            Self::Trace => LevelFilter::Trace,
        }
    }
}

impl Logging {
    pub(super) fn check(reader: &mut Reader) -> Self {
        let file = reader.path("log_file").unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        Self {
            level: LogLevel::parse(&reader.text("log_level")).expect("the table lists the levels"),
            json: reader.boolean("log_format_json"),
            rfc3339: reader.boolean("log_format_rfc3339"),
            console: reader.boolean("log_to_console"),
            file: (!reader.boolean("disable_file_logging")).then_some(file),
            file_size_limit: reader.count("log_file_max_size") as u64,
            rolled_files: reader.count("log_file_max_rolls"),
            delivery_frequency: reader.count("logging_frequency") as u64,
            scrubbed_keys: reader.list("scrubber.additional_keys"),
        }
    }
}
