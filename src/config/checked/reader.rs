//! Typed access to the raw settings for the checks.
//!
//! The names are written out at the place of use; one that is not in the table, or is asked for as the wrong type, is
//! a mistake in this program that the first load of any test finds.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::{
    config::{Message, Setting, Settings, Source, Sources, Value},
    secret::Secret,
};

/// Reads settings and collects what is to be said about them.
pub(super) struct Reader<'a> {
    pub settings: &'a Settings,
    pub sources: &'a Sources<'a>,
    pub messages: &'a mut Vec<Message>,
}

impl<'a> Reader<'a> {
    pub fn setting(&self, name: &str) -> &'a Setting {
        self.settings.get(name).unwrap_or_else(|| panic!("{name} is not in the table of keys"))
    }

    /// Whether some source other than the table gives it.
    pub fn is_set(&self, name: &str) -> bool {
        *self.setting(name).source() != Source::Default
    }

    pub fn text(&self, name: &str) -> String {
        match self.setting(name).value() {
            Value::Text(text) => text.clone(),
            _ => wrong(name),
        }
    }

    /// The text without white space around it, unless there is none.
    pub fn given_text(&self, name: &str) -> Option<String> {
        let text = self.text(name);
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.given_text(name).map(PathBuf::from)
    }

    pub fn secret(&self, name: &str) -> Secret {
        match self.setting(name).value() {
            Value::Secret(secret) => secret.clone(),
            _ => wrong(name),
        }
    }

    pub fn boolean(&self, name: &str) -> bool {
        match self.setting(name).value() {
            Value::Boolean(on) => *on,
            _ => wrong(name),
        }
    }

    pub fn integer(&self, name: &str) -> i64 {
        match self.setting(name).value() {
            Value::Integer(number) => *number,
            _ => wrong(name),
        }
    }

    /// A number that the table keeps from being negative.
    pub fn count(&self, name: &str) -> usize {
        usize::try_from(self.integer(name)).unwrap_or_default()
    }

    pub fn number(&self, name: &str) -> f64 {
        match self.setting(name).value() {
            Value::Number(number) => *number,
            Value::Integer(number) => *number as f64,
            _ => wrong(name),
        }
    }

    pub fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs(u64::try_from(self.integer(name)).unwrap_or_default())
    }

    /// Seconds where 0 means that there is none.
    pub fn seconds_or_never(&self, name: &str) -> Option<Duration> {
        Some(self.seconds(name)).filter(|duration| !duration.is_zero())
    }

    pub fn duration(&self, name: &str) -> Duration {
        match self.setting(name).value() {
            Value::Duration(duration) => *duration,
            _ => wrong(name),
        }
    }

    pub fn port(&self, name: &str) -> u16 {
        u16::try_from(self.integer(name)).expect("the table limits ports to 65535")
    }

    /// A port where 0 switches the listener off.
    pub fn port_or_off(&self, name: &str) -> Option<u16> {
        Some(self.port(name)).filter(|port| *port != 0)
    }

    pub fn list(&self, name: &str) -> Vec<String> {
        match self.setting(name).value() {
            Value::List(list) => list.clone(),
            _ => wrong(name),
        }
    }

    pub fn map(&self, name: &str) -> BTreeMap<String, String> {
        match self.setting(name).value() {
            Value::Map(map) => map.clone(),
            _ => wrong(name),
        }
    }

    pub fn warn(&mut self, text: impl Into<String>) {
        self.messages.push(Message::warning(text));
    }

    pub fn error(&mut self, text: impl Into<String>) {
        self.messages.push(Message::error(text));
    }

    pub fn inform(&mut self, text: impl Into<String>) {
        self.messages.push(Message::info(text));
    }

    /// The text without control characters, which no tag can hold.
    pub fn without_controls(&mut self, name: &str, text: String) -> String {
        if !text.contains(char::is_control) {
            return text;
        }
        self.warn(format!(
            "configuration value for key \"{name}\" holds control characters, which are removed"
        ));
        text.replace(char::is_control, "")
    }
}

fn wrong(name: &str) -> ! {
    panic!("{name} is read as another type than the table of keys gives it")
}
