//! Followers and a leader over real connections (spec node-api §7).

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Receiver;

use super::*;
use crate::http::certificate::Identity;
use crate::http::tls;
use crate::http::{Limits, Server};
use crate::leader::LeaderAddress;
use crate::leader::clock::SystemClock;
use crate::leader::election;
use crate::leader::leadership::{Leadership as Election, Publisher};
use crate::node_api::Forwarder;
use crate::sync::Published;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const TARGET: &str = "/api/v1/clusterchecks/status/runner-1?x=1";

/// A leader that records what it was asked.
#[derive(Default)]
struct Recorder {
    requests: Mutex<Vec<Request>>,
    pause: Duration,
}

impl Handler for Recorder {
    fn handle(&self, request: &Request) -> Response {
        self.requests.lock().expect("nobody panicked").push(request.clone());
        std::thread::sleep(self.pause);
        owned(200, "application/json", br#"{"isuptodate":true}"#.to_vec())
            .with_header(header("X-Leader", "yes"))
    }
}

/// A follower's service, and what belongs to it.
struct Follower {
    fixture: Fixture,
    forwarder: Arc<Forwarder>,
    publisher: Publisher,
    doubts: Receiver<()>,
}

fn serve(handler: Arc<Recorder>) -> Server {
    let identity = Identity::self_signed(&["localhost".to_owned()], SystemTime::now())
        .expect("a certificate can be made");
    let config = tls::server_config(&identity, tls::HTTP1_ONLY, None).expect("a fitting key");
    Server::start(crate::http::Options {
        name: "leader-5005".to_owned(),
        listener: TcpListener::bind((LOOPBACK, 0)).expect("a free port"),
        tls: Some(Arc::new(Published::new(config))),
        limits: Limits::default(),
        handler,
        http2: None,
        telemetry: Registry::default(),
    })
    .expect("the server starts")
}

fn follower(port: u16, connections: usize) -> Follower {
    let (publisher, leadership) = Election::new(Arc::new(SystemClock));
    let (address, doubts) = LeaderAddress::fixed("dca-leader", LOOPBACK);
    let forwarder = Arc::new(Forwarder::new(leadership, address, port, connections));
    let mut fixture = Fixture::with_checks(Role::Unknown);
    fixture.api.parts.leadership = forwarder.clone();
    follow(&publisher, "dca-leader");
    Follower { fixture, forwarder, publisher, doubts }
}

fn follow(publisher: &Publisher, leader: &str) {
    publisher.publish(election::Role::Following { holder: Some(leader.to_owned()) });
}

fn report() -> Request {
    let mut request = request(Method::Post, TARGET, SHARED);
    request.body = br#"{"last_change":1,"events":[]}"#.to_vec();
    for (name, value) in [
        ("X-Real-Ip", ""),
        ("User-Agent", "Go-http-client/1.1"),
        ("Accept-Encoding", "gzip"),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "for the follower only"),
        ("Content-Length", "999"),
    ] {
        request.headers.push((name.to_owned(), value.to_owned()));
    }
    request
}

