//! Calls the program and collects what it says.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::scratch::Scratch;

/// What one call said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub output: String,
    pub errors: String,
    /// The exit code, `None` after a signal.
    pub code: Option<i32>,
}

/// The built program.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_datadog-cluster-agent"))
}

/// A link to the program under another name, as the image has them.
pub fn link(scratch: &Scratch, name: &str) -> PathBuf {
    let link = scratch.path().join(name);
    symlink(binary(), &link).expect("the directory is ours");
    link
}

/// A call of `program` with an empty environment and no input.
pub fn command(program: &Path, words: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(program);
    command.args(words).env_clear().stdin(Stdio::null());
    command
}

/// Calls the built program under its own name.
pub fn call(words: &[&str]) -> Said {
    said(&mut command(binary(), words))
}

/// Runs a prepared call to its end.
pub fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().expect("the program can be started");
    let text = |bytes| String::from_utf8(bytes).expect("the program speaks UTF-8");
    Said { output: text(stdout), errors: text(stderr), code: status.code() }
}
