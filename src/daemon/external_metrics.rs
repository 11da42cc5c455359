//! The external metrics of a replica: the watches that feed them, the thread that keeps them, the listener on 8443.
//!
//! ```text
//! watch-horizontalpodautoscalers ─▶ Autoscalers ─▶ external-metrics ─▶ ServedTable ─┐
//! watch-authentication ─▶ Authorities ────────────────────────────────────────────┴▶ metrics-api (8443)
//! ```
//!
//! None of it can keep the process from starting or end it: a port that is taken is tried again, a permission that is
//! missing is waited for.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Sender;

use super::error::Error;
use super::identity;
use super::threads;
use crate::autoscaling::hpa::VERSIONS;
use crate::autoscaling::provider::{self, Provider, Settings};
use crate::autoscaling::{Autoscalers, HorizontalPodAutoscaler, Limits, ServedTable};
use crate::config::{Config, FallbackEndpoint};
use crate::datadog::failover::{EndpointStates, Failover};
use crate::datadog::query::QueryClient;
use crate::http::certificate::Identity;
use crate::http::{self, Options, Server, listen, tls};
use crate::kube::objects::{ConfigMap, Resource};
use crate::kube::status::WatchStatus;
use crate::kube::watch::{self, Event, OnRefusal, Outcome, Spec};
use crate::kube::{Client, Target};
use crate::leader::Leadership;
use crate::metrics_api::authentication::SharedAuthorities;
use crate::metrics_api::authorities::{self, Authorities};
use crate::metrics_api::verifier::AnyCertificate;
use crate::metrics_api::{ApiReviewer, Authenticator, Authorizer, MetricsApi};
use crate::retry::Throttle;
use crate::status;
use crate::sync::{Published, Stop};
use crate::telemetry::Registry;

/// How often a port that is taken is tried again.
const LISTEN_PAUSE: Duration = Duration::from_secs(15);

/// How often a version of the autoscaling API is looked for, and an unreadable ConfigMap read.
const SEARCH_PAUSE: Duration = Duration::from_secs(15);

/// The ConfigMap with the authorities is listed anew as often as Kubernetes' own servers do.
const AUTHORITIES_RELIST: Duration = Duration::from_secs(12 * 60 * 60);

/// Connections on 8443: some for each API server, some for KEDA and people.
const CONNECTIONS: usize = 400;

/// The head of a request: front-proxy headers carry the groups of users, which can be hundreds.
const HEAD: usize = 128 << 10;

/// Names of the certificate files in the certificate directory.
const CERTIFICATE_FILES: (&str, &str) = ("apiserver.crt", "apiserver.key");

/// What the external metrics stand on.
pub struct Context<'a> {
    /// The configuration.
    pub config: &'a Arc<Config>,
    /// The API server.
    pub client: &'a Client,
    /// Whether this replica leads.
    pub leadership: Leadership,
    /// Where everything is counted.
    pub telemetry: &'a Registry,
    /// Ends the threads.
    pub stop: &'a Stop,
}

/// The listener, once it has its port; clones share it.
#[derive(Clone, Default)]
pub struct Listener(Arc<Mutex<Option<Server>>>);

/// The running parts.
pub struct ExternalMetrics {
    /// The listener, to be drained when the threads have ended.
    pub listener: Listener,
    /// The threads.
    pub threads: Vec<JoinHandle<()>>,
    /// What the status page shows.
    pub facts: Facts,
}

/// What the status page shows.
#[derive(Clone)]
pub struct Facts {
    store: String,
    served: ServedTable,
    endpoints: Result<EndpointStates, String>,
    autoscalers: Arc<Mutex<Autoscalers>>,
    watch: Arc<Published<Option<Arc<WatchStatus>>>>,
}

