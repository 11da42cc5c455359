//! The service without a socket: requests with certificates of a test's own authorities, and a reviewer that counts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::CertificateDer;
use tiny_http::Method;

use super::authentication::SharedAuthorities;
use super::authorities::Authorities;
use super::reviews::Decision;
use super::*;
use crate::autoscaling::{Entry, Limits, Reference, Table};
use crate::sync::Published;

const GROUP_PATH: &str = "/apis/external.metrics.k8s.io/v1beta1";
const METRIC: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue.depth";

/// A certificate authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names are valid");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key is made");
        let pem = parameters.self_signed(&key).expect("it signs itself").pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    fn client(&self, name: &str, organizations: &[&str]) -> Arc<[CertificateDer<'static>]> {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names are valid");
        parameters.distinguished_name.push(DnType::CommonName, name);
        for organization in organizations {
            parameters.distinguished_name.push(DnType::OrganizationName, *organization);
        }
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key is made");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("the authority signs");
        Arc::from([certificate.der().clone()])
    }
}

/// Knows one token, allows or not, and keeps what it was asked.
struct Scripted {
    allowed: bool,
    broken: Mutex<bool>,
    tokens: AtomicUsize,
    asked: Mutex<Vec<Value>>,
}

impl Reviewer for Scripted {
    fn token(&self, token: &str) -> Result<Option<User>, String> {
        self.tokens.fetch_add(1, Ordering::SeqCst);
        if *self.broken.lock().expect("unpoisoned") {
            return Err("no answer in time".to_owned());
        }
        let user = User {
            name: "system:serviceaccount:keda:keda".to_owned(),
            groups: vec!["system:serviceaccounts".to_owned(), "system:authenticated".to_owned()],
            extra: Default::default(),
        };
        Ok((token == "good").then_some(user))
    }

    fn access(&self, spec: &Value, _patience: Duration) -> Result<Decision, String> {
        self.asked.lock().expect("unpoisoned").push(spec.clone());
        if *self.broken.lock().expect("unpoisoned") {
            return Err("no answer in time".to_owned());
        }
        Ok(Decision { allowed: self.allowed, reason: String::new() })
    }
}

struct Stage {
    api: MetricsApi,
    reviewer: Arc<Scripted>,
    served: ServedTable,
    authorities: SharedAuthorities,
    front_proxy: Authority,
    clients: Authority,
}

impl Stage {
    fn new(allowed: bool) -> Self {
        let reviewer = Arc::new(Scripted {
            allowed,
            broken: Mutex::new(false),
            tokens: AtomicUsize::new(0),
            asked: Mutex::default(),
        });
        let second = Duration::from_secs(1);
        let served = ServedTable::new(Limits::new(120 * second, 30 * second, 30 * second));
        let (front_proxy, clients) = (Authority::new(), Authority::new());
        let authorities: SharedAuthorities = Arc::new(Published::new(Some(authorities(
            &front_proxy,
            &clients,
            "[\"front-proxy-client\"]",
        ))));
        let api = MetricsApi::new(
            Authenticator::new(authorities.clone(), reviewer.clone()),
            Authorizer::new(reviewer.clone()),
            served.clone(),
            &Registry::default(),
        );
        Self { api, reviewer, served, authorities, front_proxy, clients }
    }

    fn serve(&self, entries: Vec<Entry>) {
        self.served.publish(Table { entries, until: None, ready: true });
    }

    /// Status and body of the answer.
    fn send(&self, request: &Request) -> (u16, String) {
        let response = self.api.handle(request);
        let status = response.status_code().0;
        let mut body = String::new();
        std::io::Read::read_to_string(&mut response.into_reader(), &mut body).expect("text");
        (status, body)
    }

    fn proxied(&self, path: &str, headers: &[(&str, &str)]) -> Request {
        let certificate = Some(self.front_proxy.client("front-proxy-client", &[]));
        Request { certificate, ..get(path, headers) }
    }

    /// As the horizontal autoscaler asks.
    fn ask(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.send(&self.proxied(path, &[("X-Remote-User", "hpa")]));
        (status, serde_json::from_str(&body).expect("the answer is JSON"))
    }

    fn reviews(&self) -> Vec<Value> {
        self.reviewer.asked.lock().expect("unpoisoned").clone()
    }
}

