//! Cluster checks and endpoint checks: sources, templates, identity and assignment (spec cluster-checks).

pub mod annotations;
pub mod assignment;
pub mod catalog;
pub mod configuration;
pub mod dispatch;
pub mod files;
pub mod identity;
pub mod owner;
pub mod patch;
pub mod report;
pub mod template;
pub mod yaml_text;
