//! What the program relies on in an API server, asserted over HTTP: run against the embedded server and the real one,
//! so that the embedded one cannot drift into answers that only tests get.
//!
//! Each assertion works in a namespace of its own, so they may run beside each other and beside other tests.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::rest::{Heard, Rest, Watching};

/// An API server under contract.
pub trait ApiServer {
    /// Scheme, host and port.
    fn url(&self) -> String;
    /// A token that may do everything.
    fn token(&self) -> String;
    /// A token that is valid and may do nothing with resources, and its user's name.
    fn powerless(&self) -> (String, String);
    /// The certificate authority in PEM.
    fn authority(&self) -> Option<String>;
    /// Forgets history before now.
    fn compact(&self);
}

/// One assertion.
pub type Assertion = fn(&Contract<'_>);

/// Makes one test of each assertion, or of those that are named; `$server` is evaluated in each. Without names,
/// `an_old_version_expires` is left out: it breaks what others on the same server rely on.
macro_rules! contract_tests {
    ($server:expr) => {
        $crate::support::contract::contract_tests!($server;
            lists_come_in_key_order_and_in_pages_of_one_moment,
            a_list_at_version_zero_does_not_page,
            list_items_carry_no_kind,
            selectors_choose,
            a_watch_tells_changes_in_order,
            a_watch_resumes_without_loss,
            a_watch_without_version_begins_with_what_is_there,
            a_selected_watch_tells_when_objects_begin_and_cease_to_match,
            a_watch_ends_properly_after_its_timeout_and_a_bookmark,
            a_streaming_list_ends_with_a_marked_bookmark,
            a_version_from_the_future_is_refused_for_lists_and_silent_for_watches,
            a_stale_write_conflicts,
            a_second_create_already_exists,
            an_absent_object_is_not_found,
            unknown_paths_are_not_found,
            a_missing_permission_names_user_verb_and_resource,
            an_unknown_token_is_unauthorized,
            a_merge_patch_merges,
            a_lease_that_is_gone_is_made_again_by_put_unless_it_has_a_uid,
            a_write_without_effect_makes_no_revision,
            delete_honours_preconditions,
            tokens_and_permissions_are_reviewed,
            discovery_names_what_is_served,
        );
    };
    ($server:expr; $($name:ident,)*) => {
        $(#[test]
        fn $name() {
            $crate::support::contract::check(&$server, $crate::support::contract::$name);
        })*
    };
}
pub(crate) use contract_tests;

/// A namespace on a server, and clients of it.
pub struct Contract<'a> {
    server: &'a dyn ApiServer,
    rest: Rest,
    namespace: String,
}

/// Runs one assertion in a new namespace.
pub fn check(server: &dyn ApiServer, assertion: Assertion) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let namespace = format!("contract-{}-{number}", std::process::id());
    let rest = Rest::new(&server.url(), &server.token(), server.authority().as_deref());
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    rest.post("/api/v1/namespaces", &body).expect(201);
    let contract = Contract { server, rest, namespace };
    assertion(&contract);
    contract.rest.delete(&format!("/api/v1/namespaces/{}", contract.namespace), None);
}

impl Contract<'_> {
    fn configmaps(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    fn leases(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }

    fn create(&self, name: &str, labels: Value) -> Value {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels},
            "data": {"key": "value"},
        });
        self.rest.post(&self.configmaps(), &body).expect(201)
    }

    fn set(&self, name: &str, value: &str) -> Value {
        let path = format!("{}/{name}", self.configmaps());
        self.rest.merge_patch(&path, &json!({"data": {"key": value}})).expect(200)
    }

    /// The list of configmaps that carry this contract's label, without what controllers put into each namespace.
    fn list(&self, query: &str) -> Value {
        self.rest.get(&format!("{}?labelSelector=contract{query}", self.configmaps())).expect(200)
    }

    fn watch(&self, query: &str) -> Watching {
        let path = format!("{}?watch=1&labelSelector=contract{query}", self.configmaps());
        self.rest.watch(&path)
    }

    fn powerless(&self) -> (Rest, String) {
        let (token, user) = self.server.powerless();
        let authority = self.server.authority();
        (Rest::new(&self.server.url(), &token, authority.as_deref()), user)
    }
}