/// Starts everything, where external metrics are on.
///
/// # Errors
/// When a thread cannot be started.
pub fn start(context: &Context<'_>) -> Result<Option<ExternalMetrics>, Error> {
    let config = context.config;
    if !config.external_metrics.enabled {
        return Ok(None);
    }
    if config.external_metrics.use_datadogmetrics {
        log::warn!(
            "external_metrics_provider.use_datadogmetric_crd is not supported by this build: DatadogMetrics are not \
             read, metric names in HorizontalPodAutoscalers are served"
        );
    }
    let namespace = &config.kubernetes.resources_namespace;
    let settings = Settings::new(&config.external_metrics, namespace);
    let served = ServedTable::new(settings.limits);
    let authorities = SharedAuthorities::default();
    let source = endpoints(config, context);
    let facts = Facts {
        store: format!("{namespace}/{}", settings.name),
        served: served.clone(),
        endpoints: source.as_ref().map(Failover::states).map_err(Clone::clone),
        autoscalers: Arc::default(),
        watch: Arc::default(),
    };
    let listener = Listener::default();
    let started = |error| Error::Start("the external metrics", error);
    let parts = || (context.telemetry.clone(), context.stop.clone());

    let (changed, changes) = crossbeam_channel::bounded(1);
    let mut provider = Provider::new(
        provider::Parts {
            client: context.client.clone(),
            source,
            leadership: context.leadership.clone(),
            autoscalers: facts.autoscalers.clone(),
            changes,
            is_complete: Box::new({
                let watch = facts.watch.clone();
                move || is_complete(&watch)
            }),
            served: served.clone(),
            telemetry: context.telemetry.clone(),
            stop: context.stop.clone(),
        },
        settings,
    );
    let mut threads = Vec::new();
    let mut spawn = |name: &str, body: Box<dyn FnMut() + Send>| {
        let thread = threads::spawn_restarting(name.to_owned(), parts(), body).map_err(started)?;
        threads.push(thread);
        Ok::<_, Error>(())
    };
    let handler = {
        let reviewer = Arc::new(ApiReviewer::new(context.client.clone(), context.stop.clone()));
        let authenticator = Authenticator::new(authorities.clone(), reviewer.clone());
        let authorizer = Authorizer::new(reviewer);
        Arc::new(MetricsApi::new(authenticator, authorizer, served, context.telemetry))
    };
    {
        let (listener, config) = (listener.clone(), config.clone());
        let (telemetry, stop) = parts();
        let open = move || listener.open(&config, &handler, &telemetry, &stop);
        spawn("metrics-api-open", Box::new(open))?;
    }
    spawn("external-metrics", Box::new(move || provider.run()))?;
    {
        let (client, stop) = (context.client.clone(), context.stop.clone());
        let relist = config.kubernetes.resync_period;
        let facts = facts.clone();
        let follow = move || follow_autoscalers(&client, relist, &facts, &changed, &stop);
        spawn("watch-autoscalers", Box::new(follow))?;
    }
    {
        let (client, stop) = (context.client.clone(), context.stop.clone());
        let follow = move || follow_authorities(&client, &authorities, &stop);
        spawn("watch-authentication", Box::new(follow))?;
    }
    Ok(Some(ExternalMetrics { listener, threads, facts }))
}

/// The endpoints in the order in which they are asked.
fn endpoints(config: &Config, context: &Context<'_>) -> Result<Failover, String> {
    let settings = &config.external_metrics;
    let main = FallbackEndpoint {
        url: settings.endpoint.clone(),
        api_key: settings.api_key.clone(),
        application_key: settings.application_key.clone(),
    };
    let all = std::iter::once(&main).chain(&settings.fallback_endpoints);
    let clients =
        all.map(|endpoint| QueryClient::new(config, endpoint, context.telemetry, context.stop));
    let made = clients.collect::<Result<Vec<_>, _>>();
    made.map(Failover::new).inspect_err(|error| log::error!("Datadog cannot be queried: {error}"))
}

impl Listener {
    /// Opens the port, however long that takes.
    fn open(&self, config: &Config, handler: &Arc<MetricsApi>, telemetry: &Registry, stop: &Stop) {
        let mut complaints = Throttle::default();
        loop {
            match serve(config, handler.clone(), telemetry) {
                Ok(server) => {
                    log::info!("External metrics are served on {}", server.local_address());
                    *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
                    return;
                }
                Err(error) if complaints.admit(Instant::now()).is_some() => {
                    let port = config.external_metrics.port;
                    log::error!("external metrics cannot be served on port {port}: {error}");
                }
                Err(_) => {}
            }
            if stop.wait(LISTEN_PAUSE) {
                return;
            }
        }
    }

