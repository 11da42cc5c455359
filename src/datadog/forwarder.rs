//! Delivers payloads: a queue and a thread for each destination, retries, and what became of them (spec
//! events-and-leader §5.2, §5.6).
//!
//! [`Forwarder::send`] never waits. The main destination alone settles receipts: a further endpoint that is down for
//! days must not hold the events' resume position back.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, never, select};
use ureq::Agent;

use super::agent;
use super::breaker::{Breaker, Pacing};
use super::endpoints::{self, Destination};
use super::queue::{Payload, Queue, Route};
use super::statistics::{Failure, Statistics};
use crate::config::url::Url;
use crate::config::{Config, ProxyUrl};
use crate::retry::{Random, Throttle};
use crate::sync::Stop;
use crate::{scrub, telemetry, version};

/// Part of an answer's body that is read for the log.
const EXCERPT: u64 = 1_000;

/// A success is logged once, and then after as many further ones.
const LOGGED_SUCCESS: u64 = 500;

/// Pause before a client that could not be made is tried again.
const REMAKE: Duration = Duration::from_secs(15);

/// Time of a request at least, also at the end.
const SHORTEST: Duration = Duration::from_millis(100);

/// The way out; clones share it.
#[derive(Clone)]
pub struct Forwarder {
    lanes: Arc<Vec<Lane>>,
    statistics: Arc<Statistics>,
}

/// What waits for one destination.
struct Lane {
    destination: Destination,
    queue: Mutex<Queue>,
    /// One slot: a message says that something new is there.
    wake: Sender<()>,
}

/// What a status code means for the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was accepted.
    Done,
    /// It will never be accepted.
    Drop,
    /// Another attempt may succeed.
    Retry,
}

/// One thread's view of its lane.
struct Sending<'a> {
    lane: &'a Lane,
    /// Whether receipts are settled here.
    is_main: bool,
    statistics: &'a Statistics,
    agent: Agent,
    timeout: Duration,
    proxy: Option<ProxyUrl>,
    allow_arbitrary_tags: bool,
    breakers: BTreeMap<Route, Breaker>,
    successes: u64,
    complaints: Throttle,
}

