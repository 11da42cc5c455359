//! The streams without sockets: calls and changes in, messages out (spec node-api §8, §14).

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::messages::{Change, Response};
use super::*;
use crate::grpc::{Next, StreamSource, Waker};
use crate::kube::watch::Event;
use crate::metadata::{Core, Settings};
use crate::node_api::Tokens;
use crate::secret::Secret;

const TOKEN: &str = "5a1f0c9e3c1d4e0a9a513d6b0b0a7c11";
const SECOND: Duration = Duration::from_secs(1);

struct Fixture {
    core: Core,
    hub: Hub,
    streams: NodeStreams,
    telemetry: Registry,
}

impl Fixture {
    /// Synced: `node-a` runs `shop/cart-1` behind `cart`, and there are two namespaces.
    fn synced() -> Self {
        let mut fixture = Self::unsynced(2);
        fixture.sync();
        fixture
    }

    fn unsynced(maximum: usize) -> Self {
        let tokens = Tokens { shared: Secret::new(TOKEN), ..Tokens::default() };
        let (hub, telemetry) = (Hub::default(), Registry::default());
        let gate = Arc::new(Gate::new(tokens));
        let streams = NodeStreams::new(gate, hub.clone(), maximum, &telemetry);
        let core = Core::new(Settings { collect_services: true });
        Self { core, hub, streams, telemetry }
    }

    fn sync(&mut self) {
        list(&mut self.core, Core::apply_node, &[json!({"metadata": {"name": "node-a"}})]);
        list(&mut self.core, Core::apply_endpoints, &[endpoints("cart", &["cart-1"])]);
        self.core.publish(&self.hub);
        let namespaces = [namespace("shop", "blue"), namespace("empty", "red")];
        list(&mut self.core, Core::apply_namespace, &namespaces);
        self.core.publish(&self.hub);
    }

    fn apply(&mut self, object: Value) {
        self.core.apply_endpoints(Event::Apply(parsed(object)));
        self.core.publish(&self.hub);
    }

    fn open(&self, node: &str) -> Result<Box<dyn StreamSource>, Code> {
        let call = call(STREAM_KUBE_METADATA, Some(&format!("Bearer {TOKEN}")));
        self.streams.admit(&call).map_err(|status| status.code)?;
        let request = Request { node_name: node.to_owned() };
        match self.streams.call(&call, &request.encode_to_vec()) {
            Reply::Stream(source) => Ok(source),
            Reply::Status(status) => Err(status.code),
            Reply::Message(_) => panic!("the method streams"),
        }
    }
}

fn list<T: DeserializeOwned>(core: &mut Core, apply: fn(&mut Core, Event<T>), objects: &[Value]) {
    apply(core, Event::Init);
    for object in objects {
        apply(core, Event::InitApply(parsed(object.clone())));
    }
    apply(core, Event::InitDone);
}

fn parsed<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("the test's object is valid")
}

fn endpoints(service: &str, pods: &[&str]) -> Value {
    let addresses: Vec<Value> = pods
        .iter()
        .map(|pod| {
            let pod = json!({"kind": "Pod", "namespace": "shop", "name": pod});
            json!({"nodeName": "node-a", "targetRef": pod})
        })
        .collect();
    json!({"metadata": {"name": service, "namespace": "shop"}, "subsets": [{"addresses": addresses}]})
}

fn namespace(name: &str, team: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"team": team}, "annotations": {"a": "1"}}})
}

fn call(path: &str, authorization: Option<&str>) -> Call {
    let authorization = authorization.map(|value| ("authorization".to_owned(), value.to_owned()));
    Call {
        path: path.to_owned(),
        metadata: authorization.into_iter().collect(),
        peer: ([10, 0, 0, 9], 40_000).into(),
        waker: Waker::new().expect("there is a descriptor"),
    }
}

/// The next message, decoded.
#[track_caller]
fn message(stream: &mut dyn StreamSource, now: Instant) -> Response {
    match stream.next(now) {
        Next::Message(bytes) => Response::decode(&*bytes).expect("the stream's message is valid"),
        other => panic!("{other:?} instead of a message"),
    }
}

#[track_caller]
fn idle_until(stream: &mut dyn StreamSource, now: Instant) -> Instant {
    match stream.next(now) {
        Next::Idle(due) => due,
        other => panic!("{other:?} instead of silence"),
    }
}

/// `namespace/pod` → change and services.
fn pods(response: &Response) -> Vec<(String, Change, Vec<String>)> {
    let mappings = response.mappings.iter();
    mappings
        .map(|mapping| {
            let name = format!("{}/{}", mapping.namespace, mapping.pod_name);
            (name, mapping.change(), mapping.service_names.clone())
        })
        .collect()
}

