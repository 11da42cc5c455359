//! The data routes, to the byte.

use serde_json::Value;
use tiny_http::Method;

use super::*;

#[test]
fn node_api_01_the_version_has_numbers_that_clients_accept() {
    let answer = Fixture::unsynced().get("/version");
    assert_eq!((answer.status, &*answer.headers["content-type"]), (200, "application/json"));
    let version: Value = serde_json::from_str(&answer.body).expect("the body is JSON");
    assert_eq!(version["Major"].as_u64(), Some(7));
    assert!(version["Minor"].as_u64().is_some_and(|minor| (55..100).contains(&minor)));
    assert!(version["Patch"].is_u64());
}

#[test]
fn node_api_06_the_first_route_for_pods_still_works() {
    let fixture = Fixture::synced();
    let target = "/api/v1/metadata/node-a/shop/cart-1";
    let answer = fixture.get(target);
    assert_eq!((answer.status, &*answer.body), (200, r#"["kube_service:cart"]"#));
    assert_eq!(fixture.send(&request(Method::Get, target, "wrong")).status, 403);
}

#[test]
fn node_api_07_the_map_of_all_nodes_is_for_the_command_line() {
    let fixture = Fixture::synced();
    for target in ["/api/v1/tags/pod", "/api/v1/metadata"] {
        assert_eq!(fixture.get(target).status, 403);
        let answer = fixture.get_local(target);
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.body,
            r#"{"Nodes":{"node-a":{"services":{"shop":{"cart-1":{"cart":{}}}}},"node-b":{"services":{}}}}"#
        );
    }
}

#[test]
fn node_api_09_the_cluster_id_is_a_json_string() {
    let fixture = Fixture::synced();
    for answer in [fixture.get("/api/v1/cluster/id"), fixture.get_local("/api/v1/cluster/id")] {
        assert_eq!((answer.status, answer.body), (200, format!("\"{CLUSTER_ID}\"")));
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    fixture.api.parts.cluster_id.set(Err("configmaps is forbidden".to_owned()));
    let answer = fixture.get("/api/v1/cluster/id");
    assert_eq!((answer.status, &*answer.body), (500, "configmaps is forbidden\n"));
}

#[test]
fn node_api_10_known_node_with_services() {
    let answer = Fixture::synced().get("/api/v1/tags/pod/node-a");
    assert_eq!((answer.status, &*answer.headers["content-type"]), (200, "application/json"));
    assert_eq!(answer.body, r#"{"Nodes":{"node-a":{"services":{"shop":{"cart-1":{"cart":{}}}}}}}"#);
}

#[test]
fn node_api_11_known_node_without_services_has_an_empty_object() {
    let answer = Fixture::synced().get("/api/v1/tags/pod/node-b");
    assert_eq!((answer.status, &*answer.body), (200, r#"{"Nodes":{"node-b":{"services":{}}}}"#));
}

#[test]
fn node_api_12_unknown_node_gets_a_warning() {
    let answer = Fixture::synced().get("/api/v1/tags/pod/ghost");
    let warning = "Node ghost could not be added to the metadata map bundle: the key \
                   agent/KubernetesMetadataMapping/ghost was not found in the cache";
    assert_eq!((answer.status, answer.body), (200, format!(r#"{{"Warnings":["{warning}"]}}"#)));
}

#[test]
fn node_api_13_before_the_first_lists_data_routes_fail_and_the_version_answers() {
    let fixture = Fixture::unsynced();
    for target in [
        "/api/v1/tags/pod/node-a",
        "/api/v1/tags/pod/node-b",
        "/api/v1/tags/pod/ghost",
        "/api/v1/tags/pod/node-a/shop/cart-1",
        "/api/v1/tags/node/node-a",
        "/api/v1/annotations/node/node-a",
        "/api/v1/uid/node/node-a",
        "/api/v1/tags/namespace/shop",
        "/api/v1/metadata/namespace/shop",
    ] {
        let answer = fixture.get(target);
        assert_eq!((answer.status, &*answer.body), (503, "metadata not synced yet\n"), "{target}");
    }
    let answer = fixture.get_local("/api/v1/tags/pod");
    assert_eq!(answer.status, 503);
    let text = "Failed to get nodes from the API server: metadata not synced yet";
    assert_eq!(answer.body, format!(r#"{{"Errors":"{text}"}}"#));
    assert_eq!(fixture.get("/version").status, 200);

    *fixture.operator.obstacle.lock().expect("nobody panicked") = Some("no right".to_owned());
    let answer = fixture.get("/api/v1/tags/node/node-a");
    assert_eq!(answer.body, "metadata not synced yet: no right\n");
    let answer = fixture.get_local("/api/v1/tags/pod");
    assert_eq!(answer.body, format!(r#"{{"Errors":"{text}: no right"}}"#));
}

#[test]
fn node_api_14_a_pod_of_two_services_has_sorted_tags() {
    let mut fixture = Fixture::synced();
    let all = [endpoints("b", &["pod"]), endpoints("a", &["pod"])];
    fixture.list::<Event<_>>(Core::apply_endpoints, &all);
    let answer = fixture.get("/api/v1/tags/pod/node-a/shop/pod");
    assert_eq!(answer.body, r#"["kube_service:a","kube_service:b"]"#);
    let answer = fixture.get("/api/v1/tags/pod/node-a");
    assert_eq!(
        answer.body,
        r#"{"Nodes":{"node-a":{"services":{"shop":{"pod":{"a":{},"b":{}}}}}}}"#
    );
}

#[test]
fn node_api_15_an_unknown_pod_has_no_tags() {
    let fixture = Fixture::synced();
    for pod in ["node-a/shop/ghost", "node-a/other/cart-1", "node-b/shop/cart-1", "ghost/shop/x"] {
        let answer = fixture.get(&format!("/api/v1/tags/pod/{pod}"));
        assert_eq!((answer.status, &*answer.body), (200, "[]"), "{pod}");
    }
}

#[test]
fn node_api_22_node_labels() {
    let fixture = Fixture::synced();
    let answer = fixture.get("/api/v1/tags/node/node-a");
    let labels = r#"{"kubernetes.io/hostname":"node-a","zone":""}"#;
    assert_eq!((answer.status, &*answer.body), (200, labels));
    assert_eq!(fixture.get("/api/v1/tags/node/node-b").body, "{}");
    let answer = fixture.get("/api/v1/tags/node/ghost");
    let message = "Could not find labels on the node: ghost\n";
    assert_eq!((answer.status, &*answer.body), (404, message));
    assert_eq!(fixture.get("/api/v1/uid/node/node-a").body, r#"{"uid":"uid-a"}"#);
}

#[test]
fn node_api_23_node_annotations_are_filtered() {
    let fixture = Fixture::synced();
    let get = |target: &str| fixture.get(&format!("/api/v1/annotations/node/{target}"));
    assert_eq!(get("node-a").body, r#"{"cluster.k8s.io/machine":"machine-a"}"#);
    assert_eq!(get("node-b").body, "{}");
    assert_eq!(get("node-a?filter=foo").body, r#"{"foo":"1"}"#);
    assert_eq!(get("node-a?filter=foo&filter=none").body, r#"{"foo":"1"}"#);
    let answer = get("ghost");
    let message = "Could not find annotations on the node: ghost\n";
    assert_eq!((answer.status, &*answer.body), (404, message));
}

#[test]
fn node_api_24_namespaces() {
    let fixture = Fixture::synced();
    let answer = fixture.get("/api/v1/metadata/namespace/shop");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        r#"{"Name":"shop","Namespace":"","Annotations":{"team":"x"},"Labels":{"env":"prod"}}"#
    );
    assert_eq!(fixture.get("/api/v1/tags/namespace/shop").body, r#"{"env":"prod"}"#);
    for (route, what) in [("metadata", "metadata"), ("tags", "labels")] {
        let answer = fixture.get(&format!("/api/v1/{route}/namespace/ghost"));
        let message = format!("Could not find {what} of the namespace: ghost\n");
        assert_eq!((answer.status, answer.body), (404, message));
    }
}

#[test]
fn node_api_28_language_detection_is_off() {
    let answer = Fixture::synced().post("/api/v1/languagedetection");
    let message = "Language detection feature is disabled on the cluster agent\n";
    assert_eq!((answer.status, &*answer.body), (503, message));
}

#[test]
fn without_collection_every_node_has_the_empty_map() {
    let settings = Settings { collect_services: false, host_alias_annotations: Vec::new() };
    let answer = Fixture::with(settings).get("/api/v1/tags/pod/x");
    assert_eq!((answer.status, &*answer.body), (200, r#"{"Nodes":{"x":{"services":{}}}}"#));
}

#[test]
fn without_the_right_to_read_nodes_services_are_served_and_labels_are_not() {
    let mut fixture = Fixture::unsynced();
    fixture.core.set_forbidden(Optional::Nodes);
    fixture.list::<Event<_>>(Core::apply_endpoints, &[endpoints("cart", &["cart-1"])]);
    assert_eq!(fixture.get("/api/v1/tags/pod/node-a/shop/cart-1").body, r#"["kube_service:cart"]"#);
    let answer = fixture.get("/api/v1/tags/pod/other");
    assert_eq!(answer.body, r#"{"Nodes":{"other":{"services":{}}}}"#);
    assert_eq!(fixture.get("/api/v1/tags/node/node-a").status, 503);
}
