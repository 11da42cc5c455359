//! Requests and answers of HTTP/1.1 (spec node-api §1.5).

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use cluster_agent::http::Limits;

use crate::listener::{Listener, eventually};
use crate::tls_client::{
    Answer, PATIENCE, connect, connect_plain, exchange, read_answer, read_head_answer,
};

fn plain(request: impl AsRef<[u8]>) -> Answer {
    let listener = Listener::plain(Limits::default());
    let mut stream = connect_plain(listener.address()).expect("the listener accepts");
    exchange(&mut stream, request).expect("there is an answer")
}

fn is_closed(stream: &mut impl Read) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => rest.is_empty(),
        Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof),
    }
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let listener = Listener::tls(Limits::default());
    let mut stream = connect(listener.address(), &Default::default()).expect("TLS works");
    for _ in 0..3 {
        let answer = exchange(&mut stream, "GET /version HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("there is an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "7.70.1\n"));
        assert_eq!(answer.header("Connection"), None);
    }
    assert_eq!(listener.telemetry.total("dca_api_connections"), 1.0);
    drop(stream);
    eventually("the end of the connection", || listener.server.connections() == 0);
    eventually("the end of its thread", || listener.threads() == 1);
    assert_eq!(listener.telemetry.total("dca_api_connections"), 0.0);
}

#[test]
fn head_is_answered_as_get_without_the_body() {
    let listener = Listener::plain(Limits::default());
    let mut stream = connect_plain(listener.address()).expect("the listener accepts");
    for _ in 0..2 {
        stream.write_all(b"HEAD /method HTTP/1.1\r\nHost: a\r\n\r\n").expect("the request is sent");
        let answer = read_head_answer(&mut stream).expect("there is an answer");
        assert_eq!((answer.status, answer.header("Content-Length")), (200, Some("4")));
    }
}

#[test]
fn a_waiting_client_is_told_to_send_its_body() {
    let listener = Listener::plain(Limits::default());
    let mut stream = connect_plain(listener.address()).expect("the listener accepts");
    let request =
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let interim = exchange(&mut stream, request).expect("there is an interim answer");
    assert_eq!((interim.status, interim.headers.len()), (100, 0));
    assert_eq!(exchange(&mut stream, "body").expect("there is an answer").text(), "body");
    // One that does not wait is not told.
    let answer = exchange(&mut stream, format!("{request}body")).expect("there is an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
}

#[test]
fn chunked_bodies_are_joined_and_the_next_request_is_found() {
    let listener = Listener::plain(Limits::default());
    let mut stream = connect_plain(listener.address()).expect("the listener accepts");
    let requests = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: z\r\n\r\nGET /version HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = exchange(&mut stream, requests).expect("there is an answer");
    assert_eq!(answer.text(), "abcde");
    assert_eq!(read_answer(&mut stream).expect("the next one is answered").text(), "7.70.1\n");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let listener = Listener::tls(Limits::default());
    let mut stream = connect(listener.address(), &Default::default()).expect("TLS works");
    let requests: String = (0..50)
        .map(|number| {
            let body = format!("{number}");
            let length = body.len();
            format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
        })
        .collect();
    stream.write_all(requests.as_bytes()).expect("the requests are sent");
    for number in 0..50 {
        let answer = read_answer(&mut stream).expect("there is an answer");
        assert_eq!(answer.text(), number.to_string());
    }
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let listener = Listener::plain(Limits::default());
    let mut stream = connect_plain(listener.address()).expect("the listener accepts");
    for byte in b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok" {
        stream.write_all(&[*byte]).expect("the byte is sent");
    }
    assert_eq!(read_answer(&mut stream).expect("there is an answer").text(), "ok");
}

#[test]
fn refused_requests_are_answered_and_the_connection_ends() {
    let listener = Listener::plain(Limits::default());
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(48));
    let cases = [
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "\x01\x02\x03\x04\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (
            400,
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n"),
        (413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n"),
        (431, long.as_str()),
        (431, many.as_str()),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ];
    for (status, request) in cases {
        let mut stream = connect_plain(listener.address()).expect("the listener accepts");
        let answer = exchange(&mut stream, request).expect(request);
        assert_eq!(answer.status, status, "{request:?}");
        assert_eq!(answer.header("Connection"), Some("close"));
        assert!(is_closed(&mut stream), "{request:?} leaves the connection open");
    }
}

#[test]
fn the_answer_arrives_although_the_body_behind_it_is_not_read() {
    let listener = Listener::tls(Limits::default());
    let mut stream = connect(listener.address(), &Default::default()).expect("TLS works");
    let body = vec![b'x'; 200_000];
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n")
        .and_then(|()| stream.write_all(&body))
        .expect("the server takes what is sent before it answers");
    assert_eq!(read_answer(&mut stream).expect("the answer is not reset").status, 413);
}

