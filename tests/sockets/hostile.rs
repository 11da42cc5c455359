//! Peers without a token that try to take memory, threads or other clients' answers, against a process of its own.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::h2_client::{GrpcClient, h2_config};
use crate::listener::eventually;
use crate::tls_client::{Offer, PATIENCE, TlsStream, connect, connect_with, exchange, read_answer};
use crate::victim::{Idlers, Victim};

const REQUEST: &str = "GET /version HTTP/1.1\r\nHost: a\r\n\r\n";
/// Memory that the attacks may cost, in KiB: the four greedy clients hold one answer of a megabyte each as body, as
/// message and as TLS records, and the allocator keeps part of what was freed. The attacks send 5 to 400 MB.
const GROWTH: usize = 24 << 10;
/// What a node Agent allows for connecting, and for an answer (spec node-api §5.2), with room for a loaded machine.
const AGENT_PATIENCE: Duration = Duration::from_secs(5);

/// A client that comes for an answer again and again while others attack.
struct Customer {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    slowest: Arc<Mutex<Duration>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Customer {
    fn start(address: SocketAddr) -> Self {
        let (stop, served, slowest) =
            <(Arc<AtomicBool>, Arc<AtomicUsize>, Arc<Mutex<Duration>>)>::default();
        let customer = Self {
            stop: stop.clone(),
            served: served.clone(),
            slowest: slowest.clone(),
            thread: None,
        };
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                let mut stream = connect(address, &Offer::default()).expect("the port accepts");
                let answer = exchange(&mut stream, REQUEST).expect("clients are served");
                assert_eq!(answer.status, 200);
                let mut slowest = slowest.lock().expect("nothing panics in here");
                *slowest = slowest.max(start.elapsed());
                served.fetch_add(1, Ordering::Relaxed);
                drop(slowest);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { thread: Some(thread), ..customer }
    }

    /// Waits until it was served `more` times from now on.
    #[track_caller]
    fn is_served(&self, more: usize) {
        let now = self.served.load(Ordering::Relaxed);
        eventually("serving the customer", || {
            assert!(!self.thread.as_ref().is_some_and(|it| it.is_finished()), "it was not served");
            self.served.load(Ordering::Relaxed) >= now + more
        });
    }

