//! The built program as users, scripts and manifests call it: names, flags, texts and exit codes (spec cli).
//!
//! Every call starts from an empty environment, so that nothing of the machine's own configuration gets in. `answers`
//! runs commands against a scripted agent, `running` against the program itself.

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod answers;
mod applets;
mod diagnose;
mod flare;
mod manifests;
mod program;
mod receiver;
mod running;
mod usage;
