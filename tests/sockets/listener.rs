//! A listener for one test: what it answers, and how its threads and its end are observed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use cluster_agent::http::certificate::Identity;
use cluster_agent::http::message::{header, owned, text, try_header};
use cluster_agent::http::{
    Handler, Http2, Limits, Options, Request, Response, Server, listen, tls,
};
use cluster_agent::sync::Published;
use cluster_agent::telemetry::Registry;
use crossbeam_channel::Receiver;
use rustls::ServerConfig;

use crate::tls_client::PATIENCE;

/// A server with its telemetry.
pub struct Listener {
    pub server: Server,
    pub telemetry: Registry,
    pub name: String,
}

/// What the listeners of the tests answer.
#[derive(Default)]
pub struct Answers {
    /// `/wait` answers when something arrives here, or when the sender is gone.
    pub gate: Option<Receiver<()>>,
}

impl Handler for Answers {
    fn handle(&self, request: &Request) -> Response {
        match request.path() {
            "/version" => text(200, "7.70.1"),
            "/method" => text(200, request.method.as_str()),
            "/echo" => owned(200, "application/octet-stream", request.body.clone()),
            "/headers" => text(200, &request.headers.len().to_string()),
            "/certificate" => text(
                200,
                &request.certificate.as_ref().map_or(0, |chain| chain[0].len()).to_string(),
            ),
            "/big" => owned(200, "text/plain", vec![b'x'; 1 << 20]),
            "/wait" => {
                if let Some(gate) = &self.gate {
                    let _ = gate.recv_timeout(PATIENCE);
                }
                text(200, "waited")
            }
            "/location" => match try_header("Location", &request.query_values("to").concat()) {
                Some(location) => text(302, "moved").with_header(location),
                None => text(400, "not a location"),
            },
            "/extra" => text(200, "extra").with_header(header("X-Extra", "1")),
            "/panic" => panic!("a handler panics on purpose"),
            _ => text(404, "404 page not found"),
        }
    }
}

impl Listener {
    /// A plain listener.
    pub fn plain(limits: Limits) -> Self {
        Self::start(limits, None, None, Answers::default())
    }

    /// A TLS listener with both protocols.
    pub fn tls(limits: Limits) -> Self {
        Self::start(limits, Some(server_config()), None, Answers::default())
    }

    /// A listener with everything chosen.
    pub fn start(
        limits: Limits,
        tls: Option<ServerConfig>,
        http2: Option<Arc<dyn Http2>>,
        handler: impl Handler + 'static,
    ) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // Thread names tell the threads of this listener from those of tests that run beside it.
        let name = format!("listener-{:03}", COUNT.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let telemetry = Registry::default();
        let server = Server::start(Options {
            name: name.clone(),
            listener: listen::on_address(address).expect("a port is free"),
            tls: tls.map(|config| Arc::new(Published::new(config))),
            limits,
            handler: Arc::new(handler),
            http2,
            telemetry: telemetry.clone(),
        })
        .expect("the listener starts");
        Self { server, telemetry, name }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.local_address()
    }

    /// Threads of this listener that run now.
    pub fn threads(&self) -> usize {
        threads_named(&self.name)
    }
}

/// Threads of this process with this name.
pub fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the process has threads");
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|comm| comm.trim_end() == name)
        .count()
}

/// TLS settings with a certificate that is made once for all tests.
pub fn server_config() -> ServerConfig {
    tls::server_config(identity(), tls::HTTP1_AND_HTTP2, None).expect("key and certificate fit")
}

/// The identity of all listeners.
pub fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        Identity::self_signed(&names, SystemTime::now()).expect("the identity is made")
    })
}

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what} did not happen in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}
