//! The name of the cluster and its forms (spec events-and-leader §4).

/// Longest accepted name.
const LENGTH_LIMIT: usize = 80;

/// A valid cluster name: dot-separated labels of lower-case letters, digits, hyphens and underscores that begin and
/// end with a letter or digit, at most 80 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterName(String);

impl ClusterName {
    /// Checks a name; nothing when it is not valid.
    pub fn parse(text: &str) -> Option<Self> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let label = |label: &str| {
            label.starts_with(inner)
                && label.ends_with(inner)
                && label.chars().all(|c| inner(c) || c == '-' || c == '_')
        };
        (text.len() <= LENGTH_LIMIT && text.split('.').all(label)).then(|| Self(text.to_owned()))
    }

    /// The name as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form of host names and, by default, of tags: hyphens instead of underscores.
    pub fn rfc1123(&self) -> String {
        self.0.replace('_', "-")
    }

    /// What host aliases of nodes end in.
    pub fn host_suffix(&self) -> String {
        format!("-{}", self.rfc1123())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_labels() {
        for text in ["edge-7", "a_b.c", "0", "a.b.c", &"a".repeat(80)] {
            assert!(ClusterName::parse(text).is_some(), "{text}");
        }
        for text in ["", "My_Cluster", "-a", "a-", "a..b", ".a", "a b", "é", &"a".repeat(81)] {
            assert!(ClusterName::parse(text).is_none(), "{text}");
        }
    }
}