#[test]
fn node_api_27_a_follower_sends_the_request_on_and_the_answer_back() {
    let leader = Arc::<Recorder>::default();
    let server = serve(leader.clone());
    let follower = follower(server.local_address().port(), 100);
    let answer = follower.fixture.send(&report());
    assert_eq!((answer.status, &*answer.body), (200, r#"{"isuptodate":true}"#));
    assert_eq!(answer.headers["x-dca-forwarded"], "true");
    assert_eq!(answer.headers["x-leader"], "yes");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert!(!answer.headers.contains_key("date"), "this replica writes its own");

    let asked = leader.requests.lock().expect("nobody panicked")[0].clone();
    assert_eq!(asked.method, Method::Post);
    assert_eq!(asked.target, TARGET);
    assert_eq!(asked.body, br#"{"last_change":1,"events":[]}"#);
    assert_eq!(asked.header("Authorization"), Some(&*format!("Bearer {SHARED}")));
    assert_eq!(asked.header("X-Real-Ip"), Some(""));
    assert_eq!(asked.header("X-DCA-Follower-Forwarded"), Some("true"));
    assert_eq!(asked.header("User-Agent"), Some("Go-http-client/1.1"));
    assert_eq!(asked.header("X-Hop"), None);
    assert_eq!(follower.fixture.telemetry.total("forwarded_requests"), 1.0);

    // A second follower does not send it on again, and says so.
    let asked = leader.requests.lock().expect("nobody panicked").len();
    let looped = with_header(report(), FORWARDED_REQUEST, "anything");
    let answer = follower.fixture.send(&looped);
    assert_eq!(answer.status, 508);
    assert_eq!(answer.body, "Query was already forwarded from: 10.0.0.9:40000\n");
    assert_eq!(leader.requests.lock().expect("nobody panicked").len(), asked);

    server.drain(Instant::now());
    let answer = follower.fixture.send(&report());
    assert_eq!((answer.status, &*answer.body), (502, ""));
    assert_eq!(answer.headers["x-dca-forwarded"], "true");
    assert!(follower.doubts.try_recv().is_ok(), "the address is looked up again");
}

#[test]
fn a_get_goes_on_without_a_body_and_connections_are_used_again() {
    let leader = Arc::<Recorder>::default();
    let server = serve(leader.clone());
    let follower = follower(server.local_address().port(), 100);
    for _ in 0..5 {
        assert_eq!(follower.fixture.get("/api/v1/clusterchecks/configs/runner%2F1").status, 200);
    }
    let requests = leader.requests.lock().expect("nobody panicked");
    assert!(requests.iter().all(|request| request.body.is_empty()));
    assert_eq!(requests[0].target, "/api/v1/clusterchecks/configs/runner%2F1");
    let ports: std::collections::BTreeSet<u16> =
        requests.iter().map(|request| request.peer.port()).collect();
    assert_eq!(ports.len(), 1, "one connection carries all of them");
}

// spec: node_api_27
#[test]
fn a_leader_that_does_not_answer_costs_less_than_three_seconds() {
    // The connection is made by the kernel; nobody ever answers the handshake.
    let listener = TcpListener::bind((LOOPBACK, 0)).expect("a free port");
    let silent = follower(listener.local_addr().expect("bound").port(), 100);
    let start = Instant::now();
    assert_eq!(silent.fixture.send(&report()).status, 502);
    assert!(start.elapsed() < Duration::from_secs(3), "took {:?}", start.elapsed());

    let slow = Arc::new(Recorder { pause: Duration::from_secs(4), ..Recorder::default() });
    let server = serve(slow);
    let follower = follower(server.local_address().port(), 100);
    let start = Instant::now();
    assert_eq!(follower.fixture.send(&report()).status, 502);
    assert!(start.elapsed() < Duration::from_secs(3), "took {:?}", start.elapsed());
}

#[test]
fn calls_beyond_the_limit_wait_for_their_turn_and_no_longer_than_their_budget() {
    let slow = Arc::new(Recorder { pause: Duration::from_millis(300), ..Recorder::default() });
    let server = serve(slow.clone());
    let follower = follower(server.local_address().port(), 2);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..6).map(|_| scope.spawn(|| follower.fixture.send(&report()).status)).collect();
        calls.into_iter().map(|call| call.join().expect("no panic")).collect()
    });
    // Three rounds of two take 0.9 s of the 2.5 s.
    assert!(statuses.contains(&200));
    assert!(server.connections() <= 2, "{} connections", server.connections());
}

#[test]
fn the_role_is_that_of_the_election() {
    let leader = Arc::<Recorder>::default();
    let server = serve(leader.clone());
    let Follower { fixture, forwarder, publisher, .. } = follower(server.local_address().port(), 9);
    publisher.publish(election::Role::Unknown);
    let answer = fixture.send(&report());
    assert_eq!((answer.status, &*answer.body), (503, "Startup in progress\n"));
    // A leader whose address is not known, and none at all.
    follow(&publisher, "dca-other");
    assert_eq!(fixture.send(&report()).status, 503);
    publisher.publish(election::Role::Following { holder: None });
    assert_eq!(fixture.send(&report()).status, 503);
    let end = publisher.now() + Duration::from_secs(60);
    publisher.publish(election::Role::Leading { until: end, term: 1 });
    assert_eq!(Leadership::role(&*forwarder), Role::Leader);
    publisher.publish(election::Role::Leading { until: publisher.now(), term: 1 });
    assert_eq!(
        Leadership::role(&*forwarder),
        Role::Follower(None),
        "a lease that ran out leads nobody"
    );
    assert!(leader.requests.lock().expect("nobody panicked").is_empty());
}

#[test]
fn an_answer_that_is_not_tls_is_none() {
    let listener = TcpListener::bind((LOOPBACK, 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let cut = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("the follower connects");
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    });
    let follower = follower(port, 9);
    assert_eq!(follower.fixture.send(&report()).status, 502);
    cut.join().expect("no panic");
}
