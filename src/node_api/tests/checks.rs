//! Check routes up to the dispatcher, and where they are answered.

use std::net::Ipv4Addr;

use tiny_http::Method;

use super::*;

#[test]
fn node_api_26_check_routes_need_the_feature_and_a_known_leader() {
    let target = "/api/v1/clusterchecks/status/h.example";
    let off = Fixture::synced();
    for (method, token, target) in [
        (Method::Post, SHARED, target),
        (Method::Get, SHARED, "/api/v1/clusterchecks/configs/h"),
        (Method::Get, SHARED, "/api/v1/endpointschecks/configs/node-a"),
        (Method::Get, LOCAL, "/api/v1/endpointschecks/configs"),
        (Method::Get, LOCAL, "/api/v1/clusterchecks"),
        (Method::Post, LOCAL, "/api/v1/clusterchecks/rebalance"),
        (Method::Post, LOCAL, "/api/v1/clusterchecks/isolate/check/a:1"),
    ] {
        let answer = off.send(&request(method, target, token));
        assert_eq!((answer.status, &*answer.body), (404, "Cluster-checks are not enabled"));
    }

    let starting = Fixture::with_checks(Role::Unknown);
    let answer = starting.post(target);
    assert_eq!((answer.status, &*answer.body), (503, "Startup in progress\n"));

    let leader = Fixture::with_checks(Role::Leader);
    let report = |address| with_header(request(Method::Post, target, SHARED), "X-Real-Ip", address);
    for address in ["", "10.0.0.3"] {
        let answer = leader.send(&report(address));
        assert_eq!((answer.status, &*answer.body), (200, r#"{"isuptodate":true}"#));
    }
    let answer = leader.send(&report("foo"));
    assert_eq!((answer.status, &*answer.body), (500, "cannot parse CLC runner address: foo\n"));
    let reports = leader.checks.reports.lock().expect("nobody panicked");
    let addresses: Vec<_> = reports.iter().map(|(runner, address)| (&**runner, *address)).collect();
    assert_eq!(
        addresses,
        [("h.example", None), ("h.example", Some(Ipv4Addr::new(10, 0, 0, 3).into()))]
    );
    assert_eq!(leader.get("/api/v1/clusterchecks/configs/h%2Fx").body, "configs of h/x\n");
    assert_eq!(leader.get("/api/v1/endpointschecks/configs/n").body, "endpoint configs of n\n");
}

#[test]
fn followers_answer_internal_reads_themselves() {
    let fixture = Fixture::with_checks(Role::Follower(Some(LEADER)));
    assert_eq!(fixture.get_local("/api/v1/clusterchecks").body, "state\n");
    let answer = fixture.get_local("/api/v1/endpointschecks/configs");
    assert_eq!(answer.body, "all endpoint configs\n");
    assert_eq!(fixture.get("/api/v1/tags/pod/node-a").status, 200);
    assert!(fixture.leadership.forwarded.lock().expect("nobody panicked").is_empty());
}

#[test]
fn followers_forward_once() {
    let target = "/api/v1/clusterchecks/status/h?x=1";
    let fixture = Fixture::with_checks(Role::Follower(Some(LEADER)));
    let answer = fixture.post(target);
    assert_eq!((answer.status, &*answer.body), (200, "from the leader\n"));
    assert_eq!(answer.headers["x-dca-forwarded"], "true");
    let sent = with_header(request(Method::Post, target, SHARED), FORWARDED_REQUEST, "x");
    let answer = fixture.send(&sent);
    assert_eq!(answer.status, 508);
    assert_eq!(answer.body, "Query was already forwarded from: 10.0.0.9:40000\n");
    assert_eq!(answer.headers["x-dca-forwarded"], "true");
    let forwarded = fixture.leadership.forwarded.lock().expect("nobody panicked").clone();
    assert_eq!(forwarded, [(target.to_owned(), LEADER)]);
    assert_eq!(fixture.telemetry.total("forwarded_requests"), 1.0);
    let counted = fixture.requests();
    let line = r#"api_requests{handler="postCheckStatus",status="200",forwarded="true"} 1"#;
    assert!(counted.contains(line), "{counted}");

    let lost = Fixture::with_checks(Role::Follower(None));
    let answer = lost.post(target);
    assert_eq!((answer.status, &*answer.body), (503, "\n"));
}
