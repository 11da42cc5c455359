//! The thread that keeps values: as the leader it asks Datadog and writes the ConfigMap, as a follower it reads the
//! ConfigMap (spec external-metrics §10).
//!
//! One thread does all of it, so that rounds, writes and readings never overlap. A round takes as long as Datadog does
//! (25 s for each silent request, two at most); requests to the API on 8443 never wait for it, they are answered from
//! the published table. Nothing here ends the process: failures are complained about once a minute and tried again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, select};
use serde_json::Value;

use super::configmap;
use super::entry::Limits;
use super::hpa::{Autoscalers, Wanted};
use super::ledger::{Ledger, Wording};
use super::rounds::Rounds;
use super::table::{ServedTable, Table};
use crate::config::ExternalMetrics;
use crate::datadog::answer::Source;
use crate::kube::objects::ConfigMap;
use crate::kube::{Cause, Client, Error, Target};
use crate::leader::Leadership;
use crate::retry::{Random, Throttle};
use crate::sync::Stop;
use crate::telemetry::{Gauge, Registry};

/// How often a follower reads the ConfigMap: a value is at most this much older there.
const FOLLOWER_POLL: Duration = Duration::from_secs(5);

/// How often a write is repeated after somebody else wrote.
const WRITES: usize = 3;

/// What the thread works with.
pub struct Parts<S> {
    /// The API server.
    pub client: Client,
    /// Answers queries; `Err` says why nothing can be asked.
    pub source: Result<S, String>,
    /// Whether this replica may ask and write.
    pub leadership: Leadership,
    /// What autoscalers want, kept by their watch.
    pub autoscalers: Arc<Mutex<Autoscalers>>,
    /// A message for each change of that.
    pub changes: Receiver<()>,
    /// Whether no autoscaler was left out of the list because it could not be read.
    pub is_complete: Box<dyn Fn() -> bool + Send>,
    /// Where the table is published.
    pub served: ServedTable,
    /// Where the state is counted.
    pub telemetry: Registry,
    /// Ends the thread.
    pub stop: Stop,
}

/// The settings that the thread reads.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the ConfigMap.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Time between two rounds.
    pub refresh: Duration,
    /// Time between two collections.
    pub collection: Duration,
    /// Half of the time for which a copy of the ConfigMap counts.
    pub copy_refresh: Duration,
    /// Window of the queries.
    pub window: Duration,
    /// Queries in one request.
    pub most: usize,
    /// How queries are written.
    pub wording: Wording,
    /// How old values may be.
    pub limits: Limits,
}

impl Settings {
    /// From the configuration; `namespace` is the one of the program's own objects.
    pub fn new(config: &ExternalMetrics, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: config.configmap_name.clone(),
            refresh: config.refresh_period,
            collection: config.collection_period,
            copy_refresh: config.local_copy_refresh_rate,
            window: config.bucket_size,
            most: config.chunk_size,
            wording: Wording { aggregator: config.aggregator, rollup: config.rollup.as_secs() },
            limits: Limits::new(config.max_age, config.rollup, config.refresh_period),
        }
    }
}

/// The thread's state.
pub struct Provider<S> {
    parts: Parts<S>,
    settings: Settings,
    ledger: Ledger,
    rounds: Rounds,
    /// Whether this term's ledger has taken over what was stored.
    adopted: bool,
    leading: bool,
    next_round: Instant,
    next_collection: Instant,
    /// What was written last, and when.
    written: Option<(Vec<super::Entry>, Instant)>,
    complaints: Throttle,
    query_complaints: Throttle,
    gauges: Gauges,
}

struct Gauges {
    metrics: Gauge,
    values: Gauge,
    delays: Gauge,
}

impl<S: Source> Provider<S> {
    /// The state at the start.
    pub fn new(parts: Parts<S>, settings: Settings) -> Self {
        let now = Instant::now();
        let telemetry = &parts.telemetry;
        let gauges = Gauges {
            metrics: telemetry.gauge(
                "external_metrics",
                "External metrics by whether they have a value",
                &["join_leader", "valid"],
            ),
            values: telemetry.gauge(
                "external_metrics_processed_value",
                "The last value of an external metric",
                &["join_leader", "metric"],
            ),
            delays: telemetry.gauge(
                "external_metrics_delay_seconds",
                "Age of the last value of an external metric",
                &["join_leader", "metric"],
            ),
        };
        Self {
            ledger: Ledger::new(settings.wording, settings.limits),
            rounds: Rounds::new(settings.window, settings.most, Random::from_entropy()),
            adopted: false,
            leading: false,
            next_round: now,
            next_collection: now + settings.collection,
            written: None,
            complaints: Throttle::default(),
            query_complaints: Throttle::default(),
            gauges,
            parts,
            settings,
        }
    }

