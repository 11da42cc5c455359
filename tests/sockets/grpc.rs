//! Calls and streams over HTTP/2 (spec node-api §8).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster_agent::grpc::{
    Call, Code, Grpc, Limits as GrpcLimits, Next, Reply, Service, Status, StreamSource, Waker,
};
use cluster_agent::http::Limits;
use crossbeam_channel::{Receiver, Sender};
use shiguredo_http2::ErrorCode;

use crate::h2_client::{GrpcClient, framed};
use crate::listener::{Answers, Listener, eventually, server_config, threads_named};
use crate::tls_client::{Offer, PATIENCE, connect, exchange};

pub const TOKEN: &[(&str, &str)] = &[("authorization", "Bearer good")];

/// What the test's service was told and tells.
#[derive(Default)]
pub struct Desk {
    /// Wakers of the streams that were opened.
    pub wakers: Mutex<Vec<Waker>>,
    /// Feeds of the streams that were opened; dropped senders of sources show in them.
    pub feeds: Mutex<Vec<Sender<Vec<u8>>>>,
}

/// Echoes, streams what a test feeds, and tells how often its sources were asked.
pub struct Desked(pub Arc<Desk>);

struct Feed(Receiver<Vec<u8>>);

impl StreamSource for Feed {
    fn next(&mut self, now: Instant) -> Next {
        match self.0.try_recv() {
            Ok(message) if message == b"end" => Next::End(Status::new(Code::NotFound, "no more")),
            Ok(message) => Next::Message(message),
            // Far beyond any test: only a waker brings the next message in time.
            Err(_) => Next::Idle(now + 10 * PATIENCE),
        }
    }
}

/// Tells a state of 100 KB at once and then nothing more.
struct State(bool);

impl StreamSource for State {
    fn next(&mut self, now: Instant) -> Next {
        if std::mem::replace(&mut self.0, true) {
            Next::Idle(now + 10 * PATIENCE)
        } else {
            Next::Message(vec![7; 100_000])
        }
    }
}

/// Ticks by itself.
struct Clock(u32);

impl StreamSource for Clock {
    fn next(&mut self, now: Instant) -> Next {
        self.0 += 1;
        if self.0 % 2 == 1 {
            Next::Message(Vec::new())
        } else {
            Next::Idle(now + Duration::from_millis(5))
        }
    }
}

impl Service for Desked {
    fn admit(&self, call: &Call) -> Result<(), Status> {
        match call.path.as_str() {
            _ if call.metadata("authorization") != Some("Bearer good") => {
                Err(Status::new(Code::Unauthenticated, "invalid session token"))
            }
            "/test/Echo" | "/test/Feed" | "/test/Big" | "/test/Clock" | "/test/State" => Ok(()),
            _ => Err(Status::new(Code::Unimplemented, "unknown method")),
        }
    }

    fn call(&self, call: &Call, message: &[u8]) -> Reply {
        match call.path.as_str() {
            "/test/Echo" => Reply::Message(message.to_vec()),
            "/test/Big" => Reply::Message(vec![7; 3 << 20]),
            "/test/State" => Reply::Stream(Box::new(State(false))),
            "/test/Clock" => Reply::Stream(Box::new(Clock(0))),
            _ => {
                let (sender, receiver) = crossbeam_channel::unbounded();
                self.0.feeds.lock().expect("no test panics in here").push(sender);
                self.0.wakers.lock().expect("no test panics in here").push(call.waker.clone());
                Reply::Stream(Box::new(Feed(receiver)))
            }
        }
    }
}

impl Desk {
    /// Has the first stream say something.
    pub fn say(&self, message: &[u8]) {
        let feeds = self.feeds.lock().expect("no test panics in here");
        feeds[0].send(message.to_vec()).expect("the stream is open");
        self.wakers.lock().expect("no test panics in here")[0].wake();
    }
}

