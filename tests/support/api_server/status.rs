//! `Status` objects: how the API server says no, to the letter, because clients and people read these texts.

use serde_json::{Map, Value, json};

use super::resources::Resource;

/// An answer other than success, before it is written to a connection.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The HTTP status.
    pub code: u16,
    /// The `Status` object, or a bare text where the real server sends one.
    pub body: FailureBody,
    /// Seconds for a `Retry-After` header.
    pub retry_after: Option<u32>,
}

/// The two forms that the real server's errors have.
#[derive(Clone, Debug)]
pub enum FailureBody {
    /// A `Status` object.
    Status(Value),
    /// `text/plain`.
    Text(String),
}

impl Failure {
    /// A `Status` failure without details.
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self::detailed(code, reason, message, Value::Null)
    }

    /// A `Status` failure with details; null leaves the key out.
    pub fn detailed(code: u16, reason: &str, message: impl Into<String>, details: Value) -> Self {
        let body = status_object(code, reason, &message.into(), details, json!({}));
        Self { code, body: FailureBody::Status(body), retry_after: None }
    }

    /// A bare text answer.
    pub fn text(code: u16, text: &str) -> Self {
        Self { code, body: FailureBody::Text(text.to_owned()), retry_after: None }
    }

    /// No such object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::detailed(404, "NotFound", message, details(resource, Some(name)))
    }

    /// No such route inside a known group version.
    pub fn no_such_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::detailed(404, "NotFound", message, json!({}))
    }

    /// A create of what is there.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::detailed(409, "AlreadyExists", message, details(resource, Some(name)))
    }

    /// A write that lost a race.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::detailed(409, "Conflict", message, details(resource, Some(name)))
    }

    /// A request that makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// An unknown or missing token.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// A resource version that history no longer covers, as the body of a watch's ERROR event or of a 410.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// The `Status` object; a text failure becomes one.
    pub fn status(&self) -> Value {
        match &self.body {
            FailureBody::Status(status) => status.clone(),
            FailureBody::Text(text) => status_object(self.code, "", text, Value::Null, json!({})),
        }
    }

    /// Puts a key into the object's metadata.
    pub fn with_metadata(mut self, key: &str, value: Value) -> Self {
        if let FailureBody::Status(status) = &mut self.body {
            status["metadata"][key] = value;
        }
        self
    }
}

/// The answer to a DELETE of most kinds.
pub fn deleted(resource: &Resource, name: &str, uid: &str) -> Value {
    let mut details = details(resource, Some(name));
    details["uid"] = json!(uid);
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// The `details` of a failure that concerns a resource.
pub fn details(resource: &Resource, name: Option<&str>) -> Value {
    let mut details = Map::new();
    if let Some(name) = name {
        details.insert("name".to_owned(), json!(name));
    }
    if !resource.group.is_empty() {
        details.insert("group".to_owned(), json!(resource.group));
    }
    details.insert("kind".to_owned(), json!(resource.plural));
    Value::Object(details)
}

fn status_object(code: u16, reason: &str, message: &str, details: Value, metadata: Value) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    if !details.is_null() {
        status["details"] = details;
    }
    status
}
