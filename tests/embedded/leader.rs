//! Leader election of the whole program, and the look-up of the leader's address, against the embedded API server
//! (spec events-and-leader §11).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cluster_agent::kube::{self, Client};
use cluster_agent::leader::Leadership;
use cluster_agent::leader::address::{LeaderAddress, Settings as AddressSettings, lookup};
use cluster_agent::leader::clock::SystemClock;
use cluster_agent::leader::election::Role;
use cluster_agent::sync::Stop;
use serde_json::{Value, json};

use crate::support::api_server::Server;
use crate::support::program::{PATIENCE, Program, Settings};
use crate::support::scratch::Scratch;
use crate::support::tls_client;
use crate::support::wait;

const BINARY: &str = env!("CARGO_BIN_EXE_datadog-cluster-agent");
const LOCK: &str = "datadog-leader-election";
const LEASES: &str = "leases.coordination.k8s.io";
const ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";

/// A replica of this name with leader election.
fn replica(server: &Server, directory: &Scratch, name: &str, settings: Settings) -> Program {
    let settings = settings.set("DD_LEADER_ELECTION", "true").set("DD_POD_NAME", name);
    Program::start(Path::new(BINARY), &server.write_kubeconfig(directory.path()), &settings)
}

/// The record in the ConfigMap, when there is one.
fn annotation(server: &Server) -> Option<Value> {
    let object = server.get("configmaps", "default", LOCK)?;
    serde_json::from_str(object["metadata"]["annotations"][ANNOTATION].as_str()?).ok()
}

fn holder(server: &Server) -> Option<String> {
    Some(annotation(server)?["holderIdentity"].as_str()?.to_owned())
}

fn election_status(program: &Program) -> Value {
    program.local_client().json("/status?format=json")["leaderelection"].clone()
}

/// The series of the metric, without its help.
fn is_leader(program: &Program) -> Vec<String> {
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut socket = std::net::TcpStream::connect(program.telemetry_address()).expect("it listens");
    let answer = tls_client::exchange(&mut socket, request).expect("an answer");
    let text = String::from_utf8(answer.body).expect("text");
    let lines = text.lines().filter(|line| line.starts_with("leader_election_is_leader"));
    lines.map(str::to_owned).collect()
}

/// The requests on either lock since the log was cleared, as `METHOD path`.
fn lock_requests(server: &Server) -> Vec<String> {
    let log = server.log().into_iter();
    log.filter(|request| {
        let path = request.target.split('?').next().unwrap_or_default();
        path.ends_with(LOCK)
            || (request.method == "POST"
                && (path.ends_with("/leases") || path.ends_with("/configmaps")))
    })
    .map(|request| format!("{} {}", request.method, request.target))
    .collect()
}

#[test]
fn events_and_leader_01_an_absent_lock_is_made_with_post() {
    let (server, directory) = (Server::start(), Scratch::new());
    let program = replica(&server, &directory, "dca-0", Settings::default());
    wait::until("the lock is held", PATIENCE, || holder(&server).as_deref() == Some("dca-0"));
    let record = annotation(&server).expect("held");
    assert_eq!(record["leaseDurationSeconds"], 60);
    assert_eq!(record["leaderTransitions"], 0);
    let text = record["renewTime"].as_str().expect("a time");
    assert!(text.len() == 20 && text.ends_with('Z'), "{text} has whole seconds");
    let leads = r#"leader_election_is_leader{join_leader="true",is_leader="true"} 1"#;
    wait::until("the metric says so", PATIENCE, || is_leader(&program) == [leads]);
    wait::until("the status says so", PATIENCE, || election_status(&program)["role"] == "leader");
    let status = election_status(&program);
    assert_eq!(status["status"], "Running");
    assert_eq!(status["leaderName"], "dca-0");
    assert_eq!(status["transitions"], "0 transitions");
    program.wait_for_log("Started leading as \"dca-0\"...");
}

#[test]
fn events_and_leader_02_an_existing_object_keeps_all_but_the_record() {
    let (server, directory) = (Server::start(), Scratch::new());
    server.apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "value"},
        "metadata": {"name": LOCK, "namespace": "default", "labels": {"team": "a"},
            "annotations": {"note": "keep"}},
    }));
    let _program = replica(&server, &directory, "dca-0", Settings::default());
    wait::until("the lock is held", PATIENCE, || holder(&server).as_deref() == Some("dca-0"));
    assert_eq!(annotation(&server).expect("held")["leaderTransitions"], 1);
    let object = server.get("configmaps", "default", LOCK).expect("it is there");
    assert_eq!(object["data"], json!({"key": "value"}));
    assert_eq!(object["metadata"]["labels"], json!({"team": "a"}));
    assert_eq!(object["metadata"]["annotations"]["note"], "keep");
}

