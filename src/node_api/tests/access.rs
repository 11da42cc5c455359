//! Tokens, paths, methods, and the counting of answers.

use tiny_http::Method;

use super::*;

#[test]
fn node_api_02_a_request_without_a_token_is_challenged() {
    let answer = Fixture::synced().send(&with_authorization(Method::Get, "/version", None));
    assert_eq!((answer.status, &*answer.body), (401, "no session token provided\n"));
    assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"Datadog Agent\"");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
}

#[test]
fn node_api_03_another_scheme_is_challenged() {
    let value = Some("Basic abc");
    let answer = Fixture::synced().send(&with_authorization(Method::Get, "/version", value));
    assert_eq!((answer.status, &*answer.body), (401, "unsupported authorization scheme: Basic\n"));
    assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"Datadog Agent\"");
}

#[test]
fn node_api_04_wrong_tokens_are_refused() {
    let fixture = Fixture::synced();
    for (value, status) in [
        ("Bearer wrong".to_owned(), 403),
        ("Bearer".to_owned(), 403),
        (format!("Bearer {SHARED} extra"), 403),
        (format!("bearer {SHARED}"), 401),
    ] {
        let answer = fixture.send(&with_authorization(Method::Get, "/version", Some(&value)));
        assert_eq!(answer.status, status, "{value}");
        if status == 403 {
            assert_eq!(answer.body, "invalid session token\n");
            assert!(!answer.headers.contains_key("www-authenticate"));
        }
    }
}

#[test]
fn node_api_05_an_unset_token_opens_nothing() {
    let mut fixture = Fixture::synced();
    fixture.api.parts.gate = Arc::default();
    for value in ["Bearer ", "Bearer x", "Bearer"] {
        for target in ["/version", "/status"] {
            let answer = fixture.send(&with_authorization(Method::Get, target, Some(value)));
            assert_eq!(answer.status, 403, "{value} {target}");
        }
    }
}

#[test]
fn node_api_08_the_shared_token_neither_shows_nor_stops_the_process() {
    let fixture = Fixture::synced();
    assert_eq!(fixture.get("/status").status, 403);
    assert_eq!(fixture.get_local("/status").status, 200);
    assert_eq!(fixture.post("/stop").status, 403);
    assert!(!*fixture.operator.stopped.lock().expect("nobody panicked"));
    let answer = fixture.send(&request(Method::Post, "/stop", LOCAL));
    assert_eq!((answer.status, &*answer.body), (200, "\"\""));
    assert!(*fixture.operator.stopped.lock().expect("nobody panicked"));
}

#[test]
fn node_api_25_methods_paths_and_queries() {
    let fixture = Fixture::synced();
    let answer = fixture.post("/version");
    assert_eq!((answer.status, &*answer.headers["allow"]), (405, "GET, HEAD"));
    let answer = fixture.send(&request(Method::Delete, "/config/log_level", LOCAL));
    assert_eq!((answer.status, &*answer.headers["allow"]), (405, "GET, HEAD, POST"));
    let answer = fixture.get("/nope");
    assert_eq!((answer.status, &*answer.body), (404, "404 page not found\n"));
    assert_eq!(fixture.get("//version").status, 200);
    assert_eq!(fixture.get("/version?x=1").status, 200);
    assert_eq!(fixture.get("/version/x").status, 404);
    assert_eq!(fixture.get("/api/v1/tags").status, 404);
    assert_eq!(fixture.send(&with_authorization(Method::Get, "/nope", None)).status, 401);
}

#[test]
fn every_answer_is_counted_under_its_route() {
    let fixture = Fixture::synced();
    fixture.get("/api/v1/tags/pod/node-a");
    fixture.get("/api/v1/tags/pod/node-b");
    fixture.get("/api/v1/tags/node/ghost");
    fixture.get("/status");
    fixture.get("/nope");
    assert_eq!(
        fixture.requests(),
        r#"api_requests{handler="getNodeLabels",status="404",forwarded="false"} 1
api_requests{handler="getPodMetadataForNode",status="200",forwarded="false"} 2
api_requests{handler="getStatus",status="403",forwarded="false"} 1
api_requests{handler="notFound",status="404",forwarded="false"} 1"#
    );
}

#[test]
fn node_agents_reach_these_routes_and_no_others() {
    let external = ROUTES.iter().filter(|route| route.class == Class::External);
    let mut patterns: Vec<&str> = external.map(|route| route.pattern).collect();
    patterns.sort_unstable();
    assert_eq!(
        patterns,
        [
            "/api/v1/annotations/node/{node}",
            "/api/v1/cluster/eks-identity",
            "/api/v1/cluster/id",
            "/api/v1/clusterchecks/configs/{runner}",
            "/api/v1/clusterchecks/status/{runner}",
            "/api/v1/endpointschecks/configs/{node}",
            "/api/v1/languagedetection",
            "/api/v1/metadata/namespace/{namespace}",
            "/api/v1/metadata/{node}/{namespace}/{pod}",
            "/api/v1/tags/namespace/{namespace}",
            "/api/v1/tags/node/{node}",
            "/api/v1/tags/pod/{node}",
            "/api/v1/tags/pod/{node}/{namespace}/{pod}",
            "/api/v1/uid/node/{node}",
            "/version",
        ]
    );
}
