//! Node Agents get the services of their pods, from a cluster whose own controllers make these.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::harness::{Cluster, NODES, Namespace, PATIENCE, wait_until};
use crate::mapping::{self, Source};
use crate::support::metadata_stream::Known;

/// A change of the API's objects is at the node Agents within this time.
const FRESH: Duration = Duration::from_secs(2);
/// … and on their streams within this.
const STREAM_FRESH: Duration = Duration::from_secs(1);

#[test]
fn node_answers_equal_the_clusters_endpoint_slices() {
    answers_equal(Source::EndpointSlices, "true");
}

#[test]
fn node_answers_equal_the_clusters_endpoints() {
    answers_equal(Source::Endpoints, "false");
}

fn answers_equal(source: Source, use_slices: &str) {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("shop");
    shop(&namespace);

    // A proxy that nobody serves: traffic inside the cluster does not go there.
    let proxy = format!("http://{}:9", cluster.network().test_process());
    let mut agent = Agent::install(
        &namespace,
        &[
            ("DD_KUBERNETES_USE_ENDPOINT_SLICES", use_slices),
            ("DD_PROXY_HTTPS", &proxy),
            ("HTTPS_PROXY", &proxy),
        ],
    );
    agent.wait_for("/api/v1/tags/pod/node-a");

    // Other tests change the same cluster, so both sides are read again until they agree.
    wait_until(PATIENCE, "agreement with the API", || agrees(cluster, &agent, source));
    let of_shop = services(&agent, NODES[0]).expect("it has just answered");
    let of_shop =
        of_shop[&namespace.name].as_object().expect("the first node has pods of the shop");
    assert!(of_shop.contains_key("pinned"), "{of_shop:?}");
    assert_eq!(of_shop["pinned"], json!({"cart": {}, "everything": {}}));
}

#[test]
fn changes_are_at_the_node_within_two_seconds() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("changes");
    shop(&namespace);
    let mut agent = Agent::install(&namespace, &[]);
    agent.wait_for("/api/v1/tags/pod/node-a");
    let source = Source::EndpointSlices;
    wait_until(PATIENCE, "agreement with the API", || agrees(cluster, &agent, source));

    namespace.deployment("cart", 5);
    // The pinned pod is labelled `app: cart` too.
    follows(&namespace, &agent, "cart", 6);

    namespace.deployment("cart", 1);
    follows(&namespace, &agent, "cart", 2);

    namespace.api().delete(&namespace.path("Service", "everything")).expect("it is there");
    follows(&namespace, &agent, "everything", 0);

    // A pod moves: same name, other node.
    namespace.api().delete(&namespace.path("Pod", "pinned")).expect("it is there");
    wait_until(PATIENCE, "end of the pod", || {
        match namespace.api().get(&namespace.path("Pod", "pinned")) {
            Err(_) => Ok(()),
            Ok(pod) => Err(pod["status"].to_string()),
        }
    });
    pinned(&namespace, NODES[1]);
    follows(&namespace, &agent, "cart", 2);
    let moved = |node| services(&agent, node).expect("it has just answered");
    assert_eq!(moved(NODES[0])[&namespace.name]["pinned"], Value::Null);
    assert_eq!(moved(NODES[1])[&namespace.name]["pinned"], json!({"cart": {}}));
}

#[test]
fn a_stream_has_the_full_state_and_then_each_change_within_a_second() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("stream");
    shop(&namespace);
    let mut agent = Agent::install(&namespace, &[]);
    agent.wait_for("/api/v1/tags/pod/node-a");
    let name = &namespace.name;
    let mut stream = agent.stream(NODES[0]).expect("the port is open");
    let mut known = Known::default();
    stream.learn(&mut known, PATIENCE, |known| {
        known.complete && known.services(name, "pinned") == ["cart", "everything"]
    });
    assert!(known.namespaces.contains_key(name) && known.namespaces.contains_key("kube-system"));

    namespace.service("late", "cart");
    endpoints_of(&namespace, "late", 3);
    stream.learn(&mut known, STREAM_FRESH, |known| {
        known.services(name, "pinned") == ["cart", "everything", "late"]
    });

    namespace.api().delete(&namespace.path("Pod", "pinned")).expect("it is there");
    endpoints_of(&namespace, "late", 2);
    stream.learn(&mut known, STREAM_FRESH, |known| known.services(name, "pinned").is_empty());
}