pub fn lists_come_in_key_order_and_in_pages_of_one_moment(contract: &Contract<'_>) {
    for name in ["c", "a", "b", "d"] {
        contract.create(name, json!({"contract": ""}));
    }
    let path = contract.configmaps();
    let everything = names(&contract.list(""));
    assert_eq!(everything, ["a", "b", "c", "d"]);

    let first = contract.list("&limit=2");
    assert_eq!(names(&first), ["a", "b"]);
    let token = text(&first["metadata"]["continue"]);
    assert!(!token.is_empty());
    // The number that remains is only known when nothing is filtered.
    assert!(first["metadata"].get("remainingItemCount").is_none(), "{first}");
    let unfiltered = contract.rest.get(&format!("{path}?limit=1")).expect(200);
    assert!(unfiltered["metadata"]["remainingItemCount"].as_u64() >= Some(3), "{unfiltered}");

    contract.rest.delete(&format!("{path}/c"), None).expect(200);
    contract.create("e", json!({"contract": ""}));
    let second = contract.list(&format!("&limit=2&continue={token}"));
    assert_eq!(names(&second), ["c", "d"], "the page shows the moment of the first");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    // Objects that the selector leaves out may follow: then there is one more page, an empty one.
    let token = text(&second["metadata"]["continue"]);
    if !token.is_empty() {
        let third = contract.list(&format!("&limit=2&continue={token}"));
        assert_eq!((names(&third), text(&third["metadata"]["continue"])), (vec![], String::new()));
    }

    let refused = contract.rest.get(&format!("{path}?limit=2&continue=nonsense"));
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json["reason"], "BadRequest");
}

pub fn a_list_at_version_zero_does_not_page(contract: &Contract<'_>) {
    for name in ["a", "b", "c"] {
        contract.create(name, json!({"contract": ""}));
    }
    // The cache may be a moment behind the writes.
    eventually(|| names(&contract.list("&limit=1&resourceVersion=0")) == ["a", "b", "c"]);
}

pub fn list_items_carry_no_kind(contract: &Contract<'_>) {
    contract.create("a", json!({"contract": ""}));
    let list = contract.list("");
    assert_eq!(
        (text(&list["kind"]), text(&list["apiVersion"])),
        ("ConfigMapList".into(), "v1".into())
    );
    let item = &list["items"][0];
    assert!(item.get("kind").is_none() && item.get("apiVersion").is_none(), "{item}");
    assert!(!text(&item["metadata"]["uid"]).is_empty());
    assert!(text(&item["metadata"]["creationTimestamp"]).ends_with('Z'));
    let one = contract.rest.get(&format!("{}/a", contract.configmaps())).expect(200);
    assert_eq!((text(&one["kind"]), text(&one["apiVersion"])), ("ConfigMap".into(), "v1".into()));
    let none = contract.list(",absent");
    assert_eq!(none["items"], json!([]), "an empty list is no null");
}