#[test]
fn events_and_leader_09_a_terminated_leader_releases_the_lock_unless_told_not_to() {
    for (release, expected) in [("true", Some("")), ("false", Some("dca-0"))] {
        let (server, directory) = (Server::start(), Scratch::new());
        let settings = Settings::default().set("DD_LEADER_ELECTION_RELEASE_ON_SHUTDOWN", release);
        let mut program = replica(&server, &directory, "dca-0", settings);
        wait::until("the lock is held", PATIENCE, || holder(&server).as_deref() == Some("dca-0"));
        let transitions = annotation(&server).expect("held")["leaderTransitions"].clone();
        program.signal("TERM");
        assert!(program.wait_for_exit().success());
        assert_eq!(holder(&server).as_deref(), expected);
        let record = annotation(&server).expect("a record");
        assert_eq!(record["leaderTransitions"], transitions);
        assert_eq!(record["leaseDurationSeconds"], if release == "true" { 1 } else { 60 });
    }
}

#[test]
fn events_and_leader_12_the_lock_is_of_the_configured_kind_and_no_other() {
    let only_leases = ["GET", "POST"].map(|method| (method, "leases"));
    let only_config_maps = ["GET", "POST"].map(|method| (method, "configmaps"));
    for (word, leases_served, expected) in [
        ("configmap", true, only_config_maps),
        ("lease", true, only_leases),
        ("", false, only_config_maps),
        ("", true, only_leases),
        ("foo", true, only_leases),
    ] {
        let (server, directory) = (Server::start(), Scratch::new());
        server.serve_group("coordination.k8s.io", leases_served);
        // The cluster id is a ConfigMap of its own; it is there, so that no POST makes it.
        server.apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"id": "5a1f0c9e-3c1d-4e0a-9a51-3d6b0b0a7c11"},
            "metadata": {"name": "datadog-cluster-id", "namespace": "default"},
        }));
        let file = format!("leader_election_default_resource: \"{word}\"\n");
        let program = replica(&server, &directory, "dca-0", Settings::default().file(&file));
        wait::until("it leads", PATIENCE, || election_status(&program)["role"] == "leader");
        let requests = lock_requests(&server);
        assert_eq!(requests.len(), expected.len(), "{word:?}: {requests:?}");
        for (request, (method, plural)) in requests.iter().zip(expected) {
            assert!(request.starts_with(method) && request.contains(plural), "{word:?}: {request}");
        }
        if expected == only_leases {
            let lease = server.get(LEASES, "default", LOCK).expect("it is there");
            for key in ["acquireTime", "renewTime"] {
                let text = lease["spec"][key].as_str().expect("a time");
                let fraction = text.rsplit_once('.').map(|(_, fraction)| fraction);
                let six = |fraction: &str| {
                    let digits = fraction.strip_suffix('Z').unwrap_or_default();
                    digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_digit())
                };
                assert!(fraction.is_some_and(six), "{key} is {text}");
            }
        }
        if word == "foo" {
            let warned = program.log().lines().any(|line| {
                line.contains("WARN") && line.contains("leader_election_default_resource")
            });
            assert!(warned, "no warning about the word");
        }
    }
}

