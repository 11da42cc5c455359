//! Takes down everything of one cluster when its owner is gone, however it went.
//!
//! A shell, started before the first namespace is made, reads a pipe whose other end only the test process
//! holds. When that closes (the cluster is dropped, the run ends, panics, or is killed with SIGKILL), the shell
//! kills the processes inside the cluster's network namespaces, by the ids the kernel lists for these, and
//! removes the namespaces and the cluster's directory. Nothing is ever looked up by name.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Arguments: prefix of the namespace names, directory. Two rounds, because a process that is being started
/// while the first list is read would be missed.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
read -r _
for round in 1 2; do
    for namespace in $(ip netns list | cut -d' ' -f1 | grep -F -- "$1"); do
        case $namespace in "$1"*) ;; *) continue ;; esac
        ip netns pids "$namespace" | xargs -r kill -9
        [ $round = 1 ] || ip netns delete "$namespace"
    done
done
[ -n "${CLUSTER_AGENT_KEEP:-}" ] || rm -rf "$2"
"#;

/// Holds the pipe of one cluster's shell; dropping it takes the cluster down and waits until that is done.
pub struct Reaper {
    shell: Child,
}

impl Reaper {
    /// Watches over namespaces whose names start with `prefix`, and over `directory`.
    pub fn start(prefix: &str, directory: &Path) -> Self {
        let shell = command(prefix, directory)
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh is there on every system that has network namespaces");
        Self { shell }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Takes down what a run left behind whose reaper was killed too.
pub fn reap_now(prefix: &str, directory: &Path) {
    let _ = command(prefix, directory).stdin(Stdio::null()).status();
}

fn command(prefix: &str, directory: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "reaper", prefix]).arg(directory);
    // A group of its own, so that Ctrl-C in a terminal reaches the tests but not the one who cleans up; no
    // inherited output, so that a pipe behind the test run ends with it.
    command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
