//! Changes of settings while the program runs, which are lost when it stops (spec cli §9).

use std::{error, fmt};

use super::{
    Settings, Source, Value,
    convert::{Given, convert},
};

/// Settings that can be changed, with the description that `config list-runtime` shows.
pub const RUNTIME_SETTINGS: &[(&str, &str)] = &[(
    "log_level",
    "Set/get the log level, valid values are: trace, debug, info, warn, error, critical and off",
)];

/// Why a change is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// There is no such setting that can be changed.
    NotFound(String),
    /// The value is not accepted.
    Invalid {
        /// Key in question.
        name: &'static str,
        /// The rest of the sentence.
        reason: String,
    },
}

impl fmt::Display for ChangeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(name) => write!(formatter, "setting {name} not found"),
            Self::Invalid { name, reason } => {
                write!(formatter, "the given value of {name} {reason}")
            }
        }
    }
}

impl error::Error for ChangeError {}

impl Settings {
    /// Puts a value above those of all sources and returns it; giving it effect is the caller's part.
    pub fn change(&mut self, name: &str, text: &str) -> Result<Value, ChangeError> {
        let changeable =
            RUNTIME_SETTINGS.iter().any(|(changeable, _)| changeable.eq_ignore_ascii_case(name));
        let Some(setting) = self.get_mut(name).filter(|_| changeable) else {
            return Err(ChangeError::NotFound(name.to_owned()));
        };
        let converted = convert(setting.key, &Given::Text(text.to_owned())).map_err(|problem| {
            ChangeError::Invalid { name: setting.key.name, reason: problem.reason }
        })?;
        setting.layers.retain(|(source, _)| *source != Source::Runtime);
        setting.layers.insert(0, (Source::Runtime, converted.value.clone()));
        Ok(converted.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load_for_command};

    #[test]
    fn only_the_log_level_can_be_changed() {
        let sources = Sources::new([("DD_LOG_LEVEL", "warn")]);
        let mut settings = load_for_command(&sources).unwrap().settings;
        settings.change("log_level", "trace").unwrap();
        assert_eq!(settings.change("Log_Level", "DEBUG").unwrap().shown(), "debug");
        let setting = settings.get("log_level").unwrap();
        let layers: Vec<String> =
            setting.layers.iter().map(|(source, value)| format!("{source}: {value:?}")).collect();
        assert_eq!(layers, [r#"runtime: "debug""#, r#"env: "warn""#, r#"default: "info""#]);

        assert_eq!(settings.change("site", "x").unwrap_err().to_string(), "setting site not found");
        assert_eq!(
            settings.change("nonsense", "x").unwrap_err().to_string(),
            "setting nonsense not found"
        );
        let problem = settings.change("log_level", "loud").unwrap_err();
        assert!(matches!(problem, ChangeError::Invalid { name: "log_level", .. }), "{problem}");
    }
}