pub fn selectors_choose(contract: &Contract<'_>) {
    contract.create("a", json!({"contract": "", "tier": "front"}));
    contract.create("b", json!({"contract": "", "tier": "back"}));
    contract.create("c", json!({"contract": ""}));
    let cases: [(&str, &[&str]); 9] = [
        (",tier=front", &["a"]),
        (",tier==back", &["b"]),
        (",tier!=front", &["b", "c"]),
        (",tier", &["a", "b"]),
        (",!tier", &["c"]),
        (",tier%20in%20(front,back)", &["a", "b"]),
        (",tier%20notin%20(front)", &["b", "c"]),
        ("&fieldSelector=metadata.name%3Db", &["b"]),
        ("&fieldSelector=metadata.name!%3Db", &["a", "c"]),
    ];
    for (query, expected) in cases {
        assert_eq!(names(&contract.list(query)), expected, "{query}");
    }
    let path = format!("{}?fieldSelector=data.key%3Dvalue", contract.configmaps());
    let refused = contract.rest.get(&path).expect(400);
    assert_eq!(
        refused["message"],
        "\"data.key\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
    let path = path.replace("configmaps", "pods");
    let refused = contract.rest.get(&path).expect(400);
    assert!(text(&refused["message"]).contains("field label not supported: data.key"), "{refused}");
}

pub fn a_watch_tells_changes_in_order(contract: &Contract<'_>) {
    let start = version(&contract.list(""));
    let watch = contract.watch(&format!("&resourceVersion={start}"));
    contract.create("a", json!({"contract": ""}));
    contract.set("a", "changed");
    let deleted = contract.rest.delete(&format!("{}/a", contract.configmaps()), None).expect(200);
    assert_eq!(deleted["kind"], "Status");
    assert_eq!(
        (text(&deleted["status"]), text(&deleted["details"]["kind"])),
        ("Success".into(), "configmaps".into())
    );

    let mut last = 0;
    for (kind, value) in [("ADDED", "value"), ("MODIFIED", "changed"), ("DELETED", "changed")] {
        let (told, object) = watch.change();
        assert_eq!(told, kind);
        assert_eq!(
            (text(&object["kind"]), text(&object["data"]["key"])),
            ("ConfigMap".into(), value.into())
        );
        let version = object_version(&object);
        assert!(version > last, "{kind} has version {version} after {last}");
        last = version;
    }
}

pub fn a_watch_resumes_without_loss(contract: &Contract<'_>) {
    let start = version(&contract.list(""));
    contract.create("a", json!({"contract": ""}));
    let second = object_version(&contract.create("b", json!({"contract": ""})));
    contract.create("c", json!({"contract": ""}));
    let watch = contract.watch(&format!("&resourceVersion={start}"));
    for name in ["a", "b", "c"] {
        assert_eq!(changed_name(&watch), ("ADDED".to_owned(), name.to_owned()));
    }
    let later = contract.watch(&format!("&resourceVersion={second}"));
    assert_eq!(changed_name(&later), ("ADDED".to_owned(), "c".to_owned()));
}

pub fn a_watch_without_version_begins_with_what_is_there(contract: &Contract<'_>) {
    contract.create("a", json!({"contract": ""}));
    contract.create("b", json!({"contract": ""}));
    let watch = contract.watch("");
    let mut told = vec![changed_name(&watch), changed_name(&watch)];
    told.sort();
    assert_eq!(told, [("ADDED".to_owned(), "a".to_owned()), ("ADDED".to_owned(), "b".to_owned())]);
    contract.set("b", "changed");
    assert_eq!(changed_name(&watch), ("MODIFIED".to_owned(), "b".to_owned()));
}

pub fn a_selected_watch_tells_when_objects_begin_and_cease_to_match(contract: &Contract<'_>) {
    let start = version(&contract.list(""));
    contract.create("a", json!({}));
    let path = format!("{}/a", contract.configmaps());
    let label = |value: Value| json!({"metadata": {"labels": {"contract": value}}});
    contract.rest.merge_patch(&path, &label(json!(""))).expect(200);
    contract.set("a", "inside");
    contract.rest.merge_patch(&path, &label(Value::Null)).expect(200);
    contract.set("a", "outside");
    let watch = contract.watch(&format!("&resourceVersion={start}"));
    for kind in ["ADDED", "MODIFIED", "DELETED"] {
        assert_eq!(changed_name(&watch), (kind.to_owned(), "a".to_owned()));
    }
    assert_eq!(watch.hear(Duration::from_millis(300)), Heard::Silence);
}

pub fn a_watch_ends_properly_after_its_timeout_and_a_bookmark(contract: &Contract<'_>) {
    let start = version(&contract.list(""));
    let query = format!("&resourceVersion={start}&allowWatchBookmarks=true&timeoutSeconds=3");
    let watch = contract.watch(&query);
    contract.create("elsewhere", json!({}));
    let (kind, object) = watch.event();
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(text(&object["kind"]), "ConfigMap");
    assert!(object["metadata"].get("name").is_none(), "{object}");
    assert!(object_version(&object) >= start);
    loop {
        match watch.hear(Duration::from_secs(30)) {
            Heard::Event(kind, _) => assert_eq!(kind, "BOOKMARK"),
            end => {
                assert_eq!(end, Heard::End);
                break;
            }
        }
    }
}

pub fn a_streaming_list_ends_with_a_marked_bookmark(contract: &Contract<'_>) {
    contract.create("a", json!({"contract": ""}));
    let watch = contract.watch(
        "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
    );
    assert_eq!(changed_name(&watch), ("ADDED".to_owned(), "a".to_owned()));
    let (kind, object) = watch.event();
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(object["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

pub fn a_version_from_the_future_is_refused_for_lists_and_silent_for_watches(
    contract: &Contract<'_>,
) {
    let future = "&resourceVersion=999999999";
    let path = format!("{}?labelSelector=contract{future}", contract.configmaps());
    let refused = contract.rest.get(&path);
    assert_eq!(refused.status, 504, "{}", refused.text);
    assert_eq!(refused.json["reason"], "Timeout");
    let message = text(&refused.json["message"]);
    assert!(
        message.starts_with("Timeout: Too large resource version: 999999999, current: "),
        "{message}"
    );
    assert_eq!(refused.json["details"]["retryAfterSeconds"], 1);

    let watch = contract.watch(future);
    assert_eq!(watch.status, 200);
    contract.create("a", json!({"contract": ""}));
    assert_eq!(watch.hear(Duration::from_millis(500)), Heard::Silence);
}

pub fn an_old_version_expires(contract: &Contract<'_>) {
    for name in ["a", "b", "c"] {
        contract.create(name, json!({"contract": ""}));
    }
    let first = contract.list("&limit=1");
    let (start, token) = (version(&first), text(&first["metadata"]["continue"]));
    contract.create("d", json!({"contract": ""}));
    contract.server.compact();

    let path = format!("{}?labelSelector=contract&limit=1&continue={token}", contract.configmaps());
    let expired = contract.rest.get(&path);
    assert_eq!(
        (expired.status, &expired.json["reason"]),
        (410, &json!("Expired")),
        "{}",
        expired.text
    );
    let fresh = text(&expired.json["metadata"]["continue"]);
    let rest = contract.list(&format!("&continue={fresh}"));
    assert_eq!(names(&rest), ["b", "c", "d"], "the fresh token goes on in the present");

    let exact = format!(
        "{}?resourceVersion={start}&resourceVersionMatch=Exact&limit=1",
        contract.configmaps()
    );
    let expired = contract.rest.get(&exact);
    assert_eq!(
        (expired.status, &expired.json["reason"]),
        (410, &json!("Expired")),
        "{}",
        expired.text
    );

    let watch = contract.watch(&format!("&resourceVersion={start}"));
    assert_eq!(watch.status, 200);
    let (kind, status) = watch.event();
    assert_eq!(kind, "ERROR");
    assert_eq!(
        (text(&status["kind"]), text(&status["reason"])),
        ("Status".into(), "Expired".into())
    );
    assert_eq!(status["code"], 410);
    assert!(
        text(&status["message"]).starts_with(&format!("too old resource version: {start} (")),
        "{status}"
    );
    assert_eq!(watch.hear(Duration::from_secs(10)), Heard::End);
}

pub fn a_stale_write_conflicts(contract: &Contract<'_>) {
    let old = contract.create("a", json!({"contract": ""}));
    contract.set("a", "newer");
    let path = format!("{}/a", contract.configmaps());
    let refused = contract.rest.put(&path, &old).expect(409);
    let message = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply \
        your changes to the latest version and try again";
    assert_eq!(
        refused,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409,
            "message": message, "reason": "Conflict", "details": {"name": "a", "kind": "configmaps"},
        })
    );
    let patch = json!({"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}});
    assert_eq!(contract.rest.merge_patch(&path, &patch).expect(409)["reason"], "Conflict");

    let mut foreign = old.clone();
    foreign["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
    foreign["metadata"].as_object_mut().expect("metadata is an object").remove("resourceVersion");
    assert_eq!(contract.rest.put(&path, &foreign).expect(409)["reason"], "Conflict");

    let mut unconditional = old;
    unconditional["data"]["key"] = json!("wins");
    unconditional["metadata"]
        .as_object_mut()
        .expect("metadata is an object")
        .remove("resourceVersion");
    let written = contract.rest.put(&path, &unconditional).expect(200);
    assert_eq!(text(&written["data"]["key"]), "wins");
}

pub fn a_second_create_already_exists(contract: &Contract<'_>) {
    contract.create("a", json!({}));
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let refused = contract.rest.post(&contract.configmaps(), &body).expect(409);
    assert_eq!(
        refused,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409,
            "message": "configmaps \"a\" already exists", "reason": "AlreadyExists",
            "details": {"name": "a", "kind": "configmaps"},
        })
    );
}

pub fn an_absent_object_is_not_found(contract: &Contract<'_>) {
    let absent = contract.rest.get(&format!("{}/ghost", contract.leases())).expect(404);
    assert_eq!(
        absent,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404,
            "message": "leases.coordination.k8s.io \"ghost\" not found", "reason": "NotFound",
            "details": {"name": "ghost", "group": "coordination.k8s.io", "kind": "leases"},
        })
    );
    let path = format!("{}/ghost", contract.configmaps());
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ghost"}});
    assert_eq!(
        contract.rest.put(&path, &body).expect(404)["message"],
        "configmaps \"ghost\" not found"
    );
    assert_eq!(contract.rest.delete(&path, None).expect(404)["reason"], "NotFound");
    assert_eq!(contract.rest.merge_patch(&path, &json!({})).expect(404)["reason"], "NotFound");
    let nowhere = contract.rest.post("/api/v1/namespaces/no-such-namespace/configmaps", &body);
    assert_eq!(nowhere.expect(404)["message"], "namespaces \"no-such-namespace\" not found");
}

pub fn unknown_paths_are_not_found(contract: &Contract<'_>) {
    let resource = contract.rest.get("/api/v1/unicorns").expect(404);
    assert_eq!(resource["message"], "the server could not find the requested resource");
    let group = contract.rest.get("/apis/unicorns.example.com/v1/unicorns");
    assert_eq!((group.status, group.text.as_str()), (404, "404 page not found\n"));
}

pub fn a_missing_permission_names_user_verb_and_resource(contract: &Contract<'_>) {
    let (powerless, user) = contract.powerless();
    let slices = powerless.get("/apis/discovery.k8s.io/v1/endpointslices").expect(403);
    assert_eq!(
        slices,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 403,
            "message": format!(
                "endpointslices.discovery.k8s.io is forbidden: User \"{user}\" cannot list resource \
                 \"endpointslices\" in API group \"discovery.k8s.io\" at the cluster scope"
            ),
            "reason": "Forbidden", "details": {"group": "discovery.k8s.io", "kind": "endpointslices"},
        })
    );
    let namespace = &contract.namespace;
    let one = powerless.get(&format!("{}/a", contract.configmaps())).expect(403);
    let message = format!(
        "configmaps \"a\" is forbidden: User \"{user}\" cannot get resource \"configmaps\" in API group \"\" \
         in the namespace \"{namespace}\""
    );
    assert_eq!(text(&one["message"]), message);
    assert_eq!(one["details"], json!({"name": "a", "kind": "configmaps"}));
    let watch = powerless.get("/api/v1/pods?watch=1").expect(403);
    assert!(text(&watch["message"]).contains("cannot watch resource \"pods\""), "{watch}");
}

