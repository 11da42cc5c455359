//! Connections to the API server: two connection pools, credentials that rotate, and one attempt's failure sorted.
//!
//! Flow: [`Transport::send`] takes the pool of its lane, adds the bearer token, and turns everything but a 2xx answer
//! into a [`Cause`]. The lanes differ in how they end: lists and watches are cut by [`Transport::cancel`] within
//! milliseconds, short requests go on until the process ends, because the leader lock is released last.
//!
//! Certificates and token are read again at most once a minute; a certificate that is not trusted or a 401 has them
//! read at once and the request repeated one time. Changed certificates mean new pools: open watches of the old one
//! are cut and resume where they were. Traffic never goes through a proxy (design §3 rule 6).

use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::warn;
use ureq::config::Config;
use ureq::http::{HeaderValue, Method, Request, Response, Uri, header};
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, AsSendBody, Body};

use super::credentials::{Certificates, bearer};
use super::error::{Cause, Status};
use super::settings::{Error as SettingsError, Settings, Source};
use crate::retry::Throttle;

/// Credentials and certificates are looked at again after this: kubelet renews tokens long before they end.
const REREAD_PERIOD: Duration = Duration::from_secs(60);

/// A TCP connect and a TLS handshake within a cluster take milliseconds; a lost SYN is sent again after 1 and 3 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A pooled connection that was idle for longer is not used again; Go's servers close theirs after 90 s too.
const IDLE_AGE: Duration = Duration::from_secs(90);

/// Buffers per open connection and direction: 20 watches cost 0.6 MiB.
const BUFFER: usize = 16 << 10;

/// Idle connections kept: four threads that poll at once are more than there are.
const IDLE_CONNECTIONS: usize = 4;

/// Read of an unsuccessful answer: a Status is under 4 KiB.
const STATUS_LIMIT: u64 = 64 << 10;

/// One API server, reached with one identity.
#[derive(Debug)]
pub(super) struct Transport {
    settings: Settings,
    state: Mutex<State>,
}

/// One request, before it knows its credentials.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// With the query, starting with a slash.
    pub(super) path: String,
    /// Media type and bytes.
    pub(super) body: Option<(&'static str, &'a [u8])>,
    pub(super) lane: Lane,
}

/// How a request is bounded, and what ends it early.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lane {
    /// Cut by [`Transport::cancel`]; the body may go on for ever.
    Stream {
        /// Longest wait for the head of the answer, and for each read of its body.
        wait: Duration,
    },
    /// Lives until it is answered.
    Short {
        /// Name look-up, connect, send and answer together.
        total: Duration,
    },
}

#[derive(Default)]
struct State {
    pools: Option<Pools>,
    certificates: Certificates,
    certificates_read: Option<Instant>,
    token: Option<HeaderValue>,
    token_read: Option<Instant>,
    complaints: Throttle,
    cancelled: bool,
}

struct Pools {
    streams: Agent,
    short: Agent,
}

