//! What the API server says about tokens and permissions: TokenReview and SubjectAccessReview (spec external-metrics
//! §4.2, §5).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::attributes::Attributes;
use super::authentication::User;
use super::cache::Cache;
use crate::kube::objects::null_as_default;
use crate::kube::{Cause, Client, Error, Target};
use crate::retry::Random;
use crate::sync::Stop;

/// Members of this group may do everything; the aggregator's probes rely on it.
const MASTERS: &str = "system:masters";

/// How long a decision counts.
const DECISION_LIFE: Duration = Duration::from_secs(10);

/// Decisions that are remembered; with keys of at most 10 kB, usually 500 bytes.
const DECISIONS: usize = 512;

/// Longest question whose answer is remembered, in bytes.
const QUESTION_LIMIT: usize = 10_000;

/// Attempts of one review.
const ATTEMPTS: u32 = 5;

/// Pause before the second attempt; each further one is half as long again, ± 20 %.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Somebody who knows tokens and permissions.
pub trait Reviewer: Send + Sync {
    /// Whose token it is; `None` when it is nobody's.
    ///
    /// # Errors
    /// Why it cannot be told.
    fn token(&self, token: &str) -> Result<Option<User>, String>;

    /// The decision on the `spec` of a SubjectAccessReview, within `patience`.
    ///
    /// # Errors
    /// Why there is none.
    fn access(&self, spec: &Value, patience: Duration) -> Result<Decision, String>;
}

/// Whether somebody may do something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether.
    pub allowed: bool,
    /// Why, where the API server says so.
    pub reason: String,
}

/// Asks for permissions and remembers the answers.
pub struct Authorizer {
    reviewer: Arc<dyn Reviewer>,
    decisions: Cache<String, Decision>,
}

impl Authorizer {
    /// Asks `reviewer`.
    pub fn new(reviewer: Arc<dyn Reviewer>) -> Self {
        Self { reviewer, decisions: Cache::new(DECISIONS) }
    }

    /// Whether `user` may do what the attributes say.
    pub(super) fn decide(
        &self,
        user: &User,
        attributes: &Attributes,
        patience: Duration,
    ) -> Result<Decision, String> {
        if user.groups.iter().any(|group| group == MASTERS) {
            return Ok(Decision { allowed: true, reason: String::new() });
        }
        let spec = spec(user, attributes);
        let question = spec.to_string();
        if question.len() > QUESTION_LIMIT {
            return self.reviewer.access(&spec, patience);
        }
        self.decisions.get(question, DECISION_LIFE, || self.reviewer.access(&spec, patience))
    }
}

fn spec(user: &User, attributes: &Attributes) -> Value {
    let mut spec = json!({"user": user.name, "groups": user.groups, "extra": user.extra});
    match attributes {
        Attributes::Resource { group, version, namespace, resource, verb } => {
            let mut attributes =
                json!({"verb": verb, "group": group, "version": version, "resource": resource});
            if let Some(namespace) = namespace {
                attributes["namespace"] = json!(namespace);
            }
            spec["resourceAttributes"] = attributes;
        }
        Attributes::Path { path, verb } => {
            spec["nonResourceAttributes"] = json!({"path": path, "verb": verb});
        }
    }
    spec
}

/// Has the API server review.
pub struct ApiReviewer {
    client: Client,
    stop: Stop,
}

#[derive(Deserialize)]
struct Review<T> {
    status: T,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenStatus {
    authenticated: bool,
    #[serde(deserialize_with = "null_as_default")]
    user: ReviewedUser,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReviewedUser {
    username: String,
    #[serde(deserialize_with = "null_as_default")]
    groups: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    extra: BTreeMap<String, Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AccessStatus {
    allowed: bool,
    denied: bool,
    reason: String,
}

impl ApiReviewer {
    /// Asks through `client`; waits for nothing after `stop`.
    pub fn new(client: Client, stop: Stop) -> Self {
        Self { client, stop }
    }

    fn review<T: for<'de> Deserialize<'de>>(
        &self,
        (group, kind, plural): (&'static str, &'static str, &'static str),
        spec: &Value,
        patience: Duration,
    ) -> Result<T, String> {
        let target = Target::new(format!("/apis/{group}/v1"), plural);
        let object = json!({"apiVersion": format!("{group}/v1"), "kind": kind, "spec": spec});
        let deadline = Instant::now() + patience;
        let mut random = Random::from_entropy();
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match self.client.within(left).create::<Review<T>>(&target, &object) {
                Ok(review) => return Ok(review.status),
                Err(error) => error,
            };
            let wait =
                error.cause.retry_after().unwrap_or(pause * 4 / 5 + random.up_to(pause * 2 / 5));
            attempt += 1;
            pause = pause * 3 / 2;
            let is_late = Instant::now() + wait >= deadline;
            if attempt > ATTEMPTS || is_late || !may_heal(&error) || self.stop.wait(wait) {
                return Err(error.to_string());
            }
        }
    }
}

/// Whether another attempt may succeed.
fn may_heal(error: &Error) -> bool {
    match &error.cause {
        Cause::Transport(_) | Cause::Timeout(_) | Cause::TooManyRequests { .. } => true,
        Cause::Unavailable { status, .. } => {
            matches!(status, 500 | 504) || error.cause.retry_after().is_some()
        }
        _ => false,
    }
}

impl Reviewer for ApiReviewer {
    fn token(&self, token: &str) -> Result<Option<User>, String> {
        const KIND: (&str, &str, &str) = ("authentication.k8s.io", "TokenReview", "tokenreviews");
        let status: TokenStatus = self.review(KIND, &json!({"token": token}), super::PATIENCE)?;
        let ReviewedUser { username: name, groups, extra } = status.user;
        Ok((status.authenticated && !name.is_empty()).then_some(User { name, groups, extra }))
    }

    fn access(&self, spec: &Value, patience: Duration) -> Result<Decision, String> {
        const KIND: (&str, &str, &str) =
            ("authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews");
        let status: AccessStatus = self.review(KIND, spec, patience)?;
        let AccessStatus { allowed, denied, reason } = status;
        Ok(Decision { allowed: allowed && !denied, reason })
    }
}
