//! The node API on its real listener: requests and streams on one port, from clients that know only the specification.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use cluster_agent::flare::Document;
use cluster_agent::grpc::{self, Grpc};
use cluster_agent::health::Report;
use cluster_agent::http::message::text;
use cluster_agent::http::{Limits, Request, Response};
use cluster_agent::kube::objects::{Endpoints, Namespace, Node};
use cluster_agent::kube::watch::Event;
use cluster_agent::metadata::{self, Core, Hub};
use cluster_agent::node_api::{
    self, ClusterId, Format, Gate, Leadership, NodeApi, NodeStreams, Operator, Parts, Role,
    RuntimeSetting, Setting, SettingError, Tokens,
};
use cluster_agent::secret::Secret;
use cluster_agent::telemetry::Registry;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use serde_json::json;
use shiguredo_http2::{Connection, HeaderField};

use crate::h2_client::GrpcClient;
use crate::listener::{Listener, eventually, server_config};
use crate::metadata_stream::{Known, MetadataStream, Received};
use crate::tls_client::{self, Offer, PATIENCE};

const TOKEN: &str = "5a1f0c9e3c1d4e0a9a513d6b0b0a7c11";

/// Streams that the listener admits.
const STREAMS: usize = 2;

/// A process that has nothing to say about itself.
struct Alone;

/// The listener, and the state behind it.
struct Fixture {
    listener: Listener,
    core: Core,
    hub: Hub,
}

impl Fixture {
    /// Synced: `node-a` runs `shop/cart-1` behind `cart`.
    fn new() -> Self {
        let (hub, telemetry) = (Hub::default(), Registry::default());
        let mut core = Core::new(metadata::Settings { collect_services: true });
        core.apply_node(Event::Init);
        core.apply_node(Event::InitApply(node("node-a")));
        core.apply_node(Event::InitDone);
        core.apply_namespace(Event::Init);
        core.apply_namespace(Event::InitApply(namespace("shop")));
        core.apply_namespace(Event::InitDone);
        core.apply_endpoints(Event::Init);
        core.apply_endpoints(Event::InitApply(endpoints("cart", &["cart-1"])));
        core.apply_endpoints(Event::InitDone);
        core.publish(&hub);
        let tokens = Tokens { shared: Secret::new(TOKEN), ..Tokens::default() };
        let gate = Arc::new(Gate::new(tokens));
        let streams = NodeStreams::new(Arc::clone(&gate), hub.clone(), STREAMS, &telemetry);
        let api = NodeApi::new(
            node_api::Settings { collect_services: true, host_alias_annotations: Vec::new() },
            Parts {
                gate,
                metadata: hub.clone(),
                cluster_id: ClusterId::default(),
                operator: Arc::new(Alone),
                leadership: Arc::new(Alone),
                checks: None,
                telemetry,
            },
        );
        let http2 = Arc::new(Grpc::new(Arc::new(streams), grpc::Limits::default()));
        let limits = Limits { connections_per_peer: 1000, ..Limits::default() };
        let listener = Listener::start(limits, Some(server_config()), Some(http2), api);
        Self { listener, core, hub }
    }

    fn apply(&mut self, endpoints: Endpoints) {
        self.core.apply_endpoints(Event::Apply(endpoints));
        self.core.publish(&self.hub);
    }
}

impl Operator for Alone {
    fn hostname(&self) -> String {
        String::new()
    }

    fn status(&self, _: Format, _: bool) -> Result<String, String> {
        Ok(String::new())
    }

    fn status_sections(&self) -> Vec<String> {
        Vec::new()
    }

    fn status_section(&self, _: &str, _: Format) -> Result<String, String> {
        Ok(String::new())
    }

    fn obstacle(&self) -> Option<String> {
        None
    }

    fn health(&self) -> Report {
        Report::default()
    }

    fn configuration(&self) -> String {
        String::new()
    }

    fn runtime_settings(&self) -> Vec<RuntimeSetting> {
        Vec::new()
    }

    fn setting(&self, _: &str) -> Option<Setting> {
        None
    }

    fn set_setting(&self, _: &str, _: &str) -> Result<(), SettingError> {
        Err(SettingError::Unknown)
    }

    fn flare(&self, _: Vec<Document>) -> Result<String, String> {
        Ok(String::new())
    }

    fn flare_bytes(&self, _: Vec<Document>) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }

    fn stop(&self) {}
}

impl Leadership for Alone {
    fn role(&self) -> Role {
        Role::Leader
    }

    fn forward(&self, _: &Request, _: IpAddr) -> Response {
        text(502, "")
    }
}

fn node(name: &str) -> Node {
    let object = json!({"metadata": {"name": name}});
    serde_json::from_value(object).expect("the test's node is valid")
}

fn namespace(name: &str) -> Namespace {
    let object = json!({"metadata": {"name": name, "labels": {"team": "blue"}}});
    serde_json::from_value(object).expect("the test's namespace is valid")
}

