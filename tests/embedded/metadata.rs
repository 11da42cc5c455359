//! What node Agents are told follows the cluster, over REST and over the stream.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::stage::{Stage, expect_services};
use crate::support::api_server::{Fault, Requests};
use crate::support::metadata_stream::{Known, MetadataStream};
use crate::support::program::{PATIENCE, Program, SHARED_TOKEN, Settings};

/// Changes have to arrive within a second or two on an idle machine; tests share theirs.
const PROMPT: Duration = Duration::from_secs(20);

fn stream(program: &Program, node: &str) -> (MetadataStream, Known) {
    let mut stream = MetadataStream::open(program.address(), SHARED_TOKEN, node)
        .expect("the program accepts streams");
    let mut known = Known::default();
    stream.learn(&mut known, PATIENCE, |known| known.complete);
    (stream, known)
}

#[test]
fn both_ways_give_the_pods_and_services_of_the_asked_node() {
    let stage = Stage::new();
    stage.server.add_service("shop", "cart-headless", "cart");
    stage.wait_for_endpoints("cart-headless", 2);
    let program = stage.start();
    let [first, second] = &stage.pods[..] else { panic!("the stage has two pods") };
    let services = json!({"cart": {}, "cart-headless": {}});
    expect_services(&program, "node-a", &json!({"shop": {first: services}}));
    expect_services(&program, "node-b", &json!({"shop": {second: services}}));

    let (_, known) = stream(&program, "node-a");
    assert_eq!(known.services("shop", first), ["cart", "cart-headless"]);
    assert!(known.services("shop", second).is_empty());
    assert_eq!(known.namespaces["shop"]["team"], "web");
    assert!(known.namespaces.contains_key("kube-system"), "all namespaces are told: {known:?}");
}

#[test]
fn node_api_13_before_the_sync_nothing_is_answered_but_the_version() {
    let stage = Stage::new();
    stage.server.faults().add(Requests::of("list", ""), Fault::Stall, None);
    let program = stage.start_with(&Settings::default());
    let mut agent = program.node_agent();
    for path in ["/api/v1/tags/pod/node-a", "/api/v1/tags/pod/node-b", "/api/v1/tags/pod/ghost"] {
        let answer = agent.get(path).expect("the program answers");
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
    }
    assert_eq!(agent.json("/version")["Major"], 7);
    let open = MetadataStream::open(program.address(), SHARED_TOKEN, "node-a");
    let mut open = open.expect("a stream is held open meanwhile");

    stage.server.faults().clear();
    stage.server.drop_connections();
    program.wait_synced();
    let mut known = Known::default();
    open.learn(&mut known, PATIENCE, |known| known.complete);
    assert_eq!(known.services("shop", &stage.pods[0]), ["cart"]);
}

#[test]
fn changes_arrive_at_both_agents() {
    let stage = Stage::new();
    let program = stage.start();
    let (mut stream, mut known) = stream(&program, "node-b");
    let (first, second) = (&stage.pods[0], &stage.pods[1]);

    // A further service: the whole list of its pod is told.
    stage.server.add_service("shop", "canary", "cart");
    stream.learn(&mut known, PROMPT, |known| known.services("shop", second) == ["canary", "cart"]);
    expect_services(&program, "node-a", &json!({"shop": {first: {"canary": {}, "cart": {}}}}));

    // A pod moves: gone here, present there.
    let moved = stage.server.move_pod("shop", first, "node-b");
    stream.learn(&mut known, PROMPT, |known| known.services("shop", &moved) == ["canary", "cart"]);
    expect_services(&program, "node-a", &json!({}));

    // A service is deleted: its name goes, the pods stay.
    stage.server.delete("services", "shop", "canary");
    stream.learn(&mut known, PROMPT, |known| {
        known.services("shop", second) == ["cart"] && known.services("shop", &moved) == ["cart"]
    });

    // An unready pod keeps its services; the Agent itself judges readiness.
    stage.server.set_ready("shop", second, false);
    // The last pods go.
    stage.server.delete("pods", "shop", &moved);
    stream.learn(&mut known, PROMPT, |known| known.services("shop", &moved).is_empty());
    expect_services(&program, "node-b", &json!({"shop": {second: {"cart": {}}}}));

    stage.server.add_namespace("extra", json!({"env": "prod"}));
    stream.learn(&mut known, PROMPT, |known| known.namespaces.contains_key("extra"));
    let namespace = program.node_agent().json("/api/v1/metadata/namespace/extra");
    assert_eq!(namespace["Labels"]["env"], "prod");
}

#[test]
fn a_change_is_told_on_the_stream_within_a_second() {
    let stage = Stage::new();
    let program = stage.start();
    let (mut stream, mut known) = stream(&program, "node-a");
    // The best of a few is the program's own time; the others are the loaded machine's.
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        let pod = stage.server.add_pod("shop", "cart", "node-a");
        stream.learn(&mut known, PROMPT, |known| !known.services("shop", &pod).is_empty());
        best = best.min(start.elapsed());
    }
    assert!(best < Duration::from_secs(1), "{best:?}");
}

#[test]
fn node_labels_annotations_and_unknown_nodes_are_answered() {
    let stage = Stage::new();
    let program = stage.start();
    let mut agent = program.node_agent();
    let labels = agent.json("/api/v1/tags/node/node-a");
    assert_eq!(labels["kubernetes.io/hostname"], "node-a");
    assert_eq!(agent.json("/api/v1/annotations/node/node-a"), json!({}));
    stage.server.edit("nodes", "", "node-a", |node| {
        node["metadata"]["labels"]["zone"] = json!("eu-1");
        node["metadata"]["annotations"]["cluster.k8s.io/machine"] = json!("m-1");
    });
    crate::support::wait::until("the node's changes arrive", PATIENCE, || {
        agent.json("/api/v1/tags/node/node-a")["zone"] == "eu-1"
    });
    let annotations = agent.json("/api/v1/annotations/node/node-a");
    assert_eq!(annotations, json!({"cluster.k8s.io/machine": "m-1"}));
    let ghost = agent.json("/api/v1/tags/pod/ghost");
    assert!(ghost.get("Nodes").is_none(), "{ghost}");
    assert!(ghost["Warnings"][0].as_str().is_some_and(|text| text.contains("ghost")), "{ghost}");
}

#[test]
fn slices_are_read_where_the_configuration_wants_them() {
    let stage = Stage::new();
    let settings = Settings::default().set("DD_KUBERNETES_USE_ENDPOINT_SLICES", "true");
    let program = stage.start_with(&settings);
    expect_services(&program, "node-a", &json!({"shop": {stage.pods[0].clone(): {"cart": {}}}}));
    let added = stage.server.add_pod("shop", "cart", "node-a");
    let pods = json!({stage.pods[0].clone(): {"cart": {}}, added: {"cart": {}}});
    expect_services(&program, "node-a", &json!({"shop": pods}));
    let log = stage.server.log();
    assert!(log.iter().any(|request| request.target.contains("/endpointslices")));
    assert!(!log.iter().any(|request| request.target.contains("/endpoints?")));
}
