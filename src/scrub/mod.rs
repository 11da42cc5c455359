//! Removes secrets from text and YAML before they are written anywhere (spec cli §7.5).

mod secrets;

use std::borrow::Cow;

pub use secrets::register;

/// A log message without secrets.
pub fn message(text: &str) -> Cow<'_, str> {
    secrets::mask(text.into())
}