fn namespaces(response: &Response) -> Vec<(&str, Change, Option<&str>)> {
    let namespaces = response.namespace_metadata.iter();
    namespaces
        .map(|entry| {
            (&*entry.namespace, entry.change(), entry.labels.get("team").map(String::as_str))
        })
        .collect()
}

#[test]
fn node_api_30_the_first_message_is_the_full_state_of_the_node() {
    let mut stream = Fixture::synced().open("node-a").expect("a stream is left");
    let now = Instant::now();
    let first = message(&mut *stream, now);
    assert!(first.is_full_state);
    assert_eq!(pods(&first), [("shop/cart-1".to_owned(), Change::Set, vec!["cart".to_owned()])]);
    assert_eq!(
        namespaces(&first),
        [("empty", Change::Set, Some("red")), ("shop", Change::Set, Some("blue"))]
    );
    assert_eq!(first.namespace_metadata[0].annotations["a"], "1");
    idle_until(&mut *stream, now);
}

#[test]
fn node_api_30_changes_are_told_as_increments() {
    let mut fixture = Fixture::synced();
    let mut stream = fixture.open("node-a").expect("a stream is left");
    let mut now = Instant::now();
    message(&mut *stream, now);

    fixture.apply(endpoints("all", &["cart-1", "cart-2"]));
    let due = idle_until(&mut *stream, now);
    assert!(due <= now + SECOND, "the change is told within a second");
    now = due;
    let increment = message(&mut *stream, now);
    assert!(!increment.is_full_state && increment.namespace_metadata.is_empty());
    let both = vec!["all".to_owned(), "cart".to_owned()];
    assert_eq!(
        pods(&increment),
        [
            ("shop/cart-1".to_owned(), Change::Set, both),
            ("shop/cart-2".to_owned(), Change::Set, vec!["all".to_owned()]),
        ]
    );

    fixture.apply(endpoints("all", &[]));
    now = idle_until(&mut *stream, now);
    let increment = message(&mut *stream, now);
    assert_eq!(
        pods(&increment),
        [
            ("shop/cart-1".to_owned(), Change::Set, vec!["cart".to_owned()]),
            ("shop/cart-2".to_owned(), Change::Unset, Vec::new()),
        ]
    );
    fixture.apply(endpoints("cart", &[]));
    now = idle_until(&mut *stream, now);
    let increment = message(&mut *stream, now);
    assert_eq!(pods(&increment), [("shop/cart-1".to_owned(), Change::Unset, Vec::new())]);
}

#[test]
fn node_api_30_unknown_methods_bad_tokens_and_streams_over_the_budget_are_refused() {
    let fixture = Fixture::synced();
    let refused = |path, value: Option<&str>| {
        fixture.streams.admit(&call(path, value)).map_err(|status| status.code)
    };
    let bearer = format!("Bearer {TOKEN}");
    let fetch = "/datadog.api.v1.AgentSecure/TaggerFetchEntity";
    assert_eq!(refused(fetch, Some(&bearer)), Err(Code::Unimplemented));
    for value in [None, Some("Bearer"), Some("Bearer "), Some("Bearer x"), Some(TOKEN)] {
        for path in [STREAM_KUBE_METADATA, TAGGER_STREAM_ENTITIES, fetch] {
            assert_eq!(refused(path, value), Err(Code::Unauthenticated), "{path} {value:?}");
        }
    }
    assert_eq!(fixture.open("").err(), Some(Code::InvalidArgument));

    let open = [fixture.open("node-a"), fixture.open("node-b")];
    assert!(open.iter().all(Result::is_ok));
    assert_eq!(fixture.open("node-c").err(), Some(Code::Unimplemented));
    assert_eq!(fixture.telemetry.total("dca_metadata_streams"), 2.0);
    drop(open);
    assert_eq!(fixture.hub.subscribers(), 0);
    assert_eq!(fixture.telemetry.total("dca_metadata_streams"), 0.0);
    assert!(fixture.open("node-c").is_ok());
}

#[test]
fn node_api_05_an_unset_token_opens_no_stream() {
    let (hub, telemetry) = (Hub::default(), Registry::default());
    let streams = NodeStreams::new(Arc::default(), hub, 2, &telemetry);
    for value in ["Bearer ", "Bearer x", ""] {
        let admitted = streams.admit(&call(STREAM_KUBE_METADATA, Some(value)));
        assert_eq!(admitted.map_err(|status| status.code), Err(Code::Unauthenticated));
    }
}

#[test]
fn a_stream_holds_its_tongue_until_all_lists_are_complete() {
    let mut fixture = Fixture::unsynced(2);
    let mut stream = fixture.open("node-b").expect("a stream is left");
    let now = Instant::now();
    idle_until(&mut *stream, now);
    idle_until(&mut *stream, now + 1200 * SECOND);
    fixture.sync();
    let first = message(&mut *stream, now + 1200 * SECOND);
    assert!(first.is_full_state, "the node runs nothing, and is told so");
    assert!(first.mappings.is_empty() && first.namespace_metadata.len() == 2);
}