/// Waits until the API's own slices have `count` pods behind `service`.
#[track_caller]
fn endpoints_of(namespace: &Namespace<'_>, service: &str, count: usize) {
    wait_until(PATIENCE, "change of the slices", || {
        let found = namespace.endpoints(service).map_err(|error| error.to_string())?.len();
        if found == count { Ok(()) } else { Err(format!("{service} has {found} endpoints")) }
    });
}

/// Waits until the API's own slices have `count` pods behind `service`, then holds the program to its time.
#[track_caller]
fn follows(namespace: &Namespace<'_>, agent: &Agent<'_>, service: &str, count: usize) {
    let of_namespace = |all: Vec<Value>| -> Vec<Value> {
        all.into_iter().map(|mut services| services[&namespace.name].take()).collect()
    };
    endpoints_of(namespace, service, count);
    let changed = Instant::now();
    let slices = mapping::by_node(namespace.api(), Source::EndpointSlices);
    let mut slices = slices.expect("it has just answered");
    let wanted = of_namespace(NODES.map(|node| slices.remove(node).unwrap_or_default()).to_vec());
    wait_until(FRESH, "change at the node Agents", || {
        let answers: Result<Vec<Value>, String> =
            NODES.iter().map(|node| services(agent, node)).collect();
        let answers = of_namespace(answers?);
        if answers == wanted { Ok(()) } else { Err(format!("{answers:?}, not {wanted:?}")) }
    });
    println!("{service}: {count} endpoints after {} ms", changed.elapsed().as_millis());
}

/// Every node's answer equals what the API's objects give now.
fn agrees(cluster: &Cluster, agent: &Agent<'_>, source: Source) -> Result<(), String> {
    let mut expected =
        mapping::by_node(cluster.api(), source).map_err(|error| error.to_string())?;
    for node in NODES {
        let expected = expected.remove(node).unwrap_or_else(|| json!({}));
        let answer = agent.get(&format!("/api/v1/tags/pod/{node}"))?;
        let wanted = json!({"Nodes": {node: {"services": expected}}});
        if answer != wanted {
            return Err(format!("{node}: {answer}, not {wanted}"));
        }
    }
    Ok(())
}

/// Services of the pods of `node`, as the program answers.
fn services(agent: &Agent<'_>, node: &str) -> Result<Value, String> {
    let mut answer = agent.get(&format!("/api/v1/tags/pod/{node}"))?;
    match answer["Nodes"][node]["services"].take() {
        Value::Null => Err(format!("no services in {answer}")),
        services => Ok(services),
    }
}

/// Three Deployments, a pod on a certain node, and Services that overlap.
fn shop(namespace: &Namespace<'_>) {
    for (name, replicas) in [("cart", 2), ("search", 3), ("batch", 1)] {
        namespace.deployment(name, replicas);
    }
    pinned(namespace, NODES[0]);
    namespace.service("cart", "cart");
    namespace.service("search", "search");
    namespace.service("search-internal", "search");
    namespace.service("everything", "cart");
    namespace.service("nothing", "nobody");
    namespace.running_pods("cart", 3);
    namespace.running_pods("search", 3);
}

/// The pod `pinned`, labelled `app: cart`, on `node`.
fn pinned(namespace: &Namespace<'_>, node: &str) {
    let mut spec = crate::harness::pod_spec();
    spec["nodeName"] = json!(node);
    namespace.apply(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pinned", "labels": {"app": "cart"}},
        "spec": spec,
    }));
}
