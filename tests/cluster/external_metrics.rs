//! An autoscaler of the real controller scales on a metric that Datadog (a stub that records what it is asked) tells,
//! through the real aggregation layer.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::harness::{
    self, Cluster, Namespace, PATIENCE, component, example, install_component, wait_until,
};

/// A deleted namespace is gone within this when discovery is sound; it takes 5 s on an idle machine.
const DELETION: Duration = Duration::from_secs(10);

const APPLICATION_KEY: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678";

/// Answers every query with one value.
struct Datadog {
    server: Arc<tiny_http::Server>,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    value: f64,
    /// URL and headers of each request.
    requests: Vec<(String, Vec<(String, String)>)>,
}

impl Datadog {
    fn start(address: Ipv4Addr) -> Self {
        let server = tiny_http::Server::http((address, 0)).expect("the bridge's address is there");
        let server = Arc::new(server);
        let state: Arc<Mutex<State>> = Arc::default();
        let (serving, shared) = (server.clone(), state.clone());
        let thread = thread::spawn(move || {
            for request in serving.incoming_requests() {
                let headers = request.headers().iter();
                let headers = headers
                    .map(|header| (header.field.to_string(), header.value.to_string()))
                    .collect();
                let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                state.requests.push((request.url().to_owned(), headers));
                let answer = tiny_http::Response::from_string(answer(state.value).to_string());
                drop(state);
                let _ = request.respond(answer);
            }
        });
        Self { server, state, thread: Some(thread) }
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.server_addr())
    }

    fn set(&self, value: f64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).value = value;
    }

    fn requests(&self) -> Vec<(String, Vec<(String, String)>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }
}

