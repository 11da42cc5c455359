//! The thread that collects events while this replica leads (spec events-and-leader §2.3).
//!
//! One term of leadership: read the resume position, watch from there, hand over what has come every interval, and move
//! the position on as far as the intake has accepted, in order. At the end of a term nothing more is sent: what waits
//! is withdrawn, and the next leader finds it behind the stored position.

use std::collections::VecDeque;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, select};

use super::bundle::bundled;
use super::filter::{self, Form};
use super::inlet::{Arrival, Inlet};
use super::instance::Instance;
use super::object::ClusterEvent;
use super::report::Report;
use super::single::unbundled;
use super::source;
use super::tags::Context;
use super::token::Store;
use crate::datadog::Forwarder;
use crate::datadog::intake;
use crate::datadog::queue::Receipt;
use crate::health::Heartbeat;
use crate::kube::watch::{self, Spec};
use crate::kube::{self, Client};
use crate::leader::{Leadership, State};
use crate::retry::{Backoff, Throttle};
use crate::sync::{Stop, StopSource};
use crate::telemetry::{Counter, Registry};

/// Events between the watch and the next hand-over (2,000 × about 600 bytes are 1.2 MB). A full channel makes the watch
/// wait, and the API server keeps what follows.
const BUFFER: usize = 2_000;

/// A hand-over does not wait for its time when this many have come.
const ENOUGH: usize = BUFFER / 2;

/// Hand-overs that the intake has not accepted yet; more are not begun.
const UNSETTLED: usize = 64;

/// Longest wait between two looks at receipts, and at the leadership.
const LOOK: Duration = Duration::from_millis(200);

/// The position is written at once when nothing is under way, and in a steady stream this often.
const WRITE: Duration = Duration::from_secs(15);

/// How long the end of a term waits for what is being sent, so that it is not sent again.
const FAREWELL: Duration = Duration::from_millis(1_500);

/// First and longest pause between attempts to read the position.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// What the thread works with.
pub struct Collector {
    /// The way to the API server; each term has connections of its own, which end with it.
    pub server: kube::Settings,
    /// Whether this replica collects; `None` collects always.
    pub leadership: Option<Leadership>,
    /// Where events go.
    pub forwarder: Forwarder,
    /// Most bytes that may wait in the forwarder when more are handed over.
    pub backlog: usize,
    /// The settings of the check.
    pub instance: Instance,
    /// Time between two hand-overs.
    pub interval: Duration,
    /// What all events have in common.
    pub context: Context,
    /// Namespace and name of the ConfigMap with the resume position.
    pub token: (String, String),
}

/// What is counted.
pub struct Counters {
    received: Counter,
    emitted: Counter,
    dropped: Counter,
}

/// One term of leadership.
struct Term<'a> {
    collector: &'a Collector,
    counters: &'a Counters,
    report: &'a Report,
    state: Option<State>,
    store: Store,
    arrivals: Receiver<Arrival>,
    unsettled: VecDeque<HandOver>,
    /// The last position that was handed over; positions only grow.
    handed_over: u64,
    accepted: Option<u64>,
    stored: Option<u64>,
    written: Option<Instant>,
    complaints: Throttle,
}

/// Payloads that end at a position.
struct HandOver {
    position: u64,
    receipts: Vec<Receipt>,
}

impl Counters {
    /// The series in `telemetry`.
    pub fn new(telemetry: &Registry) -> Self {
        Self {
            received: telemetry.counter(
                "kubernetes_apiserver_kube_events",
                "Events of the cluster that were collected",
                &["kind", "component", "type", "reason", "source"],
            ),
            emitted: telemetry.counter(
                "kubernetes_apiserver_emitted_events",
                "Events that were handed over for Datadog",
                &["kind", "type", "source", "is_bundled"],
            ),
            dropped: telemetry.counter(
                "dca_kubernetes_events_dropped",
                "Events of the cluster that could not be kept until they were sent",
                &[],
            ),
        }
    }
}

impl Collector {
    /// Collects whenever this replica leads, until `stop`.
    pub fn run(&self, counters: &Counters, report: &Report, heartbeat: &Heartbeat, stop: &Stop) {
        if self.leadership.as_ref().is_some_and(|leadership| leadership.state() == State::Disabled)
        {
            log::error!(
                "Leader Election not enabled. Not running Kubernetes API Server check or collecting Kubernetes Events."
            );
            return;
        }
        while !stop.is_stopped() {
            heartbeat.beat(Instant::now());
            if self.leads().is_some()
                && let Err(error) = self.term(counters, report, heartbeat, stop)
            {
                log::error!("events are not collected: {error}");
            }
            if stop.wait(LOOK * 5) {
                return;
            }
        }
    }

