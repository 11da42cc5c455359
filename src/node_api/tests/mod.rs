//! The service without sockets: requests in, answers out (spec node-api §14).

mod access;
mod checks;
mod data;
mod forwarding;
mod local;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tiny_http::Method;

use super::*;
use crate::flare::Document;
use crate::health::Report;
use crate::http::message::owned;
use crate::kube::watch::Event;
use crate::metadata::{Core, Optional};
use crate::secret::Secret;

const SHARED: &str = "5a1f0c9e3c1d4e0a9a513d6b0b0a7c115a1f0c9e3c1d4e0a9a513d6b0b0a7c11";
const LOCAL: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
const CLUSTER_ID: &str = "5a1f0c9e-3c1d-4e0a-9a51-3d6b0b0a7c11";
const LEADER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

/// The service on fakes, and what the fakes were told.
struct Fixture {
    api: NodeApi,
    core: Core,
    metadata: Hub,
    operator: Arc<FakeOperator>,
    leadership: Arc<FakeLeadership>,
    checks: Arc<FakeChecks>,
    telemetry: Registry,
}

#[derive(Default)]
struct FakeOperator {
    stopped: Mutex<bool>,
    changed: Mutex<Vec<(String, String)>>,
    obstacle: Mutex<Option<String>>,
}

struct FakeLeadership {
    role: Mutex<Role>,
    forwarded: Mutex<Vec<(String, IpAddr)>>,
}

#[derive(Default)]
struct FakeChecks {
    reports: Mutex<Vec<(String, Option<IpAddr>)>>,
}

/// An answer as a client sees it.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Fixture {
    /// Synced: `node-a` runs the pods of `shop/cart`, `node-b` runs nothing that a service selects.
    fn synced() -> Self {
        let mut fixture = Self::unsynced();
        fixture.list::<Event<_>>(
            Core::apply_node,
            &[
                json!({"metadata": {"name": "node-a", "uid": "uid-a",
                    "labels": {"kubernetes.io/hostname": "node-a", "zone": ""},
                    "annotations": {"cluster.k8s.io/machine": "machine-a", "foo": "1"}}}),
                json!({"metadata": {"name": "node-b"}}),
            ],
        );
        fixture.list::<Event<_>>(
            Core::apply_namespace,
            &[json!({"metadata": {"name": "shop", "labels": {"env": "prod"},
                "annotations": {"team": "x"}}})],
        );
        fixture.list::<Event<_>>(Core::apply_endpoints, &[endpoints("cart", &["cart-1"])]);
        fixture
    }

    fn unsynced() -> Self {
        Self::with(Settings {
            collect_services: true,
            host_alias_annotations: vec!["cluster.k8s.io/machine".to_owned()],
        })
    }

    fn with(settings: Settings) -> Self {
        let collect_services = settings.collect_services;
        let metadata = Hub::default();
        let operator = Arc::<FakeOperator>::default();
        let checks = Arc::<FakeChecks>::default();
        let leadership = Arc::new(FakeLeadership {
            role: Mutex::new(Role::Unknown),
            forwarded: Mutex::default(),
        });
        let cluster_id = ClusterId::default();
        cluster_id.set(Ok(CLUSTER_ID.into()));
        let telemetry = Registry::default();
        let tokens = Tokens {
            shared: Secret::new(SHARED),
            local: Secret::new(LOCAL),
            shared_on_loopback: false,
        };
        let parts = Parts {
            gate: Arc::new(Gate::new(tokens)),
            metadata: metadata.clone(),
            cluster_id,
            operator: operator.clone(),
            leadership: leadership.clone(),
            checks: None,
            telemetry: telemetry.clone(),
        };
        let core = Core::new(crate::metadata::Settings { collect_services });
        let api = NodeApi::new(settings, parts);
        Self { api, core, metadata, operator, leadership, checks, telemetry }
    }

    /// With cluster checks, and this replica in `role`.
    fn with_checks(role: Role) -> Self {
        let mut fixture = Self::synced();
        fixture.api.parts.checks = Some(fixture.checks.clone());
        *fixture.leadership.role.lock().expect("nobody panicked") = role;
        fixture
    }

    /// A complete list of the objects of one kind.
    fn list<E: IsEvent>(&mut self, apply: fn(&mut Core, E), objects: &[Value]) {
        apply(&mut self.core, E::init());
        for object in objects {
            apply(&mut self.core, E::object(object.clone()));
        }
        apply(&mut self.core, E::done());
        self.core.publish(&self.metadata);
    }

    fn get(&self, target: &str) -> Answer {
        self.send(&request(Method::Get, target, SHARED))
    }

    fn post(&self, target: &str) -> Answer {
        self.send(&request(Method::Post, target, SHARED))
    }

    fn get_local(&self, target: &str) -> Answer {
        self.send(&request(Method::Get, target, LOCAL))
    }

    fn send(&self, request: &Request) -> Answer {
        let response = self.api.handle(request);
        let headers = response.headers().iter().map(|header| {
            (header.field.as_str().as_str().to_ascii_lowercase(), header.value.as_str().to_owned())
        });
        let (status, headers) = (response.status_code().0, headers.collect());
        let mut body = String::new();
        response.into_reader().read_to_string(&mut body).expect("the body is in memory");
        Answer { status, headers, body }
    }

    fn requests(&self) -> String {
        let text = self.telemetry.render();
        text.lines().filter(|line| line.starts_with("api_requests{")).collect::<Vec<_>>().join("\n")
    }
}

