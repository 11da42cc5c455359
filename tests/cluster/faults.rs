//! The control plane breaks, and node Agents notice nothing but a delay.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::harness::{ApiError, Cluster, NAME, Namespace, PATIENCE, wait_until};

/// How long the API server stays away: several rounds of any retry, yet bearable in every run.
const OUTAGE: Duration = Duration::from_secs(20);

/// How long a component says nothing, with its connections open; longer than node Agents wait for an answer.
const STANDSTILL: Duration = Duration::from_secs(12);

/// The node that all pods of these tests are on.
const NODE: &str = "node-a";

#[test]
fn answers_stay_while_the_api_server_is_away_and_catch_up_when_it_is_back() {
    let cluster = Cluster::own();
    let namespace = cluster.namespace("outage");
    two_services(&namespace);
    let mut agent = Agent::install(&namespace, &[]);
    let before = settled(&mut agent, &namespace, json!({"a": {"a": {}}, "b": {"b": {}}}));

    cluster.control_plane().api_server.kill();
    stays(&agent, &before, OUTAGE);
    cluster.control_plane().api_server.restart();
    cluster.wait_ready();

    remove(&namespace, "b");
    settled(&mut agent, &namespace, json!({"a": {"a": {}}}));
    agent.replica.process().alive().expect("no restart was needed");
}

#[test]
fn answers_stay_while_etcd_or_the_api_server_stands_still() {
    let cluster = Cluster::own();
    let namespace = cluster.namespace("still");
    two_services(&namespace);
    let mut agent = Agent::install(&namespace, &[]);
    let before = settled(&mut agent, &namespace, json!({"a": {"a": {}}, "b": {"b": {}}}));

    let control_plane = cluster.control_plane();
    for component in [&control_plane.etcd, &control_plane.api_server] {
        component.freeze();
        stays(&agent, &before, STANDSTILL);
        component.thaw();
        cluster.wait_ready();
    }

    remove(&namespace, "b");
    settled(&mut agent, &namespace, json!({"a": {"a": {}}}));
}

#[test]
fn node_api_21_a_relist_after_410_drops_what_is_gone_and_never_the_rest() {
    let cluster = Cluster::own();
    let namespace = cluster.namespace("expired");
    two_services(&namespace);
    let mut agent = Agent::install(&namespace, &[]);
    settled(&mut agent, &namespace, json!({"a": {"a": {}}, "b": {"b": {}}}));
    let lists = lists_of_slices(&cluster, &namespace);

    // First the connection ends: what is in a socket's buffer would still reach a process that stands still.
    let control_plane = cluster.control_plane();
    control_plane.api_server.kill();
    agent.replica.process().freeze();
    control_plane.api_server.restart();
    cluster.wait_ready();
    remove(&namespace, "b");
    cluster.compact();
    control_plane.api_server.restart();
    cluster.wait_ready();
    agent.replica.process().thaw();

    let gone = wait_until(PATIENCE, "answer without the pod", || {
        let found = pods(&agent, &namespace)?;
        assert_eq!(found["a"], json!({"a": {}}), "what was not changed is missing for a moment");
        if found["b"].is_null() { Ok(found) } else { Err(found.to_string()) }
    });
    assert_eq!(gone, json!({"a": {"a": {}}}));
    let relists = lists_of_slices(&cluster, &namespace);
    assert!(relists > lists, "it resumed its watch, so this test has tested nothing");
}

#[test]
fn rights_that_are_taken_away_and_given_back_heal_by_themselves() {
    let cluster = Cluster::own();
    let namespace = cluster.namespace("rights");
    two_services(&namespace);
    let mut agent = Agent::install(&namespace, &[]);
    let before = settled(&mut agent, &namespace, json!({"a": {"a": {}}, "b": {"b": {}}}));
    let binding =
        format!("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{NAME}-{}", namespace.name);
    let mut rights = cluster.api().get(&binding).expect("the manifests bind it");

    cluster.api().delete(&binding).expect("it is there");
    // Open watches outlive their rights; the restart makes the program ask again.
    cluster.control_plane().api_server.restart();
    cluster.wait_ready();
    wait_until(PATIENCE, "refused request of the program", || {
        let refused = requests(&cluster, &namespace).into_iter().any(|event| {
            event["responseStatus"]["code"] == 403
                && event["objectRef"]["resource"] == "endpointslices"
        });
        if refused { Ok(()) } else { Err("none yet") }
    });
    stays(&agent, &before, Duration::from_secs(3));

    rights["metadata"] = json!({"name": rights["metadata"]["name"]});
    cluster.api().apply(&rights).expect("it is gone");
    remove(&namespace, "b");
    settled(&mut agent, &namespace, json!({"a": {"a": {}}}));
}

