//! The project's manifests, as a real API server sees them.

use std::path::Path;

use serde_json::json;

use crate::harness::{
    self, Cluster, Command, PATIENCE, Replica, base_manifests, install, wait_until,
};

#[test]
fn the_api_server_accepts_every_manifest_without_a_warning_about_fields() {
    let cluster = Cluster::shared();
    for object in base_manifests() {
        let answer = cluster.api().validate(&object);
        assert!(answer.is_ok(), "{}: {answer:?}", harness::path_of(&object));
    }
}

#[test]
fn the_deployment_runs_where_pods_must_be_restricted() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("restricted");
    let enforce = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let object = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace.name, "labels": enforce},
    });
    cluster.api().apply(&object).expect("labels of an own namespace");
    install(&namespace);
    let deployment = base_manifests().into_iter().find(|object| object["kind"] == "Deployment");

    namespace.apply(deployment.expect("there is one"));

    namespace.running_pods(harness::NAME, 1);
}

#[test]
fn a_replica_has_the_variables_user_and_file_system_of_its_manifest() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("kubelet");
    let template = install(&namespace);
    let report = r#"
        echo "$DD_POD_NAME $DD_KUBE_RESOURCES_NAMESPACE $(cat /proc/sys/kernel/hostname)"
        echo "user $(id -u), token of ${#DD_CLUSTER_AGENT_AUTH_TOKEN} characters"
        touch /etc/datadog-agent/x 2>/dev/null || echo "root is read-only"
        touch /tmp/x /opt/datadog-agent/run/x && echo "volumes are not"
        cat /var/run/secrets/kubernetes.io/serviceaccount/namespace && echo && echo end
        sleep 600
    "#;
    let command = Command { program: Path::new("/bin/sh"), arguments: &["-c", report] };

    let mut replica = Replica::start(&namespace, "agent-0", &template, &command);

    let log = wait_until(PATIENCE, "report of the replica", || {
        replica.process().alive()?;
        let log = replica.process().log();
        if log.ends_with("end\n") { Ok(log) } else { Err(log) }
    });
    let name = &namespace.name;
    let expected = format!(
        "agent-0 {name} agent-0\nuser 65532, token of 32 characters\nroot is read-only\nvolumes are not\n{name}\nend\n"
    );
    assert_eq!(log, expected);
    let address = json!([replica.address().to_string()]);
    wait_until(PATIENCE, "endpoint of the replica", || {
        let endpoints = namespace.endpoints(harness::NAME).map_err(|error| error.to_string())?;
        match endpoints.iter().find(|endpoint| endpoint["addresses"] == address) {
            Some(endpoint) if endpoint["targetRef"]["name"] == "agent-0" => Ok(()),
            _ => Err(format!("{address} is not in {endpoints:?}")),
        }
    });
}