pub fn an_unknown_token_is_unauthorized(contract: &Contract<'_>) {
    let authority = contract.server.authority();
    let stranger = Rest::new(&contract.server.url(), "nonsense", authority.as_deref());
    let refused = stranger.get("/api/v1/nodes").expect(401);
    assert_eq!(
        refused,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 401,
            "message": "Unauthorized", "reason": "Unauthorized",
        })
    );
}

pub fn a_merge_patch_merges(contract: &Contract<'_>) {
    contract.create("a", json!({"contract": "", "old": "1"}));
    let path = format!("{}/a", contract.configmaps());
    let patch = json!({"metadata": {"labels": {"old": null, "new": "2"}}, "data": {"more": "x"}});
    let patched = contract.rest.merge_patch(&path, &patch).expect(200);
    assert_eq!(patched["metadata"]["labels"], json!({"contract": "", "new": "2"}));
    assert_eq!(patched["data"], json!({"key": "value", "more": "x"}));
}

pub fn a_lease_that_is_gone_is_made_again_by_put_unless_it_has_a_uid(contract: &Contract<'_>) {
    let path = format!("{}/lock", contract.leases());
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "lock"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15},
    });
    let created = contract.rest.put(&path, &lease).expect(201);
    assert_eq!(contract.rest.put(&path, &created).expect(200)["spec"]["holderIdentity"], "a");
    let deleted = contract.rest.delete(&path, None).expect(200);
    assert_eq!(text(&deleted["details"]["uid"]), text(&created["metadata"]["uid"]));

    let refused = contract.rest.put(&path, &created).expect(409);
    assert_eq!(refused["reason"], "Conflict");
    let created_uid = created["metadata"]["uid"].clone();
    let mut without_uid = created;
    without_uid["metadata"].as_object_mut().expect("metadata is an object").remove("uid");
    assert!(!text(&without_uid["metadata"]["resourceVersion"]).is_empty());
    let again = contract.rest.put(&path, &without_uid).expect(201);
    assert_ne!(again["metadata"]["uid"], created_uid);
}

