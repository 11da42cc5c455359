//! Sends leader-only requests on to the leader (spec node-api §7).
//!
//! The replica that was asked stays in between: node Agents drop their token on redirects. Method, path, query, body and
//! header fields go on as they came, marked so that no second follower sends them on again; status, header fields and
//! body come back. The certificate of the leader is not verified, since every replica signs its own; what
//! authenticates the call is the token that it carries.
//!
//! Limits: 2.5 s for everything, because node Agents give up after 3 s without an answer; of these at most 1 s to
//! connect and 2 s for the handshake. A bounded number of calls is under way at a time, others wait for their turn
//! within their 2.5 s. Traffic inside the cluster never goes through a proxy.

use std::fmt;
use std::io::Cursor;
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tiny_http::StatusCode;
use ureq::config::{AutoHeaderValue, Config};
use ureq::http::{self, HeaderMap, HeaderName, HeaderValue, Uri, header};
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time;
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector, Transport,
};
use ureq::{Agent, AsSendBody};

use super::FORWARDED_REQUEST;
use super::leadership::{Leadership as NodeLeadership, Role};
use crate::http::message::try_header;
use crate::http::{Body, Request, Response};
use crate::leader::{LeaderAddress, Leadership, State};

/// Everything from the turn to the last byte.
const TOTAL: Duration = Duration::from_millis(2500);

/// A connect within a cluster takes milliseconds; a pod that is gone answers nothing at all.
const DIAL: Duration = Duration::from_secs(1);

/// A handshake takes milliseconds of the leader's time, and seconds only when its processor is starved.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// Idle connections are closed before the leader closes them (90 s).
const IDLE: Duration = Duration::from_secs(30);

/// The largest answer: 10,000 checks of 2 KiB are 20 MiB, and with 100 of them under way memory is the limit.
const BODY_LIMIT: u64 = 32 << 20;

/// Header fields that describe the connection and not the message, and those that are written anew on each side.
const HOP_BY_HOP: [&str; 15] = [
    "accept-encoding",
    "connection",
    "content-length",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-dca-forwarded",
    "x-dca-follower-forwarded",
];

/// The way from this replica to the leader.
#[derive(Debug)]
pub struct Forwarder {
    leadership: Leadership,
    address: LeaderAddress,
    port: u16,
    agent: Agent,
    turns: Turns,
}

/// A bounded number of calls at a time.
#[derive(Debug)]
struct Turns {
    free: Mutex<usize>,
    returned: Condvar,
}

/// One call's turn; the next one's when it is dropped.
struct Turn<'a>(&'a Turns);

impl Forwarder {
    /// A forwarder to whoever `leadership` names, at `port` (5005) of its pod.
    ///
    /// `connections` is `cluster_agent.max_leader_connections`: calls under way at a time, at least one.
    pub fn new(
        leadership: Leadership,
        address: LeaderAddress,
        port: u16,
        connections: usize,
    ) -> Self {
        let connections = connections.max(1);
        let tls = TlsConfig::builder().disable_verification(true).build();
        let config = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls)
            .user_agent(AutoHeaderValue::None)
            .accept(AutoHeaderValue::None)
            .accept_encoding(AutoHeaderValue::Provided("identity".to_owned().into()))
            .allow_non_standard_methods(true)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .max_idle_age(IDLE)
            .build();
        let connector =
            ().chain(Within { step: TcpConnector::default(), limit: DIAL })
                .chain(Within { step: RustlsConnector::default(), limit: HANDSHAKE });
        let agent = Agent::with_parts(config, connector, AddressOnly);
        let turns = Turns { free: Mutex::new(connections), returned: Condvar::new() };
        Self { leadership, address, port, agent, turns }
    }

    fn exchange(&self, request: &Request, leader: IpAddr) -> Result<Response, Error> {
        let deadline = Instant::now() + TOTAL;
        let _turn = self.turns.take(deadline).ok_or(Error::Crowded)?;
        let uri = leader_uri(leader, self.port, &request.target).map_err(Error::Request)?;
        let mut head = http::Request::builder().method(request.method.as_str()).uri(uri);
        if let Some(headers) = head.headers_mut() {
            copy_headers(request, headers);
        }
        if request.body.is_empty() {
            self.send(head.body(()), deadline)
        } else {
            self.send(head.body(&request.body[..]), deadline)
        }
    }

    fn send<B: AsSendBody>(
        &self,
        request: http::Result<http::Request<B>>,
        deadline: Instant,
    ) -> Result<Response, Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        let request = self.agent.configure_request(request.map_err(Error::Request)?);
        let request = request.timeout_global(Some(left)).build();
        let mut answer = self.agent.run(request).map_err(Error::Transport)?;
        let limited = answer.body_mut().with_config().limit(BODY_LIMIT);
        let body = limited.read_to_vec().map_err(Error::Transport)?;
        Ok(response(answer.status().as_u16(), answer.headers(), body))
    }
}