#[test]
fn http_1_0_is_kept_only_on_request() {
    let answer = plain("GET /version HTTP/1.0\r\n\r\n");
    assert_eq!((answer.status, answer.header("Connection")), (200, Some("close")));
    let answer = plain("GET /version HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(answer.header("Connection"), Some("keep-alive"));
    let answer = plain("GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.header("Connection"), Some("close"));
}

#[test]
fn unknown_paths_are_answered_by_the_handler() {
    let answer = plain("GET /nope HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.text().as_str()), (404, "404 page not found\n"));
    assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
}

#[test]
fn a_line_break_from_the_peer_reaches_no_header() {
    let answer = plain("GET /location?to=/a%0d%0aX-Injected:%201 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.header("X-Injected")), (400, None));
}

#[test]
fn a_panic_costs_one_connection() {
    let listener = Listener::tls(Limits::default());
    let mut other = connect(listener.address(), &Default::default()).expect("TLS works");
    let request = "GET /version HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(exchange(&mut other, request).expect("there is an answer").status, 200);
    let mut stream = connect(listener.address(), &Default::default()).expect("TLS works");
    let answer = exchange(&mut stream, "GET /panic HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("there is an answer");
    assert_eq!((answer.status, answer.header("Connection")), (500, Some("close")));
    assert!(is_closed(&mut stream));
    assert_eq!(exchange(&mut other, request).expect("others go on").status, 200);
    assert_eq!(listener.telemetry.total("dca_api_panics"), 1.0);
}

#[test]
fn connections_above_the_cap_are_answered_once_and_closed() {
    let limits = Limits { connections: 1, overflow: 4, ..Limits::default() };
    let listener = Listener::tls(limits);
    let request = "GET /version HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut kept = connect(listener.address(), &Default::default()).expect("TLS works");
    assert_eq!(exchange(&mut kept, request).expect("it is served").header("Connection"), None);
    for _ in 0..20 {
        let mut extra = connect(listener.address(), &Default::default()).expect("TLS works");
        let answer = exchange(&mut extra, request).expect("it is served");
        assert_eq!((answer.status, answer.header("Connection")), (200, Some("close")));
        assert!(is_closed(&mut extra));
    }
    assert_eq!(exchange(&mut kept, request).expect("it is kept").header("Connection"), None);
}

#[test]
fn one_address_cannot_take_the_places_of_others() {
    let limits = Limits { connections_per_peer: 2, overflow: 4, ..Limits::default() };
    let listener = Listener::plain(limits);
    let hog: Vec<_> = (0..8)
        .map(|_| connect_plain(listener.address()).expect("the kernel completes the connection"))
        .collect();
    // 2 are kept and 2 wait in the address's half of the overflow; the others are closed unserved.
    eventually("the refusal of four", || {
        listener.telemetry.total("dca_api_refused_connections") == 4.0
    });
    assert_eq!(listener.server.connections(), 4);
    drop(hog);
    eventually("the end of the connections", || listener.server.connections() == 0);
    let mut stream = connect_plain(listener.address()).expect("the listener accepts");
    let answer = exchange(&mut stream, "GET /version HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.expect("it is served").header("Connection"), None);
}

/// The times of the spec are those of the default limits; the mechanism is shown with the same proportions in a
/// hundredth of the time.
#[test]
fn node_api_32_idle_connections_and_half_requests_end_in_time() {
    let defaults = Limits::default();
    let seconds = Duration::from_secs;
    assert!(defaults.idle > seconds(70) && defaults.idle < seconds(120));
    assert_eq!((defaults.request, defaults.write), (seconds(10), seconds(10)));

    let scale = 20;
    let limits =
        Limits { idle: defaults.idle / scale, request: defaults.request / scale, ..defaults };
    let listener = Listener::tls(limits.clone());
    let request = "GET /version HTTP/1.1\r\nHost: a\r\n\r\n";

    // Two requests, 70 s apart on the scale, on one connection. A machine that was too busy to send the second one in
    // time has shown nothing, and tries again.
    let mut stream = loop {
        let mut stream = connect(listener.address(), &Default::default()).expect("TLS works");
        assert_eq!(exchange(&mut stream, request).expect("it is served").status, 200);
        let answered = Instant::now();
        std::thread::sleep(seconds(70) / scale);
        let second = exchange(&mut stream, request);
        if answered.elapsed() < limits.idle {
            assert_eq!(second.expect("an idle connection is kept for 70 s").status, 200);
            break stream;
        }
    };

    // After 120 s without a request it is closed, and not before 90 s.
    let answered = Instant::now();
    assert!(is_closed(&mut stream));
    assert!(answered.elapsed() >= limits.idle);
    assert!(answered.elapsed() < PATIENCE, "the server closed, not the client's patience");

    // Half a request line is dropped after 10 s, however long the idle time is, and also when it drips.
    let mut half = connect(listener.address(), &Default::default()).expect("TLS works");
    half.write_all(b"GET /ver").and_then(|()| half.flush()).expect("half a line is sent");
    let sent = Instant::now();
    assert!(is_closed(&mut half));
    assert!(sent.elapsed() >= limits.request * 9 / 10, "closed after {:?}", sent.elapsed());
    eventually("the end of all connections", || listener.threads() == 1);
}
