//! The test bed itself does what the tests on it rely on.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    ApiError, Cluster, Command, NODES, Namespace, PATIENCE, Replica, pod_spec, wait_until,
};

#[test]
fn a_deployment_runs_and_its_endpoints_name_pods_and_nodes() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("shop");
    namespace.deployment("cart", 3);
    namespace.service("cart", "cart");

    let pods = namespace.running_pods("cart", 3);

    let mut expected: Vec<Value> = pods.iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
    expected.sort_by_key(Value::to_string);
    let endpoints = wait_until(PATIENCE, "endpoint for each pod", || {
        let endpoints = namespace.endpoints("cart").map_err(|error| error.to_string())?;
        let mut found: Vec<Value> =
            endpoints.iter().map(|endpoint| endpoint["targetRef"]["uid"].clone()).collect();
        found.sort_by_key(Value::to_string);
        if found == expected { Ok(endpoints) } else { Err(format!("{endpoints:?}")) }
    });
    for endpoint in endpoints {
        assert_eq!(endpoint["targetRef"]["kind"], "Pod");
        assert!(NODES.iter().any(|node| endpoint["nodeName"] == *node), "{endpoint}");
    }
}

#[test]
fn a_cut_link_loses_packets_until_it_is_healed() {
    let cluster = Cluster::shared();
    let actor = cluster.network().attach();
    let nobody_listens = SocketAddr::from((actor.address, 9));
    let connect = || {
        let error = TcpStream::connect_timeout(&nobody_listens, Duration::from_millis(300));
        error.expect_err("nothing listens there").kind()
    };

    let refuses = || match connect() {
        ErrorKind::ConnectionRefused => Ok(()),
        other => Err(other),
    };

    wait_until(PATIENCE, "refusal by the new actor", refuses);
    actor.cut();
    let cut = connect();
    assert!(matches!(cut, ErrorKind::TimedOut | ErrorKind::HostUnreachable), "{cut}");
    actor.heal();
    wait_until(PATIENCE, "refusal by the healed actor", refuses);
}

#[test]
fn a_replica_sees_its_rotated_token_and_has_only_its_rights() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("replica");
    service_account(&namespace);
    let mut spec = pod_spec();
    spec["serviceAccountName"] = json!("watcher");
    let template = json!({"metadata": {"labels": {"app": "watcher"}}, "spec": spec});
    let show =
        "while sleep 0.1; do cat /var/run/secrets/kubernetes.io/serviceaccount/token; echo; done";
    let command = Command { program: Path::new("/bin/sh"), arguments: &["-c", show] };
    let mut replica = Replica::start(&namespace, "watcher-0", &template, &command);
    let first = replica.token();
    wait_until(PATIENCE, "first token in the replica", || seen(&mut replica, &first));

    let api = cluster.api_as(first.clone());
    let pods = namespace.collection("Pod");
    assert_eq!(refusal(api.get(&pods)), Some(403));
    let rights =
        role("watcher", &json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]));
    for object in &rights {
        namespace.apply(object.clone());
    }
    wait_until(PATIENCE, "right to list pods", || api.get(&pods));
    namespace.api().delete(&namespace.path("RoleBinding", "watcher")).expect("it is there");
    wait_until(PATIENCE, "refusal after the binding is gone", || match refusal(api.get(&pods)) {
        Some(403) => Ok(()),
        other => Err(format!("{other:?}")),
    });

    replica.rotate_token().expect("the API server is there");
    let second = replica.token();
    assert_ne!(first, second);
    wait_until(PATIENCE, "second token in the replica", || seen(&mut replica, &second));
}

#[test]
fn the_audit_log_tells_who_asked_for_what() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("audit");
    service_account(&namespace);
    let token =
        namespace.api().token(&namespace.name, "watcher", None).expect("the API server is there");
    let path = namespace.collection("Pod");

    assert_eq!(refusal(cluster.api_as(token).get(&path)), Some(403));

    let user = format!("system:serviceaccount:{}:watcher", namespace.name);
    let event = wait_until(PATIENCE, "line of the refused request", || {
        let log = cluster.audit_log();
        log.into_iter().find(|event| event["user"]["username"] == json!(user)).ok_or("not yet")
    });
    assert_eq!(event["verb"], "list");
    assert_eq!(event["requestURI"], json!(path));
    assert_eq!(event["userAgent"], "testbed");
    assert_eq!(event["responseStatus"]["code"], 403);
}

#[test]
fn an_own_cluster_survives_its_faults() {
    let cluster = Cluster::own();
    let namespace = cluster.namespace("faults");
    namespace.deployment("cart", 1);
    namespace.running_pods("cart", 1);
    let pods = namespace.collection("Pod");

    // A watch from here on is what a compaction makes impossible.
    let old = cluster.api().get(&pods).expect("the API server is there");
    let old = old["metadata"]["resourceVersion"].as_str().expect("a list has one").to_owned();
    namespace.deployment("cart", 2);
    namespace.running_pods("cart", 2);
    cluster.compact();
    cluster.control_plane().api_server.kill();
    let down = cluster.api().get("/readyz");
    assert!(matches!(down, Err(ApiError::Unreachable(_))), "{down:?}");
    cluster.control_plane().api_server.restart();
    cluster.wait_ready();
    let watch =
        cluster.api().get(&format!("{pods}?watch=1&timeoutSeconds=1&resourceVersion={old}"));
    let watch = watch.expect("410 comes inside a watch that was accepted");
    assert_eq!((&watch["type"], &watch["object"]["code"]), (&json!("ERROR"), &json!(410)));

    // Still the same cluster, with the same controllers.
    namespace.deployment("cart", 3);
    namespace.running_pods("cart", 3);

    cluster.control_plane().etcd.freeze();
    wait_until(PATIENCE, "failing health check", || match refusal(cluster.api().get("/livez")) {
        Some(500) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    cluster.control_plane().etcd.thaw();
    wait_until(PATIENCE, "answers after etcd went on", || cluster.api().get(&pods));
}

fn service_account(namespace: &Namespace<'_>) {
    namespace.apply(json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "watcher"},
    }));
}

/// A Role with `rules` and its binding to the service account of the same name.
fn role(name: &str, rules: &Value) -> [Value; 2] {
    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    [
        json!({"apiVersion": version, "kind": "Role", "metadata": {"name": name}, "rules": rules}),
        json!({
            "apiVersion": version,
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name}],
        }),
    ]
}

fn refusal(answer: Result<Value, ApiError>) -> Option<u16> {
    match answer {
        Err(ApiError::Refused(status, _)) => Some(status),
        _ => None,
    }
}

fn seen(replica: &mut Replica<'_>, token: &str) -> Result<(), String> {
    replica.process().alive()?;
    let log = replica.process().log();
    if log.lines().any(|line| line == token) { Ok(()) } else { Err(log) }
}