/// Lets [`Fixture::list`] make the events of every kind of object.
trait IsEvent {
    fn init() -> Self;
    fn object(object: Value) -> Self;
    fn done() -> Self;
}

impl<T: serde::de::DeserializeOwned> IsEvent for Event<T> {
    fn init() -> Self {
        Event::Init
    }

    fn object(object: Value) -> Self {
        Event::InitApply(serde_json::from_value(object).expect("the test's object is valid"))
    }

    fn done() -> Self {
        Event::InitDone
    }
}

impl Operator for FakeOperator {
    fn hostname(&self) -> String {
        "replica-0".to_owned()
    }

    fn status(&self, format: Format, verbose: bool) -> Result<String, String> {
        Ok(format!("{format:?} {verbose}"))
    }

    fn status_sections(&self) -> Vec<String> {
        vec!["header".to_owned()]
    }

    fn status_section(&self, name: &str, format: Format) -> Result<String, String> {
        if name == "header" { Ok(format!("{format:?}")) } else { Err(format!("no {name}")) }
    }

    fn obstacle(&self) -> Option<String> {
        self.obstacle.lock().expect("nobody panicked").clone()
    }

    fn health(&self) -> Report {
        Report { healthy: vec!["a".to_owned()], unhealthy: Vec::new() }
    }

    fn configuration(&self) -> String {
        "log_level: info\n".to_owned()
    }

    fn runtime_settings(&self) -> Vec<RuntimeSetting> {
        vec![RuntimeSetting { name: "log_level", description: "How much is logged" }]
    }

    fn setting(&self, name: &str) -> Option<Setting> {
        let sources = vec![("default".to_owned(), json!("info"))];
        (name == "log_level").then(|| Setting { value: json!("debug"), sources })
    }

    fn set_setting(&self, name: &str, value: &str) -> Result<(), SettingError> {
        match (name, value) {
            ("log_level", "loud") => Err(SettingError::Invalid("no such level: loud".to_owned())),
            ("log_level", _) => {
                let change = (name.to_owned(), value.to_owned());
                self.changed.lock().expect("nobody panicked").push(change);
                Ok(())
            }
            _ => Err(SettingError::Unknown),
        }
    }

    fn flare(&self, documents: Vec<Document>) -> Result<String, String> {
        Ok(documents.iter().map(|document| document.name).collect::<Vec<_>>().join(" "))
    }

    fn flare_bytes(&self, _: Vec<Document>) -> Result<Vec<u8>, String> {
        Err("no memory".to_owned())
    }

    fn stop(&self) {
        *self.stopped.lock().expect("nobody panicked") = true;
    }
}

impl Leadership for FakeLeadership {
    fn role(&self) -> Role {
        *self.role.lock().expect("nobody panicked")
    }

    fn forward(&self, request: &Request, leader: IpAddr) -> Response {
        let call = (request.target.clone(), leader);
        self.forwarded.lock().expect("nobody panicked").push(call);
        text(200, "from the leader")
    }
}

impl ClusterChecks for FakeChecks {
    fn status(&self, runner: &str, address: Option<IpAddr>, _: &[u8]) -> Response {
        let report = (runner.to_owned(), address);
        self.reports.lock().expect("nobody panicked").push(report);
        owned(200, "application/json", br#"{"isuptodate":true}"#.to_vec())
    }

    fn configs(&self, runner: &str) -> Response {
        text(200, &format!("configs of {runner}"))
    }

    fn endpoint_configs(&self, node: &str) -> Response {
        text(200, &format!("endpoint configs of {node}"))
    }

    fn all_endpoint_configs(&self) -> Response {
        text(200, "all endpoint configs")
    }

    fn state(&self) -> Response {
        text(200, "state")
    }

    fn config_check(&self) -> Response {
        owned(200, "application/json", b"{}".to_vec())
    }

    fn rebalance(&self, _: &[u8]) -> Response {
        text(200, "rebalanced")
    }

    fn isolate(&self, check: &str) -> Response {
        text(200, &format!("isolated {check}"))
    }
}

fn endpoints(service: &str, pods: &[&str]) -> Value {
    let addresses: Vec<Value> = pods
        .iter()
        .map(|pod| {
            let pod = json!({"kind": "Pod", "namespace": "shop", "name": pod});
            json!({"nodeName": "node-a", "targetRef": pod})
        })
        .collect();
    json!({"metadata": {"name": service, "namespace": "shop"}, "subsets": [{"addresses": addresses}]})
}

fn request(method: Method, target: &str, token: &str) -> Request {
    Request {
        method,
        target: target.to_owned(),
        headers: vec![("Authorization".to_owned(), format!("Bearer {token}"))],
        body: Vec::new(),
        peer: ([10, 0, 0, 9], 40_000).into(),
        certificate: None,
    }
}

fn with_header(mut request: Request, name: &str, value: &str) -> Request {
    request.headers.push((name.to_owned(), value.to_owned()));
    request
}

fn with_authorization(method: Method, target: &str, value: Option<&str>) -> Request {
    let value = value.map(|value| ("Authorization".to_owned(), value.to_owned()));
    Request { headers: value.into_iter().collect(), ..request(method, target, "") }
}
