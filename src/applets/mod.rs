//! What a shell-less image must still answer (spec deploy §4): programs that other people's manifests call by name.
//!
//! An applet reads no configuration, opens no socket, starts no thread and does not log.

pub mod copy;