fn endpoints(service: &str, pods: &[&str]) -> Endpoints {
    let addresses: Vec<_> = pods
        .iter()
        .map(|pod| {
            let pod = json!({"kind": "Pod", "namespace": "shop", "name": pod});
            json!({"nodeName": "node-a", "targetRef": pod})
        })
        .collect();
    let object = json!({"metadata": {"name": service, "namespace": "shop"},
        "subsets": [{"addresses": addresses}]});
    serde_json::from_value(object).expect("the test's endpoints are valid")
}

#[test]
fn node_api_30_a_stream_follows_its_node() {
    let mut fixture = Fixture::new();
    let address = fixture.listener.address();
    let mut stream = MetadataStream::open(address, TOKEN, "node-a").expect("the stream opens");
    let mut known = Known::default();
    stream.learn(&mut known, PATIENCE, |known| known.complete);
    assert_eq!(known.services("shop", "cart-1"), ["cart"]);
    assert_eq!(known.namespaces["shop"]["team"], "blue");

    fixture.apply(endpoints("all", &["cart-1", "cart-2"]));
    stream.learn(&mut known, PATIENCE, |known| !known.services("shop", "cart-2").is_empty());
    assert_eq!(known.services("shop", "cart-1"), ["all", "cart"], "one message tells both pods");
    fixture.apply(endpoints("all", &[]));
    stream.learn(&mut known, PATIENCE, |known| known.services("shop", "cart-2").is_empty());
    assert_eq!(known.services("shop", "cart-1"), ["cart"]);

    let second = MetadataStream::open(address, TOKEN, "node-b").expect("the stream opens");
    eventually("the second stream", || fixture.hub.subscribers() == STREAMS);
    let mut third = MetadataStream::open(address, TOKEN, "node-c").expect("the stream opens");
    let over = third.next(PATIENCE).expect("the server answers");
    assert!(matches!(over, Received::Ended(12)), "{over:?}");
    let mut stranger = MetadataStream::open(address, "wrong", "node-a").expect("it connects");
    let refused = stranger.next(PATIENCE).expect("the server answers");
    assert!(matches!(refused, Received::Ended(16)), "{refused:?}");
    drop((stream, second));
    eventually("the end of the streams", || fixture.hub.subscribers() == 0);
}

#[test]
fn node_api_30_unknown_methods_end_and_pings_are_answered_beside_an_open_stream() {
    let fixture = Fixture::new();
    let mut client = GrpcClient::connect(fixture.listener.address()).expect("the client connects");
    let bearer = format!("Bearer {TOKEN}");
    let metadata = [("authorization", bearer.as_str())];
    let service = "/datadog.api.v1.AgentSecure";
    let path = format!("{service}/TaggerStreamEntities");
    let held = client.call(&path, &metadata, b"").expect("the call is sent");
    let fetch = format!("{service}/TaggerFetchEntity");
    let fetched = client.call(&fetch, &metadata, b"").expect("the call is sent");
    assert_eq!(client.status(fetched), 12);
    client.ping().expect("the connection is open");
    client.until("the answer to a ping", |client| client.pongs > 0);
    assert!(client.calls[&held].status().is_none(), "the tagger's stream is still open");
}

#[test]
fn a_stream_is_opened_by_what_came_with_the_end_of_the_handshake() {
    let fixture = Fixture::new();
    let mut socket = tls_client::connect_plain(fixture.listener.address()).expect("it connects");
    let offer = Offer { protocols: vec![b"h2"], ..Offer::default() };
    let name = ServerName::try_from("localhost").expect("the name is valid");
    let mut tls = ClientConnection::new(tls_client::client_config(&offer), name)
        .expect("the settings are valid");
    while tls.is_handshaking() {
        while tls.wants_write() {
            tls.write_tls(&mut socket).expect("the socket is open");
        }
        tls.read_tls(&mut socket).expect("the server answers");
        tls.process_new_packets().expect("the server's answer is valid");
    }
    // The client's last flight is not sent yet: the call goes with it, in one piece.
    tls.writer().write_all(&opening("node-a")).expect("the writer has room");
    let mut flight = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut flight).expect("memory takes everything");
    }
    socket.write_all(&flight).expect("the socket is open");
    eventually("the stream", || fixture.hub.subscribers() == 1);
}

/// The bytes with which a client opens its connection and asks for a node's stream.
fn opening(node: &str) -> Vec<u8> {
    let limits = shiguredo_http2::Limits::builder().build().expect("the limits are valid");
    let mut protocol = Connection::client(limits);
    protocol.initiate().expect("the connection is new");
    let bearer = format!("Bearer {TOKEN}");
    let head = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/datadog.api.v1.AgentSecure/StreamKubeMetadata"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("authorization", bearer.as_str()),
    ];
    let head = head.map(|(name, value)| {
        HeaderField::new(name, value).expect("the test's header fields are valid")
    });
    let stream = protocol.start_stream(head.to_vec(), false).expect("the connection is open");
    let length = u8::try_from(node.len()).expect("the name is short");
    let message = [&[0, 0, 0, 0, length + 2, 0x0a, length], node.as_bytes()].concat();
    protocol.send_data(stream, message, true).expect("the stream is open");
    std::iter::from_fn(|| protocol.poll_output()).flatten().collect()
}
