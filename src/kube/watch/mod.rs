//! Keeps one resource's objects up to date: lists them, follows their changes, and tells a consumer.
//!
//! Flow: [`run`] asks a state machine (pure, in `machine`) for the next request, makes it, and feeds back what it
//! gave; listed objects and changes go to the consumer's sink as they arrive. A list is an atomic replace, so the
//! consumer never holds less than it held before while one is on its way.
//!
//! Limits: one object in memory, lines of at most 3 MiB, a failed attempt is repeated for ever after 1 to 15 s and
//! logged at most once a minute. The thread shows that it lives at least every 25 s: an open watch is read in waits of
//! 10 s, so that silence is neither taken for death nor death for silence.

mod line;
mod machine;

use std::io::Read;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use log::{info, warn};
use ureq::http::Method;

use super::client::Client;
use super::error::{Cause, Error};
use super::list::{self, BadObject, Selection};
use super::objects::Resource;
use super::status::{Activity, WatchStatus};
use super::target::{Target, Verb, encode};
use super::transport::{Call, Lane};
use crate::retry::{Random, Throttle};
use crate::sync::Stop;
use line::{Change, Lines, Next};
use machine::{Action, End, Heard, Machine};

/// Longest wait for the head of a watch and for each read of it, so also the longest time between two beats.
const WAIT: Duration = Duration::from_secs(10);

/// One step of a resource's contents, as its watch thread hands it to its consumer.
///
/// `Init`, then `InitApply` for each listed object, then `InitDone` are an atomic replace: what the consumer held
/// before stays in use until `InitDone`, and whatever was not among the listed objects is gone then. A second `Init`
/// without an `InitDone` between throws the unfinished batch away. `Apply` and `Delete` come only after an `InitDone`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// A list begins: collect the following objects apart from the present ones.
    Init,
    /// An object of the list that began last.
    InitApply(T),
    /// The list is complete: the collected objects replace the present ones.
    InitDone,
    /// An object is new or has changed.
    Apply(T),
    /// An object is gone; this is its last state.
    Delete(T),
}

impl<T> Event<T> {
    /// The same step with its object turned into something else.
    pub fn map<U>(self, turn: impl FnOnce(T) -> U) -> Event<U> {
        match self {
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(turn(object)),
            Event::InitDone => Event::InitDone,
            Event::Apply(object) => Event::Apply(turn(object)),
            Event::Delete(object) => Event::Delete(turn(object)),
        }
    }
}

/// What to watch, and how.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The collection, of the whole cluster or of one namespace.
    pub target: Target,
    /// Which objects of it.
    pub selection: Selection,
    /// `kubernetes_informers_resync_period`: a complete list each period; `None` for never.
    pub relist_every: Option<Duration>,
    /// What to do when the first list is refused.
    pub on_refusal: OnRefusal,
    /// A version up to which the consumer knows everything from an earlier run: changes after it are told without a
    /// list, and a list comes only when the server cannot go on from there.
    pub resume_from: Option<String>,
    /// Where to report.
    pub status: Arc<WatchStatus>,
}

/// What a watch does when its first list is refused because there is no such API (404) or no permission (403).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefusal {
    /// Try on: the rule or the API may appear.
    Wait,
    /// Return, so that the caller can take another API for the same purpose.
    Return,
}

/// Why a watch has ended.
#[derive(Debug)]
pub enum Outcome {
    /// The program is stopping.
    Stopped,
    /// The first list was refused and [`OnRefusal::Return`] was asked for: the cause is [`Cause::NotFound`] or
    /// [`Cause::Forbidden`].
    Refused(Error),
}

impl Spec {
    /// All objects of the kind `T`, never listed anew without need, waiting for permissions.
    pub fn all<T: Resource>(client: &Client) -> Self {
        Self::of(Target::of::<T>(), client)
    }

    /// All objects of `target`, never listed anew without need, waiting for permissions.
    pub fn of(target: Target, client: &Client) -> Self {
        Self {
            status: Arc::new(WatchStatus::new(&target, client.server())),
            target,
            selection: Selection::default(),
            relist_every: None,
            on_refusal: OnRefusal::Wait,
            resume_from: None,
        }
    }
}

/// Runs [`run`] on a thread of its own, named `watch-` and the plural.
pub fn spawn<T: Resource>(
    client: Client,
    spec: Spec,
    beat: impl Fn() + Send + 'static,
    sink: impl FnMut(Event<T>) + Send + 'static,
    stop: Stop,
) -> std::io::Result<JoinHandle<Outcome>> {
    std::thread::Builder::new()
        .name(format!("watch-{}", spec.target.plural()))
        .spawn(move || run(&client, &spec, beat, sink, &stop))
}

