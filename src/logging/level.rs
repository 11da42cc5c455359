//! The seven levels of `log_level`, two more than the `log` crate knows (spec cli §3).

use std::fmt;
use std::str::FromStr;

use log::LevelFilter;

/// How much is logged; `Critical` shows only what ends the program, `Off` nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Off,
    /// Only what ends the program.
    Critical,
    /// Failures.
    Error,
    /// What may need a person.
    Warn,
    /// Milestones; the default.
    #[default]
    Info,
    /// What a developer asks for first.
    Debug,
    /// Everything.
    Trace,
}

/// The text names no level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLevel(String);

const NAMES: [(Level, &str); 7] = [
    (Level::Off, "off"),
    (Level::Critical, "critical"),
    (Level::Error, "error"),
    (Level::Warn, "warn"),
    (Level::Info, "info"),
    (Level::Debug, "debug"),
    (Level::Trace, "trace"),
];

impl Level {
    /// The name as it is written in the configuration.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The level with this position in the order of the variants; everything above is `Trace`.
    pub(super) fn from_index(index: u8) -> Self {
        NAMES.get(usize::from(index)).map_or(Level::Trace, |(level, _)| *level)
    }

    /// What the `log` macros may let through. Critical lines travel as errors and are told apart by the format.
    pub(super) fn filter(self) -> LevelFilter {
        match self {
            Level::Off => LevelFilter::Off,
            Level::Critical | Level::Error => LevelFilter::Error,
            Level::Warn => LevelFilter::Warn,
            Level::Info => LevelFilter::Info,
            Level::Debug => LevelFilter::Debug,
            Level::Trace => LevelFilter::Trace,
        }
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    /// Takes the names in any case, and `warning` for `warn`.
    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let name = text.trim();
        if name.eq_ignore_ascii_case("warning") {
            return Ok(Level::Warn);
        }
        let known = NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
        known.map(|(level, _)| *level).ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for UnknownLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "unknown log level: {}", self.0)
    }
}

impl std::error::Error for UnknownLevel {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_in_any_case_and_given_back_in_lower_case() {
        for (index, (level, name)) in NAMES.into_iter().enumerate() {
            assert_eq!(name.to_uppercase().parse(), Ok(level));
            assert_eq!(level.name(), name);
            assert_eq!(Level::from_index(index as u8), level);
        }
        assert_eq!(" Warning ".parse(), Ok(Level::Warn));
        assert_eq!("loud".parse::<Level>().unwrap_err().to_string(), "unknown log level: loud");
    }
}
