//! The actual secrets of this process: pattern rules miss a token that looks like any word (spec cli §7.5).
//!
//! Registered once where a secret is read or made, looked for in every line that is written.

use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

/// What stands in place of a secret.
pub(super) const MASK: &str = "********";

/// Shorter texts occur in lines by chance; masking them would destroy more than it hides.
const SHORTEST: usize = 8;

/// Secrets kept at most: two keys, two tokens, two proxy passwords, and additional endpoints with a few keys each.
const MAXIMUM: usize = 64;

static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Masks every later occurrence of `secret` in scrubbed text. Texts under 8 bytes, and those after the 64th, are left
/// to the pattern rules.
pub fn register(secret: &str) {
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    let known = secrets.iter().any(|known| known == secret);
    if secret.len() >= SHORTEST && secrets.len() < MAXIMUM && !known {
        secrets.push(secret.to_owned());
        // The longest first: a secret may contain another one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }
}

/// The text without the registered secrets.
pub(super) fn mask(text: Cow<'_, str>) -> Cow<'_, str> {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    secrets.iter().fold(text, |text, secret| {
        if text.contains(secret) { Cow::Owned(text.replace(secret, MASK)) } else { text }
    })
}

/// Whether a value is none or only names a secret in a store, in the forms YAML has for it; such values are kept.
pub(super) fn tells_nothing(value: &str) -> bool {
    matches!(value, "" | "null" | "~" | "''" | "\"\"")
        || (value.starts_with("ENC[") && value.ends_with(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_secrets_are_masked_the_longest_first() {
        register("inner-secret");
        register("outer-inner-secret-outer");
        register("short");
        let masked = mask("a inner-secret b outer-inner-secret-outer c short".into());
        assert_eq!(masked, "a ******** b ******** c short");
    }

    #[test]
    fn text_without_secrets_is_not_copied() {
        assert!(matches!(mask("nothing here".into()), Cow::Borrowed(_)));
    }
}