fn authorities(front_proxy: &Authority, clients: &Authority, allowed: &str) -> Authorities {
    let data = [
        ("client-ca-file", clients.pem.as_str()),
        ("requestheader-client-ca-file", &front_proxy.pem),
        ("requestheader-allowed-names", allowed),
        ("requestheader-username-headers", "[\"X-Remote-User\"]"),
        ("requestheader-group-headers", "[\"X-Remote-Group\"]"),
        ("requestheader-extra-headers-prefix", "[\"X-Remote-Extra-\"]"),
    ];
    let data = data.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Authorities::from_data(&data.into()).expect("the data is sound")
}

fn get(path: &str, headers: &[(&str, &str)]) -> Request {
    Request {
        method: Method::Get,
        target: path.to_owned(),
        headers: headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        body: Vec::new(),
        peer: ([10, 0, 0, 9], 1).into(),
        certificate: None,
    }
}

fn entry(metric: &str, labels: &[(&str, &str)], value: f64) -> Entry {
    Entry {
        metric: metric.to_owned(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        reference: Reference::horizontal("shop", "web", "u"),
        value,
        timestamp: crate::autoscaling::entry::seconds(SystemTime::now()),
        valid: true,
        problem: None,
    }
}

const MASTERS: [(&str, &str); 2] =
    [("X-Remote-User", "system:kube-aggregator"), ("X-Remote-Group", "system:masters")];

#[test]
fn external_metrics_01_the_aggregator_discovers_one_resource_without_a_review() {
    let stage = Stage::new(false);
    let (status, body) = stage.send(&stage.proxied(GROUP_PATH, &MASTERS));
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, 200);
    assert_eq!(body["resources"].as_array().map(Vec::len), Some(1));
    assert_eq!(body["resources"][0]["name"], "externalmetrics");
    assert_eq!(stage.reviews(), Vec::<Value>::new());
}

#[test]
fn external_metrics_02_headers_without_a_certificate_are_ignored() {
    let stage = Stage::new(false);
    let (status, body) = stage.send(&get(GROUP_PATH, &MASTERS));
    assert_eq!(status, 403);
    let expected = r#"forbidden: User \"system:anonymous\" cannot get path \"/apis/external.metrics.k8s.io/v1beta1\""#;
    assert!(body.contains(expected), "{body}");
    assert_eq!(stage.reviews()[0]["user"], "system:anonymous");
    assert_eq!(stage.reviews()[0]["groups"], json!(["system:unauthenticated"]));
    assert_eq!(
        stage.reviews()[0]["nonResourceAttributes"],
        json!({"path": GROUP_PATH, "verb": "get"})
    );
}

#[test]
fn external_metrics_04_only_allowed_names_are_the_front_proxy() {
    let stage = Stage::new(true);
    let other = Request {
        certificate: Some(stage.front_proxy.client("other", &[])),
        ..get(GROUP_PATH, &MASTERS)
    };
    let unauthorized = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;
    assert_eq!(stage.send(&other), (401, unauthorized.to_owned()));
    stage.authorities.set(Some(authorities(&stage.front_proxy, &stage.clients, "[]")));
    assert_eq!(stage.send(&other).0, 200);
}

#[test]
fn a_new_authority_counts_at_once_and_the_old_one_no_more() {
    let stage = Stage::new(true);
    let old = stage.proxied(GROUP_PATH, &MASTERS);
    assert_eq!(stage.send(&old).0, 200);
    let renewed = Authority::new();
    stage.authorities.set(Some(authorities(&renewed, &stage.clients, "")));
    assert_eq!(stage.send(&old).0, 401);
    let certificate = Some(renewed.client("front-proxy-client", &[]));
    assert_eq!(stage.send(&Request { certificate, ..old }).0, 200);
}

#[test]
fn external_metrics_06_somebody_is_authenticated() {
    let stage = Stage::new(true);
    let headers = [
        ("x-remote-user", "system:aggregator"),
        ("X-Remote-Extra-Authentication.kubernetes.io%2fcredential-Id", "JTI=1"),
    ];
    assert_eq!(stage.send(&stage.proxied("/openapi/v2", &headers)).0, 200);
    let review = &stage.reviews()[0];
    assert_eq!(review["user"], "system:aggregator");
    assert_eq!(review["groups"], json!(["system:authenticated"]));
    assert_eq!(review["extra"], json!({"authentication.kubernetes.io/credential-id": ["JTI=1"]}));
}

