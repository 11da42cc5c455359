//! The effective configuration as YAML, with masked secrets and the source of every value.

use super::{Setting, Settings, Source, keys::Class};

impl Settings {
    /// Every setting that has an effect, and what else is set, nested as in a file. Each line ends in a comment that
    /// names the source: `default`, `file`, `env` with the variable, `cli` or `runtime`.
    ///
    /// Nothing in it needs masking any more.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        let mut open: Vec<&str> = Vec::new();
        for setting in self.iter().filter(|setting| is_shown(setting)) {
            let mut levels: Vec<&str> = setting.key.name.split('.').collect();
            let leaf = levels.pop().expect("splitting gives at least one part");
            let common = open.iter().zip(&levels).take_while(|(left, right)| left == right).count();
            open.truncate(common);
            for level in &levels[common..] {
                text.push_str(&format!("{}{level}:\n", "  ".repeat(open.len())));
                open.push(level);
            }
            let indent = "  ".repeat(open.len());
            let source = match setting.source() {
                Source::Environment(name) => format!("env {name}"),
                other => other.to_string(),
            };
            // JSON is YAML, and needs no rules about what must be quoted.
            text.push_str(&format!("{indent}{leaf}: {}  # {source}\n", setting.value().shown()));
        }
        text
    }
}

/// Older names and keys without effect only clutter the dump unless somebody set them.
fn is_shown(setting: &Setting) -> bool {
    *setting.source() != Source::Default
        || (setting.key.class == Class::Used && !setting.key.is_older_name())
}