pub fn a_write_without_effect_makes_no_revision(contract: &Contract<'_>) {
    let created = contract.create("a", json!({"contract": ""}));
    let same = contract.set("a", "value");
    assert_eq!(same["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
}

pub fn delete_honours_preconditions(contract: &Contract<'_>) {
    let created = contract.create("a", json!({"contract": ""}));
    let path = format!("{}/a", contract.configmaps());
    let foreign = json!({"preconditions": {"uid": "00000000-0000-4000-8000-000000000000"}});
    assert_eq!(contract.rest.delete(&path, Some(&foreign)).expect(409)["reason"], "Conflict");
    let own = json!({"preconditions": {"uid": created["metadata"]["uid"]}});
    contract.rest.delete(&path, Some(&own)).expect(200);
}

pub fn tokens_and_permissions_are_reviewed(contract: &Contract<'_>) {
    let (token, user) = contract.server.powerless();
    let review = |token: &str| {
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
        });
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        contract.rest.post(path, &body).expect(201)["status"].clone()
    };
    let known = review(&token);
    assert_eq!(
        (&known["authenticated"], text(&known["user"]["username"])),
        (&json!(true), user.clone())
    );
    let groups = known["user"]["groups"].as_array().expect("a user has groups");
    assert!(groups.contains(&json!("system:authenticated")), "{known}");
    assert_eq!(review("nonsense"), json!({"user": {}, "error": "invalid bearer token"}));

    let ask = |user: &str, groups: Value| {
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": groups, "resourceAttributes": {
                "verb": "list", "group": "discovery.k8s.io", "resource": "endpointslices",
            }},
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        contract.rest.post(path, &body).expect(201)["status"].clone()
    };
    assert_eq!(ask(&user, json!(["system:authenticated"])), json!({"allowed": false}));
    assert_eq!(ask("root", json!(["system:masters"]))["allowed"], json!(true));
}

