//! Counters, gauges and histograms, and the Prometheus text that shows them (spec node-api §11, events-and-leader §8).
//!
//! A family is registered once by name; a series is created by its first use and kept. Families are few and their
//! label values come from fixed sets (handler names, status codes, resources), which bounds the memory.

mod handler;
mod process;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use handler::Handler;

/// Series a family keeps at most; the next label combination is counted under no series at all. The widest family,
/// `api_requests`, has about 30 handlers × 12 status codes × 2.
const MAXIMUM_SERIES: usize = 1024;

/// All metrics of the process; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    families: Arc<Mutex<BTreeMap<&'static str, Arc<Family>>>>,
}

/// A family of monotonically rising numbers, one for each combination of label values.
#[derive(Clone, Debug)]
pub struct Counter(Arc<Family>);

/// A family of numbers that go up and down, one for each combination of label values.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<Family>);

/// A family of distributions over fixed buckets.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Family>);

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: &'static str,
    labels: &'static [&'static str],
    /// Upper bounds of a histogram's buckets, rising; empty for the other kinds.
    bounds: &'static [f64],
    series: Mutex<BTreeMap<Vec<String>, Arc<Series>>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
struct Series {
    /// Counter: a count. Gauge and histogram sum: the bits of an `f64`.
    value: AtomicU64,
    /// Histogram only: observations per bucket, the last one for everything above the highest bound.
    buckets: Vec<AtomicU64>,
}

/// One series of a counter, for hot paths that should not look it up each time.
#[derive(Clone, Debug)]
pub struct CounterSeries(Option<Arc<Series>>);

impl Registry {
    /// The counter family of this name; registered at its first use.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Counter {
        Counter(self.family(name, help, labels, Kind::Counter, &[]))
    }

    /// The gauge family of this name; registered at its first use.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Gauge {
        Gauge(self.family(name, help, labels, Kind::Gauge, &[]))
    }

    /// The histogram family of this name with the given bucket bounds; registered at its first use.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        bounds: &'static [f64],
    ) -> Histogram {
        Histogram(self.family(name, help, labels, Kind::Histogram, bounds))
    }

    /// The text format of Prometheus, version 0.0.4, families and series in alphabetical order.
    pub fn render(&self) -> String {
        let families: Vec<_> =
            lock(&self.families).iter().map(|(name, family)| (*name, family.clone())).collect();
        let mut text = String::new();
        for (name, family) in families {
            family.render(name, &mut text);
        }
        text
    }

    /// The sum of a counter's or gauge's series, for the status page and for tests; 0 when there is none.
    pub fn total(&self, name: &str) -> f64 {
        let Some(family) = lock(&self.families).get(name).cloned() else { return 0.0 };
        lock(&family.series).values().map(|series| family.number(series)).sum()
    }

    fn family(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        kind: Kind,
        bounds: &'static [f64],
    ) -> Arc<Family> {
        let mut families = lock(&self.families);
        let family = families.entry(name).or_insert_with(|| {
            Arc::new(Family { kind, help, labels, bounds, series: Mutex::default() })
        });
        debug_assert!(
            family.kind == kind && family.labels == labels,
            "{name} is registered twice with two shapes"
        );
        family.clone()
    }
}

impl Counter {
    /// Adds one to the series with these label values, given in the order of the family's labels.
    pub fn increment(&self, values: &[&str]) {
        self.add(values, 1);
    }

    /// Adds `count` to the series with these label values.
    pub fn add(&self, values: &[&str], count: u64) {
        self.series(values).add(count);
    }

    /// The series with these label values.
    pub fn series(&self, values: &[&str]) -> CounterSeries {
        CounterSeries(self.0.series(values))
    }
}

