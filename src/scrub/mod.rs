//! Removes secrets from text and YAML before they are written anywhere (spec cli §7.5).
//!
//! First the registered secrets of this process go, then, line by line, whatever looks like a secret or stands under
//! the name of one, then blocks that span lines. The scanners are written by hand: a log line passes them all in a few
//! microseconds, and a line without secrets is not copied. Where upstream's patterns leave a choice, these mask more.

mod blocks;
mod keys;
mod passwords;
mod secrets;
mod words;
mod yaml;

use std::borrow::Cow;

pub use keys::add_keys;
pub use secrets::register;

use crate::config::Config;

/// Registers every secret of the configuration, and the names under which further secrets stand.
pub fn register_all(config: &Config) {
    add_keys(&config.logging.scrubbed_keys);
    config.secrets().for_each(|secret| register(secret.expose()));
}

/// A log message or an error text without secrets.
pub fn message(text: &str) -> Cow<'_, str> {
    let text = secrets::mask(text.into());
    let text = if text.contains('\n') {
        text.split('\n').map(|part| line(part.into())).collect::<Vec<_>>().join("\n").into()
    } else {
        line(text)
    };
    blocks::mask_pem(blocks::mask_communities(text))
}

/// A file without secrets and without lines that are only comments; the final line feed is lost.
pub fn text(file: &str) -> String {
    let is_comment = |line: &&str| line.trim_start().starts_with('#');
    let lines: Vec<&str> = file.lines().filter(|line| !is_comment(line)).collect();
    message(&lines.join("\n")).into_owned()
}

/// A YAML document without secrets and comments; what is no YAML is treated as [`text`].
pub fn yaml(document: &str) -> String {
    text(&yaml::scrub(document).unwrap_or_else(|| document.to_owned()))
}

fn line(line: Cow<'_, str>) -> Cow<'_, str> {
    let line = words::mask_bearer(words::mask(line));
    passwords::mask_assigned(keys::mask(passwords::mask_userinfo(line)))
}

#[cfg(test)]
mod tests;