    /// Answers what is asked and takes nothing more.
    pub fn drain(&self, deadline: Instant) {
        let server = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.drain(deadline);
        }
    }
}

fn serve(
    config: &Config,
    handler: Arc<MetricsApi>,
    telemetry: &Registry,
) -> Result<Server, Box<dyn std::error::Error>> {
    let tls = tls::server_config(
        &certificate(config)?,
        tls::HTTP1_ONLY,
        Some(Arc::new(AnyCertificate::default())),
    )?;
    let limits = http::Limits {
        connections: CONNECTIONS,
        connections_per_peer: CONNECTIONS,
        overflow: CONNECTIONS,
        head: HEAD,
        headers: usize::MAX,
        ..http::Limits::default()
    };
    Ok(Server::start(Options {
        name: "metrics-api".to_owned(),
        listener: listen::on_all_addresses(config.external_metrics.port)?,
        tls: Some(Arc::new(Published::new(tls))),
        limits,
        handler,
        http2: None,
        telemetry: telemetry.clone(),
    })?)
}

/// The configured files, else those of the certificate directory, else one made now: the API server does not check it.
fn certificate(config: &Config) -> Result<Identity, http::certificate::Error> {
    let settings = &config.external_metrics;
    let directory = settings.certificate_directory.clone();
    let directory = directory.unwrap_or_else(|| config.directory.join("certificates"));
    let beside = (directory.join(CERTIFICATE_FILES.0), directory.join(CERTIFICATE_FILES.1));
    let found = Some(beside).filter(|(certificate, key)| certificate.exists() && key.exists());
    if let Some((certificate, key)) = settings.certificate_files.clone().or(found) {
        match Identity::from_files(&certificate, &key) {
            Ok(identity) => return Ok(identity),
            Err(error) => log::warn!("{error}, a new certificate is made"),
        }
    }
    let namespace = &config.kubernetes.resources_namespace;
    let names = identity::names("datadog-cluster-agent-metrics-api", namespace);
    Identity::self_signed(&names, SystemTime::now())
}

/// Keeps `facts.autoscalers` and says when they have changed.
fn follow_autoscalers(
    client: &Client,
    relist: Option<Duration>,
    facts: &Facts,
    changed: &Sender<()>,
    stop: &Stop,
) {
    let mut complaints = Throttle::default();
    while !stop.is_stopped() {
        let Some(target) = autoscaling_version(client, &mut complaints, stop) else { return };
        let spec = Spec {
            relist_every: relist,
            on_refusal: OnRefusal::Return,
            ..Spec::of(target, client)
        };
        facts.watch.set(Some(spec.status.clone()));
        let sink = |event: Event<HorizontalPodAutoscaler>| {
            let mut autoscalers = facts.autoscalers.lock().unwrap_or_else(PoisonError::into_inner);
            if autoscalers.apply(event) {
                // A full slot is as good as a new message.
                let _ = changed.try_send(());
            }
        };
        match watch::run(client, &spec, || {}, sink, stop) {
            Outcome::Stopped => return,
            Outcome::Refused(_) => {
                if stop.wait(SEARCH_PAUSE) {
                    return;
                }
            }
        }
    }
}

/// The best version of autoscalers that the API server has.
fn autoscaling_version(client: &Client, complaints: &mut Throttle, stop: &Stop) -> Option<Target> {
    loop {
        let mut problem = None;
        for version in VERSIONS {
            let target = Target::new(
                format!("/apis/autoscaling/{version}"),
                HorizontalPodAutoscaler::PLURAL,
            );
            match client.serves(&target) {
                Ok(true) => return Some(target),
                Ok(false) => {}
                Err(error) => problem = Some(error.to_string()),
            }
        }
        if complaints.admit(Instant::now()).is_some() {
            let problem = problem.unwrap_or_else(|| {
                format!(
                    "cannot find supported HPA version. supported versions: {}",
                    VERSIONS.join(", ")
                )
            });
            log::warn!("HorizontalPodAutoscalers are not read: {problem}");
        }
        if stop.wait(SEARCH_PAUSE) {
            return None;
        }
    }
}

