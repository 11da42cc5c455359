//! Who may ask for what: the two tokens, the header that carries them, and the refusals (spec node-api §2).

use std::collections::HashMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::http::Response;
use crate::http::message::{header, text};
use crate::retry::Throttle;
use crate::secret::Secret;

/// Remote addresses whose refusals are paced one by one; the others share one pace. An entry is about 64 bytes, so
/// the table stays below 64 KiB; it is one for each address that got a token wrong, not for each client.
const MAXIMUM_PACED_PEERS: usize = 1024;

/// The tokens that open this server.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// Held by node Agents, cluster-check runners and other replicas; empty matches nothing.
    pub shared: Secret,
    /// Held by the command line of the same pod; empty matches nothing.
    pub local: Secret,
    /// Whether internal paths take the shared token from a loopback peer: only when the local token could be written
    /// nowhere, so that the command line has no other way in (spec cli §2.1).
    pub shared_on_loopback: bool,
}

/// Which token a path wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// For node Agents: the shared or the local token.
    External,
    /// For the command line: the local token only. Such paths stop the process, change settings and show the
    /// configuration, and every node holds the shared token.
    Internal,
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no `Authorization` header, or an empty one.
    Missing,
    /// The header's first word is not `Bearer`.
    Scheme(String),
    /// The token is wrong for this path, is not there, or is followed by more.
    Invalid,
}

/// Lets requests and calls in, and warns of those that it keeps out.
#[derive(Debug, Default)]
pub struct Gate {
    tokens: Tokens,
    refusals: Refusals,
}

/// Paces the warnings about refused requests: one a minute for each remote address.
#[derive(Debug, Default)]
struct Refusals {
    peers: Mutex<Peers>,
}

#[derive(Debug, Default)]
struct Peers {
    by_address: HashMap<IpAddr, (Instant, Throttle)>,
    others: Throttle,
}

impl Tokens {
    /// Whether a request with this `Authorization` value from `peer` may use a path of `class`.
    ///
    /// # Errors
    /// Why it may not; every comparison takes the same time for guesses of the same length.
    pub fn check(
        &self,
        authorization: Option<&str>,
        class: Class,
        peer: IpAddr,
    ) -> Result<(), Refusal> {
        let value = authorization.filter(|value| !value.is_empty()).ok_or(Refusal::Missing)?;
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        if scheme != "Bearer" {
            return Err(Refusal::Scheme(scheme.to_owned()));
        }
        let admitted = match class {
            Class::External => self.shared.matches(token) | self.local.matches(token),
            Class::Internal => {
                let trusted = self.shared_on_loopback && peer.to_canonical().is_loopback();
                self.local.matches(token) | (trusted && self.shared.matches(token))
            }
        };
        if admitted { Ok(()) } else { Err(Refusal::Invalid) }
    }
}

impl Refusal {
    /// The sentence that the client and the log get.
    pub fn reason(&self) -> String {
        match self {
            Refusal::Missing => "no session token provided".to_owned(),
            Refusal::Scheme(scheme) => format!("unsupported authorization scheme: {scheme}"),
            Refusal::Invalid => "invalid session token".to_owned(),
        }
    }

    /// The answer of spec node-api §2.2.
    pub fn response(&self) -> Response {
        if *self == Refusal::Invalid {
            return text(403, &self.reason());
        }
        let challenge = header("WWW-Authenticate", "Bearer realm=\"Datadog Agent\"");
        text(401, &self.reason()).with_header(challenge)
    }
}

impl Gate {
    /// A gate that these tokens open.
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens, refusals: Refusals::default() }
    }

    /// Whether `what` is asked for with the right token; see [`Tokens::check`].
    ///
    /// # Errors
    /// Why it is not. At most one such line a minute and remote address is logged.
    pub fn check(
        &self,
        authorization: Option<&str>,
        class: Class,
        peer: IpAddr,
        what: impl Display,
    ) -> Result<(), Refusal> {
        self.tokens.check(authorization, class, peer).inspect_err(|refusal| {
            if let Some(held_back) = self.refusals.admit(peer, Instant::now()) {
                let reason = refusal.reason();
                log::warn!(
                    "refused {what} from {peer}: {reason} ({held_back} more were not logged)"
                );
            }
        })
    }
}

