//! Who asks: the front proxy's headers, a client certificate, or a bearer token (spec external-metrics §4).
//!
//! The first way that succeeds counts. Headers are believed only behind the front proxy's certificate, which is checked
//! with every request against the authorities of that moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::authorities::{Authorities, verify};
use super::cache::Cache;
use super::reviews::Reviewer;
use crate::autoscaling::digest;
use crate::http::Request;
use crate::http::message::percent_decoded;
use crate::sync::Published;

/// Added to everybody who is somebody.
const AUTHENTICATED: &str = "system:authenticated";

/// The group of those who are nobody.
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// The user of those who are nobody.
const ANONYMOUS: &str = "system:anonymous";

/// How long what is known of a token counts.
const TOKEN_LIFE: Duration = Duration::from_secs(10);

/// Tokens that are remembered, at about 300 bytes each.
const TOKENS: usize = 256;

/// Longest token that is looked at; the API server's own are about 1 KiB.
const TOKEN_LIMIT: usize = 16 << 10;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The groups.
    pub groups: Vec<String>,
    /// Further facts.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The authorities as they are now; `None` until they were read.
pub type SharedAuthorities = Arc<Published<Option<Authorities>>>;

/// Finds out who asks.
pub struct Authenticator {
    authorities: SharedAuthorities,
    reviewer: Arc<dyn Reviewer>,
    tokens: Cache<[u8; 32], Option<User>>,
}

impl Authenticator {
    /// Checks against `authorities`, and has `reviewer` look at tokens.
    pub fn new(authorities: SharedAuthorities, reviewer: Arc<dyn Reviewer>) -> Self {
        Self { authorities, reviewer, tokens: Cache::new(TOKENS) }
    }

    /// Whether the authorities were read.
    pub fn is_ready(&self) -> bool {
        self.authorities.get().is_some()
    }

    /// Who asks; somebody unknown is the anonymous user.
    ///
    /// # Errors
    /// Why credentials that were given do not count.
    pub fn authenticate(&self, request: &Request) -> Result<User, Vec<String>> {
        let mut errors = Vec::new();
        for user in [self.by_certificate(request), self.by_token(request)] {
            match user {
                Ok(Some(user)) => return Ok(with_own_group(user)),
                Ok(None) => {}
                Err(mut more) => errors.append(&mut more),
            }
        }
        if errors.is_empty() {
            return Ok(User {
                name: ANONYMOUS.to_owned(),
                groups: vec![UNAUTHENTICATED.to_owned()],
                extra: BTreeMap::new(),
            });
        }
        Err(errors)
    }

    fn by_certificate(&self, request: &Request) -> Result<Option<User>, Vec<String>> {
        let Some(chain) = &request.certificate else { return Ok(None) };
        let authorities = self.authorities.get();
        let Some(authorities) = &*authorities else { return Ok(None) };
        let now = SystemTime::now();
        let mut errors = Vec::new();
        if !authorities.front_proxies.is_empty() {
            match verify(chain, &authorities.front_proxies, now) {
                Ok(subject) if is_allowed(&subject.common_name, &authorities.allowed_names) => {
                    if let Some(user) = by_headers(request, authorities) {
                        return Ok(Some(user));
                    }
                }
                Ok(subject) => errors.push(format!(
                    "x509: subject with cn={} is not in the allowed list",
                    subject.common_name
                )),
                Err(error) => errors.push(error),
            }
        }
        if !authorities.clients.is_empty() {
            match verify(chain, &authorities.clients, now) {
                Ok(subject) if subject.common_name.is_empty() => {}
                Ok(subject) => {
                    return Ok(Some(User {
                        name: subject.common_name,
                        groups: subject.organizations,
                        extra: BTreeMap::new(),
                    }));
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(None) } else { Err(errors) }
    }

    fn by_token(&self, request: &Request) -> Result<Option<User>, Vec<String>> {
        let Some((scheme, token)) =
            request.header("Authorization").and_then(|value| value.split_once(' '))
        else {
            return Ok(None);
        };
        let token = token.trim();
        if !scheme.eq_ignore_ascii_case("Bearer") || token.is_empty() {
            return Ok(None);
        }
        if token.len() > TOKEN_LIMIT {
            return Err(vec!["the token is too long".to_owned()]);
        }
        let reviewed = self
            .tokens
            .get(digest::sha256(token.as_bytes()), TOKEN_LIFE, || self.reviewer.token(token));
        match reviewed {
            Ok(Some(user)) => Ok(Some(user)),
            Ok(None) => Err(vec!["invalid bearer token".to_owned()]),
            Err(error) => Err(vec![error]),
        }
    }
}

fn is_allowed(name: &str, allowed: &[String]) -> bool {
    allowed.is_empty() || allowed.iter().any(|allowed| allowed == name)
}

fn by_headers(request: &Request, authorities: &Authorities) -> Option<User> {
    let name = authorities
        .user_headers
        .iter()
        .filter_map(|header| request.header(header))
        .find(|name| !name.is_empty())?;
    let mut user = User { name: name.to_owned(), ..User::default() };
    for header in &authorities.group_headers {
        let values = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(header));
        user.groups.extend(values.map(|(_, value)| value.clone()));
    }
    for (name, value) in &request.headers {
        let key = authorities.extra_prefixes.iter().find_map(|prefix| {
            let (start, key) = name.split_at_checked(prefix.len())?;
            start.eq_ignore_ascii_case(prefix).then_some(key)
        });
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            let key = percent_decoded(&key.to_ascii_lowercase()).into_owned();
            user.extra.entry(key).or_default().push(value.clone());
        }
    }
    Some(user)
}

fn with_own_group(mut user: User) -> User {
    let has = |group: &str| user.groups.iter().any(|own| own == group);
    if user.name != ANONYMOUS && !has(AUTHENTICATED) && !has(UNAUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    user
}
