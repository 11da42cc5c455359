//! What this layer needs from the machine; whatever is missing is one clear sentence at the first test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Directory of the control plane's programs; panics with what is missing.
pub fn programs() -> &'static Path {
    static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(check);
    &PROGRAMS
}

fn check() -> PathBuf {
    if let Err(missing) = network_namespaces() {
        panic!(
            "the tests on a real control plane need {missing}; \
             leave them out on purpose with: scripts/test --without-cluster"
        );
    }
    let build = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/build");
    let output = Command::new(build)
        .arg("--directory")
        .output()
        .unwrap_or_else(|error| panic!("{build}: {error}"));
    let directory = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    assert!(
        directory.is_dir(),
        "the control plane is not built yet: run tests/cluster/build once (6 to 15 minutes), \
         or leave this layer out on purpose with: scripts/test --without-cluster"
    );
    directory
}

/// Tries what the harness is about to do; a look at the user's id would not know about capabilities.
fn network_namespaces() -> Result<(), String> {
    let name = format!("cluster-agent-probe-{}", std::process::id());
    let made = Command::new("ip").args(["netns", "add", &name]).output();
    let _ = Command::new("ip").args(["netns", "delete", &name]).output();
    match made {
        Err(_) => Err("the command ip (Debian package iproute2)".to_owned()),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "root and network namespaces (ip netns add: {})",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