/// A listener with the test's service.
pub fn listener(http: Limits, grpc: GrpcLimits) -> (Listener, Arc<Desk>) {
    let desk = Arc::new(Desk::default());
    let http2 = Arc::new(Grpc::new(Arc::new(Desked(desk.clone())), grpc));
    (Listener::start(http, Some(server_config()), Some(http2), Answers::default()), desk)
}

fn default_listener() -> (Listener, Arc<Desk>) {
    listener(Limits::default(), GrpcLimits::default())
}

#[test]
fn a_unary_call_gets_its_message_and_success() {
    let (listener, _) = default_listener();
    let mut client = GrpcClient::connect(listener.address()).expect("h2 is served");
    for text in ["one", "", "three"] {
        let id = client.call("/test/Echo", TOKEN, text.as_bytes()).expect("it is sent");
        assert_eq!(client.message(id), text.as_bytes());
        assert_eq!(client.status(id), 0);
        let call = &client.calls[&id];
        assert_eq!(
            call.headers[..2],
            [
                (":status".to_owned(), "200".to_owned()),
                ("content-type".to_owned(), "application/grpc".to_owned()),
            ]
        );
        assert!(call.ended && call.reset.is_none());
    }
}

#[test]
fn refused_calls_end_with_their_status_alone() {
    let (listener, _) = default_listener();
    let mut client = GrpcClient::connect(listener.address()).expect("h2 is served");
    let cases = [
        ("/test/Echo", &[][..], 16),
        ("/test/Echo", &[("authorization", "Bearer bad")][..], 16),
        ("/test/Nothing", TOKEN, 12),
    ];
    for (path, metadata, status) in cases {
        let id = client.call(path, metadata, b"x").expect("it is sent");
        assert_eq!(client.status(id), status, "{path} {metadata:?}");
        assert!(client.calls[&id].messages.is_empty() && client.calls[&id].trailers.is_empty());
    }
    let id = client.call("/test/Echo", TOKEN, b"still served").expect("it is sent");
    assert_eq!(client.message(id), b"still served");
}

#[test]
fn bad_messages_end_with_their_status() {
    let (listener, _) = default_listener();
    let mut client = GrpcClient::connect(listener.address()).expect("h2 is served");
    let mut compressed = framed(b"x");
    compressed[0] = 1;
    let cases = [
        (compressed, true, 12),
        (framed(b"x").repeat(2), true, 12),
        (b"\0\0\0\0\x09x".to_vec(), true, 13),
        (Vec::new(), true, 13),
        (b"\0\xff\xff\xff\xff".to_vec(), false, 8),
    ];
    for (body, ended, status) in cases {
        let id = client.open("/test/Echo", TOKEN).expect("it is sent");
        client.send(id, &body, ended).expect("it is sent");
        assert_eq!(client.status(id), status, "{body:?}");
    }
}

#[test]
fn a_request_that_is_no_call_gets_an_http_status() {
    let (listener, _) = default_listener();
    let mut client = GrpcClient::connect(listener.address()).expect("h2 is served");
    let head = |method, kind| {
        [
            (":method", method),
            (":scheme", "https"),
            (":path", "/version"),
            (":authority", "a"),
            ("content-type", kind),
        ]
    };
    for (method, kind, status) in
        [("GET", "application/grpc", "405"), ("POST", "text/plain", "415")]
    {
        let id = client.request(head(method, kind), true).expect("it is sent");
        client.until("an answer", |client| client.calls[&id].ended);
        assert_eq!(client.calls[&id].field(":status"), Some(status));
    }
}

#[test]
fn a_stream_tells_what_happens_when_it_is_woken() {
    let (listener, desk) = default_listener();
    let mut client = GrpcClient::connect(listener.address()).expect("h2 is served");
    let id = client.call("/test/Feed", TOKEN, b"").expect("it is sent");
    client.until("the head", |client| !client.calls[&id].headers.is_empty());
    for number in 0..20_u8 {
        let start = Instant::now();
        desk.say(&[number]);
        assert_eq!(client.message(id), [number]);
        assert!(start.elapsed() < PATIENCE / 2, "it comes by itself, not by a timer");
    }
    client.ping().expect("it is sent");
    client.until("the answer to a PING", |client| client.pongs == 1);
    desk.say(b"end");
    assert_eq!(client.status(id), 5);
    assert_eq!(client.calls[&id].field("grpc-message"), Some("no more"));
    eventually("the end of the source", || {
        desk.feeds.lock().expect("no test panics in here")[0].send(Vec::new()).is_err()
    });
}

