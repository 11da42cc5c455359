//! How the text is laid out: title blocks, indented lists, dates and numbers (spec cli §4.1).

use std::fmt::{Display, Write as _};
use std::time::SystemTime;

use crate::time_format;

/// Lines of text, built one after the other.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// One line, indented by `indent` blanks.
    pub(super) fn line(&mut self, indent: usize, content: impl Display) {
        let _ = writeln!(self.0, "{:indent$}{content}", "");
    }

    /// `name: value`, left out when the value is empty.
    pub(super) fn field(&mut self, indent: usize, name: &str, value: &str) {
        if !value.is_empty() {
            self.line(indent, format_args!("{name}: {value}"));
        }
    }

    /// `name: date`, left out when there is none.
    pub(super) fn date(&mut self, indent: usize, name: &str, time: Option<SystemTime>) {
        if let Some(time) = time {
            self.line(indent, format_args!("{name}: {}", time_format::status_date(time)));
        }
    }

    /// A heading within a block, underlined with `=`.
    pub(super) fn heading(&mut self, indent: usize, title: &str) {
        self.line(indent, title);
        self.line(indent, "=".repeat(title.chars().count()));
    }

    /// An empty line.
    pub(super) fn blank(&mut self) {
        self.0.push('\n');
    }

    /// A block: the title between two rules, the body, an empty line; nothing at all for an empty body.
    pub(super) fn block(&mut self, title: &str, body: &str) {
        if body.is_empty() {
            return;
        }
        let rule = "=".repeat(title.chars().count());
        let _ = writeln!(self.0, "{rule}\n{title}\n{rule}\n{body}");
    }

    /// The text so far.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A number with commas between groups of three digits.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
            (100_000, "100,000"),
        ] {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn rules_are_as_long_as_the_title_in_characters() {
        let mut text = Text::default();
        text.block("Größe", "  1\n");
        text.block("Nothing", "");
        assert_eq!(text.finish(), "=====\nGröße\n=====\n  1\n\n");
    }
}
