//! One log record as one line: text or JSON (spec events-and-leader §9), scrubbed and bounded.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use log::Record;
use serde::Serialize;

use super::CRITICAL;
use crate::{scrub, time_format};

/// Bytes of a message that are shown. Container runtimes split lines at 16 KiB; JSON escaping and the other fields
/// must fit beside it.
pub(super) const MAXIMUM_MESSAGE: usize = 8 << 10;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// One JSON object a line instead of text (`log_format_json`).
    pub json: bool,
    /// RFC 3339 dates (`log_format_rfc3339`).
    pub rfc3339: bool,
}

/// The keys of a JSON line, in upstream's order.
#[derive(Serialize)]
struct JsonLine<'a> {
    agent: &'static str,
    time: &'a str,
    level: &'a str,
    file: &'a str,
    line: String,
    func: &'a str,
    msg: &'a str,
}

/// The line of a record, with its line feed.
pub(super) fn line(style: Style, time: SystemTime, record: &Record<'_>) -> String {
    let date = if style.rfc3339 { time_format::rfc3339(time) } else { time_format::log_date(time) };
    let critical = record.target() == CRITICAL;
    let level = if critical { "CRITICAL" } else { record.level().as_str() };
    let module = record.module_path().unwrap_or("unknown");
    let target = if critical { module } else { record.target() };
    let number = record.line().unwrap_or(0);
    let message = message(record.args());
    if style.json {
        let line = JsonLine {
            agent: "cluster",
            time: &date,
            level,
            file: record.file().unwrap_or(module),
            line: number.to_string(),
            func: target,
            msg: &message,
        };
        let mut text = serde_json::to_string(&line).expect("a struct of strings always serialises");
        text.push('\n');
        return text;
    }
    let message = escaped(&message);
    format!("{date} | CLUSTER | {level} | ({module}:{number} in {target}) | {message}\n")
}

/// The message, scrubbed before it is cut, so that half a secret never escapes its pattern.
fn message(arguments: &fmt::Arguments<'_>) -> String {
    let mut text = Bounded { text: String::new(), dropped: 0 };
    text.write_fmt(*arguments).expect("writing to memory does not fail");
    let Bounded { text, dropped } = text;
    let mut message = scrub::message(&text).into_owned();
    let cut = message.floor_char_boundary(MAXIMUM_MESSAGE);
    let dropped = dropped + message.len() - cut;
    if dropped > 0 {
        message.truncate(cut);
        let _ = write!(message, "… ({dropped} more bytes)");
    }
    message
}

/// Line breaks and other control characters as escapes: a peer's text must not look like a line of its own.
fn escaped(message: &str) -> String {
    if !message.chars().any(|character| character.is_control() && character != '\t') {
        return message.to_owned();
    }
    let escape = |character: char| {
        let control = character.is_control() && character != '\t';
        let plain = (!control).then_some(character);
        plain.into_iter().chain(control.then(|| character.escape_default()).into_iter().flatten())
    };
    message.chars().flat_map(escape).collect()
}

/// Keeps twice the shown bytes, so that a pattern at the cut is still seen whole, and counts the others.
struct Bounded {
    text: String,
    dropped: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = (2 * MAXIMUM_MESSAGE).saturating_sub(self.text.len());
        let cut = if self.dropped > 0 { 0 } else { piece.floor_char_boundary(room) };
        self.text.push_str(&piece[..cut]);
        self.dropped += piece.len() - cut;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use log::Level;

    use super::*;

    fn shown(style: Style, target: &str, level: Level, message: &str) -> String {
        let time = UNIX_EPOCH + Duration::from_secs(1_764_000_000);
        line(
            style,
            time,
            &Record::builder()
                .args(format_args!("{message}"))
                .level(level)
                .target(target)
                .module_path(Some("cluster_agent::leader"))
                .file(Some("src/leader/mod.rs"))
                .line(Some(42))
                .build(),
        )
    }

    #[test]
    fn a_text_line_has_upstreams_fields() {
        assert_eq!(
            shown(Style::default(), "cluster_agent::leader", Level::Info, "hello"),
            "2025-11-24 16:00:00 UTC | CLUSTER | INFO | (cluster_agent::leader:42 in cluster_agent::leader) | hello\n"
        );
        let style = Style { rfc3339: true, json: false };
        assert!(
            shown(style, "x", Level::Warn, "")
                .starts_with("2025-11-24T16:00:00Z | CLUSTER | WARN | ")
        );
    }

    #[test]
    fn a_json_line_has_upstreams_keys_and_a_text_line_number() {
        let style = Style { rfc3339: false, json: true };
        assert_eq!(
            shown(style, "cluster_agent::leader", Level::Error, "two\nlines"),
            "{\"agent\":\"cluster\",\"time\":\"2025-11-24 16:00:00 UTC\",\"level\":\"ERROR\",\
             \"file\":\"src/leader/mod.rs\",\"line\":\"42\",\"func\":\"cluster_agent::leader\",\
             \"msg\":\"two\\nlines\"}\n"
        );
    }

    #[test]
    fn a_critical_line_says_so() {
        let line = shown(Style::default(), CRITICAL, Level::Error, "over");
        assert!(
            line.contains(
                "| CRITICAL | (cluster_agent::leader:42 in cluster_agent::leader) | over"
            )
        );
    }

    #[test]
    fn a_message_cannot_forge_a_second_line() {
        let line = shown(Style::default(), "x", Level::Info, "a\nb\tc\u{1b}[31m");
        assert!(line.ends_with("| a\\nb\tc\\u{1b}[31m\n"), "{line}");
    }

    #[test]
    fn a_long_message_is_cut_and_its_rest_counted() {
        let message = "é".repeat(3 * MAXIMUM_MESSAGE);
        let line = shown(Style::default(), "x", Level::Info, &message);
        let dropped = message.len() - MAXIMUM_MESSAGE;
        assert!(line.ends_with(&format!("é… ({dropped} more bytes)\n")), "{}", line.len());
    }

    #[test]
    fn a_registered_secret_is_not_logged() {
        scrub::register("log-format-secret");
        let line = shown(Style::default(), "x", Level::Info, "got log-format-secret here");
        assert!(line.ends_with("| got ******** here\n"), "{line}");
    }
}
