//! The version the program shows to clients and users, in one place (spec node-api §4.1, cli §6).
//!
//! Clients choose features by the upstream agent's numbers, so those are fixed; the product's own version stands in the
//! build metadata.

use serde::Serialize;

/// The major number every 7.x client expects.
pub const MAJOR: u32 = 7;

/// Between 55 and 99: from 55 on, clients use `/metadata/namespace`, and no check of theirs looks beyond 99.
pub const MINOR: u32 = 70;

/// The patch number.
pub const PATCH: u32 = 0;

/// The product's own version, as build metadata.
pub const META: &str = concat!("edge-", env!("CARGO_PKG_VERSION"));

/// The commit the binary was built from, where the build knew it.
pub const COMMIT: &str = match option_env!("CLUSTER_AGENT_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The version of the payload format that upstream prints; nothing of ours depends on it.
pub const SERIALIZATION: &str = "5.0.1";

/// The oldest compiler that builds the program.
pub const RUST: &str = env!("CARGO_PKG_RUST_VERSION");

/// The document of `GET /version`; keys and order as in spec node-api §4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    /// [`MAJOR`].
    pub major: u32,
    /// [`MINOR`].
    pub minor: u32,
    /// [`PATCH`].
    pub patch: u32,
    /// Always empty: no release of ours is a pre-release of upstream's.
    pub pre: &'static str,
    /// [`META`].
    pub meta: &'static str,
    /// [`COMMIT`].
    pub commit: &'static str,
}

/// This program's version.
pub const CURRENT: Version =
    Version { major: MAJOR, minor: MINOR, patch: PATCH, pre: "", meta: META, commit: COMMIT };

/// `MAJOR.MINOR.PATCH`, as status page and command line show it.
pub fn number() -> String {
    format!("{MAJOR}.{MINOR}.{PATCH}")
}

/// The one line of the `version` command (spec cli §6).
pub fn line() -> String {
    format!(
        "Cluster Agent {} - Meta: {META} - Commit: {COMMIT} - Serialization version: {SERIALIZATION} - \
         Rust version: {RUST}",
        number()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_capitalised_keys_and_numbers() {
        let document = serde_json::to_value(CURRENT).expect("the version serialises");
        assert_eq!(document["Major"], 7);
        assert_eq!(document["Minor"], 70);
        assert_eq!(document["Meta"], META);
        assert_eq!(document["Pre"], "");
    }

    #[test]
    fn the_line_names_version_build_and_compiler() {
        let line = line();
        assert!(line.starts_with("Cluster Agent 7.70.0 - Meta: edge-"), "{line}");
        assert!(line.ends_with(&format!(" - Rust version: {RUST}")), "{line}");
    }
}