impl Transport {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, state: Mutex::default() }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Ends every list and watch, now and from now on.
    pub(super) fn cancel(&self) {
        let mut state = self.lock();
        state.cancelled = true;
        if let Some(pools) = &state.pools {
            pools.streams.clone().shutdown();
        }
    }

    /// Sends `call` and returns a successful answer.
    pub(super) fn send(&self, call: &Call<'_>) -> Result<Response<Body>, Cause> {
        match self.attempt(call) {
            Err(cause) if self.may_heal(&cause) => self.attempt(call),
            outcome => outcome,
        }
    }

    /// Whether the failure came from credentials that have changed meanwhile.
    ///
    /// A refused request was not carried out, so even a write may be sent again.
    fn may_heal(&self, cause: &Cause) -> bool {
        let mut state = self.lock();
        if cause.is_untrusted_server() {
            state.certificates_read = None;
            matches!(state.refresh_certificates(&self.settings, Instant::now()), Ok(true))
        } else if matches!(cause, Cause::Unauthorized { .. }) {
            state.token_read = None;
            self.settings.token.as_ref().is_some_and(Source::can_change)
        } else {
            false
        }
    }

    fn attempt(&self, call: &Call<'_>) -> Result<Response<Body>, Cause> {
        let now = Instant::now();
        let (agent, token) = {
            let mut state = self.lock();
            if state.cancelled && matches!(call.lane, Lane::Stream { .. }) {
                return Err(Cause::Stopped);
            }
            state.refresh_certificates(&self.settings, now).map_err(Cause::Credentials)?;
            state.refresh_token(&self.settings, now).map_err(Cause::Credentials)?;
            let pools = state.pools.as_ref().expect("refreshing made the pools or failed");
            let agent = match call.lane {
                Lane::Stream { .. } => &pools.streams,
                Lane::Short { .. } => &pools.short,
            };
            (agent.clone(), state.token.clone())
        };
        let mut head = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", self.settings.server, call.path))
            .header(header::ACCEPT, "application/json");
        if let Some(token) = token {
            head = head.header(header::AUTHORIZATION, token);
        }
        if matches!(call.lane, Lane::Stream { .. }) {
            // Compressing a list costs the API server more time than a cluster's network takes to carry it, and a
            // watch that waits in the middle of a compressed block could not be resumed.
            head = head.header(header::ACCEPT_ENCODING, "identity");
        }
        let outcome = match call.body {
            Some((media_type, body)) => head
                .header(header::CONTENT_TYPE, media_type)
                .body(body)
                .map_err(ureq::Error::Http)
                .and_then(|request| run(&agent, request, call.lane)),
            None => head
                .body(())
                .map_err(ureq::Error::Http)
                .and_then(|request| run(&agent, request, call.lane)),
        };
        match outcome {
            Ok(answer) if answer.status().is_success() => Ok(answer),
            Ok(answer) => Err(refusal(answer)),
            Err(_) if self.lock().cancelled && matches!(call.lane, Lane::Stream { .. }) => {
                Err(Cause::Stopped)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads the certificates when that is due; true when they changed and the pools are new.
    ///
    /// Once there are pools, a file that cannot be read or used is complained about and the old ones stay.
    fn refresh_certificates(
        &mut self,
        settings: &Settings,
        now: Instant,
    ) -> Result<bool, SettingsError> {
        if self.pools.is_some() && is_fresh(self.certificates_read, now) {
            return Ok(false);
        }
        let made = Certificates::read(settings).and_then(|certificates| {
            if self.pools.is_some() && certificates == self.certificates {
                return Ok(None);
            }
            let config = agent_config(certificates.tls(settings)?);
            Ok(Some((certificates, config)))
        });
        match made {
            Ok(made) => {
                self.certificates_read = Some(now);
                let Some((certificates, config)) = made else { return Ok(false) };
                let pools = Pools { streams: agent(config.clone()), short: agent(config) };
                if self.cancelled {
                    pools.streams.clone().shutdown();
                }
                self.certificates = certificates;
                if let Some(old) = self.pools.replace(pools) {
                    old.streams.shutdown();
                }
                Ok(true)
            }
            Err(error) if self.pools.is_some() => {
                self.certificates_read = Some(now);
                self.complain(&error, now);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the token when that is due; the old one stays while there is no new one.
    fn refresh_token(&mut self, settings: &Settings, now: Instant) -> Result<(), SettingsError> {
        let Some(source) = &settings.token else { return Ok(()) };
        if is_fresh(self.token_read, now) {
            return Ok(());
        }
        match source.read().and_then(|bytes| bearer(&bytes, source)) {
            Ok(token) => self.token = Some(token),
            Err(error) if self.token.is_some() => self.complain(&error, now),
            Err(error) => return Err(error),
        }
        self.token_read = Some(now);
        Ok(())
    }

    fn complain(&mut self, error: &SettingsError, now: Instant) {
        if self.complaints.admit(now).is_some() {
            warn!("keeping the previous credentials for the API server: {error}");
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("State").field("cancelled", &self.cancelled).finish_non_exhaustive()
    }
}

fn is_fresh(read: Option<Instant>, now: Instant) -> bool {
    read.is_some_and(|read| now.saturating_duration_since(read) < REREAD_PERIOD)
}

fn agent_config(tls: TlsConfig) -> Config {
    Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .tls_config(tls)
        .user_agent(concat!("datadog-cluster-agent/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_per_write(Some(Duration::from_secs(10)))
        .input_buffer_size(BUFFER)
        .output_buffer_size(BUFFER)
        .max_idle_age(IDLE_AGE)
        .max_idle_connections(IDLE_CONNECTIONS)
        .max_idle_connections_per_host(IDLE_CONNECTIONS)
        .build()
}

fn agent(config: Config) -> Agent {
    Agent::with_parts(config, DefaultConnector::default(), DirectResolver::default())
}

fn run<S: AsSendBody>(
    agent: &Agent,
    request: Request<S>,
    lane: Lane,
) -> Result<Response<Body>, ureq::Error> {
    let limits = agent.configure_request(request);
    let limits = match lane {
        Lane::Stream { wait } => {
            limits.timeout_recv_response(Some(wait)).timeout_per_read(Some(wait))
        }
        Lane::Short { total } => limits.timeout_global(Some(total)),
    };
    agent.run(limits.build())
}

/// Sorts an unsuccessful answer; its body is read so that the connection can be used again.
fn refusal(mut answer: Response<Body>) -> Cause {
    let code = answer.status().as_u16();
    let retry_after = answer
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|seconds| seconds.trim().parse().ok());
    let mut text = Vec::new();
    // Half a message is better than none, and the status alone decides what happens next.
    let _ = answer.body_mut().as_reader().take(STATUS_LIMIT).read_to_end(&mut text);
    let status = serde_json::from_slice(&text).unwrap_or_else(|_| Status {
        message: String::from_utf8_lossy(&text).trim().to_owned(),
        ..Status::default()
    });
    Cause::from_status(code, status, retry_after)
}

/// Looks names up on the calling thread.
///
/// With a total budget the library's own resolver starts a thread for each look-up, even of an address, and panics
/// when there is none to be had; the system's resolver has time limits of its own.
#[derive(Debug, Default)]
struct DirectResolver(DefaultResolver);

impl Resolver for DirectResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0.resolve(uri, config, NextTimeout::default())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use crossbeam_channel::Receiver;

    use super::*;
    use crate::secret::Secret;

    fn inline(text: &str) -> Source {
        Source::Data(Secret::new(text))
    }

    fn settings(ca: &str, client: Option<(&str, &str)>) -> Settings {
        Settings {
            server: "https://127.0.0.1:1".to_owned(),
            ca: Some(inline(ca)),
            verify: true,
            certificate: client.map(|(chain, key)| (inline(chain), inline(key))),
            token: None,
            namespace: None,
            request_timeout: Duration::from_secs(1),
            list_timeout: Duration::from_secs(1),
        }
    }

    /// Sends one byte of a body, the next one when it is told to, and so on.
    fn drip(mut stream: impl Read + Write, go_on: &Receiver<()>) {
        let mut request = [0; 4096];
        // The head fits into one read; only its end matters.
        let _ = stream.read(&mut request);
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
            .and_then(|()| stream.flush());
        for byte in b"abc" {
            let _ = stream.write_all(&[*byte]).and_then(|()| stream.flush());
            let _ = go_on.recv();
        }
    }

    #[test]
    fn a_body_is_read_on_after_a_wait_that_brought_nothing() {
        for tls in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
            let address = listener.local_addr().expect("it is bound");
            let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])
                .expect("rcgen works");
            let pem = made.cert.pem();
            let (next, go_on) = crossbeam_channel::bounded(0);
            let server = std::thread::spawn(move || {
                let (socket, _) = listener.accept().expect("the client connects");
                if tls {
                    let provider = rustls::crypto::ring::default_provider().into();
                    let config = rustls::ServerConfig::builder_with_provider(provider)
                        .with_safe_default_protocol_versions()
                        .expect("ring has them")
                        .with_no_client_auth()
                        .with_single_cert(
                            vec![made.cert.der().clone()],
                            made.signing_key.serialize_der().try_into().expect("a key"),
                        )
                        .expect("key and certificate fit");
                    let connection = rustls::ServerConnection::new(config.into())
                        .expect("the settings are complete");
                    drip(rustls::StreamOwned::new(connection, socket), &go_on);
                } else {
                    drip(socket, &go_on);
                }
            });
            let mut settings = settings(&pem, None);
            settings.server = format!("http{}://{address}", if tls { "s" } else { "" });
            let call = Call {
                method: Method::GET,
                path: "/".to_owned(),
                body: None,
                lane: Lane::Stream { wait: Duration::from_millis(200) },
            };
            let answer = Transport::new(settings).send(&call).expect("the head comes");
            let mut body = answer.into_body().into_reader();
            let mut seen = Vec::new();
            let mut waits = 0;
            loop {
                let mut buffer = [0; 16];
                match body.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => seen.extend_from_slice(&buffer[..length]),
                    Err(error) => {
                        assert!(super::super::list::is_wait_over(&error), "{error:?}");
                        waits += 1;
                        // A busy machine makes a wait end twice; the server counts only the bytes.
                        let _ = next.try_send(());
                    }
                }
            }
            drop(next);
            server.join().expect("the server does not panic");
            assert_eq!(seen, b"abc", "tls: {tls}");
            assert!(waits >= 2, "tls: {tls}");
        }
    }
}
