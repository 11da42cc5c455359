//! The end of a listener: nothing that runs is lost, nothing that waits is kept, no thread is left.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use cluster_agent::http::Limits;

use crate::listener::{Answers, Listener, eventually, server_config, threads_named};
use crate::tls_client::{PATIENCE, connect, connect_plain, exchange, read_answer};

const REQUEST: &str = "GET /version HTTP/1.1\r\nHost: a\r\n\r\n";
const WAIT: &str = "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn draining_closes_idle_connections_and_answers_running_requests() {
    let (open, gate) = crossbeam_channel::bounded(1);
    let answers = Answers { gate: Some(gate) };
    let listener = Listener::start(Limits::default(), Some(server_config()), None, answers);
    let address = listener.address();
    let mut idle: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(address, &Default::default()).expect("TLS works");
            assert_eq!(exchange(&mut stream, REQUEST).expect("it is served").status, 200);
            stream
        })
        .collect();
    // Neither a silent handshake nor half a request holds the drain up for long.
    let mut handshaking = connect_plain(address).expect("the listener accepts");
    let mut running = connect(address, &Default::default()).expect("TLS works");
    running.write_all(WAIT.as_bytes()).and_then(|()| running.flush()).expect("it is sent");
    eventually("22 connections", || listener.server.connections() == 22);

    let name = listener.name.clone();
    let drain = std::thread::spawn(move || listener.server.drain(Instant::now() + PATIENCE));
    for stream in &mut idle {
        let mut rest = Vec::new();
        assert_eq!(stream.read_to_end(&mut rest).expect("it is closed properly"), 0);
    }
    let mut rest = Vec::new();
    assert_eq!(handshaking.read_to_end(&mut rest).unwrap_or(0), 0);
    let refused = connect_plain(address).expect_err("the port is closed");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    open.send(()).expect("the handler waits");
    let answer = read_answer(&mut running).expect("the running request is answered");
    assert_eq!((answer.text().as_str(), answer.header("Connection")), ("waited\n", Some("close")));
    drain.join().expect("the drain does not panic");
    eventually("the end of the threads", || threads_named(&name) == 0);
}

#[test]
fn what_is_left_at_the_deadline_is_cut() {
    let listener = Listener::plain(Limits::default());
    let mut half = connect_plain(listener.address()).expect("the listener accepts");
    half.write_all(b"GET /version HTT").expect("half a request is sent");
    let mut stuck = connect_plain(listener.address()).expect("the listener accepts");
    for _ in 0..64 {
        let _ = stuck.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    eventually("two connections", || listener.server.connections() == 2);
    let (name, start) = (listener.name.clone(), Instant::now());
    listener.server.drain(Instant::now() + Duration::from_millis(200));
    assert!(start.elapsed() < Duration::from_secs(5), "drained after {:?}", start.elapsed());
    eventually("the end of the threads", || threads_named(&name) == 0);
}

#[test]
fn a_dropped_listener_leaves_nothing() {
    let listener = Listener::tls(Limits::default());
    let (name, address) = (listener.name.clone(), listener.address());
    let mut stream = connect(address, &Default::default()).expect("TLS works");
    assert_eq!(exchange(&mut stream, REQUEST).expect("it is served").status, 200);
    drop(listener);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty());
    assert!(connect_plain(address).is_err());
    eventually("the end of the threads", || threads_named(&name) == 0);
}