    /// The term of leadership, while there is one.
    fn leads(&self) -> Option<Option<State>> {
        match &self.leadership {
            None => Some(None),
            Some(leadership) if leadership.is_leader() => Some(Some(leadership.state())),
            Some(_) => None,
        }
    }

    fn term(
        &self,
        counters: &Counters,
        report: &Report,
        heartbeat: &Heartbeat,
        stop: &Stop,
    ) -> io::Result<()> {
        let Some(state) = self.leads() else { return Ok(()) };
        let (source, ended) = Stop::new();
        let client = Client::start(self.server.clone(), ended.clone())?;
        let mut store = Store::new(client.clone(), &self.token.0, &self.token.1);
        let is_over = || stop.is_stopped() || self.leads() != Some(state.clone());
        let Some(position) = read_position(&mut store, heartbeat, stop, is_over) else {
            return Ok(());
        };
        match position {
            Some(position) => log::info!("collecting events from version {position} on"),
            None => log::info!("collecting events from now on"),
        }
        let (sender, arrivals) = crossbeam_channel::bounded(BUFFER);
        let selector = filter::field_selector(&self.instance);
        let watch =
            start_watch(client, selector, position, sender, counters.dropped.clone(), ended)?;
        let mut term = Term {
            collector: self,
            counters,
            report,
            state,
            store,
            arrivals,
            unsettled: VecDeque::new(),
            handed_over: position.unwrap_or_default(),
            accepted: None,
            stored: position,
            written: None,
            complaints: Throttle::default(),
        };
        term.run(heartbeat, stop);
        term.end(source, watch);
        Ok(())
    }
}

/// Tries until the position is known, the leadership has ended or the program is stopping.
fn read_position(
    store: &mut Store,
    heartbeat: &Heartbeat,
    stop: &Stop,
    is_over: impl Fn() -> bool,
) -> Option<Option<u64>> {
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    let mut complaints = Throttle::default();
    while !is_over() {
        heartbeat.beat(Instant::now());
        match store.read(SystemTime::now()) {
            Ok(position) => return Some(position),
            Err(error) => {
                if complaints.admit(Instant::now()).is_some() {
                    log::warn!(
                        "no events are collected while their resume position is not known: {error}"
                    );
                }
            }
        }
        if stop.wait(backoff.next_pause()) {
            return None;
        }
    }
    None
}

fn start_watch(
    client: Client,
    selector: String,
    position: Option<u64>,
    sender: Sender<Arrival>,
    dropped: Counter,
    ended: Stop,
) -> io::Result<JoinHandle<()>> {
    let mut spec = Spec::all::<ClusterEvent>(&client);
    spec.selection.fields = selector;
    spec.resume_from = position.map(|position| position.to_string());
    let run = move || {
        let mut inlet = Inlet::new(position);
        let status = spec.status.clone();
        let list_version = || status.snapshot().list_version.parse().unwrap_or_default();
        let sink = |step| {
            for arrival in inlet.take(step, list_version) {
                select! {
                    send(sender, arrival) -> _ => {}
                    recv(ended.receiver()) -> _ => return,
                }
            }
            let lost = inlet.take_dropped();
            if lost > 0 {
                dropped.add(&[], lost);
                log::error!("{lost} events of the cluster were too many to be kept and are lost");
            }
        };
        watch::run(&client, &spec, || {}, sink, &ended);
    };
    thread::Builder::new().name("watch-events".to_owned()).spawn(run)
}