#[test]
fn changes_within_a_quarter_of_a_second_are_one_message() {
    let mut fixture = Fixture::synced();
    let mut stream = fixture.open("node-a").expect("a stream is left");
    let start = Instant::now();
    message(&mut *stream, start);

    fixture.apply(endpoints("b", &["pod"]));
    let due = idle_until(&mut *stream, start);
    fixture.apply(endpoints("c", &["pod"]));
    let last = due - Duration::from_millis(1);
    assert_eq!(idle_until(&mut *stream, last), due, "later changes do not put the message off");
    let together = message(&mut *stream, due);
    assert_eq!(pods(&together)[0].2, ["b", "c"]);

    fixture.apply(endpoints("b", &[]));
    let due = idle_until(&mut *stream, due);
    fixture.apply(endpoints("b", &["pod"]));
    idle_until(&mut *stream, due);
}

#[test]
fn namespaces_of_the_whole_cluster_change_on_every_stream() {
    let mut fixture = Fixture::synced();
    let mut stream = fixture.open("node-b").expect("a stream is left");
    let start = Instant::now();
    message(&mut *stream, start);
    fixture.core.apply_namespace(Event::Apply(parsed(namespace("shop", "green"))));
    fixture.core.apply_namespace(Event::Delete(parsed(namespace("empty", "red"))));
    fixture.core.publish(&fixture.hub);
    let due = idle_until(&mut *stream, start);
    let increment = message(&mut *stream, due);
    assert_eq!(
        namespaces(&increment),
        [("empty", Change::Unset, None), ("shop", Change::Set, Some("green"))]
    );
}

#[test]
fn a_quiet_stream_shows_life_before_clients_give_up() {
    let mut stream = Fixture::synced().open("node-a").expect("a stream is left");
    let start = Instant::now();
    message(&mut *stream, start);
    let due = idle_until(&mut *stream, start);
    assert!(due > start + 60 * SECOND && due < start + 600 * SECOND, "{:?}", due - start);
    assert_eq!(stream.next(due), Next::Message(Vec::new()));
    assert_eq!(idle_until(&mut *stream, due) - due, due - start);
}

#[test]
fn a_large_full_state_comes_in_messages_that_clients_take() {
    let mut fixture = Fixture::synced();
    let text = "x".repeat(250 << 10);
    let large: Vec<Value> = (0..20)
        .map(|number| json!({"metadata": {"name": format!("n{number:02}"), "annotations": {"a": text}}}))
        .collect();
    list(&mut fixture.core, Core::apply_namespace, &large);
    fixture.core.publish(&fixture.hub);
    let mut stream = fixture.open("node-a").expect("a stream is left");
    let now = Instant::now();
    let mut sizes = Vec::new();
    let mut names = 0;
    while let Next::Message(bytes) = stream.next(now) {
        let piece = Response::decode(&*bytes).expect("the stream's message is valid");
        assert_eq!(piece.is_full_state, sizes.is_empty(), "only the first one replaces");
        assert_eq!(piece.mappings.len(), usize::from(sizes.is_empty()));
        names += piece.namespace_metadata.len();
        sizes.push(bytes.len());
    }
    assert_eq!(names, 20);
    assert!(sizes.len() == 2 && sizes.iter().all(|size| *size < 4 << 20), "{sizes:?}");
}

#[test]
fn messages_have_the_bytes_of_the_specification() {
    let mapping = messages::PodServiceMapping {
        namespace: "s".to_owned(),
        pod_name: "p".to_owned(),
        service_names: vec!["a".to_owned(), "b".to_owned()],
        change: Change::Unset.into(),
    };
    let namespace = messages::NamespaceMetadata {
        namespace: "s".to_owned(),
        labels: [("k".to_owned(), "v".to_owned())].into(),
        annotations: [("m".to_owned(), "w".to_owned())].into(),
        change: Change::Set.into(),
    };
    let response = Response {
        is_full_state: true,
        mappings: vec![mapping],
        namespace_metadata: vec![namespace],
    };
    let expected = b"\x08\x01\
        \x12\x0e\x0a\x01s\x12\x01p\x1a\x01a\x1a\x01b\x20\x01\
        \x1a\x13\x0a\x01s\x12\x06\x0a\x01k\x12\x01v\x1a\x06\x0a\x01m\x12\x01w";
    assert_eq!(response.encode_to_vec(), expected);
    assert_eq!(Request { node_name: "n".to_owned() }.encode_to_vec(), b"\x0a\x01n");
}