#[test]
fn a_stream_is_asked_at_the_times_it_names() {
    let (listener, _) = default_listener();
    let mut client = GrpcClient::connect(listener.address()).expect("h2 is served");
    let id = client.call("/test/Clock", TOKEN, b"").expect("it is sent");
    for _ in 0..5 {
        assert_eq!(client.message(id), b"");
    }
}

#[test]
fn streams_share_one_thread_and_leave_with_their_client() {
    let (listener, desk) = default_listener();
    let mut client = GrpcClient::connect(listener.address()).expect("h2 is served");
    let ids: Vec<u32> =
        (0..50).map(|_| client.call("/test/Feed", TOKEN, b"").expect("it is sent")).collect();
    eventually("50 streams", || desk.feeds.lock().expect("no test panics").len() == 50);
    client.cancel(ids[0]).expect("it is sent");
    let gone =
        |index: usize| desk.feeds.lock().expect("no test panics")[index].send(Vec::new()).is_err();
    eventually("the end of the cancelled source", || gone(0));
    assert!(!gone(1));
    assert_eq!(listener.threads(), 2, "one thread accepts, one serves all streams");
    drop(client);
    eventually("the end of the other sources", || gone(1) && gone(49));
    eventually("the end of the connection", || listener.threads() == 1);
}

#[test]
fn a_large_message_follows_the_clients_window() {
    let (listener, _) = default_listener();
    let mut client = GrpcClient::connect(listener.address()).expect("h2 is served");
    let id = client.call("/test/Big", TOKEN, b"").expect("it is sent");
    assert_eq!(client.message(id), vec![7; 3 << 20]);
    assert_eq!(client.status(id), 0);
}

#[test]
fn a_client_that_does_not_open_its_window_loses_the_stream_only() {
    let limits = GrpcLimits { send: Duration::from_millis(200), ..GrpcLimits::default() };
    let (listener, _) = listener(Limits::default(), limits);
    let mut client = GrpcClient::connect(listener.address()).expect("h2 is served");
    client.reads = false;
    let id = client.call("/test/Big", TOKEN, b"").expect("it is sent");
    client.until("the reset", |client| client.calls[&id].reset == Some(ErrorCode::Cancel));
    client.ping().expect("it is sent");
    client.until("the answer to a PING", |client| client.pongs == 1);
}

#[test]
fn an_unfinished_request_ends_in_time() {
    let limits = GrpcLimits { request: Duration::from_millis(200), ..GrpcLimits::default() };
    let (listener, _) = listener(Limits::default(), limits);
    let mut client = GrpcClient::connect(listener.address()).expect("h2 is served");
    let id = client.open("/test/Echo", TOKEN).expect("it is sent");
    client.send(id, b"\0\0\0", false).expect("it is sent");
    assert_eq!(client.status(id), 4);
    // And a connection on which nothing was ever said.
    let offer = Offer { protocols: vec![b"h2"], ..Offer::default() };
    let _silent = connect(listener.address(), &offer).expect("TLS works");
    drop(client);
    eventually("the end of both", || listener.server.connections() == 0);
}

