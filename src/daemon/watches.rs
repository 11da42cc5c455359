//! The watch threads, one for each resource, and what they have reached.
//!
//! Services come from EndpointSlices or from Endpoints. One of them is asked first, by configuration; where the API
//! server does not have it or refuses it, the other one is taken, and both are asked in turn until one answers (spec
//! config §2.3, deploy §2.2: old roles know Endpoints only).

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::message::Message;
use super::threads;
use crate::health::{Heartbeat, Registry};
use crate::kube::objects::{EndpointSlice, Endpoints, Namespace, Node, Resource, Service};
use crate::kube::status::{Activity, Snapshot, WatchStatus};
use crate::kube::watch::{self, Event, OnRefusal, Outcome, Spec};
use crate::kube::{Client, Error};
use crate::metadata::Optional;
use crate::retry::Throttle;
use crate::sync::Stop;
use crate::telemetry;

/// Pause after both forms of endpoints were refused; a rule that appears is seen within it.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// Where the objects come from and go to.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The dispatcher's inbox.
    pub inbox: Sender<Message>,
    /// Where the threads show that they live.
    pub health: Registry,
    /// Where panics are counted.
    pub telemetry: telemetry::Registry,
    /// `kubernetes_informers_resync_period`.
    pub relist_every: Option<Duration>,
    /// Ends them all.
    pub stop: Stop,
}

/// Which resources are needed besides Nodes and Namespaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// The form of endpoints to ask first.
    pub endpoints: Option<Form>,
    /// Services, for the checks in their annotations.
    pub services: bool,
}

/// The threads and their states.
#[derive(Default)]
pub struct Watches {
    states: Arc<Mutex<States>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct States {
    /// In the order of their first use.
    all: Vec<Arc<WatchStatus>>,
    /// `None` while nobody needs endpoints.
    endpoints: Option<EndpointSource>,
    others: Vec<Arc<WatchStatus>>,
}

#[derive(Clone, Copy, PartialEq)]
enum EndpointSource {
    Asking,
    Refused,
}

/// What readers may see of the watches.
#[derive(Clone, Default)]
pub struct Reached(Arc<Mutex<States>>);

impl Watches {
    /// Watches Nodes, Namespaces and what `wanted` asks for.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(context: &Context, wanted: Wanted) -> io::Result<Self> {
        let mut watches = Self::default();
        if let Some(first) = wanted.endpoints {
            watches.start_endpoints(context.clone(), first)?;
        }
        if wanted.services {
            watches.start_one::<Service>(context, None, Message::Service)?;
        }
        watches.start_one::<Node>(context, Some(Optional::Nodes), Message::Node)?;
        watches.start_one::<Namespace>(context, Some(Optional::Namespaces), Message::Namespace)?;
        Ok(watches)
    }

    /// What the watches have reached.
    pub fn reached(&self) -> Reached {
        Reached(self.states.clone())
    }

    /// Waits for the threads; the client's stop token must have been pulled.
    pub fn join(self) {
        for thread in self.threads {
            let _ = thread.join();
        }
    }

    fn start_one<T: Resource>(
        &mut self,
        context: &Context,
        optional: Option<Optional>,
        wrap: fn(Event<T>) -> Message,
    ) -> io::Result<()> {
        let spec = spec::<T>(context, OnRefusal::Wait);
        lock(&self.states).all.push(spec.status.clone());
        lock(&self.states).others.push(spec.status.clone());
        let name = format!("watch-{}", T::PLURAL);
        let heartbeat = context.health.heartbeat(name.clone());
        let parts = context_parts(context);
        let context = context.clone();
        let body = move || {
            let beat = || {
                heartbeat.beat(Instant::now());
                let Some(kind) = optional else { return };
                let state = spec.status.snapshot();
                if state.activity == Activity::Forbidden && !state.synced {
                    let _ = context.inbox.send(Message::Forbidden(kind));
                }
            };
            let sink = |event| drop(context.inbox.send(wrap(event)));
            watch::run(&context.client, &spec, beat, sink, &context.stop);
        };
        self.threads.push(threads::spawn_restarting(name, parts, body)?);
        Ok(())
    }