impl NodeLeadership for Forwarder {
    fn role(&self) -> Role {
        match self.leadership.state() {
            State::Disabled | State::Leader { .. } => Role::Leader,
            State::Unknown => Role::Unknown,
            State::Follower { leader } => {
                Role::Follower(leader.and_then(|leader| self.address.of(&leader)))
            }
        }
    }

    fn forward(&self, request: &Request, leader: IpAddr) -> Response {
        self.exchange(request, leader).unwrap_or_else(|error| {
            log::debug!(
                "{} {} was not forwarded to {leader}: {error}",
                request.method,
                request.path()
            );
            if error.casts_doubt() {
                self.address.doubt();
            }
            response(502, &HeaderMap::new(), Vec::new())
        })
    }
}

/// Why a request got no answer from the leader.
#[derive(Debug)]
enum Error {
    /// Too many others were under way for all of the time.
    Crowded,
    /// The request cannot be written.
    Request(http::Error),
    /// No answer, or half of one.
    Transport(ureq::Error),
}

impl Error {
    /// Whether the leader may be elsewhere by now.
    fn casts_doubt(&self) -> bool {
        matches!(self, Error::Transport(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Crowded => formatter.write_str("too many calls to the leader are under way"),
            Error::Request(error) => write!(formatter, "it cannot be sent on: {error}"),
            Error::Transport(error) => write!(formatter, "{error}"),
        }
    }
}

impl Turns {
    /// A turn as soon as one is free; `None` when that is not before `deadline`.
    fn take(&self, deadline: Instant) -> Option<Turn<'_>> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self.returned.wait_timeout_while(free, left, |free| *free == 0);
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.returned.notify_one();
    }
}

/// Takes the address as it stands in the URI: the library's own resolver starts a thread even for an address.
#[derive(Debug)]
struct AddressOnly;

impl Resolver for AddressOnly {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let address = uri.authority().and_then(|authority| authority.as_str().parse().ok());
        let mut addresses = self.empty();
        addresses.push(address.ok_or(ureq::Error::HostNotFound)?);
        Ok(addresses)
    }
}

/// A step of connecting that has a time limit of its own.
#[derive(Debug)]
struct Within<C> {
    step: C,
    limit: Duration,
}

impl<In: Transport, C: Connector<In>> Connector<In> for Within<C> {
    type Out = C::Out;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<C::Out>, ureq::Error> {
        let now = (details.current_time)();
        let spent = match (now, details.now) {
            (time::Instant::Exact(now), time::Instant::Exact(start)) => now - start,
            _ => Duration::ZERO,
        };
        let left = details.timeout.after.saturating_sub(spent).min(self.limit);
        let limited = ConnectionDetails {
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now,
            timeout: NextTimeout { after: time::Duration::Exact(left), ..details.timeout },
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        self.step.connect(&limited, chained)
    }
}

fn leader_uri(leader: IpAddr, port: u16, target: &str) -> http::Result<Uri> {
    let authority = match leader {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    };
    Uri::builder().scheme("https").authority(authority).path_and_query(target).build()
}

/// Copies what belongs to the message, and marks it as forwarded.
fn copy_headers(request: &Request, headers: &mut HeaderMap) {
    let connection = request.header("Connection").unwrap_or_default();
    for (name, value) in &request.headers {
        let named = connection.split(',').any(|token| token.trim().eq_ignore_ascii_case(name));
        if named || is_hop_by_hop(name) {
            continue;
        }
        // What arrived over HTTP is valid; a field that is not is left out.
        let field = HeaderName::from_bytes(name.as_bytes()).ok();
        if let Some((name, value)) = field.zip(HeaderValue::from_str(value).ok()) {
            headers.append(name, value);
        }
    }
    headers.insert(FORWARDED_REQUEST, HeaderValue::from_static("true"));
}

/// The leader's answer as this replica's own.
fn response(status: u16, headers: &HeaderMap, body: Vec<u8>) -> Response {
    let length = body.len();
    let fields = headers
        .iter()
        .filter(|(name, _)| **name != header::CONTENT_ENCODING && !is_hop_by_hop(name.as_str()))
        .filter_map(|(name, value)| try_header(name.as_str(), value.to_str().ok()?))
        .collect();
    tiny_http::Response::new(
        StatusCode(status),
        fields,
        Body::Owned(Cursor::new(body)),
        Some(length),
        None,
    )
}

fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.iter().any(|field| field.eq_ignore_ascii_case(name))
}