pub fn discovery_names_what_is_served(contract: &Contract<'_>) {
    let get = |path: &str| contract.rest.get(path).expect(200);
    assert_eq!(get("/api")["versions"], json!(["v1"]));
    let groups = get("/apis");
    let discovery = groups["groups"].as_array().expect("groups is a list").iter();
    let discovery = discovery.filter(|group| group["name"] == "discovery.k8s.io").count();
    assert_eq!(discovery, 1);
    let resources = get("/apis/discovery.k8s.io/v1");
    assert_eq!(resources["groupVersion"], "discovery.k8s.io/v1");
    let slices = resources["resources"].as_array().expect("resources is a list").iter();
    let slices: Vec<_> = slices.filter(|entry| entry["name"] == "endpointslices").collect();
    assert_eq!(
        (&slices[0]["kind"], &slices[0]["namespaced"]),
        (&json!("EndpointSlice"), &json!(true))
    );
    let preferred = &get("/apis/discovery.k8s.io")["preferredVersion"];
    assert_eq!(preferred["groupVersion"], "discovery.k8s.io/v1");
    assert_eq!(get("/version")["major"], "1");
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list has items");
    items.iter().map(|item| text(&item["metadata"]["name"])).collect()
}

fn changed_name(watch: &Watching) -> (String, String) {
    let (kind, object) = watch.change();
    (kind, text(&object["metadata"]["name"]))
}

fn version(list: &Value) -> u64 {
    object_version(list)
}

fn object_version(object: &Value) -> u64 {
    let version = text(&object["metadata"]["resourceVersion"]);
    version.parse().unwrap_or_else(|_| panic!("no version in {object}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn eventually(condition: impl Fn() -> bool) {
    super::wait::until("the condition holds", Duration::from_secs(20), condition);
}