/// Keeps `sink` informed until the program stops.
///
/// `stop` has to be the token that the client was started with, or end before it. `beat` is called at least every 25 s
/// while the thread is well; a sink that blocks for longer shows up as a stuck thread, which is what it is.
pub fn run<T: Resource>(
    client: &Client,
    spec: &Spec,
    beat: impl Fn(),
    sink: impl FnMut(Event<T>),
    stop: &Stop,
) -> Outcome {
    let machine = Machine::new(spec.relist_every, Random::from_entropy());
    let mut watch = Watch {
        client,
        spec,
        beat,
        sink,
        machine: match &spec.resume_from {
            Some(version) => machine.resuming(version.clone()),
            None => machine,
        },
        listed: 0,
        list_begun: false,
        failures: Throttle::default(),
        failing: false,
        bad_objects: Throttle::default(),
    };
    let outcome = watch.run(stop);
    // After a refusal the status keeps saying what is missing.
    if matches!(outcome, Outcome::Stopped) {
        spec.status.set_activity(Activity::Ended);
    }
    outcome
}

struct Watch<'a, B, S> {
    client: &'a Client,
    spec: &'a Spec,
    beat: B,
    sink: S,
    machine: Machine,
    /// Objects of the list that is on its way.
    listed: u64,
    /// Whether the consumer was told of that list.
    list_begun: bool,
    failures: Throttle,
    failing: bool,
    bad_objects: Throttle,
}