impl Term<'_> {
    fn run(&mut self, heartbeat: &Heartbeat, stop: &Stop) {
        let mut due = Instant::now() + self.collector.interval;
        while !stop.is_stopped() && self.is_current() {
            heartbeat.beat(Instant::now());
            self.settle();
            let is_due = Instant::now() >= due || self.arrivals.len() >= ENOUGH;
            if is_due && self.has_room() {
                self.hand_over();
                due = Instant::now() + self.collector.interval;
            }
            if stop.wait(LOOK) {
                return;
            }
        }
    }

    fn is_current(&self) -> bool {
        self.collector.leads().as_ref() == Some(&self.state)
    }

    fn has_room(&self) -> bool {
        self.unsettled.len() < UNSETTLED
            && self.collector.forwarder.waiting_bytes() <= self.collector.backlog
    }

    /// Hands over what has come.
    fn hand_over(&mut self) {
        let mut events = Vec::new();
        let mut position = self.handed_over;
        for arrival in self.arrivals.try_iter().take(BUFFER) {
            match arrival {
                Arrival::Event(event) => {
                    position = event.version();
                    events.push(*event);
                }
                // A cluster that was set back takes the position back with it.
                Arrival::Position(version) => position = version,
            }
        }
        if position == self.handed_over && events.is_empty() {
            return;
        }
        let Collector { context, instance, forwarder, .. } = self.collector;
        let ready = self.convert(&events, context, instance);
        let batch = intake::events(&ready, &context.hostname);
        if batch.left_out > 0 {
            log::error!(
                "{} events are larger than the intake takes and are dropped",
                batch.left_out
            );
            self.counters.dropped.add(&[], batch.left_out as u64);
            self.report.dropped_events(batch.left_out as u64);
        }
        self.report.sent_events(ready.len());
        let receipts =
            batch.payloads.iter().filter_map(|payload| payload.receipt.clone()).collect();
        self.handed_over = position;
        self.unsettled.push_back(HandOver { position, receipts });
        for payload in batch.payloads {
            forwarder.send(payload);
        }
    }

    fn convert(
        &self,
        events: &[ClusterEvent],
        context: &Context,
        instance: &Instance,
    ) -> Vec<intake::Event> {
        let now = SystemTime::now();
        let mut ready = Vec::new();
        let mut together = Vec::new();
        for event in events {
            let source = source::of(event, context.detect_sources);
            let kind = event.involved_object.kind.as_str();
            let component = event.source.component.as_str();
            self.counters.received.increment(&[
                kind,
                component,
                &event.kind,
                &event.reason,
                source,
            ]);
            match filter::form(event, instance, context.detect_sources) {
                Form::Single { is_custom } => {
                    ready.push(unbundled(event, context, is_custom, now));
                    self.counters.emitted.increment(&[kind, &event.kind, source, "false"]);
                }
                Form::Bundled => {
                    together.push(event);
                    self.counters.emitted.increment(&[kind, &event.kind, source, "true"]);
                }
                Form::Dropped => {}
            }
        }
        ready.extend(bundled(&together, context, now));
        ready
    }

    /// Moves the position on as far as everything before it was accepted.
    fn settle(&mut self) {
        while let Some(first) = self.unsettled.front()
            && first.receipts.iter().all(Receipt::is_settled)
        {
            self.accepted = Some(first.position);
            self.unsettled.pop_front();
        }
        let is_quiet = self.unsettled.is_empty();
        let is_time = self.written.is_none_or(|written| written.elapsed() >= WRITE);
        if is_quiet || is_time {
            self.store();
        }
    }

    fn store(&mut self) {
        let Some(position) = self.accepted.filter(|position| self.stored != Some(*position)) else {
            return;
        };
        if self.written.is_some_and(|written| written.elapsed() < PAUSES.0) {
            return;
        }
        self.written = Some(Instant::now());
        match self.store.write(position, SystemTime::now()) {
            Ok(()) => {
                self.stored = Some(position);
                self.complaints.reset();
            }
            Err(error) => {
                if self.complaints.admit(Instant::now()).is_some() {
                    let name = &self.collector.token.1;
                    log::warn!(
                        "Could not store the LastEventToken in the ConfigMap {name}: {error}"
                    );
                }
            }
        }
    }

    /// Withdraws what waits, and stores how far the intake has come with what does not.
    fn end(mut self, source: StopSource, watch: JoinHandle<()>) {
        drop(source);
        let deadline = Instant::now() + FAREWELL;
        loop {
            let receipts = self.unsettled.iter().flat_map(|hand_over| &hand_over.receipts);
            let is_under_way = |receipt: &&Receipt| !receipt.is_settled() && !receipt.withdraw();
            // All of them are asked, not only up to the first that is under way.
            let under_way = receipts.filter(is_under_way).count();
            if under_way == 0 || Instant::now() >= deadline {
                break;
            }
            thread::sleep(LOOK / 20);
        }
        while let Some(first) = self.unsettled.front()
            && first.receipts.iter().all(Receipt::is_settled)
        {
            self.accepted = Some(first.position);
            self.unsettled.pop_front();
        }
        if self.is_current() {
            self.written = None;
            self.store();
        }
        // The watch ends within milliseconds of its source; one that hangs in a connect is left behind.
        if watch.is_finished() {
            let _ = watch.join();
        }
    }
}