    /// Ends; the longest time that it had to wait.
    fn leave(mut self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it runs until here");
        thread.join().expect("the customer is always served");
        *self.slowest.lock().expect("nothing panics in here")
    }
}

/// Sends until the other side stops taking it; true when it stopped before the end.
fn pour(stream: &mut impl Write, total: usize, piece: &[u8]) -> bool {
    (0..total.div_ceil(piece.len())).any(|_| stream.write_all(piece).is_err())
        || stream.flush().is_err()
}

#[test]
fn http_floods_cost_no_memory_and_no_thread() {
    let victim = Victim::start(Some(Duration::from_millis(700)));
    let customer = Customer::start(victim.address);
    customer.is_served(5);
    let threads = 4;
    let before = victim.memory();
    let open = || connect(victim.address, &Offer::default()).expect("the port accepts");

    // A declared length that no machine has.
    for length in ["1000000000000", "18446744073709551615"] {
        let request =
            format!("POST /version HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(exchange(&mut open(), request).expect("it is answered").status, 413);
    }
    // A header line, and a chunked body, of 200 MB.
    let mut stream = open();
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    stream.write_all(head.as_bytes()).expect("the head is taken");
    assert!(pour(&mut stream, 200 << 20, &[b'x'; 16 << 10]));
    let mut stream = open();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("the head is taken");
    assert!(pour(
        &mut stream,
        200 << 20,
        format!("4000\r\n{}\r\n", "x".repeat(16 << 10)).as_bytes()
    ));
    customer.is_served(2);
    // Clients that send requests and never read the answers, each a megabyte.
    let mut greedy: Vec<TlsStream> = (0..4).map(|_| open()).collect();
    let stopped: Vec<bool> = std::thread::scope(|scope| {
        let pouring: Vec<_> = greedy
            .iter_mut()
            .map(|stream| {
                scope.spawn(|| pour(stream, 64 << 20, b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n"))
            })
            .collect();
        pouring.into_iter().map(|it| it.join().expect("it does not panic")).collect()
    });
    assert_eq!(stopped, [true; 4], "the write time ends them");
    // Requests and handshakes that drip.
    let mut slow: Vec<TlsStream> = (0..20).map(|_| open()).collect();
    for byte in REQUEST.bytes().cycle().take(60) {
        slow.retain_mut(|stream| stream.write_all(&[byte]).and_then(|()| stream.flush()).is_ok());
        std::thread::sleep(Duration::from_millis(20));
    }
    for mut stream in slow {
        // At most the request of which the last byte came in time was answered.
        while read_answer(&mut stream).is_ok() {}
    }
    customer.is_served(2);

    let growth = victim.memory().saturating_sub(before);
    assert!(growth < GROWTH, "the attacks cost {growth} KiB");
    drop(greedy);
    customer.leave();
    eventually("the end of the threads", || victim.threads() < threads);
}

/// One frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of a call to `/test/Feed` with the right token, without compression.
fn call_block() -> Vec<u8> {
    let mut block = vec![0x83, 0x87, 0x04, 10];
    block.extend_from_slice(b"/test/Feed");
    block.extend_from_slice(b"\x0f\x10\x10application/grpc\x0f\x08\x0bBearer good");
    block
}

const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const END_HEADERS: u8 = 4;

#[test]
fn h2_floods_cost_no_memory_and_are_stopped() {
    let victim = Victim::start(Some(Duration::from_millis(700)));
    let customer = Customer::start(victim.address);
    customer.is_served(5);
    let before = victim.memory();
    let call = |stream| frame(1, END_HEADERS, stream, &call_block());
    let continuations = frame(9, 0, 1, &[0; 16_000]);
    // A large field in the dynamic table, then one byte for each copy of it.
    let mut bomb = [&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e][..], &[b'x'; 4000]].concat();
    bomb.extend_from_slice(&[0xbe; 12_000]);
    let resets: Vec<u8> = (0..50_000_u32)
        .flat_map(|number| {
            [call(2 * number + 1), frame(3, 0, 2 * number + 1, &[0, 0, 0, 8])].concat()
        })
        .collect();
    let refused: Vec<u8> = (0..50_000).flat_map(|number| call(2 * number + 1)).collect();

    let floods: [(&str, Vec<u8>, usize, Vec<u8>); 10] = [
        ("64 MiB of CONTINUATION", frame(1, 0, 1, &[]), 64 << 20, continuations),
        ("200,000 empty CONTINUATION", frame(1, 0, 1, &[]), 200_000 * 9, frame(9, 0, 1, &[])),
        ("HPACK bomb", Vec::new(), 100 << 20, frame(1, END_HEADERS, 1, &bomb)),
        ("50,000 resets", Vec::new(), resets.len(), resets),
        ("50,000 calls at a time", Vec::new(), refused.len(), refused),
        ("300,000 PINGs", Vec::new(), 300_000 * 17, frame(6, 0, 0, &[0; 8])),
        ("300,000 SETTINGS", Vec::new(), 300_000 * 15, frame(4, 0, 0, &[0, 4, 0, 1, 0, 0])),
        ("100,000 empty DATA", call(1), 100_000 * 9, frame(0, 0, 1, &[])),
        ("100,000 PRIORITY", Vec::new(), 100_000 * 14, frame(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("junk", Vec::new(), 64 << 20, vec![0xa5; 16 << 10]),
    ];
    let config = h2_config();
    for (name, prelude, total, piece) in floods {
        let mut stream =
            connect_with(victim.address, config.clone(), "localhost").expect("the port accepts");
        stream.write_all(&[OPENING, &prelude].concat()).expect("the opening is taken");
        let piece = if piece.len() < 9000 { piece.repeat(9000 / piece.len()) } else { piece };
        assert!(is_stopped(&mut stream, total, &piece), "{name} is not stopped");
        let growth = victim.memory().saturating_sub(before);
        assert!(growth < GROWTH, "{name} costs {growth} KiB");
        customer.is_served(1);
    }
    customer.leave();
    eventually("the end of the threads", || victim.threads() < 4);
}

/// Sends without reading; true when the server ends the connection.
fn is_stopped(stream: &mut TlsStream, total: usize, piece: &[u8]) -> bool {
    if pour(stream, total, piece) {
        return true;
    }
    // All of it fitted on the way; the server has the end of the connection in store.
    stream.sock.set_read_timeout(Some(PATIENCE)).expect("the socket is open");
    let mut rest = [0; 16 << 10];
    loop {
        match stream.read(&mut rest) {
            Ok(1..) => {}
            Ok(_) => return true,
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn ten_thousand_idle_connections_do_not_keep_clients_out() {
    let victim = Victim::start(None);
    let customer = Customer::start(victim.address);
    customer.is_served(2);
    let before = victim.memory();
    let idlers = Idlers::start(victim.address, 10_000);
    assert!(idlers.count >= 2_000, "only {} descriptors are allowed", idlers.count);
    let full = idlers.count.min(8192 + 512);
    eventually("the admission of the idle connections", || victim.threads() >= full);
    customer.is_served(20);
    let each = victim.memory().saturating_sub(before) / full;
    assert!(each < 48, "an idle connection costs {each} KiB");
    drop(idlers);
    let slowest = customer.leave();
    assert!(slowest < AGENT_PATIENCE, "a client had to wait {slowest:?}");
    eventually("the end of the threads", || victim.threads() < 4);
}

#[test]
fn a_thousand_quiet_streams_are_cheap() {
    const STREAMS: usize = 1000;
    /// KiB. The budget holds for release builds (60 were measured); debug builds have larger stack frames.
    const MEMORY_PER_STREAM: usize = if cfg!(debug_assertions) { 128 } else { 80 };
    let victim = Victim::start(None);
    let mut warm = GrpcClient::connect(victim.address).expect("h2 is served");
    let id = warm.call("/test/Echo", crate::grpc::TOKEN, b"x").expect("it is sent");
    assert_eq!(warm.message(id), b"x");
    let before = victim.memory();
    let config = h2_config();
    let clients: Vec<GrpcClient> = (0..STREAMS)
        .map(|_| {
            let mut client =
                GrpcClient::connect_with(victim.address, config.clone()).expect("h2 is served");
            let id = client.call("/test/State", crate::grpc::TOKEN, b"").expect("it is sent");
            assert_eq!(client.message(id).len(), 100_000);
            client
        })
        .collect();
    let each = victim.memory().saturating_sub(before) / STREAMS;
    assert!(each <= MEMORY_PER_STREAM, "a stream costs {each} KiB");
    let (start, used) = (Instant::now(), victim.cpu());
    std::thread::sleep(Duration::from_secs(2));
    let share = (victim.cpu() - used).as_secs_f64() / start.elapsed().as_secs_f64();
    assert!(share < 0.02, "quiet streams take {share} of a core");
    drop(clients);
    eventually("the end of the threads", || victim.threads() < 5);
}
