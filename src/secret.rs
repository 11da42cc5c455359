//! A string that cannot be printed: API keys, tokens and proxy passwords (design §3 rule 5).

use std::fmt;

use subtle::ConstantTimeEq;

/// Holds a secret; `Debug` and `Display` show `********`, and comparing takes the same time for every guess of the
/// same length.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to keep secret.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `guess` is this secret; an empty secret matches nothing, so an unset token never opens a door.
    pub fn matches(&self, guess: &str) -> bool {
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(guess.as_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("********")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("********")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "******** ********");
    }

    #[test]
    fn an_empty_secret_matches_nothing() {
        assert!(!Secret::default().matches(""));
        assert!(Secret::new("a").matches("a"));
        assert!(!Secret::new("a").matches("b"));
    }
}