#[test]
fn a_connection_without_streams_ends_after_its_idle_time() {
    assert_eq!(GrpcLimits::default().idle, Duration::from_secs(60));
    let limits = GrpcLimits { idle: Duration::from_millis(300), ..GrpcLimits::default() };
    let (listener, desk) = listener(Limits::default(), limits);
    let mut client = GrpcClient::connect(listener.address()).expect("h2 is served");
    let id = client.call("/test/Feed", TOKEN, b"").expect("it is sent");
    client.until("the head", |client| !client.calls[&id].headers.is_empty());
    std::thread::sleep(Duration::from_millis(600));
    desk.say(b"still here");
    assert_eq!(client.message(id), b"still here");
    desk.say(b"end");
    assert_eq!(client.status(id), 5);
    client.until("the goodbye", |client| client.goaway.is_some());
    assert_eq!(client.goaway, Some(ErrorCode::NoError));
    eventually("the end of the thread", || listener.threads() == 1);
}

#[test]
fn streams_end_as_unavailable_when_the_listener_drains() {
    let (listener, desk) = default_listener();
    let mut client = GrpcClient::connect(listener.address()).expect("h2 is served");
    let quiet = client.call("/test/Feed", TOKEN, b"").expect("it is sent");
    let unfinished = client.open("/test/Echo", TOKEN).expect("it is sent");
    let echo = client.call("/test/Echo", TOKEN, b"x").expect("it is sent");
    assert_eq!(client.message(echo), b"x");
    // A connection without streams ends as well.
    let mut idle = GrpcClient::connect(listener.address()).expect("h2 is served");
    idle.ping().expect("it is sent");
    idle.until("the answer to a PING", |client| client.pongs == 1);
    let (name, server) = (listener.name, listener.server);
    let drain = std::thread::spawn(move || server.drain(Instant::now() + PATIENCE));
    assert_eq!(client.status(quiet), 14);
    assert_eq!(client.status(unfinished), 14);
    assert_eq!(client.goaway, Some(ErrorCode::NoError));
    idle.until("the goodbye", |client| client.goaway.is_some());
    drop((client, idle));
    drain.join().expect("the drain does not panic");
    eventually("the end of the threads", || threads_named(&name) == 0);
    drop(desk);
}

#[test]
fn above_the_caps_streams_are_refused_so_that_agents_poll() {
    let limits = Limits { connections: 1, overflow: 2, ..Limits::default() };
    let (listener, _) = listener(limits, GrpcLimits::default());
    let mut kept = GrpcClient::connect(listener.address()).expect("h2 is served");
    let id = kept.call("/test/Feed", TOKEN, b"").expect("it is sent");
    kept.until("the head", |client| !client.calls[&id].headers.is_empty());
    let mut extra = GrpcClient::connect(listener.address()).expect("h2 is served");
    let id = extra.call("/test/Feed", TOKEN, b"").expect("it is sent");
    assert_eq!(extra.status(id), 12);
    extra.until("the goodbye", |client| client.goaway.is_some());
    let mut polling = connect(listener.address(), &Offer::default()).expect("TLS works");
    let answer = exchange(&mut polling, "GET /version HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.expect("polls are answered").status, 200);
}

#[test]
fn the_number_of_streams_is_bounded_at_a_time_and_in_all() {
    let limits = GrpcLimits { streams: 2, total_streams: 5, ..GrpcLimits::default() };
    let (listener, _) = listener(Limits::default(), limits);
    let mut client = GrpcClient::connect(listener.address()).expect("h2 is served");
    // Before the server's settings are known a client may open too many.
    let ids: Vec<u32> =
        (0..3).map(|_| client.call("/test/Feed", TOKEN, b"").expect("it is sent")).collect();
    client.until("the refusal of the third", |client| {
        client.calls[&ids[2]].reset == Some(ErrorCode::RefusedStream)
    });
    client.cancel(ids[0]).expect("it is sent");
    for _ in 0..3 {
        let id = client.call("/test/Echo", TOKEN, b"x").expect("it is sent");
        assert_eq!(client.message(id), b"x");
        assert_eq!(client.status(id), 0);
    }
    client.until("the goodbye", |client| client.goaway.is_some());
    assert!(client.calls[&ids[1]].status().is_none(), "the open stream goes on");
    client.cancel(ids[1]).expect("it is sent");
    eventually("the end of the connection", || listener.server.connections() == 0);
}