#[test]
fn a_clients_own_certificate_names_user_and_groups() {
    let stage = Stage::new(true);
    let certificate = Some(stage.clients.client("bob", &["dev"]));
    stage.send(&Request { certificate, ..get(METRIC, &MASTERS) });
    assert_eq!(stage.reviews()[0]["user"], "bob");
    assert_eq!(stage.reviews()[0]["groups"], json!(["dev", "system:authenticated"]));
}

#[test]
fn tokens_and_their_refusals_are_remembered_and_failures_are_not() {
    let stage = Stage::new(true);
    stage.serve(Vec::new());
    for (token, expected) in [("good", 200), ("bad", 401)] {
        let value = format!("bearer {token}");
        let before = stage.reviewer.tokens.load(Ordering::SeqCst);
        for _ in 0..20 {
            assert_eq!(stage.send(&get(METRIC, &[("Authorization", &value)])).0, expected);
        }
        assert_eq!(stage.reviewer.tokens.load(Ordering::SeqCst), before + 1, "{token}");
    }
    *stage.reviewer.broken.lock().expect("unpoisoned") = true;
    for _ in 0..2 {
        assert_eq!(stage.send(&get(METRIC, &[("Authorization", "Bearer other")])).0, 401);
    }
    assert_eq!(stage.reviewer.tokens.load(Ordering::SeqCst), 4);
}

#[test]
fn a_review_that_fails_costs_values_and_never_discovery() {
    let stage = Stage::new(true);
    *stage.reviewer.broken.lock().expect("unpoisoned") = true;
    let (status, body) = stage.send(&stage.proxied(METRIC, &[("X-Remote-User", "hpa")]));
    assert_eq!(status, 500);
    assert!(
        body.starts_with("Internal Server Error: \"/apis/external.metrics.k8s.io/v1beta1/"),
        "{body}"
    );
    for path in ["/apis", GROUP_PATH, "/openapi/v2"] {
        let user = [("X-Remote-User", "system:kube-aggregator")];
        assert_eq!(stage.send(&stage.proxied(path, &user)).0, 200, "{path}");
    }
    stage.authorities.set(None);
    assert_eq!(stage.send(&stage.proxied(GROUP_PATH, &MASTERS)).0, 200, "nothing is known yet");
    assert_eq!(stage.send(&stage.proxied(METRIC, &MASTERS)).0, 500);
}

#[test]
fn external_metrics_09_a_metric_is_reviewed_as_a_list_of_its_name() {
    let stage = Stage::new(false);
    let (status, body) = stage.ask(METRIC);
    assert_eq!(
        stage.reviews()[0]["resourceAttributes"],
        json!({
            "namespace": "shop",
            "verb": "list",
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "resource": "queue.depth",
        })
    );
    assert_eq!(status, 403);
    assert_eq!(
        body,
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "queue.depth.external.metrics.k8s.io is forbidden: User \"hpa\" cannot list resource \"queue.depth\" in API group \"external.metrics.k8s.io\" in the namespace \"shop\"",
            "reason": "Forbidden",
            "details": {"group": "external.metrics.k8s.io", "kind": "queue.depth"},
            "code": 403,
        })
    );
    stage.ask(METRIC);
    assert_eq!(stage.reviews().len(), 1, "a refusal is remembered too");
}

// spec: external_metrics_10 external_metrics_11
#[test]
fn documents_are_json_or_not_acceptable() {
    let stage = Stage::new(true);
    stage.serve(Vec::new());
    let discovery = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    let both = format!("{discovery},application/json");
    for (path, accept, expected) in [
        ("/apis", discovery, 406),
        ("/apis", both.as_str(), 200),
        (METRIC, "application/vnd.kubernetes.protobuf, */*", 200),
        (METRIC, "text/html", 406),
    ] {
        let request = stage.proxied(path, &[MASTERS[0], MASTERS[1], ("Accept", accept)]);
        let response = stage.api.handle(&request);
        assert_eq!(response.status_code().0, expected, "{path} {accept}");
        let json = response.headers().iter().any(|header| {
            header.field.equiv("Content-Type") && header.value.as_str() == "application/json"
        });
        assert!(json, "{path} {accept}");
    }
    let (_, body) = stage.send(&stage.proxied("/apis", &MASTERS));
    assert!(body.contains("\"kind\":\"APIGroupList\""), "{body}");
}