/// Keeps the authorities; what cannot be read leaves the old ones in use.
fn follow_authorities(client: &Client, authorities: &SharedAuthorities, stop: &Stop) {
    let collection = Target::of::<ConfigMap>().in_namespace(authorities::NAMESPACE);
    let mut complaints = Throttle::default();
    while !stop.is_stopped() {
        let mut spec = Spec::of(collection.clone(), client);
        spec.selection.fields = format!("metadata.name={}", authorities::NAME);
        spec.relist_every = Some(AUTHORITIES_RELIST);
        spec.on_refusal = OnRefusal::Return;
        let sink = |event| match event {
            Event::InitApply(map) | Event::Apply(map) => adopt(&map, authorities),
            // Without the ConfigMap nobody vouches for certificates, and that is known.
            Event::InitDone if authorities.get().is_none() => {
                authorities.set(Some(Authorities::default()));
            }
            Event::Init | Event::InitDone | Event::Delete(_) => {}
        };
        if let Outcome::Stopped = watch::run(client, &spec, || {}, sink, stop) {
            return;
        }
        // Some roles allow no more than reading it by its name.
        match client.get::<ConfigMap>(&collection.clone().named(authorities::NAME)) {
            Ok(map) => adopt(&map, authorities),
            Err(error) if complaints.admit(Instant::now()).is_some() => log::warn!(
                "{error}; bind the Role {} in {} to the service account",
                "extension-apiserver-authentication-reader",
                authorities::NAMESPACE
            ),
            Err(_) => {}
        }
        if stop.wait(SEARCH_PAUSE) {
            return;
        }
    }
}

fn adopt(map: &ConfigMap, authorities: &SharedAuthorities) {
    // A server that ignores the field selector must not put another map in its place.
    if map.metadata.name != authorities::NAME {
        return;
    }
    match Authorities::from_data(&map.data) {
        Ok(read) => authorities.set(Some(read)),
        Err(problem) => {
            log::warn!(
                "keeping the previous authorities of ConfigMap {}: {problem}",
                authorities::NAME
            );
        }
    }
}

fn is_complete(watch: &Published<Option<Arc<WatchStatus>>>) -> bool {
    let status = watch.get();
    let Some(status) = &*status else { return false };
    let snapshot = status.snapshot();
    snapshot.synced && snapshot.bad_objects == 0
}

impl Facts {
    /// The facts of this moment.
    pub fn collect(&self) -> status::CustomMetrics {
        let table = self.served.last();
        let now = SystemTime::now();
        let limits: Limits = self.served.limits();
        let metrics = table.entries.iter().map(|entry| status::CustomMetric {
            namespace: entry.reference.namespace.clone(),
            name: entry.reference.name.clone(),
            metric: entry.metric.clone(),
            labels: entry.labels.clone(),
            value: entry.value,
            timestamp: entry.timestamp,
            valid: entry.is_servable(limits, now),
            problem: entry.problem.clone(),
        });
        let sources = match &self.endpoints {
            Ok(states) => states
                .get()
                .iter()
                .map(|state| status::MetricsSource {
                    url: state.url.clone(),
                    answered: state.answered,
                    last_failure: state.last_failure,
                    last_success: state.last_success,
                })
                .collect(),
            Err(_) => Vec::new(),
        };
        let mut problems: Vec<String> =
            self.endpoints.as_ref().err().cloned().into_iter().collect();
        let watch = self.watch.get();
        if let Some(snapshot) = watch.as_ref().as_ref().map(|status| status.snapshot())
            && !snapshot.synced
            && let Some(failure) = snapshot.last_failure
        {
            problems.push(failure.text);
        }
        let autoscalers = self.autoscalers.lock().unwrap_or_else(PoisonError::into_inner);
        problems.extend(autoscalers.problems());
        status::CustomMetrics {
            store: self.store.clone(),
            error: self.served.current().is_none().then(|| "external metrics invalid".to_owned()),
            sources,
            metrics: metrics.collect(),
            problems,
        }
    }
}
