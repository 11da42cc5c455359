//! The bodies of events, service checks and metrics, to the byte (spec events-and-leader §5.3–§5.5).
//!
//! A batch becomes as many bodies as the intake's limit asks for; what is too large alone is left out and counted.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;

use super::queue::{Payload, Receipt, Route};

/// Largest body before compression: the intake takes 4 MiB, and half of it leaves room for what it adds.
const LARGEST: usize = 2 << 20;

/// A smaller body gains nothing from compression.
const WORTH_COMPRESSING: usize = 1 << 10;

/// Where events without a source are filed.
const NO_SOURCE: &str = "api";

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Event {
    /// One line.
    pub msg_title: String,
    /// The text; Markdown between `%%%`.
    pub msg_text: String,
    /// Unix seconds.
    pub timestamp: u64,
    /// `normal` or `low`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub priority: &'static str,
    /// The host it belongs to.
    pub host: String,
    /// `name:value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `info`, `warning`, `error` or `success`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub alert_type: &'static str,
    /// Events of one key are shown as one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub aggregation_key: String,
    /// The integration it comes from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_type_name: String,
    /// The check that made it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub event_type: &'static str,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceCheck {
    /// Its name.
    pub check: String,
    /// The host it belongs to.
    pub host_name: String,
    /// Unix seconds.
    pub timestamp: u64,
    /// Its outcome.
    #[serde(serialize_with = "as_number")]
    pub status: Status,
    /// A reason.
    pub message: String,
    /// `name:value`; `null` on the wire when there are none.
    #[serde(serialize_with = "null_when_empty")]
    pub tags: Vec<String>,
}

/// How a check has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 0.
    Ok,
    /// 1.
    Warning,
    /// 2.
    Critical,
    /// 3.
    Unknown,
}

/// One point of a gauge.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gauge {
    /// The metric's name.
    pub metric: String,
    /// Unix seconds and value.
    pub points: [(u64, f64); 1],
    /// `name:value`.
    pub tags: Vec<String>,
    /// The host it belongs to.
    pub host: String,
    #[serde(rename = "type")]
    kind: &'static str,
    interval: u32,
    source_type_name: &'static str,
}

/// The payloads of a batch, and how many of its items were too large for any.
#[derive(Debug, Default)]
pub struct Batch {
    /// What is to be sent.
    pub payloads: Vec<Payload>,
    /// Items that had to be left out.
    pub left_out: usize,
}

impl Gauge {
    /// A gauge of the program itself.
    pub fn of_system(
        metric: &str,
        value: f64,
        host: &str,
        tags: Vec<String>,
        now: SystemTime,
    ) -> Self {
        Self {
            metric: metric.to_owned(),
            points: [(unix_seconds(now), value)],
            tags,
            host: host.to_owned(),
            kind: "gauge",
            interval: 0,
            source_type_name: "System",
        }
    }
}

/// Events as payloads with receipts; the hostname of the program goes with them.
pub fn events(events: &[Event], hostname: &str) -> Batch {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(rename = "apiKey")]
        api_key: &'static str,
        events: BTreeMap<&'a str, Vec<&'a Event>>,
        #[serde(rename = "internalHostname")]
        hostname: &'a str,
    }
    let encode = |events: &[Event]| {
        let mut sources: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
        for event in events {
            let source = Some(event.source_type_name.as_str()).filter(|source| !source.is_empty());
            sources.entry(source.unwrap_or(NO_SOURCE)).or_default().push(event);
        }
        to_json(&Body { api_key: "", events: sources, hostname })
    };
    let mut batch = Batch::default();
    split(events, &encode, Route::Events, &mut batch);
    for payload in &mut batch.payloads {
        payload.receipt = Some(Receipt::default());
    }
    batch
}

/// Service checks as payloads.
pub fn check_runs(checks: &[ServiceCheck]) -> Batch {
    let mut batch = Batch::default();
    split(checks, &|checks: &[ServiceCheck]| to_json(&checks), Route::CheckRuns, &mut batch);
    batch
}

/// Metrics as payloads.
pub fn series(gauges: &[Gauge]) -> Batch {
    #[derive(Serialize)]
    struct Body<'a> {
        series: &'a [Gauge],
    }
    let mut batch = Batch::default();
    split(gauges, &|gauges: &[Gauge]| to_json(&Body { series: gauges }), Route::Series, &mut batch);
    batch
}

/// Seconds since 1970.
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Halves the items until each part fits.
fn split<T>(items: &[T], encode: &impl Fn(&[T]) -> Vec<u8>, route: Route, batch: &mut Batch) {
    if items.is_empty() {
        return;
    }
    let body = encode(items);
    if body.len() <= LARGEST {
        let (body, compressed) = compressed(body);
        batch.payloads.push(Payload { route, body: body.into(), compressed, receipt: None });
    } else if items.len() == 1 {
        batch.left_out += 1;
    } else {
        let (first, second) = items.split_at(items.len() / 2);
        split(first, encode, route, batch);
        split(second, encode, route, batch);
    }
}