#[test]
fn rights_that_come_late_need_no_restart() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("late");
    two_services(&namespace);
    let mut agent = Agent::install(&namespace, &[]);
    let path = format!("/api/v1/tags/pod/{NODE}");
    agent.wait_for("/version");
    let binding =
        format!("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{NAME}-{}", namespace.name);
    let mut rights = cluster.api().get(&binding).expect("the manifests bind it");
    // Taken away before the process has started again.
    cluster.api().delete(&binding).expect("it is there");
    wait_until(PATIENCE, "refusal of the service account", || {
        match cluster.api_as(agent.replica.token()).get("/api/v1/nodes") {
            Err(ApiError::Refused(403, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    agent.replica.restart();
    wait_until(PATIENCE, "503 without rights", || match agent.ask(&path)? {
        (503, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });

    rights["metadata"] = json!({"name": rights["metadata"]["name"]});
    cluster.api().apply(&rights).expect("it is gone");
    settled(&mut agent, &namespace, json!({"a": {"a": {}}, "b": {"b": {}}}));
}

#[test]
fn a_rotated_token_is_used_without_a_restart() {
    let cluster = Cluster::own();
    let namespace = cluster.namespace("token");
    let mut agent = Agent::install(&namespace, &[]);
    agent.wait_for(&format!("/api/v1/tags/pod/{NODE}"));

    agent.replica.rotate_token().expect("the API server is there");
    // Open watches keep the user that they began with. The new ones are refused with the token that has ended.
    cluster.control_plane().api_server.restart();
    cluster.wait_ready();

    let id = json!([token_id(&agent.replica.token())]);
    wait_until(PATIENCE, "request with the new token", || {
        let used = requests(&cluster, &namespace).into_iter().any(|event| {
            event["user"]["extra"]["authentication.kubernetes.io/credential-id"] == id
        });
        if used { Ok(()) } else { Err("none in the audit log") }
    });
}

#[test]
fn the_manifests_grant_all_that_the_program_asks_for() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("rbac");
    let mut agent = Agent::install(&namespace, &[]);
    agent.wait_for(&format!("/api/v1/tags/pod/{NODE}"));
    agent.wait_for("/api/v1/cluster/id");

    let refused: Vec<Value> = requests(cluster, &namespace)
        .into_iter()
        .filter(|event| event["responseStatus"]["code"] == 403)
        .map(|event| json!([event["verb"], event["requestURI"]]))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// Services `a` and `b` with a pod of their name on [`NODE`], as objects that the test writes itself: so nothing has to
/// wait for the controllers, which take half a minute to get over an outage. In both forms, as the controllers would:
/// where rights come back between two requests, the program may read either.
fn two_services(namespace: &Namespace<'_>) {
    for name in ["a", "b"] {
        let pod = json!({"kind": "Pod", "namespace": namespace.name, "name": name});
        namespace.apply(json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": name},
            "subsets": [{"addresses": [{"ip": "10.244.9.9", "nodeName": NODE, "targetRef": pod}]}],
        }));
        namespace.apply(json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.244.9.9"], "nodeName": NODE, "targetRef": pod}],
        }));
    }
}

/// Takes a service away.
#[track_caller]
fn remove(namespace: &Namespace<'_>, service: &str) {
    for kind in ["EndpointSlice", "Endpoints"] {
        namespace.api().delete(&namespace.path(kind, service)).expect("it is there");
    }
}

/// Waits until the program answers `wanted` for the pods `a` and `b`.
#[track_caller]
fn settled(agent: &mut Agent<'_>, namespace: &Namespace<'_>, wanted: Value) -> Value {
    agent.wait_for(&format!("/api/v1/tags/pod/{NODE}"));
    wait_until(PATIENCE, "answer as the cluster is", || {
        let found = pods(agent, namespace)?;
        if found == wanted { Ok(()) } else { Err(found.to_string()) }
    });
    agent.get(&format!("/api/v1/tags/pod/{NODE}")).expect("it has just answered")
}

/// The program answers `expected`, and nothing else, for `duration`.
#[track_caller]
fn stays(agent: &Agent<'_>, expected: &Value, duration: Duration) {
    let started = Instant::now();
    while started.elapsed() < duration {
        let answer = agent.get(&format!("/api/v1/tags/pod/{NODE}"));
        assert_eq!(answer.as_ref(), Ok(expected), "after {} s", started.elapsed().as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Services of the pods of the test's namespace, without the program's own.
fn pods(agent: &Agent<'_>, namespace: &Namespace<'_>) -> Result<Value, String> {
    let mut answer = agent.get(&format!("/api/v1/tags/pod/{NODE}"))?;
    let mut pods = answer["Nodes"][NODE]["services"][&namespace.name].take();
    if let Some(pods) = pods.as_object_mut() {
        pods.remove("agent-0");
    }
    Ok(pods)
}

/// Finished requests of the program's service account.
fn requests(cluster: &Cluster, namespace: &Namespace<'_>) -> Vec<Value> {
    let user = json!(format!("system:serviceaccount:{}:{NAME}", namespace.name));
    cluster.audit_log().into_iter().filter(|event| event["user"]["username"] == user).collect()
}

fn lists_of_slices(cluster: &Cluster, namespace: &Namespace<'_>) -> usize {
    let is_list = |event: &&Value| {
        event["verb"] == "list" && event["objectRef"]["resource"] == "endpointslices"
    };
    requests(cluster, namespace).iter().filter(is_list).count()
}

/// What the audit log calls a service-account token.
fn token_id(token: &str) -> String {
    let claims = token.split('.').nth(1).expect("a token has three parts");
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).expect("claims are base64");
    let claims: Value = serde_json::from_slice(&claims).expect("claims are JSON");
    format!("JTI={}", claims["jti"].as_str().expect("each token has an id"))
}
