//! The tests' own client of the API server: JSON in, JSON out, over HTTPS with a client certificate or a token.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

/// An answer may take this long; etcd at rest and two busy cores explain seconds, not more.
const PATIENCE: Duration = Duration::from_secs(20);

/// Talks to one API server as one user.
pub struct Api {
    agent: ureq::Agent,
    base: String,
    token: Option<String>,
}

/// Why a request gave no object.
#[derive(Debug)]
pub enum ApiError {
    /// The API server answered with this status code and message.
    Refused(u16, String),
    /// No answer came.
    Unreachable(String),
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status, message) => write!(formatter, "{status}: {message}"),
            Self::Unreachable(reason) => write!(formatter, "no answer: {reason}"),
        }
    }
}

impl Api {
    /// The cluster's administrator, by the client certificate `admin` in `directory`.
    pub fn administrator(base: String, directory: &Path) -> Self {
        let read = |name: &str| fs::read(directory.join(name)).expect("the PKI was written");
        let certificate = Certificate::from_pem(&read("admin.crt")).expect("own certificate");
        let key = PrivateKey::from_pem(&read("admin.key")).expect("own key");
        let identity = ClientCert::new_with_certs(&[certificate], key);
        Self { agent: agent(directory, Some(identity)), base, token: None }
    }

    /// Whoever `token` belongs to.
    pub fn with_token(base: String, directory: &Path, token: String) -> Self {
        Self { agent: agent(directory, None), base, token: Some(token) }
    }

    /// GET of `path`, which may have a query.
    pub fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.request("GET", path, "", None)
    }

    /// Objects in a list answer of `path`.
    pub fn list(&self, path: &str) -> Result<Vec<Value>, ApiError> {
        let mut list = self.get(path)?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    /// POST of `body`.
    pub fn create(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.request("POST", path, "application/json", Some(body))
    }

    /// Makes `object` be as given, whether it is there or not (server-side apply).
    pub fn apply(&self, object: &Value) -> Result<Value, ApiError> {
        let path = format!("{}?fieldManager=testbed&force=true", path_of(object));
        self.request("PATCH", &path, "application/apply-patch+yaml", Some(object))
    }

    /// Would `object` be accepted as it is, with no field that the API does not know?
    pub fn validate(&self, object: &Value) -> Result<Value, ApiError> {
        let query = "fieldManager=testbed&dryRun=All&fieldValidation=Strict";
        let path = format!("{}?{query}", path_of(object));
        self.request("PATCH", &path, "application/apply-patch+yaml", Some(object))
    }

    /// A token of a service account for ten minutes, the least there is. Where a Secret is named, the token ends
    /// with it.
    pub fn token(
        &self,
        namespace: &str,
        service_account: &str,
        secret: Option<&str>,
    ) -> Result<String, ApiError> {
        let bound = secret.map(|name| json!({"apiVersion": "v1", "kind": "Secret", "name": name}));
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 600, "boundObjectRef": bound},
        });
        let accounts = collection("ServiceAccount", Some(namespace));
        let answer = self.create(&format!("{accounts}/{service_account}/token"), &request)?;
        Ok(answer["status"]["token"].as_str().unwrap_or_default().to_owned())
    }

    /// Deletes the object at `path`, pods without their grace period.
    pub fn delete(&self, path: &str) -> Result<Value, ApiError> {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
        self.request("DELETE", path, "application/json", Some(&options))
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("accept", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = match body {
            Some(body) => {
                let request = request.header("content-type", content_type).body(body.to_string());
                self.agent.run(request.expect("a request of fixed parts"))
            }
            None => self.agent.run(request.body(()).expect("a request of fixed parts")),
        };
        let mut answer = answer.map_err(|error| ApiError::Unreachable(error.to_string()))?;
        let status = answer.status().as_u16();
        let text = answer
            .body_mut()
            .with_config()
            .limit(u64::MAX)
            .read_to_string()
            .map_err(|error| ApiError::Unreachable(error.to_string()))?;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status < 300 {
            return Ok(value);
        }
        let message = value["message"].as_str().map_or_else(|| value.to_string(), str::to_owned);
        Err(ApiError::Refused(status, message))
    }
}

/// Path of the collection that objects of this kind live in, in `namespace` where the kind has one.
pub fn collection(kind: &str, namespace: Option<&str>) -> String {
    let (group, resource, namespaced) = match kind {
        "Namespace" => ("api/v1", "namespaces", false),
        "Node" => ("api/v1", "nodes", false),
        "Pod" => ("api/v1", "pods", true),
        "Service" => ("api/v1", "services", true),
        "ServiceAccount" => ("api/v1", "serviceaccounts", true),
        "Secret" => ("api/v1", "secrets", true),
        "ConfigMap" => ("api/v1", "configmaps", true),
        "Deployment" => ("apis/apps/v1", "deployments", true),
        "HorizontalPodAutoscaler" => ("apis/autoscaling/v2", "horizontalpodautoscalers", true),
        "APIService" => ("apis/apiregistration.k8s.io/v1", "apiservices", false),
        "Endpoints" => ("api/v1", "endpoints", true),
        "EndpointSlice" => ("apis/discovery.k8s.io/v1", "endpointslices", true),
        "Lease" => ("apis/coordination.k8s.io/v1", "leases", true),
        "Role" => ("apis/rbac.authorization.k8s.io/v1", "roles", true),
        "RoleBinding" => ("apis/rbac.authorization.k8s.io/v1", "rolebindings", true),
        "ClusterRole" => ("apis/rbac.authorization.k8s.io/v1", "clusterroles", false),
        "ClusterRoleBinding" => ("apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", false),
        other => panic!("the harness does not know the kind {other} yet: add its line here"),
    };
    match namespace {
        Some(namespace) if namespaced => format!("/{group}/namespaces/{namespace}/{resource}"),
        _ => format!("/{group}/{resource}"),
    }
}

/// Path of `object` itself.
pub fn path_of(object: &Value) -> String {
    let kind = object["kind"].as_str().expect("an object has a kind");
    let name = object["metadata"]["name"].as_str().expect("an object has a name");
    format!("{}/{name}", collection(kind, object["metadata"]["namespace"].as_str()))
}

fn agent(directory: &Path, identity: Option<ClientCert>) -> ureq::Agent {
    let authority = fs::read(directory.join("ca.crt")).expect("the PKI was written");
    let authority = Certificate::from_pem(&authority).expect("own certificate");
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[authority]))
        .client_cert(identity)
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(PATIENCE))
        .user_agent("testbed")
        .build()
        .into()
}