impl<B: Fn(), S> Watch<'_, B, S> {
    fn run<T: Resource>(&mut self, stop: &Stop) -> Outcome
    where
        S: FnMut(Event<T>),
    {
        loop {
            (self.beat)();
            if stop.is_stopped() {
                return Outcome::Stopped;
            }
            match self.machine.next(Instant::now()) {
                Action::Pause(pause) => {
                    stop.wait(pause.min(WAIT));
                }
                Action::List { continue_token } => {
                    if let Err(error) = self.list(continue_token.as_deref()) {
                        if stop.is_stopped() {
                            return Outcome::Stopped;
                        }
                        self.machine.list_failed(Instant::now(), &error.cause);
                        let is_refusal =
                            matches!(error.cause, Cause::NotFound | Cause::Forbidden { .. });
                        let is_first = !self.spec.status.snapshot().synced;
                        self.note(&error);
                        if is_refusal && is_first && self.spec.on_refusal == OnRefusal::Return {
                            // What it means, and whether it is news, the caller knows.
                            return Outcome::Refused(error);
                        }
                        self.complain(&error);
                    }
                }
                Action::Watch { version, time } => {
                    if let Err(cause) = self.watch(version, time) {
                        if stop.is_stopped() {
                            return Outcome::Stopped;
                        }
                        let error = Error::new(Verb::Watch, &self.spec.target, cause);
                        self.note(&error);
                        self.complain(&error);
                    }
                }
            }
        }
    }

    /// Fetches one page.
    fn list<T: Resource>(&mut self, continue_token: Option<&str>) -> Result<(), Error>
    where
        S: FnMut(Event<T>),
    {
        let Self { client, spec, beat, sink, listed, list_begun, bad_objects, .. } = self;
        if continue_token.is_none() {
            *list_begun = false;
            *listed = 0;
        }
        let mut begin = |sink: &mut S| {
            if !std::mem::replace(list_begun, true) {
                spec.status.set_activity(Activity::Listing);
                sink(Event::Init);
            }
        };
        let page =
            list::page(client, &spec.target, &spec.selection, continue_token, beat, |item| {
                begin(sink);
                match item {
                    Ok(object) => {
                        *listed += 1;
                        sink(Event::InitApply(object));
                    }
                    Err(bad) => leave_out(spec, bad_objects, &bad),
                }
            })?;
        begin(sink);
        let version = page.version.clone();
        if self.machine.page_done(Instant::now(), page) {
            self.spec.status.list_arrived(&version);
            (self.sink)(Event::InitDone);
            self.spec.status.listed(self.listed, &version, SystemTime::now());
        }
        Ok(())
    }

    /// Opens a watch and follows it to its end; the error is what to report, not what to do.
    fn watch<T: Resource>(&mut self, version: String, time: Duration) -> Result<(), Cause>
    where
        S: FnMut(Event<T>),
    {
        let mut path = format!(
            "{}?watch=1&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion=",
            self.spec.target.path(),
            time.as_secs()
        );
        encode(&version, &mut path);
        self.spec.selection.append(&mut path);
        let call =
            Call { method: Method::GET, path, body: None, lane: Lane::Stream { wait: WAIT } };
        let answer = self
            .client
            .transport
            .send(&call)
            .inspect_err(|cause| self.machine.watch_refused(Instant::now(), cause))?;
        self.machine.watch_opened(Instant::now(), version, time);
        self.spec.status.set_activity(Activity::Watching);
        self.follow(Lines::new(answer.into_body().into_reader()))
    }

    fn follow<T: Resource>(&mut self, mut lines: Lines<impl Read>) -> Result<(), Cause>
    where
        S: FnMut(Event<T>),
    {
        loop {
            (self.beat)();
            let next = lines.next();
            let now = Instant::now();
            let broken = match next {
                Ok(Next::Line(text)) => match line::parse(text) {
                    Ok(line) => match self.machine.line(now, line) {
                        Heard::Deliver(change) => {
                            self.deliver(change, text);
                            continue;
                        }
                        Heard::Nothing => {
                            self.well(None);
                            continue;
                        }
                        Heard::Failed(cause) => return Err(cause),
                    },
                    Err(problem) => Cause::Decode(problem),
                },
                Ok(Next::TooLong(size)) => {
                    // Its version stays unknown; the lines after it carry newer ones.
                    leave_out(self.spec, &mut self.bad_objects, &BadObject::too_large(size));
                    continue;
                }
                Ok(Next::End) => {
                    self.machine.watch_ended(now, End::Closed);
                    return Ok(());
                }
                Err(error) if list::is_wait_over(&error) && !self.machine.is_stalled(now) => {
                    continue;
                }
                Err(error) => ureq::Error::from(error).into(),
            };
            self.machine.watch_ended(now, End::Broken);
            return Err(broken);
        }
    }

    /// Hands the object of a line to the consumer.
    ///
    /// One that cannot be read is left out: the consumer keeps its last readable state until the next list.
    fn deliver<T: Resource>(&mut self, change: Change, text: &[u8])
    where
        S: FnMut(Event<T>),
    {
        let object = match line::object::<T>(text) {
            Ok(object) => object,
            Err(problem) => {
                let bad = BadObject::unreadable(line::object(text), &problem);
                leave_out(self.spec, &mut self.bad_objects, &bad);
                return self.well(None);
            }
        };
        let (event, difference) = match change {
            Change::Added => (Event::Apply(object), 1),
            Change::Modified => (Event::Apply(object), 0),
            Change::Deleted => (Event::Delete(object), -1),
        };
        (self.sink)(event);
        self.well(Some(difference));
    }

    /// The watch has brought something.
    fn well(&mut self, difference: Option<i64>) {
        self.spec.status.heard(self.machine.version(), difference, SystemTime::now());
        self.failures.reset();
        if std::mem::take(&mut self.failing) {
            info!("watching {} again", self.spec.target);
        }
    }

    /// Puts a failure into the status.
    fn note(&mut self, error: &Error) {
        let activity = match error.cause {
            Cause::Forbidden { .. } => Activity::Forbidden,
            Cause::NotFound => Activity::Missing,
            _ => Activity::Failing,
        };
        self.spec.status.failed(activity, error, SystemTime::now());
        self.failing = true;
    }

    /// Logs a failure, the first one and then one a minute.
    fn complain(&mut self, error: &Error) {
        if let Some(held_back) = self.failures.admit(Instant::now()) {
            let remedy = match (&error.cause, error.remedy()) {
                // The text of a refusal has the rule in it.
                (Cause::Forbidden { .. }, _) | (_, None) => String::new(),
                (_, Some(remedy)) => format!("; {remedy}"),
            };
            let held_back = match held_back {
                0 => String::new(),
                count => format!(" ({count} like this were not logged)"),
            };
            warn!("{error}{remedy}; trying again{held_back}");
        }
    }
}

fn leave_out(spec: &Spec, throttle: &mut Throttle, bad: &BadObject) {
    spec.status.left_out(bad);
    if let Some(held_back) = throttle.admit(Instant::now()) {
        warn!("leaving out one of {}: {bad} ({held_back} like this were not logged)", spec.target);
    }
}