impl Forwarder {
    /// Starts the threads `intake-0`, `intake-1`, …, which end with `stop` after one last attempt at what is new.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn start(
        config: &Config,
        telemetry: &telemetry::Registry,
        stop: &Stop,
    ) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        let destinations = endpoints::destinations(&config.datadog);
        let limit = usize::try_from(config.forwarder.retry_queue_size).unwrap_or(usize::MAX);
        let (lanes, wakes): (Vec<Lane>, Vec<Receiver<()>>) = destinations
            .into_iter()
            .map(|destination| {
                let (wake, woken) = crossbeam_channel::bounded(1);
                (Lane { destination, queue: Mutex::new(Queue::new(limit)), wake }, woken)
            })
            .unzip();
        let statistics = Arc::new(Statistics::new(telemetry));
        let forwarder = Self { lanes: Arc::new(lanes), statistics };
        let mut threads = Vec::new();
        for (index, woken) in wakes.into_iter().enumerate() {
            let (forwarder, config, stop) = (forwarder.clone(), config.clone(), stop.clone());
            let run = move || forwarder.run(index, &config, &woken, &stop);
            threads.push(thread::Builder::new().name(format!("intake-{index}")).spawn(run)?);
        }
        Ok((forwarder, threads))
    }

    /// Queues a payload for each destination; the receipt follows the main one.
    pub fn send(&self, payload: Payload) {
        for (index, lane) in self.lanes.iter().enumerate() {
            let mut copy = payload.clone();
            if index > 0 {
                copy.receipt = None;
            }
            let mut queue = lane.lock();
            let dropped = queue.push(copy);
            self.account(lane, &queue, &dropped);
            drop(queue);
            // A full slot wakes as well as a second message.
            let _ = lane.wake.try_send(());
        }
    }

    /// Bytes that wait for the main destination.
    pub fn waiting_bytes(&self) -> usize {
        self.lanes.first().map_or(0, |lane| lane.lock().bytes())
    }

    /// Payloads that wait, over all destinations.
    pub fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.lock().len()).sum()
    }

    /// Every base URL with the keys that go there.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.lanes.iter().map(|lane| &lane.destination)
    }

    /// What became of the payloads so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    fn account(&self, lane: &Lane, queue: &Queue, dropped: &[Payload]) {
        let base = &lane.destination.base;
        self.statistics.waiting(base, queue.len());
        for payload in dropped {
            self.statistics.dropped(base, payload.route);
        }
        if !dropped.is_empty() && self.statistics.may_complain_of_overflow(Instant::now()) {
            log::error!(
                "the queue of payloads for {base} is full: {} of the oldest were dropped \
                 (forwarder_retry_queue_payloads_max_size)",
                dropped.len()
            );
        }
    }

    fn run(&self, index: usize, config: &Config, woken: &Receiver<()>, stop: &Stop) {
        let lane = &self.lanes[index];
        let target = Url::parse(&format!("{}/", lane.destination.base));
        let Ok(target) = target.inspect_err(|problem| {
            log::error!("nothing can be sent to {}, which {problem}", lane.destination.base);
        }) else {
            return;
        };
        let mut complaints = Throttle::default();
        let agent = loop {
            match agent::make(&target, &config.proxy, &config.tls) {
                Ok(agent) => break agent,
                Err(error) if complaints.admit(Instant::now()).is_some() => {
                    log::error!("nothing can be sent to {}: {error}", lane.destination.base);
                }
                Err(_) => {}
            }
            // A file of trusted roots may appear.
            if stop.wait(REMAKE) {
                return;
            }
        };
        let mut sending = Sending {
            lane,
            is_main: index == 0,
            statistics: &self.statistics,
            agent,
            timeout: config.forwarder.timeout,
            proxy: super::proxy::choose(&config.proxy, &target).cloned(),
            allow_arbitrary_tags: config.datadog.allow_arbitrary_tags,
            breakers: breakers(Pacing::new(&config.forwarder)),
            successes: 0,
            complaints: Throttle::default(),
        };
        while !stop.is_stopped() {
            let now = Instant::now();
            if let Some(payload) = sending.take(now) {
                let dropped = sending.deliver(payload, sending.timeout);
                self.account(lane, &lane.lock(), &dropped);
                continue;
            }
            let next = sending
                .next_attempt(now)
                .map_or_else(never, |at| after(at.saturating_duration_since(now)));
            select! {
                recv(woken) -> _ => {}
                recv(next) -> _ => {}
                recv(stop.receiver()) -> _ => {}
            }
        }
        let deadline = Instant::now() + config.forwarder.stop_timeout;
        sending.flush(deadline);
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdict {
    /// What a status code means; 404 is retried on purpose, because relays are misconfigured for a while.
    pub fn of(status: u16) -> Self {
        match status {
            200..300 => Self::Done,
            400 | 403 | 413 => Self::Drop,
            _ => Self::Retry,
        }
    }
}

impl Sending<'_> {
    fn take(&self, now: Instant) -> Option<Payload> {
        self.lane.lock().take(|route| self.blocked(route, now).is_none())
    }

    fn blocked(&self, route: Route, now: Instant) -> Option<Instant> {
        self.breakers.get(&route).and_then(|breaker| breaker.blocked(now))
    }

    /// When the first route with something to send is free again.
    fn next_attempt(&self, now: Instant) -> Option<Instant> {
        let queue = self.lane.lock();
        queue.routes().filter_map(|route| self.blocked(route, now)).min()
    }

    /// Sends one payload; returns what its way back into the queue pushed out.
    fn deliver(&mut self, payload: Payload, timeout: Duration) -> Vec<Payload> {
        let outcome = self.post(&payload, timeout);
        let base = &self.lane.destination.base;
        let breaker = self.breakers.get_mut(&payload.route);
        let verdict = match &outcome {
            Ok((status, _)) => Verdict::of(*status),
            Err(_) => Verdict::Retry,
        };
        match (verdict, breaker) {
            (Verdict::Retry, Some(breaker)) => breaker.failed(Instant::now()),
            (_, Some(breaker)) => breaker.succeeded(Instant::now()),
            (_, None) => {}
        }
        match (verdict, outcome) {
            (Verdict::Done, Ok((status, _))) => {
                self.settle(&payload);
                self.statistics.succeeded(base, payload.route, payload.body.len());
                self.complaints.reset();
                self.log_success(&payload, status);
                Vec::new()
            }
            (Verdict::Drop, Ok((status, body))) => {
                self.settle(&payload);
                self.statistics.failed(base, payload.route, Failure::Status(status));
                self.statistics.dropped(base, payload.route);
                self.log_drop(&payload, status, &body);
                Vec::new()
            }
            (_, outcome) => {
                let (failure, reason) = match outcome {
                    Ok((status, _)) => (Failure::Status(status), format!("HTTP status {status}")),
                    Err(error) => (Failure::of(&error), self.explain(&error)),
                };
                self.statistics.failed(base, payload.route, failure);
                self.statistics.retried();
                if let Some(held_back) = self.complaints.admit(Instant::now()) {
                    let url = format!("{base}{}", payload.route.path());
                    log::warn!(
                        "sending to {url} failed and is tried again: {} ({held_back} like this were not logged)",
                        scrub::message(&reason)
                    );
                }
                self.lane.lock().put_back(payload)
            }
        }
    }

    fn settle(&self, payload: &Payload) {
        if self.is_main {
            payload.settle();
        }
    }

    fn post(&self, payload: &Payload, timeout: Duration) -> Result<(u16, String), ureq::Error> {
        let url = format!("{}{}", self.lane.destination.base, payload.route.path());
        let mut request = self
            .agent
            .post(&url)
            .header("DD-Api-Key", self.lane.destination.key.expose())
            .header("DD-Agent-Version", version::number())
            .header("User-Agent", format!("datadog-agent/{}", version::number()))
            .header("Content-Type", "application/json");
        if payload.compressed {
            request = request.header("Content-Encoding", "deflate");
        }
        if self.allow_arbitrary_tags {
            request = request.header("Allow-Arbitrary-Tag-Value", "true");
        }
        let request = request.config().timeout_global(Some(timeout)).build();
        let mut answer = request.send(&payload.body[..])?;
        let mut body = Vec::new();
        // Half a reason is better than none, and the status decides alone.
        let _ = answer.body_mut().as_reader().take(EXCERPT).read_to_end(&mut body);
        Ok((answer.status().as_u16(), String::from_utf8_lossy(&body).trim().to_owned()))
    }

    /// The error, with the proxy's part in it.
    fn explain(&self, error: &ureq::Error) -> String {
        match (error, &self.proxy) {
            (ureq::Error::ConnectProxyFailed(answer), Some(proxy)) => {
                let hint = if answer.contains("407") {
                    "; it wants other credentials than proxy.https gives"
                } else {
                    ""
                };
                format!("the proxy {proxy} refuses the connection: {answer}{hint}")
            }
            (error, Some(proxy)) => format!("{error} (through the proxy {proxy})"),
            (error, None) => error.to_string(),
        }
    }

    fn log_success(&mut self, payload: &Payload, status: u16) {
        if self.successes.is_multiple_of(LOGGED_SUCCESS) {
            let url = format!("{}{}", self.lane.destination.base, payload.route.path());
            log::info!(
                "Successfully posted payload to \"{url}\" ({status}), the agent will only log transaction success \
                 every {LOGGED_SUCCESS} transactions"
            );
        }
        self.successes += 1;
    }

    fn log_drop(&self, payload: &Payload, status: u16, body: &str) {
        let url = format!("{}{}", self.lane.destination.base, payload.route.path());
        if status == 403 {
            log::error!("API Key invalid (403 response), dropping transaction for {url}");
        } else {
            log::error!(
                "Error code \"{status}\" received while sending transaction to \"{url}\": \"{}\", dropping it",
                scrub::message(body)
            );
        }
    }

    /// One attempt at everything whose route is free, until `deadline`.
    fn flush(&mut self, deadline: Instant) {
        while let Some(left) =
            deadline.checked_duration_since(Instant::now()).filter(|left| *left > SHORTEST)
            && let Some(payload) = self.take(Instant::now())
        {
            let _ = self.deliver(payload, left.min(self.timeout));
        }
        let left = self.lane.lock().len();
        if left > 0 {
            log::warn!(
                "{left} payloads for {} are not delivered at the end of the process",
                self.lane.destination.base
            );
        }
    }
}

fn breakers(pacing: Pacing) -> BTreeMap<Route, Breaker> {
    [Route::Series, Route::CheckRuns, Route::Events]
        .map(|route| (route, Breaker::new(pacing, Random::from_entropy())))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: events_and_leader_24
    #[test]
    fn status_codes_decide_between_done_dropped_and_again() {
        for (status, verdict) in [
            (200, Verdict::Done),
            (202, Verdict::Done),
            (302, Verdict::Retry),
            (400, Verdict::Drop),
            (401, Verdict::Retry),
            (403, Verdict::Drop),
            (404, Verdict::Retry),
            (408, Verdict::Retry),
            (413, Verdict::Drop),
            (429, Verdict::Retry),
            (500, Verdict::Retry),
            (503, Verdict::Retry),
        ] {
            assert_eq!(Verdict::of(status), verdict, "{status}");
        }
    }
}
