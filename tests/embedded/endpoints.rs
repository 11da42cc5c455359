//! The embedded server's endpoints controller behaves as the real one where the program notices it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api_server::Server;
use crate::support::wait;

const SLICES: &str = "endpointslices.discovery.k8s.io";

/// The pods behind a service, from its Endpoints and from its slices, once both agree with `expected`.
#[track_caller]
fn expect_pods(server: &Server, service: &str, mut expected: Vec<String>) {
    expected.sort();
    wait::until("both kinds of endpoints name the pods", Duration::from_secs(20), || {
        let names = |endpoints: Vec<Value>| {
            let mut names: Vec<String> = endpoints
                .iter()
                .map(|endpoint| {
                    endpoint["targetRef"]["name"].as_str().unwrap_or_default().to_owned()
                })
                .collect();
            names.sort();
            names
        };
        let found = slices(server, service);
        let Some(object) = server.get("endpoints", "shop", service) else { return false };
        let listed = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let from_slices = found.iter().flat_map(|slice| listed(&slice["endpoints"])).collect();
        let both = ["addresses", "notReadyAddresses"];
        let from_endpoints =
            both.iter().flat_map(|key| listed(&object["subsets"][0][key])).collect();
        !found.is_empty() && names(from_slices) == expected && names(from_endpoints) == expected
    });
}

fn slices(server: &Server, service: &str) -> Vec<Value> {
    let slices = server.list(SLICES, Some("shop")).into_iter();
    slices
        .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service)
        .collect()
}

#[test]
fn endpoints_follow_pods_and_services() {
    let server = Server::start_plain();
    server.add_service("shop", "cart", "cart");
    expect_pods(&server, "cart", vec![]);
    assert_eq!(slices(&server, "cart")[0]["endpoints"], Value::Null, "an empty slice stays");

    let pods = server.deploy("shop", "cart", &["node-a", "node-b"]);
    server.deploy("shop", "payments", &["node-a"]);
    expect_pods(&server, "cart", pods.clone());
    let moved = server.move_pod("shop", &pods[0], "node-b");
    expect_pods(&server, "cart", vec![pods[1].clone(), moved.clone()]);

    server.set_ready("shop", &moved, false);
    wait::until("the pod is an unready endpoint", Duration::from_secs(20), || {
        let object = server.get("endpoints", "shop", "cart").unwrap_or_default();
        object["subsets"][0]["notReadyAddresses"][0]["targetRef"]["name"] == json!(moved)
    });
    server.delete("services", "shop", "cart");
    wait::until("the endpoints went with the service", Duration::from_secs(20), || {
        slices(&server, "cart").is_empty() && server.get("endpoints", "shop", "cart").is_none()
    });
}

#[test]
fn a_big_service_is_cut_into_slices_of_a_hundred() {
    let server = Server::start_plain();
    let pods = server.deploy("shop", "cart", &["node-a"; 230]);
    server.add_service("shop", "cart", "cart");
    expect_pods(&server, "cart", pods.clone());
    let mut sizes: Vec<usize> = slices(&server, "cart")
        .iter()
        .map(|slice| slice["endpoints"].as_array().map_or(0, Vec::len))
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [30, 100, 100]);
}

#[test]
fn endpoints_written_by_hand_are_left_alone() {
    let server = Server::start_plain();
    server.apply(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "external", "namespace": "shop"},
        "spec": {"ports": [{"port": 80}]},
    }));
    server.apply(json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "external", "namespace": "shop"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}]}],
    }));
    server.add_service("shop", "cart", "cart");
    expect_pods(&server, "cart", vec![]);
    let kept = server.get("endpoints", "shop", "external").expect("it was applied");
    assert_eq!(kept["subsets"][0]["addresses"][0]["ip"], "192.0.2.1");
    assert!(slices(&server, "external").is_empty());
}
