//! `diagnose`: a verdict for each thing the agent needs, and what would mend it.

use std::process::Command;

use crate::program::{binary, command, said};
use crate::receiver::{ArchiveReceiver, found};
use crate::support::api_server::Server;
use crate::support::scratch::Scratch;

fn diagnose(directory: &Scratch, url: &str, words: &[&str]) -> Command {
    let mut command = command(binary(), &["diagnose"]);
    command.args(words).arg("-c").arg(directory.path());
    command.env("DD_DD_URL", url).env("DD_DISABLE_FILE_LOGGING", "true");
    command.env("DD_AUTH_TOKEN_FILE_PATH", directory.path().join("auth_token"));
    command.env("TMPDIR", directory.path());
    command
}

#[test]
fn what_works_passes_with_its_way() {
    let server = Server::start_plain();
    let directory = Scratch::new();
    let kubeconfig = server.write_kubeconfig(directory.path());
    let intake = ArchiveReceiver::start(vec![found()]);
    let mut command = diagnose(&directory, &intake.url(), &[]);
    let said = said(command.env("DD_KUBERNETES_KUBECONFIG_PATH", &kubeconfig));
    assert_eq!((said.code, said.errors.as_str()), (Some(0), ""));
    let text = &said.output;
    assert!(
        text.starts_with("=== Starting diagnose ===\n==============\nSuite: connectivity-datadog"),
        "{text}"
    );
    for expected in [
        format!("  PASS [Endpoints] {}\n  Diagnosis: answered 200 in ", intake.url()),
        " ms, directly\n".to_owned(),
        "  PASS [Kubernetes] API server\n".to_owned(),
        "  PASS [Kubernetes] get/list/watch nodes\n  Diagnosis: allowed\n".to_owned(),
        "  PASS [Directories] flares\n".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected}\n--\n{text}");
    }
    assert!(!text.contains("FAIL"), "{text}");
}

#[test]
fn what_does_not_work_comes_with_a_remedy_and_no_password() {
    let directory = Scratch::new();
    let mut command = diagnose(&directory, "http://intake.example.test", &[]);
    command.env("DD_PROXY_HTTP", "http://user:p4ssw0rd99@127.0.0.1:9").env("TMPDIR", "/proc/none");
    let said = said(&mut command);
    assert_eq!(said.code, Some(0), "{said:?}");
    let text = &said.output;
    for expected in [
        "  FAIL [Endpoints] http://intake.example.test\n  Diagnosis: no answer through the proxy http://*****:********@127.0.0.1:9: ",
        "  FAIL [Kubernetes] API server\n",
        "  WARNING [Directories] flares\n  Diagnosis: /proc/none cannot be written to\n  \
         Remediation: mount an emptyDir on /proc/none\n",
        "Remediation: run in a pod with a service account",
    ] {
        assert!(text.contains(expected), "{expected}\n--\n{text}");
    }
    assert!(!text.contains("p4ssw0rd99"), "{text}");
}

#[test]
fn a_denied_verb_is_named_with_the_rule_that_is_missing() {
    let server = Server::start_plain();
    server.faults().deny("watch", "nodes");
    let directory = Scratch::new();
    let kubeconfig = server.write_kubeconfig(directory.path());
    let mut command = diagnose(&directory, "http://127.0.0.1:9", &["--include", "permissions"]);
    let said = said(command.env("DD_KUBERNETES_KUBECONFIG_PATH", &kubeconfig));
    let text = &said.output;
    assert!(!text.contains("Suite: connectivity"), "{text}");
    let expected = "  FAIL [Kubernetes] get/list/watch nodes\n  Diagnosis: watch is denied: no labels of nodes, \
                    no map of services\n  Remediation: grant apiGroups [\"\"] resources [\"nodes\"] verbs \
                    [\"watch\"] to the service account\n";
    assert!(text.contains(expected), "{text}");
}