    /// Works until the program stops.
    pub fn run(&mut self) {
        let leadership = self.parts.leadership.subscribe();
        let (changes, stop) = (self.parts.changes.clone(), self.parts.stop.clone());
        while !stop.is_stopped() {
            let pause = self.step();
            select! {
                recv(changes) -> change => if change.is_err() && stop.wait(pause) { return },
                recv(leadership) -> _ => {}
                recv(stop.receiver()) -> _ => return,
                default(pause) => {}
            }
        }
    }

    /// Does what is due and returns how long nothing is.
    fn step(&mut self) -> Duration {
        let leading = self.parts.leadership.is_leader();
        if leading != self.leading {
            self.leading = leading;
            self.ledger.clear();
            self.adopted = false;
            self.written = None;
            self.next_round = Instant::now();
            if !leading {
                self.forget_gauges();
            }
        }
        if leading { self.lead() } else { self.follow() }
    }

    fn lead(&mut self) -> Duration {
        let wanted = self.wanted();
        let mut changed = false;
        if !self.adopted {
            self.adopt();
        }
        if let Some(wanted) = &wanted {
            changed |= self.ledger.follow(wanted, SystemTime::now());
            changed |= self.collect(wanted);
        }
        // Before the first list there is nothing to ask for but what was stored.
        let due = Instant::now() >= self.next_round && (wanted.is_some() || self.adopted);
        if due {
            // Counted from the beginning, so that slow answers do not stretch the period.
            self.next_round = Instant::now() + self.settings.refresh;
            self.ask();
        }
        if due || changed {
            self.publish();
            self.store(changed);
        }
        self.next_round.saturating_duration_since(Instant::now()).min(FOLLOWER_POLL)
    }

    fn follow(&mut self) -> Duration {
        match self.read() {
            Ok(object) => {
                self.complaints.reset();
                let entries = object.as_ref().map(configmap::entries).unwrap_or_default();
                let until = ServedTable::expiry(Instant::now(), self.settings.copy_refresh);
                self.parts.served.publish(Table { entries, until: Some(until), ready: true });
            }
            Err(error) => self.complain("Could not list the external metrics in the store", &error),
        }
        FOLLOWER_POLL
    }

    fn wanted(&self) -> Option<Vec<Wanted>> {
        self.parts.autoscalers.lock().unwrap_or_else(PoisonError::into_inner).wanted()
    }

    /// Takes over what is stored, once a term.
    fn adopt(&mut self) {
        match self.read() {
            Ok(object) => {
                self.ledger.adopt(object.as_ref().map(configmap::entries).unwrap_or_default());
                self.adopted = true;
                self.publish();
            }
            Err(error) => self.complain("Could not list the external metrics in the store", &error),
        }
    }

    fn collect(&mut self, wanted: &[Wanted]) -> bool {
        if Instant::now() < self.next_collection || !(self.parts.is_complete)() {
            return false;
        }
        self.next_collection = Instant::now() + self.settings.collection;
        log::info!("Starting garbage collection process on the Autoscalers: wpa=false");
        let deleted = self.ledger.collect(wanted);
        log::info!("Done GC run. Deleted {deleted} metrics");
        deleted > 0
    }

    fn ask(&mut self) {
        let queries = self.ledger.queries();
        if queries.is_empty() {
            return log::debug!("No External Metrics to evaluate at the moment");
        }
        let outcomes = match &mut self.parts.source {
            Ok(source) => self.rounds.run(queries, source, Instant::now()),
            Err(reason) => {
                let reason = super::rounds::Outcome::Unanswered(reason.clone());
                queries.into_iter().map(|query| (query, reason.clone())).collect()
            }
        };
        self.ledger.settle(&outcomes, SystemTime::now());
        self.report();
    }

