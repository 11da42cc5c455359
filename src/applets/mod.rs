//! What a shell-less image must still answer (spec deploy §4): programs that other people's manifests call by name.
//!
//! An applet reads no configuration, opens no socket, starts no thread and does not log.

pub mod cat;
pub mod copy;
pub mod tar;

use std::io;

/// The operating system's words for an error, without the number that Rust adds.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