impl CounterSeries {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        if let Some(series) = &self.0 {
            series.value.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Gauge {
    /// Sets the series with these label values.
    pub fn set(&self, values: &[&str], number: f64) {
        if let Some(series) = self.0.series(values) {
            series.value.store(number.to_bits(), Ordering::Relaxed);
        }
    }

    /// Adds to the series with these label values; negative amounts lower it.
    pub fn add(&self, values: &[&str], amount: f64) {
        if let Some(series) = self.0.series(values) {
            add_number(&series.value, amount);
        }
    }

    /// Removes one series, when the thing it measured is gone.
    pub fn remove(&self, values: &[&str]) {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        lock(&self.0.series).remove(&values);
    }
}

impl Histogram {
    /// Notes one observation.
    pub fn observe(&self, values: &[&str], number: f64) {
        if let Some(series) = self.0.series(values) {
            let bucket = self
                .0
                .bounds
                .iter()
                .position(|bound| number <= *bound)
                .unwrap_or(self.0.bounds.len());
            series.buckets[bucket].fetch_add(1, Ordering::Relaxed);
            add_number(&series.value, number);
        }
    }
}

impl Family {
    fn series(&self, values: &[&str]) -> Option<Arc<Series>> {
        debug_assert_eq!(
            values.len(),
            self.labels.len(),
            "one value for each label of {:?}",
            self.labels
        );
        let key: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let mut all = lock(&self.series);
        if let Some(series) = all.get(&key) {
            return Some(series.clone());
        }
        if all.len() >= MAXIMUM_SERIES {
            return None;
        }
        let buckets = if self.kind == Kind::Histogram { self.bounds.len() + 1 } else { 0 };
        let series = Arc::new(Series {
            value: AtomicU64::new(0),
            buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
        });
        all.insert(key, series.clone());
        Some(series)
    }

    fn number(&self, series: &Series) -> f64 {
        let bits = series.value.load(Ordering::Relaxed);
        if self.kind == Kind::Counter { bits as f64 } else { f64::from_bits(bits) }
    }

    fn render(&self, name: &str, text: &mut String) {
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", self.help);
        for (values, series) in lock(&self.series).iter() {
            let labels: Vec<String> = self
                .labels
                .iter()
                .zip(values)
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            if self.kind != Kind::Histogram {
                let _ = writeln!(text, "{name}{} {}", braced(&labels, None), self.number(series));
                continue;
            }
            let mut count = 0;
            for (index, bucket) in series.buckets.iter().enumerate() {
                count += bucket.load(Ordering::Relaxed);
                let bound = self.bounds.get(index).map_or("+Inf".to_owned(), f64::to_string);
                let _ = writeln!(text, "{name}_bucket{} {count}", braced(&labels, Some(&bound)));
            }
            let _ = writeln!(text, "{name}_sum{} {}", braced(&labels, None), self.number(series));
            let _ = writeln!(text, "{name}_count{} {count}", braced(&labels, None));
        }
    }
}

fn braced(labels: &[String], bound: Option<&str>) -> String {
    let bound = bound.map(|bound| format!("le=\"{bound}\""));
    let all: Vec<&str> = labels.iter().map(String::as_str).chain(bound.as_deref()).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn add_number(bits: &AtomicU64, amount: f64) {
    let add = |bits| Some((f64::from_bits(bits) + amount).to_bits());
    bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
        .expect("the closure always returns a value");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_gauges_render_sorted_with_escaped_labels() {
        let registry = Registry::default();
        let requests =
            registry.counter("api_requests", "Requests answered", &["handler", "status"]);
        requests.increment(&["version", "200"]);
        requests.add(&["say \"x\"", "404"], 2);
        registry.gauge("age", "Seconds", &[]).set(&[], 1.5);
        assert_eq!(
            registry.render(),
            "# HELP age Seconds\n# TYPE age gauge\nage 1.5\n\
             # HELP api_requests Requests answered\n# TYPE api_requests counter\n\
             api_requests{handler=\"say \\\"x\\\"\",status=\"404\"} 2\n\
             api_requests{handler=\"version\",status=\"200\"} 1\n"
        );
        assert_eq!(registry.total("api_requests"), 3.0);
    }

    #[test]
    fn histogram_buckets_are_cumulative() {
        let registry = Registry::default();
        let seconds = registry.histogram("seconds", "Time", &["what"], &[0.5, 1.0]);
        for number in [0.1, 0.7, 9.0] {
            seconds.observe(&["list"], number);
        }
        let text = registry.render();
        for line in [
            "seconds_bucket{what=\"list\",le=\"0.5\"} 1",
            "seconds_bucket{what=\"list\",le=\"1\"} 2",
            "seconds_bucket{what=\"list\",le=\"+Inf\"} 3",
            "seconds_count{what=\"list\"} 3",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let registry = Registry::default();
        let counter = registry.counter("hits", "Hits", &["peer"]);
        for peer in 0..MAXIMUM_SERIES + 5 {
            counter.increment(&[&peer.to_string()]);
        }
        assert_eq!(registry.total("hits"), MAXIMUM_SERIES as f64);
    }
}