#[test]
fn a_missing_permission_is_explained_and_heals_by_itself() {
    let (server, directory) = (Server::start(), Scratch::new());
    server.faults().deny("get", "configmaps");
    let settings = Settings::default().set("DD_LEADER_LEASE_DURATION", "1");
    let program = replica(&server, &directory, "dca-0", settings);
    wait::until("the refusal is shown", PATIENCE, || {
        let status = election_status(&program);
        let error = status["error"].as_str().unwrap_or_default();
        status["status"] == "Failing"
            && error.contains(r#"may not get configmaps "datadog-leader-election""#)
            && error.contains(r#"resources ["configmaps"] verbs ["get"]"#)
    });
    server.faults().allow("get", "configmaps");
    wait::until("it leads", PATIENCE, || election_status(&program)["role"] == "leader");
}

/// A client as the program makes it.
fn client(server: &Server, directory: &Scratch) -> (Client, cluster_agent::sync::StopSource, Stop) {
    let (source, stop) = Stop::new();
    let settings = kube::kubeconfig::load(&server.write_kubeconfig(directory.path()))
        .expect("the server writes a good kubeconfig");
    (Client::start(settings, stop.clone()).expect("a thread"), source, stop)
}

fn address_settings(slices: bool) -> AddressSettings {
    AddressSettings {
        namespace: "default".to_owned(),
        service: "dca".to_owned(),
        slices,
        lease: Duration::from_secs(60),
    }
}

/// Endpoints and slices that name two pods, the second one not ready.
fn add_endpoints(server: &Server) {
    let target = |name: &str| json!({"kind": "Pod", "namespace": "default", "name": name});
    server.apply(json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "dca", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": "10.0.0.7", "targetRef": target("dca-0")}],
            "notReadyAddresses": [{"ip": "10.0.0.8", "targetRef": target("dca-1")}, {"ip": "10.0.0.9"}]}],
    }));
    for (slice, name, address) in [("dca-a", "dca-0", "10.0.0.7"), ("dca-b", "dca-1", "fd00::8")] {
        server.apply(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": slice, "namespace": "default",
                "labels": {"kubernetes.io/service-name": "dca"}},
            "endpoints": [{"addresses": [address], "targetRef": target(name)}],
        }));
    }
}

#[test]
fn events_and_leader_13_the_leaders_address_comes_from_the_endpoints_of_its_pod() {
    let (server, directory) = (Server::start(), Scratch::new());
    add_endpoints(&server);
    let (client, source, stop) = client(&server, &directory);
    let (publisher, leadership) = Leadership::new(Arc::new(SystemClock));
    let (finder, address) = LeaderAddress::new(client, address_settings(false), leadership);
    let finding = std::thread::spawn(move || finder.run(&stop));
    assert_eq!(address.of("dca-1"), None);

    publisher.publish(Role::Following { holder: Some("dca-1".to_owned()) });
    wait::until("the address is found", PATIENCE, || address.of("dca-1").is_some());
    assert_eq!(address.of("dca-1"), "10.0.0.8".parse().ok(), "an address that is not ready counts");
    assert_eq!(address.of("dca-0"), None, "an address belongs to its pod");
    let gets = |server: &Server| {
        let log = server.log();
        log.iter().filter(|request| request.target.ends_with("/endpoints/dca")).count()
    };
    assert_eq!(gets(&server), 1, "two questions, one request");

    // A change of the leader is followed at once.
    publisher.publish(Role::Following { holder: Some("dca-0".to_owned()) });
    wait::until("the new address is found", PATIENCE, || address.of("dca-0").is_some());
    assert_eq!(address.of("dca-1"), None);
    // After a failed call it is looked up again, and a pod that went is unlearnt.
    server.delete("endpoints", "default", "dca");
    server.delete("endpointslices.discovery.k8s.io", "default", "dca-a");
    address.doubt();
    wait::until("the address is forgotten", PATIENCE, || address.of("dca-0").is_none());
    drop(source);
    finding.join().expect("the thread ends well");
}

// spec: events_and_leader_13
#[test]
fn both_forms_of_endpoints_are_searched_and_a_stranger_is_named() {
    let (server, directory) = (Server::start(), Scratch::new());
    add_endpoints(&server);
    let (client, _source, _stop) = client(&server, &directory);
    let find = |slices, leader| lookup(&client, &address_settings(slices), leader);
    let found = |slices, leader| find(slices, leader).map_err(|error| error.to_string());
    assert_eq!(found(false, "dca-0"), Ok("10.0.0.7".parse().expect("valid")));
    assert_eq!(found(true, "dca-1"), Ok("fd00::8".parse().expect("valid")));
    for slices in [false, true] {
        let missing = found(slices, "agent-x").expect_err("no such pod");
        assert!(missing.contains("target named"), "{missing}");
        assert!(missing.contains("agent-x"), "{missing}");
    }
    // Old roles lack the slices, and some clusters the old form.
    server.faults().deny("list", "endpointslices.discovery.k8s.io");
    assert_eq!(found(true, "dca-1"), Ok("10.0.0.8".parse().expect("valid")));
    server.faults().allow("list", "endpointslices.discovery.k8s.io");
    server.faults().deny("get", "endpoints");
    assert_eq!(found(false, "dca-1"), Ok("fd00::8".parse().expect("valid")));
}