#[test]
fn other_paths_have_their_answers() {
    let stage = Stage::new(true);
    for (path, status, body) in [
        ("/openapi/v2", 200, "{\"swagger\""),
        ("/openapi/v3", 404, "404 page not found"),
        ("/swagger.json", 404, "404 page not found"),
        ("/metrics", 404, "404 page not found"),
        ("/version", 200, "{\"major\":\"1\""),
        ("/", 200, "{\"paths\":["),
        ("/apis/external.metrics.k8s.io/", 200, "{\"kind\":\"APIGroup\""),
        ("/apis/external.metrics.k8s.io/v1", 404, "{\"kind\":\"Status\""),
        ("/livez?verbose", 200, "[+]ping ok\nlivez check passed"),
    ] {
        let (found, text) = stage.send(&stage.proxied(path, &MASTERS));
        assert!(found == status && text.starts_with(body), "{path}: {found} {text}");
    }
    assert_eq!(stage.send(&get("/healthz", &[])), (200, "ok".to_owned()));
    assert_eq!(stage.reviews(), Vec::<Value>::new());
}

#[test]
fn external_metrics_13_values_can_only_be_got() {
    let stage = Stage::new(true);
    let post = Request { method: Method::Post, ..stage.proxied(METRIC, &MASTERS) };
    assert_eq!(stage.send(&post).0, 405);
    let (status, body) = stage.ask(&format!("{METRIC}?watch=true"));
    assert_eq!((status, body["reason"].as_str()), (405, Some("MethodNotAllowed")));
    assert_eq!(
        body["message"],
        "watch is not supported on resources of kind \"*.external.metrics.k8s.io\""
    );
    assert_eq!(stage.reviews()[0]["resourceAttributes"]["verb"], "watch");
}

#[test]
fn external_metrics_14_a_value_on_the_wire() {
    let stage = Stage::new(true);
    stage.serve(vec![entry("queue.depth", &[("queue", "orders")], 0.5)]);
    let (status, body) = stage.ask(&format!("{METRIC}?labelSelector=queue%3Dorders"));
    assert_eq!((status, body["items"].as_array().map(Vec::len)), (200, Some(1)));
    let item = &body["items"][0];
    assert_eq!(item["metricName"], "queue.depth");
    assert_eq!(item["metricLabels"], json!({"queue": "orders"}));
    assert_eq!(item["value"], "500m");
    assert_eq!(item["timestamp"].as_str().map(str::len), Some("2024-03-05T10:20:30Z".len()));
    for (value, text) in [
        (2472.0, "2472"),
        (1000.0, "1k"),
        (268_435_456.0, "2.68435456e+08"),
        (33.333_333_333_333_336, "33333333334n"),
    ] {
        stage.serve(vec![entry("queue.depth", &[], value)]);
        let (_, body) = stage.ask(METRIC);
        assert_eq!(body["items"][0]["value"], text);
        assert_eq!(body["items"][0]["metricLabels"], Value::Null);
    }
}

#[test]
fn external_metrics_15_an_invalid_value_is_no_item() {
    let stage = Stage::new(true);
    stage.serve(vec![Entry { valid: false, ..entry("queue.depth", &[], 1.0) }]);
    let (status, body) = stage.ask(METRIC);
    assert_eq!((status, &body["items"]), (200, &json!([])));
    let (status, body) = stage.ask(&format!("{METRIC}?labelSelector=a%20x%20b"));
    assert_eq!((status, body["reason"].as_str()), (400, Some("BadRequest")));
}

#[test]
fn external_metrics_17_names_are_found_without_case() {
    let stage = Stage::new(true);
    stage.serve(vec![entry("Queue.Depth", &[], 1.0)]);
    let (_, body) = stage.ask(METRIC);
    assert_eq!(body["items"][0]["metricName"], "Queue.Depth");
}

#[test]
fn without_a_table_metrics_are_invalid() {
    let stage = Stage::new(true);
    let (status, body) = stage.ask(METRIC);
    assert_eq!((status, body["message"].as_str()), (500, Some("external metrics invalid")));
    assert!(body.get("reason").is_none());
}