    /// Shows the round in telemetry and, where something is wrong, in the log.
    fn report(&mut self) {
        let now = SystemTime::now();
        let entries = self.ledger.entries();
        let valid = entries.iter().filter(|entry| entry.valid).count();
        self.gauges.metrics.set(&["true", "true"], valid as f64);
        self.gauges.metrics.set(&["true", "false"], (entries.len() - valid) as f64);
        for entry in entries.iter().filter(|entry| entry.valid) {
            let scope: Vec<String> =
                entry.labels.iter().map(|(name, value)| format!("{name}:{value}")).collect();
            let name = format!("{}{{{}}}", entry.metric, scope.join(","));
            self.gauges.values.set(&["true", &name], entry.value);
            self.gauges.delays.set(&["true", &name], entry.age(now).as_secs_f64());
        }
        let Some(problem) = entries.iter().find_map(|entry| entry.problem.as_deref()) else {
            return self.query_complaints.reset();
        };
        if self.query_complaints.admit(Instant::now()).is_some() {
            let others = entries.iter().filter(|entry| entry.problem.is_some()).count() - 1;
            log::error!(
                "Error getting metrics from Datadog: {problem} ({others} others have problems)"
            );
        }
    }

    /// Only a leader has these numbers.
    fn forget_gauges(&self) {
        for valid in ["true", "false"] {
            self.gauges.metrics.remove(&["true", valid]);
        }
    }

    fn publish(&self) {
        let entries = self.ledger.entries().to_vec();
        self.parts.served.publish(Table { entries, until: None, ready: true });
    }

    /// Writes all entries, unless nothing but ages changed a short while ago.
    fn store(&mut self, changed: bool) {
        let entries = self.ledger.entries();
        let is_current = self.written.as_ref().is_some_and(|(written, at)| {
            at.elapsed() < self.settings.copy_refresh && is_same_but_age(written, entries)
        });
        if is_current && !changed {
            return;
        }
        for attempt in 1..=WRITES {
            // A leader of the past must not write; a write that was begun carries a version and is refused.
            if !self.parts.leadership.is_leader() {
                return;
            }
            match self.write() {
                Ok(()) => {
                    self.complaints.reset();
                    self.written = Some((self.ledger.entries().to_vec(), Instant::now()));
                    return;
                }
                Err(Error { cause: Cause::Conflict { .. }, .. }) if attempt < WRITES => {}
                Err(error) => {
                    return self
                        .complain("Could not write the external metrics to the store", &error);
                }
            }
        }
    }

    fn write(&mut self) -> Result<(), Error> {
        let now = SystemTime::now();
        let Settings { namespace, name, wording, .. } = &self.settings;
        let (is_new, object) = match self.read()? {
            Some(object) => (false, object),
            None => (true, configmap::empty(namespace, name, now)),
        };
        if !self.adopted {
            self.ledger.adopt(configmap::entries(&object));
            self.adopted = true;
        }
        let object = configmap::with_entries(
            object,
            self.ledger.entries(),
            |entry| wording.query(entry),
            now,
        );
        let collection = Target::of::<ConfigMap>().in_namespace(namespace);
        if is_new {
            self.parts.client.create::<Value>(&collection, &object)?;
        } else {
            self.parts.client.replace::<Value>(&collection.named(name), &object)?;
        }
        Ok(())
    }

    /// The ConfigMap; `None` when there is none.
    fn read(&self) -> Result<Option<Value>, Error> {
        let Settings { namespace, name, .. } = &self.settings;
        let target = Target::of::<ConfigMap>().in_namespace(namespace).named(name);
        match self.parts.client.get(&target) {
            Ok(object) => Ok(Some(object)),
            Err(Error { cause: Cause::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn complain(&mut self, what: &str, error: &Error) {
        if self.complaints.admit(Instant::now()).is_some() {
            log::warn!("{what}: {error}");
        }
    }
}

fn is_same_but_age(written: &[super::Entry], entries: &[super::Entry]) -> bool {
    let same = |(a, b): (&super::Entry, &super::Entry)| {
        a.reference == b.reference
            && a.metric == b.metric
            && a.labels == b.labels
            && a.valid == b.valid
            && a.value == b.value
    };
    written.len() == entries.len() && written.iter().zip(entries).all(same)
}