    fn start_endpoints(&mut self, context: Context, first: Form) -> io::Result<()> {
        lock(&self.states).endpoints = Some(EndpointSource::Asking);
        let slices = spec::<EndpointSlice>(&context, OnRefusal::Return);
        let endpoints = spec::<Endpoints>(&context, OnRefusal::Return);
        let states = self.states.clone();
        let parts = context_parts(&context);
        let heartbeat = context.health.heartbeat("watch-endpoints");
        let body = move || {
            let mut source =
                Alternating { context: &context, heartbeat: &heartbeat, states: &states };
            source.run(first, &slices, &endpoints);
        };
        self.threads.push(threads::spawn_restarting("watch-endpoints".to_owned(), parts, body)?);
        Ok(())
    }
}

/// The two forms in which the API server tells the addresses behind a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `discovery.k8s.io/v1`.
    Slices,
    /// `v1`.
    Endpoints,
}

struct Alternating<'a> {
    context: &'a Context,
    heartbeat: &'a Heartbeat,
    states: &'a Mutex<States>,
}

impl Alternating<'_> {
    fn run(&mut self, first: Form, slices: &Spec, endpoints: &Spec) {
        let mut form = first;
        let mut complaints = Throttle::default();
        loop {
            let outcome = match form {
                Form::Slices => self.watch(slices, Message::EndpointSlice),
                Form::Endpoints => self.watch(endpoints, Message::Endpoints),
            };
            let Outcome::Refused(error) = outcome else { return };
            if form != first {
                lock(self.states).endpoints = Some(EndpointSource::Refused);
                if self.context.stop.wait(REFUSED_PAUSE) {
                    return;
                }
            }
            form = form.other();
            complain(&mut complaints, &error, form);
        }
    }

    fn watch<T: Resource>(&self, spec: &Spec, wrap: fn(Event<T>) -> Message) -> Outcome {
        let mut states = lock(self.states);
        if !states.all.iter().any(|status| Arc::ptr_eq(status, &spec.status)) {
            states.all.insert(0, spec.status.clone());
        }
        drop(states);
        let beat = || self.heartbeat.beat(Instant::now());
        let sink = |event| drop(self.context.inbox.send(wrap(event)));
        watch::run(&self.context.client, spec, beat, sink, &self.context.stop)
    }
}

fn complain(complaints: &mut Throttle, error: &Error, next: Form) {
    if complaints.admit(Instant::now()).is_some() {
        log::warn!("{error}; reading {} instead", next.name());
    }
}

impl Form {
    fn other(self) -> Self {
        match self {
            Self::Slices => Self::Endpoints,
            Self::Endpoints => Self::Slices,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Slices => "EndpointSlices",
            Self::Endpoints => "Endpoints",
        }
    }
}

impl Reached {
    /// The state of every watch that was begun.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        lock(&self.0).all.iter().map(|status| status.snapshot()).collect()
    }

    /// Whether every resource was listed once or is known to be out of reach: before that a client that is sent here
    /// would only get 503 (spec events-and-leader §7).
    pub fn is_settled(&self) -> bool {
        let states = lock(&self.0);
        let endpoints = match states.endpoints {
            None | Some(EndpointSource::Refused) => true,
            Some(EndpointSource::Asking) => {
                let of_endpoints = |status: &&Arc<WatchStatus>| {
                    !states.others.iter().any(|other| Arc::ptr_eq(other, status))
                };
                states.all.iter().filter(of_endpoints).any(|status| status.snapshot().synced)
            }
        };
        // Without a way to the API server nothing was begun, and nothing will be served.
        let begun = !states.others.is_empty();
        begun && endpoints && states.others.iter().all(|status| status.is_settled())
    }
}

fn spec<T: Resource>(context: &Context, on_refusal: OnRefusal) -> Spec {
    Spec { relist_every: context.relist_every, on_refusal, ..Spec::all::<T>(&context.client) }
}

fn context_parts(context: &Context) -> (telemetry::Registry, Stop) {
    (context.telemetry.clone(), context.stop.clone())
}

fn lock(states: &Mutex<States>) -> MutexGuard<'_, States> {
    states.lock().unwrap_or_else(PoisonError::into_inner)
}
