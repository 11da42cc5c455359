//! The embedded server's scripted faults do what they say, so that tests of the program can rely on them.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::api_server::{Fault, Requests, Server};
use crate::support::rest::{Heard, Rest};

fn client(server: &Server) -> Rest {
    Rest::new(&server.url(), Server::TOKEN, server.authority())
}

fn configmap(name: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}})
}

#[test]
fn scripted_answers_come_as_often_as_asked_and_then_stop() {
    let server = Server::start();
    let rest = client(&server);
    server.faults().add(Requests::of("list", "pods"), Fault::Status(500), Some(1));
    server.faults().add(Requests::of("list", "pods"), Fault::TooManyRequests(7), Some(1));
    assert_eq!(rest.get("/api/v1/nodes").status, 200);
    assert_eq!(rest.get("/api/v1/pods").expect(500)["reason"], "InternalError");
    let busy = rest.get("/api/v1/pods");
    assert_eq!(busy.status, 429);
    assert_eq!(busy.headers["retry-after"], "7");
    assert_eq!(rest.get("/api/v1/pods").status, 200);
}

#[test]
fn an_expired_watch_is_http_200_with_an_error_event() {
    let server = Server::start();
    server.faults().add(Requests::of("watch", "pods"), Fault::Expired, Some(1));
    let watch = client(&server).watch("/api/v1/pods?watch=1&resourceVersion=1");
    assert_eq!(watch.status, 200);
    let (kind, status) = watch.event();
    assert_eq!((kind.as_str(), &status["code"]), ("ERROR", &json!(410)));
    assert_eq!(watch.hear(Duration::from_secs(10)), Heard::End);
}

#[test]
fn watches_can_be_ended_and_cut() {
    let server = Server::start();
    let rest = client(&server);
    let ended = rest.watch("/api/v1/configmaps?watch=1&resourceVersion=1");
    assert_eq!(server.end_watches("configmaps"), 1);
    while ended.hear(Duration::from_secs(10)) != Heard::End {}

    let start = server.revision();
    let cut = rest.watch(&format!("/api/v1/configmaps?watch=1&resourceVersion={start}"));
    server.apply(configmap("a"));
    assert_eq!(cut.event().0, "ADDED");
    assert_eq!(server.cut_watches("configmaps"), 1);
    // Half a line came, but no whole one.
    assert_eq!(cut.hear(Duration::from_secs(10)), Heard::End);
}

#[test]
fn a_permission_can_be_taken_away_and_given_back_under_an_open_watch() {
    let server = Server::start();
    let rest = client(&server);
    let start = server.revision();
    let watch = rest.watch(&format!("/api/v1/configmaps?watch=1&resourceVersion={start}"));
    server.faults().deny("*", "configmaps");
    assert_eq!(rest.get("/api/v1/configmaps").status, 403);
    server.apply(configmap("a"));
    assert_eq!(watch.event().0, "ADDED", "an open watch keeps running");
    server.faults().allow("*", "configmaps");
    assert_eq!(rest.get("/api/v1/configmaps").status, 200);
}

#[test]
fn a_server_that_went_down_comes_back_on_its_port_with_its_objects() {
    let server = Server::start();
    let rest = client(&server);
    server.apply(configmap("a"));
    let watch = rest.watch("/api/v1/configmaps?watch=1");
    assert_eq!(watch.event().0, "ADDED");
    server.go_down();
    assert_eq!(watch.hear(Duration::from_secs(10)), Heard::End);
    assert!(std::net::TcpStream::connect(server.address()).is_err());
    server.come_back();
    assert_eq!(rest.get("/api/v1/namespaces/default/configmaps/a").status, 200);
}

#[test]
fn a_frozen_server_is_silent_until_it_thaws() {
    let server = Server::start();
    let rest = client(&server);
    server.freeze();
    let (sender, answered) = crossbeam_channel::bounded(1);
    let asking = std::thread::spawn(move || {
        let status = rest.get("/version").status;
        sender.send(()).expect("the test waits for the answer");
        status
    });
    assert!(answered.recv_timeout(Duration::from_millis(300)).is_err());
    server.thaw();
    assert_eq!(asking.join().expect("the client does not panic"), 200);
}

#[test]
fn a_delayed_answer_is_right_but_late() {
    let server = Server::start();
    let delay = Duration::from_millis(200);
    server.faults().add(Requests::all(), Fault::Delay(delay), Some(1));
    let start = Instant::now();
    assert_eq!(client(&server).get("/api/v1/nodes").status, 200);
    assert!(start.elapsed() >= delay);
}

#[test]
fn a_hidden_group_is_not_found_at_all() {
    let server = Server::start();
    server.serve_group("discovery.k8s.io", false);
    let rest = client(&server);
    let slices = rest.get("/apis/discovery.k8s.io/v1/endpointslices");
    assert_eq!((slices.status, slices.text.as_str()), (404, "404 page not found\n"));
    assert_eq!(rest.get("/apis/coordination.k8s.io/v1/leases").status, 200);
}

#[test]
fn a_custom_resource_is_served_once_it_is_defined() {
    let server = Server::start();
    let rest = client(&server);
    let path = "/apis/datadoghq.com/v1alpha1/namespaces/default/datadogmetrics";
    assert_eq!(rest.get(path).status, 404);
    server.apply(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "datadogmetrics.datadoghq.com"},
        "spec": {
            "group": "datadoghq.com", "scope": "Namespaced",
            "names": {"plural": "datadogmetrics", "kind": "DatadogMetric"},
            "versions": [{"name": "v1alpha1", "served": true, "subresources": {"status": {}}}],
        },
    }));
    let metric = json!({
        "apiVersion": "datadoghq.com/v1alpha1", "kind": "DatadogMetric", "metadata": {"name": "a"},
        "spec": {"query": "avg:a{*}"}, "status": {"currentValue": "1"},
    });
    let created = rest.post(path, &metric).expect(201);
    assert!(created.get("status").is_none(), "status is a subresource: {created}");
    let mut with_status = created.clone();
    with_status["status"] = json!({"currentValue": "2"});
    with_status["spec"]["query"] = json!("changed");
    let updated = rest.put(&format!("{path}/a/status"), &with_status).expect(200);
    assert_eq!(updated["status"]["currentValue"], "2");
    assert_eq!(updated["spec"]["query"], "avg:a{*}");
    let list = rest.get(path).expect(200);
    assert_eq!(
        (&list["kind"], &list["items"][0]["kind"]),
        (&json!("DatadogMetricList"), &json!("DatadogMetric"))
    );
}

#[test]
fn requests_are_logged_with_their_agent_and_user() {
    let server = Server::start_plain();
    client(&server).get("/api/v1/pods?limit=1");
    let log = server.log();
    let last = log.last().expect("a request was made");
    assert_eq!((last.method.as_str(), last.target.as_str()), ("GET", "/api/v1/pods?limit=1"));
    assert_eq!(last.user_agent, "cluster-agent-tests");
    assert_eq!(last.user, "system:serviceaccount:default:datadog-cluster-agent");
}