impl Drop for Datadog {
    fn drop(&mut self) {
        self.server.unblock();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The value in two full buckets; the last one is still filling.
fn answer(value: f64) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as f64;
    let points = [(60.0, value), (30.0, value), (0.0, 0.0)];
    let points = points.map(|(age, value)| json!([(now - age) * 1000.0, value]));
    json!({"status": "ok", "series": [{"query_index": 0, "interval": 30, "pointlist": points}]})
}

#[test]
fn an_autoscaler_follows_a_metric_up_and_down() {
    let cluster = Cluster::own();
    let namespace = cluster.namespace("walk");
    let datadog = Datadog::start(cluster.network().test_process());
    datadog.set(5.0);
    let mut agent = install(&namespace, &datadog);

    let start = Instant::now();
    available(&namespace);
    println!("APIService available after {:?}", start.elapsed());
    for object in example("hpa") {
        namespace.apply(object);
    }
    scaled(&namespace, 1, "5 requests a second");
    datadog.set(24.0);
    scaled(&namespace, 3, "24 requests a second");
    let raw = value(&namespace).expect("the metric is served");
    assert_eq!(raw["items"][0]["metricName"], "nginx.net.request_per_s");
    assert_eq!(raw["items"][0]["value"], "24");
    assert_eq!(raw["items"][0]["metricLabels"], json!({"kube_container_name": "nginx"}));
    datadog.set(2.0);
    scaled(&namespace, 1, "2 requests a second");

    let (url, headers) = datadog.requests().pop().expect("it was asked");
    let query =
        "query=avg%3Anginx.net.request_per_s%7Bkube_container_name%3Anginx%7D.rollup%2830%29&";
    assert!(url.starts_with("/api/v1/query?from=") && url.contains(query), "{url}");
    let has_key = |(name, value): &(String, String)| {
        name.eq_ignore_ascii_case("dd-application-key") && value == APPLICATION_KEY
    };
    assert!(headers.iter().any(has_key), "{headers:?}");
    let log = agent.replica.process().log();
    assert!(!log.contains(APPLICATION_KEY), "{log}");

    deletes_a_namespace(&namespace);
    stored_until_the_autoscaler_goes(&namespace);
    agent.replica.process().alive().expect("it runs on");
}

#[test]
fn discovery_heals_when_the_agent_comes_back() {
    let cluster = Cluster::own();
    let namespace = cluster.namespace("back");
    let datadog = Datadog::start(cluster.network().test_process());
    let mut agent = install(&namespace, &datadog);
    available(&namespace);
    agent.replica.process().kill();
    agent.replica.restart();
    // A request for the metric is answered once it listens again, without waiting for the next probe.
    available(&namespace);
    deletes_a_namespace(&namespace);
}

#[test]
fn the_api_server_accepts_component_and_example() {
    let cluster = Cluster::shared();
    let all = component("external-metrics").into_iter().chain(example("hpa"));
    for mut object in all {
        if object["metadata"]["namespace"].is_null() && !is_of_the_cluster(&object) {
            object["metadata"]["namespace"] = json!("default");
        }
        let answer = cluster.api().validate(&object);
        assert!(answer.is_ok(), "{}: {answer:?}", harness::path_of(&object));
    }
}

fn is_of_the_cluster(object: &Value) -> bool {
    let kind = object["kind"].as_str().unwrap_or_default();
    kind.starts_with("Cluster") || kind == "APIService"
}

fn install<'a>(namespace: &'a Namespace<'a>, datadog: &Datadog) -> Agent<'a> {
    install_component(namespace, "external-metrics");
    let url = datadog.url();
    Agent::install(
        namespace,
        &[
            ("DD_EXTERNAL_METRICS_PROVIDER_ENABLED", "true"),
            ("DD_EXTERNAL_METRICS_PROVIDER_ENDPOINT", &url),
            ("DD_EXTERNAL_METRICS_PROVIDER_REFRESH_PERIOD", "1"),
            ("DD_APP_KEY", APPLICATION_KEY),
        ],
    )
}

fn available(namespace: &Namespace<'_>) {
    let path = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io";
    wait_until(PATIENCE, "available APIService", || {
        let service = namespace.api().get(path).map_err(|error| error.to_string())?;
        let conditions = service["status"]["conditions"].clone();
        let is_available = conditions.as_array().is_some_and(|all| {
            all.iter().any(|one| one["type"] == "Available" && one["status"] == "True")
        });
        if is_available { Ok(()) } else { Err(conditions.to_string()) }
    });
    wait_until(PATIENCE, "discovery of the group", || {
        namespace.api().get("/apis/external.metrics.k8s.io/v1beta1")
    });
}

fn value(namespace: &Namespace<'_>) -> Result<Value, String> {
    let path = format!(
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/{}/nginx.net.request_per_s?labelSelector=kube_container_name%3Dnginx",
        namespace.name
    );
    namespace.api().get(&path).map_err(|error| error.to_string())
}

/// Waits until the autoscaler has seen the metric and there are `count` pods.
fn scaled(namespace: &Namespace<'_>, count: u64, why: &str) {
    let start = Instant::now();
    let path = namespace.path("HorizontalPodAutoscaler", "nginxext");
    wait_until(PATIENCE, why, || {
        let autoscaler = namespace.api().get(&path).map_err(|error| error.to_string())?;
        let status = &autoscaler["status"];
        let current = &status["currentMetrics"][0]["external"]["current"]["averageValue"];
        let is_there = status["currentReplicas"] == json!(count)
            && status["desiredReplicas"] == json!(count)
            && current.is_string();
        if is_there { Ok(()) } else { Err(status.to_string()) }
    });
    namespace.running_pods("nginx", usize::try_from(count).expect("a few"));
    println!("{why}: {count} replicas after {:?}", start.elapsed());
}

fn deletes_a_namespace(namespace: &Namespace<'_>) {
    let cluster = namespace.cluster;
    let doomed = cluster.namespace("doomed");
    let path = format!("/api/v1/namespaces/{}", doomed.name);
    let start = Instant::now();
    drop(doomed);
    wait_until(PATIENCE, "end of a namespace", || match cluster.api().get(&path) {
        Err(harness::ApiError::Refused(404, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let took = start.elapsed();
    println!("a namespace was gone after {took:?}");
    assert!(took < DELETION, "{took:?}");
}

fn stored_until_the_autoscaler_goes(namespace: &Namespace<'_>) {
    let path = namespace.path("ConfigMap", "datadog-custom-metrics");
    let key =
        format!("external_metric-horizontal-{}-nginxext-nginx.net.request_per_s", namespace.name);
    let stored = || {
        let map = namespace.api().get(&path).map_err(|error| error.to_string())?;
        Ok::<_, String>(map["data"][&key].as_str().map(str::to_owned))
    };
    let entry = wait_until(PATIENCE, "stored value", || stored()?.ok_or("none".to_owned()));
    let entry: Value = serde_json::from_str(&entry).expect("an entry is JSON");
    assert_eq!((&entry["value"], &entry["valid"]), (&json!(2), &json!(true)));
    let autoscaler = namespace.path("HorizontalPodAutoscaler", "nginxext");
    namespace.api().delete(&autoscaler).expect("it is there");
    wait_until(PATIENCE, "removed value", || match stored()? {
        None => Ok(()),
        Some(entry) => Err(entry),
    });
}
