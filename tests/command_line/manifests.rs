//! The manifests as files: what an overlay names is there, and the policy lets the traffic through that is needed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

fn document(path: &Path) -> Value {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn deploy_28_the_policy_lists_every_port() {
    let policy = document(&manifests().join("components/network-policy/networkpolicy.yaml"));
    let ports = |direction: &str| {
        let rules = policy["spec"][direction].as_array().cloned().unwrap_or_default();
        let ports =
            rules.iter().flat_map(|rule| rule["ports"].as_array().cloned().unwrap_or_default());
        ports
            .map(|port| format!("{} {}", port["protocol"].as_str().unwrap_or(""), port["port"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(ports("ingress"), ["TCP 5005", "TCP 5000", "TCP 8443"]);
    assert_eq!(ports("egress"), ["UDP 53", "TCP 53", "TCP 443", "TCP 6443", "TCP 5005"]);
}

#[test]
fn every_overlay_names_files_that_are_there() {
    let mut overlays = 0;
    for parent in ["overlays", "components"] {
        for entry in fs::read_dir(manifests().join(parent)).expect("it is there").flatten() {
            let kustomization = document(&entry.path().join("kustomization.yaml"));
            for list in ["resources", "components"] {
                for name in kustomization[list].as_array().into_iter().flatten() {
                    let path = entry.path().join(name.as_str().expect("it is a path"));
                    assert!(path.exists(), "{}", path.display());
                }
            }
            overlays += usize::from(parent == "overlays");
        }
    }
    assert_eq!(overlays, 4);
}