impl Refusals {
    /// Whether to warn about `peer` now; `Some(n)` says yes and that `n` warnings were held back since the last one.
    fn admit(&self, peer: IpAddr, now: Instant) -> Option<u64> {
        let peer = peer.to_canonical();
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.by_address.len() >= MAXIMUM_PACED_PEERS && !peers.by_address.contains_key(&peer) {
            let recent = |last: &Instant| now.saturating_duration_since(*last) < Throttle::PERIOD;
            peers.by_address.retain(|_, (last, _)| recent(last));
            if peers.by_address.len() >= MAXIMUM_PACED_PEERS {
                return peers.others.admit(now);
            }
        }
        let (last, throttle) =
            peers.by_address.entry(peer).or_insert_with(|| (now, Throttle::default()));
        *last = now;
        throttle.admit(now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn tokens() -> Tokens {
        Tokens {
            shared: Secret::new("shared"),
            local: Secret::new("local"),
            shared_on_loopback: false,
        }
    }

    #[test]
    fn each_class_takes_its_tokens() {
        for (token, external, internal) in [
            ("shared", Ok(()), Err(Refusal::Invalid)),
            ("local", Ok(()), Ok(())),
            ("other", Err(Refusal::Invalid), Err(Refusal::Invalid)),
        ] {
            let value = format!("Bearer {token}");
            assert_eq!(tokens().check(Some(&value), Class::External, REMOTE), external, "{token}");
            assert_eq!(
                tokens().check(Some(&value), Class::Internal, LOOPBACK),
                internal,
                "{token}"
            );
        }
    }

    // spec: node_api_04
    #[test]
    fn header_values_are_split_at_single_blanks() {
        for (value, refusal) in [
            (None, Refusal::Missing),
            (Some(""), Refusal::Missing),
            (Some("Bearer"), Refusal::Invalid),
            (Some("Bearer "), Refusal::Invalid),
            (Some("Bearer wrong"), Refusal::Invalid),
            (Some("Bearer  shared"), Refusal::Invalid),
            (Some("Bearer shared extra"), Refusal::Invalid),
            (Some("Bearer shared "), Refusal::Invalid),
            (Some("bearer shared"), Refusal::Scheme("bearer".to_owned())),
            (Some("Basic abc"), Refusal::Scheme("Basic".to_owned())),
            (Some(" shared"), Refusal::Scheme(String::new())),
        ] {
            assert_eq!(tokens().check(value, Class::External, REMOTE), Err(refusal), "{value:?}");
        }
    }

    #[test]
    fn the_shared_token_opens_internal_paths_only_without_a_local_file_and_from_loopback() {
        let tokens = Tokens { shared_on_loopback: true, ..tokens() };
        let internal = |peer| tokens.check(Some("Bearer shared"), Class::Internal, peer);
        assert_eq!(internal(LOOPBACK), Ok(()));
        assert_eq!(internal("::ffff:127.0.0.1".parse().expect("a mapped address")), Ok(()));
        assert_eq!(internal(REMOTE), Err(Refusal::Invalid));
    }

    #[test]
    fn warnings_are_one_a_minute_for_each_peer_and_bounded() {
        let refusals = Refusals::default();
        let start = Instant::now();
        assert_eq!(refusals.admit(REMOTE, start), Some(0));
        assert_eq!(refusals.admit(REMOTE, start), None);
        assert_eq!(refusals.admit(LOOPBACK, start), Some(0));
        assert_eq!(refusals.admit(REMOTE, start + Throttle::PERIOD), Some(1));

        let spoken = (0..2 * MAXIMUM_PACED_PEERS as u32)
            .filter(|number| refusals.admit(Ipv4Addr::from(*number).into(), start).is_some())
            .count();
        assert!(spoken <= MAXIMUM_PACED_PEERS, "{spoken} warnings in one moment");
        let later = start + 2 * Throttle::PERIOD + Duration::from_secs(1);
        assert_eq!(refusals.admit(Ipv4Addr::new(10, 1, 1, 1).into(), later), Some(0));
        let size = refusals.peers.lock().expect("nobody panicked").by_address.len();
        assert_eq!(size, 1, "old entries make room");
    }
}