fn compressed(body: Vec<u8>) -> (Vec<u8>, bool) {
    if body.len() < WORTH_COMPRESSING {
        return (body, false);
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    match encoder.write_all(&body).and_then(|()| encoder.finish()) {
        Ok(smaller) if smaller.len() < body.len() => (smaller, true),
        _ => (body, false),
    }
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("bodies have text keys")
}

fn as_number<S: serde::Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(match status {
        Status::Ok => 0,
        Status::Warning => 1,
        Status::Critical => 2,
        Status::Unknown => 3,
    })
}

fn null_when_empty<S: serde::Serializer>(
    tags: &[String],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Some(tags).filter(|tags| !tags.is_empty()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use flate2::read::ZlibDecoder;

    use super::*;

    fn text(payload: &Payload) -> String {
        let mut text = String::new();
        if payload.compressed {
            ZlibDecoder::new(&payload.body[..]).read_to_string(&mut text).expect("a zlib stream");
        } else {
            text = String::from_utf8(payload.body.to_vec()).expect("JSON is text");
        }
        text
    }

    #[test]
    fn events_stand_under_their_source_in_the_order_of_the_intake() {
        let event = Event {
            msg_title: "Events from the Pod web/front-1".to_owned(),
            msg_text: "text".to_owned(),
            timestamp: 1_714_644_195,
            priority: "normal",
            host: "node-1-prod".to_owned(),
            tags: vec!["kube_kind:Pod".to_owned()],
            alert_type: "warning",
            aggregation_key: "kubernetes_apiserver:7a1e".to_owned(),
            source_type_name: "kubernetes".to_owned(),
            event_type: "kubernetes_apiserver",
        };
        let bare = Event { msg_title: "t".to_owned(), timestamp: 1, ..Event::default() };
        let batch = events(&[event, bare], "node-3-prod");
        assert_eq!(
            text(&batch.payloads[0]),
            r#"{"apiKey":"","events":{"api":[{"msg_title":"t","msg_text":"","timestamp":1,"host":""}],"kubernetes":[{"msg_title":"Events from the Pod web/front-1","msg_text":"text","timestamp":1714644195,"priority":"normal","host":"node-1-prod","tags":["kube_kind:Pod"],"alert_type":"warning","aggregation_key":"kubernetes_apiserver:7a1e","source_type_name":"kubernetes","event_type":"kubernetes_apiserver"}]},"internalHostname":"node-3-prod"}"#
        );
        assert!(events(&[], "h").payloads.is_empty(), "no events, no request");
    }

    #[test]
    fn checks_have_all_keys_and_null_for_no_tags() {
        let check = |status, tags: &[&str]| ServiceCheck {
            check: "c".to_owned(),
            host_name: "h".to_owned(),
            timestamp: 5,
            status,
            message: String::new(),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        };
        let batch = check_runs(&[check(Status::Ok, &[]), check(Status::Unknown, &["a:b"])]);
        assert_eq!(
            text(&batch.payloads[0]),
            r#"[{"check":"c","host_name":"h","timestamp":5,"status":0,"message":"","tags":null},{"check":"c","host_name":"h","timestamp":5,"status":3,"message":"","tags":["a:b"]}]"#
        );
    }

    #[test]
    fn gauges_are_points_of_a_series() {
        let now = UNIX_EPOCH + Duration::from_secs(1_714_644_195);
        let tags = vec!["version:7.70.0".to_owned()];
        let gauge = Gauge::of_system("datadog.cluster_agent.running", 1.0, "h", tags, now);
        assert_eq!(
            text(&series(&[gauge]).payloads[0]),
            r#"{"series":[{"metric":"datadog.cluster_agent.running","points":[[1714644195,1.0]],"tags":["version:7.70.0"],"host":"h","type":"gauge","interval":0,"source_type_name":"System"}]}"#
        );
    }

    #[test]
    fn a_batch_is_split_below_the_limit_and_an_item_above_it_is_left_out() {
        let event = |size| Event { msg_text: "x".repeat(size), ..Event::default() };
        let many: Vec<Event> = (0..5).map(|_| event(1 << 20)).chain([event(LARGEST)]).collect();
        let batch = events(&many, "h");
        assert_eq!(batch.left_out, 1);
        let found: usize =
            batch.payloads.iter().map(|payload| text(payload).matches("msg_text").count()).sum();
        assert_eq!(found, 5);
        assert!(
            batch
                .payloads
                .iter()
                .all(|payload| text(payload).len() <= LARGEST && payload.compressed)
        );
    }
}
