//! The budget of metadata streams: each costs a thread and a connection for as long as its node lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::telemetry::Gauge;

/// Hands out permits up to a limit; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    shared: Arc<Shared>,
}

/// One stream's share; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: usize,
    given: AtomicUsize,
    gauge: Gauge,
}

impl Permits {
    /// At most `limit` permits at a time; `gauge` shows how many are out.
    pub(super) fn new(limit: usize, gauge: Gauge) -> Self {
        Self { shared: Arc::new(Shared { limit, given: AtomicUsize::new(0), gauge }) }
    }

    /// A permit, unless all are out.
    pub(super) fn take(&self) -> Option<Permit> {
        let more = |given| (given < self.shared.limit).then_some(given + 1);
        self.shared.given.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        self.shared.gauge.add(&[], 1.0);
        Some(Permit { shared: Arc::clone(&self.shared) })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.given.fetch_sub(1, Ordering::Relaxed);
        self.shared.gauge.add(&[], -1.0);
    }
}
