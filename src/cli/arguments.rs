//! Flags and operands: what a command declares, what was typed, and upstream's texts where the two differ.

use std::ffi::OsString;
use std::fmt;

use lexopt::{Arg, Parser};

/// One flag of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    /// The one-letter forms; the first one is shown in the help.
    pub short: &'static [char],
    /// The long form, by which the command asks for it.
    pub long: &'static str,
    /// What the value is called in the help; `None` for a switch.
    pub value: Option<&'static str>,
    /// One line for the help; a flag without is not shown.
    pub summary: &'static str,
}

/// The flags that every command takes, before or after its name.
pub(super) const GLOBAL: [Flag; 3] = [
    Flag {
        short: &['c'],
        long: "cfgpath",
        value: Some("string"),
        summary: "path to directory containing datadog-cluster.yaml",
    },
    Flag { short: &['h'], long: "help", value: None, summary: "help for the command" },
    Flag { short: &['n'], long: "no-color", value: None, summary: "disable color output" },
];

/// What was typed: flags by their long form, and the words that are none.
#[derive(Debug, Default)]
pub(super) struct Options {
    flags: Vec<(&'static str, String)>,
    /// The operands after the command's name.
    pub operands: Vec<String>,
}

/// The command line cannot be understood; the texts are those of upstream's parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UsageError {
    UnknownCommand {
        name: String,
        program: String,
    },
    UnknownFlag(String),
    UnknownShortFlag(char),
    MissingValue(String),
    InvalidValue {
        flag: &'static str,
        value: String,
    },
    /// A switch was given a value.
    UnexpectedValue(String),
    NotUnicode(OsString),
}

/// The words of a command line, read one after the other.
pub(super) struct Arguments(Parser);

impl Arguments {
    pub(super) fn new(words: Vec<OsString>) -> Self {
        Self(Parser::from_args(words))
    }

    /// Reads flags into `options` up to and including the next operand, which is returned; `None` at the end.
    pub(super) fn next_operand(
        &mut self,
        flags: &[Flag],
        options: &mut Options,
    ) -> Result<Option<String>, UsageError> {
        while let Some(argument) = self.0.next()? {
            let known = |matches: &dyn Fn(&Flag) -> bool| {
                GLOBAL.iter().chain(flags).find(|flag| matches(flag)).copied()
            };
            let flag = match argument {
                Arg::Value(word) => {
                    return Ok(Some(word.into_string().map_err(UsageError::NotUnicode)?));
                }
                Arg::Short(letter) => known(&|flag| flag.short.contains(&letter))
                    .ok_or(UsageError::UnknownShortFlag(letter))?,
                Arg::Long(name) => known(&|flag| flag.long == name)
                    .ok_or_else(|| UsageError::UnknownFlag(name.to_owned()))?,
            };
            let value = match flag.value {
                Some(_) => self.0.value()?.into_string().map_err(UsageError::NotUnicode)?,
                None => String::new(),
            };
            options.flags.push((flag.long, value));
        }
        Ok(None)
    }
}

impl Options {
    /// Whether the flag with this long form was given.
    pub(super) fn has(&self, long: &str) -> bool {
        self.value(long).is_some()
    }

    /// The value of the flag with this long form; the last one wins.
    pub(super) fn value(&self, long: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// The value of a flag that takes a number.
    pub(super) fn number(&self, long: &'static str) -> Result<Option<u64>, UsageError> {
        let invalid =
            |value: &str| UsageError::InvalidValue { flag: long, value: value.to_owned() };
        self.value(long).map(|value| value.parse().map_err(|_| invalid(value))).transpose()
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        match error {
            lexopt::Error::MissingValue { option } => {
                Self::MissingValue(option.unwrap_or_default())
            }
            lexopt::Error::UnexpectedValue { option, .. } => Self::UnexpectedValue(option),
            other => Self::UnknownFlag(other.to_string()),
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCommand { name, program } => {
                writeln!(formatter, "unknown command {name:?} for {program:?}")?;
                write!(formatter, "Run '{program} --help' for usage.")
            }
            Self::UnknownFlag(name) => write!(formatter, "unknown flag: --{name}"),
            Self::UnknownShortFlag(letter) => {
                write!(formatter, "unknown shorthand flag: '{letter}' in -{letter}")
            }
            Self::MissingValue(option) => match option.strip_prefix("--") {
                Some(_) => write!(formatter, "flag needs an argument: {option}"),
                None => {
                    let letter = option.trim_start_matches('-');
                    write!(formatter, "flag needs an argument: '{letter}' in {option}")
                }
            },
            Self::InvalidValue { flag, value } => {
                write!(formatter, "invalid argument {value:?} for \"--{flag}\" flag")
            }
            Self::UnexpectedValue(option) => {
                write!(formatter, "flag takes no argument: {option}")
            }
            Self::NotUnicode(word) => write!(formatter, "not valid UTF-8: {}", word.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 2] = [
        Flag { short: &['j'], long: "json", value: None, summary: "JSON" },
        Flag { short: &['o', 'f'], long: "file", value: Some("string"), summary: "a file" },
    ];

    fn parsed(words: &[&str]) -> Result<Options, UsageError> {
        let mut arguments = Arguments::new(words.iter().map(OsString::from).collect());
        let mut options = Options::default();
        while let Some(operand) = arguments.next_operand(&FLAGS, &mut options)? {
            options.operands.push(operand);
        }
        Ok(options)
    }

    #[test]
    fn flags_may_stand_before_between_and_after_operands() {
        let options =
            parsed(&["-c/etc/x", "one", "--json", "two", "-f", "out"]).expect("all are known");
        assert_eq!(options.operands, ["one", "two"]);
        assert_eq!(options.value("cfgpath"), Some("/etc/x"));
        assert_eq!(options.value("file"), Some("out"));
        assert!(options.has("json") && !options.has("no-color"));
    }

    #[test]
    fn the_last_value_of_a_flag_wins() {
        let options = parsed(&["--file=a", "-o", "b"]).expect("all are known");
        assert_eq!(options.value("file"), Some("b"));
    }

    #[test]
    fn mistakes_have_upstreams_texts() {
        let cases: [(&[&str], &str); 5] = [
            (&["--foo"], "unknown flag: --foo"),
            (&["-x"], "unknown shorthand flag: 'x' in -x"),
            (&["-c"], "flag needs an argument: 'c' in -c"),
            (&["--cfgpath"], "flag needs an argument: --cfgpath"),
            (&["--json=yes"], "flag takes no argument: --json"),
        ];
        for (words, expected) in cases {
            assert_eq!(parsed(words).expect_err("it is a mistake").to_string(), expected);
        }
        let number = parsed(&["-o", "x"]).expect("all are known").number("file");
        assert_eq!(
            number.expect_err("x is no number").to_string(),
            "invalid argument \"x\" for \"--file\" flag"
        );
    }
}
