//! What the command line of the same pod asks of the running process (spec node-api §6, cli §2.2).

use serde_json::Value;

use crate::flare::Document;
use crate::health::Report;
pub use crate::status::Format;

/// A setting that can be changed while the process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeSetting {
    /// Its name.
    pub name: &'static str,
    /// One sentence for a person.
    pub description: &'static str,
}

/// What a setting is, and what each source says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The value in use, scrubbed.
    pub value: Value,
    /// Source and value, from the weakest source to the strongest.
    pub sources: Vec<(String, Value)>,
}

/// Why a setting was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingError {
    /// There is no such setting, or it cannot be changed.
    Unknown,
    /// The value is not one of the setting's; the sentence says why.
    Invalid(String),
}

/// The process, as its operator sees it; everything it hands out is scrubbed.
///
/// Failures are one sentence each, shown to the person who asked.
pub trait Operator: Send + Sync {
    /// The name this replica goes by; empty when unknown.
    fn hostname(&self) -> String;

    /// The status document.
    ///
    /// # Errors
    /// Why it cannot be made.
    fn status(&self, format: Format, verbose: bool) -> Result<String, String>;

    /// The names of the status document's sections, in their order.
    fn status_sections(&self) -> Vec<String>;

    /// One section of the status document; names compare without case.
    ///
    /// # Errors
    /// There is no such section.
    fn status_section(&self, name: &str, format: Format) -> Result<String, String>;

    /// Why the cluster is not read completely yet; `None` while nothing stands in the way.
    fn obstacle(&self) -> Option<String>;

    /// Which components are well.
    fn health(&self) -> Report;

    /// All settings in use, as YAML.
    fn configuration(&self) -> String;

    /// The settings that can be changed.
    fn runtime_settings(&self) -> Vec<RuntimeSetting>;

    /// One setting; `None` when there is none of that name.
    fn setting(&self, name: &str) -> Option<Setting>;

    /// Changes a setting until the process ends.
    ///
    /// # Errors
    /// See [`SettingError`].
    fn set_setting(&self, name: &str, value: &str) -> Result<(), SettingError>;

    /// Makes the archive for support from these documents and those of its own, and gives its path.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn flare(&self, documents: Vec<Document>) -> Result<String, String>;

    /// The same archive as bytes, where no file can be written.
    ///
    /// # Errors
    /// Why it cannot be made.
    fn flare_bytes(&self, documents: Vec<Document>) -> Result<Vec<u8>, String>;

    /// Asks the process to end as on SIGTERM; returns at once.
    fn stop(&self);
}
