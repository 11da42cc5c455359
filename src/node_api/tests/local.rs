//! The routes of the command line.

use serde_json::{Value, json};
use tiny_http::Method;

use super::*;

#[test]
fn the_command_line_reads_status_health_and_settings() {
    let fixture = Fixture::synced();
    for (target, status, body) in [
        ("/hostname", 200, "\"replica-0\""),
        ("/status", 200, "Json false"),
        ("/status?format=text&verbose=true", 200, "Text true"),
        ("/status?format=yaml", 200, "Json false"),
        ("/status/sections", 200, r#"["header"]"#),
        ("/status/section/header", 200, "Text"),
        ("/status/section/header?format=json", 200, "Json"),
        ("/status/section/x", 500, r#"{"error":"no x"}"#),
        ("/status/health", 200, r#"{"Healthy":["a"],"Unhealthy":[]}"#),
        ("/config", 200, "log_level: info\n"),
        (
            "/config/list-runtime",
            200,
            r#"{"log_level":{"Description":"How much is logged","Hidden":false}}"#,
        ),
        ("/config/log_level", 200, r#"{"value":"debug"}"#),
        ("/config/nope", 400, r#"{"error":"setting nope not found"}"#),
        ("/autoscaler-list", 204, ""),
    ] {
        let answer = fixture.get_local(target);
        assert_eq!((answer.status, &*answer.body), (status, body), "{target}");
        assert_eq!(fixture.get(target).status, 403, "{target} is not for nodes");
    }
    let answer = fixture.get_local("/config/log_level?sources=true");
    let expected =
        json!({"value": "debug", "sources_value": [{"Source": "default", "Value": "info"}]});
    let sources: Value = serde_json::from_str(&answer.body).expect("the body is JSON");
    assert_eq!(sources, expected);
}

#[test]
fn the_command_line_changes_settings() {
    let fixture = Fixture::synced();
    let set = |name: &str, body: &str| {
        let request = request(Method::Post, &format!("/config/{name}"), LOCAL);
        fixture.send(&Request { body: body.as_bytes().to_vec(), ..request })
    };
    assert_eq!(set("log_level", "value=debug%26amp%3B").status, 200);
    let answer = set("log_level", "value=loud");
    let expected = (500, r#"{"error":"no such level: loud"}"#);
    assert_eq!((answer.status, &*answer.body), expected);
    let answer = set("site", "value=x");
    assert_eq!((answer.status, &*answer.body), (400, r#"{"error":"setting site not found"}"#));
    let changed = fixture.operator.changed.lock().expect("nobody panicked").clone();
    assert_eq!(changed, [("log_level".to_owned(), "debug&".to_owned())]);
}
