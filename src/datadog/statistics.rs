//! What became of payloads, for the status page and for telemetry (spec events-and-leader §8, cli §4.2).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::queue::Route;
use crate::retry::Throttle;
use crate::telemetry::{Counter, Gauge, Registry};

/// Why an attempt has failed, in the words of the status page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The intake has answered with this status.
    Status(u16),
    /// The name is not known.
    Dns,
    /// TLS or the certificate.
    Tls,
    /// The proxy, or no connection at all.
    Connection,
    /// A connection without a whole answer.
    Request,
}

/// Counts since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Payloads that were given up.
    pub dropped: u64,
    /// Attempts that will be repeated.
    pub retried: u64,
    /// Accepted payloads by route.
    pub successes: BTreeMap<&'static str, u64>,
    /// Attempts without an answer by the name of the cause.
    pub errors: BTreeMap<&'static str, u64>,
    /// Refusals by status code; there are not more than a few hundred codes.
    pub refusals: BTreeMap<u16, u64>,
}

/// The counts of a process, and their series in telemetry.
pub struct Statistics {
    counts: Mutex<Counts>,
    overflow: Mutex<Throttle>,
    success: Counter,
    success_bytes: Counter,
    dropped: Counter,
    refusals: Counter,
    errors: Counter,
    waiting: Gauge,
}

impl Failure {
    /// The kind of a failed attempt.
    pub fn of(error: &ureq::Error) -> Self {
        match error {
            ureq::Error::HostNotFound => Self::Dns,
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => Self::Tls,
            ureq::Error::Io(error)
                if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) =>
            {
                Self::Tls
            }
            ureq::Error::ConnectProxyFailed(_) | ureq::Error::ConnectionFailed => Self::Connection,
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Self::Connection
            }
            _ => Self::Request,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Dns => "DNSErrors",
            Self::Tls => "TLSErrors",
            Self::Connection => "ConnectionErrors",
            Self::Request | Self::Status(_) => "SentRequestErrors",
        }
    }
}

impl Statistics {
    /// Counts that are shown in `telemetry` as well.
    pub fn new(telemetry: &Registry) -> Self {
        let labels = &["domain", "endpoint"];
        Self {
            counts: Mutex::default(),
            overflow: Mutex::default(),
            success: telemetry.counter(
                "transactions__success",
                "Payloads that were accepted",
                labels,
            ),
            success_bytes: telemetry.counter(
                "transactions__success_bytes",
                "Bytes of payloads that were accepted",
                labels,
            ),
            dropped: telemetry.counter(
                "transactions__dropped",
                "Payloads that were given up",
                labels,
            ),
            refusals: telemetry.counter(
                "transactions__http_errors",
                "Answers other than success",
                &["domain", "endpoint", "code"],
            ),
            errors: telemetry.counter(
                "transactions__errors",
                "Attempts without an answer",
                &["domain", "endpoint", "error_type"],
            ),
            waiting: telemetry.gauge(
                "transactions__retry_queue_size",
                "Payloads that wait for delivery",
                &["domain"],
            ),
        }
    }

    /// The counts of this moment.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    pub(super) fn succeeded(&self, base: &str, route: Route, bytes: usize) {
        *self.lock().successes.entry(route.name()).or_default() += 1;
        self.success.increment(&[base, route.name()]);
        self.success_bytes.add(&[base, route.name()], bytes as u64);
    }

    pub(super) fn dropped(&self, base: &str, route: Route) {
        self.lock().dropped += 1;
        self.dropped.increment(&[base, route.name()]);
    }

    pub(super) fn failed(&self, base: &str, route: Route, failure: Failure) {
        if let Failure::Status(status) = failure {
            *self.lock().refusals.entry(status).or_default() += 1;
            self.refusals.increment(&[base, route.name(), &status.to_string()]);
        } else {
            *self.lock().errors.entry(failure.name()).or_default() += 1;
            self.errors.increment(&[base, route.name(), failure.name()]);
        }
    }

    pub(super) fn retried(&self) {
        self.lock().retried += 1;
    }

    pub(super) fn waiting(&self, base: &str, payloads: usize) {
        self.waiting.set(&[base], payloads as f64);
    }

    pub(super) fn may_complain_of_overflow(&self, now: Instant) -> bool {
        self.overflow.lock().unwrap_or_else(PoisonError::into_inner).admit(now).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
