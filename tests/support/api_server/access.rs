//! Who asks, and whether they may: bearer tokens, missing permissions, and the review APIs about both.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::faults::Faults;
use super::resources::Place;
use super::status::{Failure, details};

/// A user as the API server sees one.
#[derive(Clone, Debug)]
pub struct User {
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub name: String,
    /// Groups.
    pub groups: Vec<String>,
}

/// What a request does.
#[derive(Clone, Debug, Default)]
pub struct Action {
    /// `list`, `watch`, `get`, `create`, `update`, `patch`, `delete`; for other paths the lower-case method.
    pub verb: String,
    /// The qualified resource, with `/status` for a subresource; empty for other paths.
    pub resource: String,
}

/// The tokens that are valid.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<HashMap<String, User>>);

impl User {
    /// A service account.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = [
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ];
        Self { name: format!("system:serviceaccount:{namespace}:{name}"), groups: groups.to_vec() }
    }

    /// One to whom nothing is forbidden.
    pub fn administrator() -> Self {
        let groups = ["system:masters".to_owned(), "system:authenticated".to_owned()];
        Self { name: "admin".to_owned(), groups: groups.to_vec() }
    }

    fn anonymous() -> Self {
        let groups = vec!["system:unauthenticated".to_owned()];
        Self { name: "system:anonymous".to_owned(), groups }
    }

    fn is_anonymous(&self) -> bool {
        self.name == "system:anonymous"
    }

    fn may_all(&self) -> bool {
        self.groups.iter().any(|group| group == "system:masters")
    }
}

impl Tokens {
    /// Makes a token valid.
    pub fn add(&self, token: &str, user: User) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), user);
    }

    /// Makes a token invalid.
    pub fn revoke(&self, token: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    /// The user of an `Authorization` header; without one the anonymous user.
    pub fn user(&self, authorization: Option<&str>) -> Result<User, Failure> {
        let Some(authorization) = authorization else { return Ok(User::anonymous()) };
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default().trim();
        self.of_token(token).ok_or_else(Failure::unauthorized)
    }

    fn of_token(&self, token: &str) -> Option<User> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

/// The action of a request on a resource.
pub fn action(method: &str, watch: bool, place: &Place) -> Action {
    let verb = match (method, &place.name) {
        ("GET" | "HEAD", None) if watch => "watch",
        ("GET" | "HEAD", None) => "list",
        ("GET" | "HEAD", Some(_)) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", None) => "deletecollection",
        ("DELETE", Some(_)) => "delete",
        _ => "",
    };
    let mut resource = place.resource.qualified();
    if let Some(subresource) = &place.subresource {
        resource = format!("{resource}/{subresource}");
    }
    Action { verb: verb.to_owned(), resource }
}

/// Refuses what the user may not do on a resource.
pub fn authorize(
    user: &User,
    action: &Action,
    place: &Place,
    faults: &Faults,
) -> Result<(), Failure> {
    let denied = user.is_anonymous() || faults.is_denied(&action.verb, &action.resource);
    if user.may_all() || !denied {
        return Ok(());
    }
    let resource = &place.resource;
    let named = place.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    let subresource = place.subresource.as_ref().map(|name| format!("/{name}"));
    let scope = match &place.namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let message = format!(
        "{}{named} is forbidden: User \"{}\" cannot {} resource \"{}{}\" in API group \"{}\" {scope}",
        resource.qualified(),
        user.name,
        action.verb,
        resource.plural,
        subresource.unwrap_or_default(),
        resource.group,
    );
    let details = details(resource, place.name.as_deref());
    Err(Failure::detailed(403, "Forbidden", message, details))
}

/// Refuses what the user may not do on another path.
pub fn authorize_path(user: &User, method: &str, path: &str) -> Result<(), Failure> {
    let public = ["/version", "/healthz", "/livez", "/readyz"];
    if !user.is_anonymous() || public.contains(&path.trim_end_matches('/')) {
        return Ok(());
    }
    let verb = method.to_lowercase();
    let message = format!("forbidden: User \"{}\" cannot {verb} path \"{path}\"", user.name);
    Err(Failure::detailed(403, "Forbidden", message, json!({})))
}

/// Answers TokenReview, SubjectAccessReview and SelfSubjectAccessReview; all POSTs answer 201. `None`: not one of
/// these paths.
pub fn review(
    path: &str,
    mut body: Value,
    user: &User,
    tokens: &Tokens,
    faults: &Faults,
) -> Option<Value> {
    let kind = path
        .strip_prefix("/apis/authentication.k8s.io/v1/")
        .or_else(|| path.strip_prefix("/apis/authorization.k8s.io/v1/"))?;
    body["metadata"] = json!({});
    body["status"] = match kind {
        "tokenreviews" => match tokens.of_token(body["spec"]["token"].as_str().unwrap_or_default())
        {
            Some(user) => json!({
                "authenticated": true,
                "user": {"username": user.name, "uid": "e7154f0c-6f1f-4f0e-9c55-1f0a6f6d2c11", "groups": user.groups},
                "audiences": ["https://kubernetes.default.svc"],
            }),
            None => json!({"user": {}, "error": "invalid bearer token"}),
        },
        "subjectaccessreviews" | "selfsubjectaccessreviews" => {
            let asked = &body["spec"]["resourceAttributes"];
            let text = |key: &str| asked[key].as_str().unwrap_or_default().to_owned();
            let (plural, group) = (text("resource"), text("group"));
            let resource = if group.is_empty() { plural } else { format!("{plural}.{group}") };
            let subresource = text("subresource");
            let resource =
                if subresource.is_empty() { resource } else { format!("{resource}/{subresource}") };
            let master = if kind == "subjectaccessreviews" {
                let groups = body["spec"]["groups"].as_array();
                groups.is_some_and(|groups| groups.contains(&json!("system:masters")))
            } else {
                user.may_all()
            };
            if !master && faults.is_denied(&text("verb"), &resource) {
                json!({"allowed": false})
            } else {
                json!({"allowed": true, "reason": "RBAC: allowed by ClusterRoleBinding \"embedded\""})
            }
        }
        _ => return None,
    };
    Some(body)
}
