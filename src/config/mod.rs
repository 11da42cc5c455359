//! Sources (file, environment) → raw values → checked `Config`, from one table of keys.
//!
//! ```text
//! flags ────────┐
//! environment ──┼──▶ Settings: every source ──▶ Config: durations, ports, namespaces, proxies
//! file ─────────┘    of every key        │      Messages for the log, or an Error
//!                        ▲               └───▶ dump, `config get -s`
//! keys: the table ───────┴────────────────────▶ docs/configuration.md
//! ```
//!
//! Nothing here reads global state or logs: [`Sources`] are handed in, and [`Loaded::messages`] is for the caller to
//! log once logging, which is configured here too, is set up. Settings are read once at start; only `log_level` can
//! be changed later. The rules are spec config; the table of keys is [`keys`].

mod checked;
mod cluster_name;
mod convert;
mod documentation;
mod dump;
mod error;
mod file;
pub mod keys;
mod rules;
mod runtime;
mod settings;
mod sources;
mod text;
mod unknown;
pub mod url;
mod value;

pub use checked::*;
pub use cluster_name::ClusterName;
pub use documentation::documentation;
pub use error::Error;
pub use file::{DEFAULT_DIRECTORY, FILE_NAME};
pub use runtime::{ChangeError, RUNTIME_SETTINGS};
pub use settings::{Setting, Settings, Source};
pub use sources::{ReadFile, Sources};
pub use value::Value;

/// A line about the configuration, to be logged by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Level to log it at.
    pub level: log::Level,
    /// One line without secrets.
    pub text: String,
}

impl Message {
    fn error(text: impl Into<String>) -> Self {
        Self { level: log::Level::Error, text: text.into() }
    }

    fn warning(text: impl Into<String>) -> Self {
        Self { level: log::Level::Warn, text: text.into() }
    }

    fn info(text: impl Into<String>) -> Self {
        Self { level: log::Level::Info, text: text.into() }
    }
}

/// What loading gives.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The checked configuration.
    pub config: Config,
    /// What is to be said about it, in order.
    pub messages: Vec<Message>,
    /// Every key with its sources, for `config` and `config get`.
    pub settings: Settings,
}

/// Loads the configuration of the server, which needs an API key and a port for each listener.
pub fn load(sources: &Sources) -> Result<Loaded, Error> {
    let loaded = load_for_command(sources)?;
    loaded.config.check_for_server()?;
    Ok(loaded)
}

/// Loads the configuration of a command that only talks to the server.
pub fn load_for_command(sources: &Sources) -> Result<Loaded, Error> {
    let mut messages = Vec::new();
    let file = file::load(sources.path.as_deref(), sources.read, &mut messages)?;
    let settings = Settings::resolve(sources, &file, &mut messages)?;
    let config = Config::check(&settings, sources, file.path, &mut messages)?;
    unknown::report_environment(sources, &mut messages);
    unknown::report_features(&settings, &mut messages);
    Ok(Loaded { config, messages, settings })
}

#[cfg(test)]
mod tests;
