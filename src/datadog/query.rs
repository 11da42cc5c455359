//! The query API of one endpoint: request, retries, errors, rate limits (spec external-metrics §11.3).
//!
//! A request has 10 s for each attempt and is repeated within 3 s. An endpoint that says 429 is left alone until the
//! limit is reset, one that does not accept the keys for five minutes. Keys stand in headers and in no text.

use std::time::{Duration, Instant, SystemTime};

use ureq::http::{HeaderMap, StatusCode};
use ureq::{Agent, Body, http::Response};

use super::agent;
use super::answer::{self, Failure, Series};
use crate::config::url::Url;
use crate::config::{Config, FallbackEndpoint};
use crate::http::message::percent_encoded;
use crate::retry::Random;
use crate::secret::Secret;
use crate::sync::Stop;
use crate::telemetry;

/// One attempt, from the name look-up to the last byte.
const ATTEMPT: Duration = Duration::from_secs(10);

/// No attempt is begun later than this after the first one.
const RETRIES: Duration = Duration::from_secs(3);

/// Pause before the second attempt; each further one is half as long again, all ± 50 %.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest time that a rate limit is believed.
const LONGEST_HOLD: Duration = Duration::from_secs(600);

/// How long an endpoint that refuses the keys is left alone.
const REFUSED_HOLD: Duration = Duration::from_secs(300);

/// A day of points every 30 s for 35 queries is 35 × 2,880 × 30 bytes, 3 MiB.
const BODY_LIMIT: u64 = 16 << 20;

/// What is kept of the body of an error.
const EXCERPT: usize = 512;

/// The label of telemetry that only the leader has.
const LEADER: &str = "true";

/// Path of the API, also the label of its rate limits.
const PATH: &str = "/api/v1/query";

/// Asks one endpoint.
pub struct QueryClient {
    base: String,
    agent: Agent,
    api_key: Secret,
    application_key: Secret,
    window: Duration,
    held: Option<Hold>,
    random: Random,
    telemetry: telemetry::Registry,
    stop: Stop,
}

/// The endpoint must not be asked for a while.
struct Hold {
    until: Instant,
    reason: String,
}

/// Why one attempt failed.
enum Attempt {
    /// Another may succeed.
    Again(String),
    /// Another would not.
    Final(Failure),
}

impl QueryClient {
    /// The client of `endpoint`.
    ///
    /// # Errors
    /// When the endpoint, the proxy or the trusted roots cannot be used, in one sentence.
    pub fn new(
        config: &Config,
        endpoint: &FallbackEndpoint,
        telemetry: &telemetry::Registry,
        stop: &Stop,
    ) -> Result<Self, String> {
        let target = Url::parse(&endpoint.url)
            .map_err(|problem| format!("external_metrics_provider.endpoint {problem}"))?;
        let agent =
            agent::make(&target, &config.proxy, &config.tls).map_err(|error| error.to_string())?;
        let trimmed = |key: &Secret| Secret::new(key.expose().trim());
        Ok(Self {
            base: endpoint.url.clone(),
            agent,
            api_key: trimmed(&endpoint.api_key),
            application_key: trimmed(&endpoint.application_key),
            window: config.external_metrics.bucket_size,
            held: None,
            random: Random::from_entropy(),
            telemetry: telemetry.clone(),
            stop: stop.clone(),
        })
    }

    /// The endpoint's base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The series of each query, in their order.
    ///
    /// # Errors
    /// Why there are none.
    pub fn query(&mut self, queries: &[String]) -> Result<Vec<Vec<Series>>, Failure> {
        if self.api_key.is_empty() || self.application_key.is_empty() {
            let reason =
                "missing the api/app key pair to query Datadog; set app_key to an application key";
            return Err(Failure::Refused(reason.to_owned()));
        }
        if let Some(hold) = &self.held {
            let left = hold.until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                let reason = format!("{}, asking again in {} s", hold.reason, left.as_secs());
                return Err(Failure::Refused(reason));
            }
            self.held = None;
        }
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let reason = match self.attempt(queries) {
                Ok(answer) => return Ok(answer),
                Err(Attempt::Final(failure)) => return Err(failure),
                Err(Attempt::Again(reason)) => reason,
            };
            let jittered = pause / 2 + self.random.up_to(pause);
            pause = pause * 3 / 2;
            if begun.elapsed() + jittered > RETRIES || self.stop.wait(jittered) {
                return Err(Failure::Unanswered(reason));
            }
        }
    }

    fn attempt(&mut self, queries: &[String]) -> Result<Vec<Vec<Series>>, Attempt> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let url = format!(
            "{}{PATH}?from={}&query={}&to={}",
            self.base,
            now.saturating_sub(self.window).as_secs(),
            percent_encoded(&queries.join(",")),
            now.as_secs()
        );
        let request = self.agent.get(url).header("Accept", "application/json");
        let request = request
            .header("DD-API-KEY", self.api_key.expose())
            .header("DD-APPLICATION-KEY", self.application_key.expose())
            .header("User-Agent", "Datadog-Cluster-Agent");
        let sent = request.config().timeout_global(Some(ATTEMPT)).build().call();
        let read = sent.and_then(|mut response| {
            let body = response.body_mut().with_config().limit(BODY_LIMIT).read_to_vec()?;
            Ok((response, body))
        });
        match read {
            Ok((response, body)) => self.judge(&response, &body, queries.len()),
            Err(error) => {
                self.count("unknown_error");
                Err(Attempt::Again(self.redacted(&error.to_string())))
            }
        }
    }

    fn judge(
        &mut self,
        response: &Response<Body>,
        body: &[u8],
        count: usize,
    ) -> Result<Vec<Vec<Series>>, Attempt> {
        let status = response.status();
        if status.is_success() {
            self.note_rate_limits(response.headers());
            let sorted = answer::sort(body, count);
            self.count(if sorted.is_ok() { "success" } else { "response_error" });
            return sorted.map_err(|failure| {
                Attempt::Final(match failure {
                    Failure::Rejected(reason) => Failure::Rejected(self.redacted(&reason)),
                    other => other,
                })
            });
        }
        self.count(class(status));
        if !status.is_client_error() {
            return Err(Attempt::Again(format!("Received HTTP status code {}", status.as_u16())));
        }
        let reason = status.canonical_reason().unwrap_or_default();
        let body = String::from_utf8_lossy(body);
        let body: String = body.trim().chars().take(EXCERPT).collect();
        let text = self.redacted(&format!("API error {} {reason}: {body}", status.as_u16()));
        Err(Attempt::Final(match status {
            StatusCode::TOO_MANY_REQUESTS => {
                self.note_rate_limits(response.headers());
                let pause = hold_of(response.headers());
                self.hold(pause, text)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.hold(
                REFUSED_HOLD,
                format!(
                    "{text}; check the API key and the application key (app_key), and that the application key may \
                     read time series"
                ),
            ),
            _ => Failure::Rejected(text),
        }))
    }

    fn hold(&mut self, pause: Duration, reason: String) -> Failure {
        self.held = Some(Hold { until: Instant::now() + pause, reason: reason.clone() });
        Failure::Refused(reason)
    }

    fn count(&self, status: &str) {
        let requests = self.telemetry.counter(
            "datadog_requests",
            "Requests to the query API",
            &["join_leader", "status"],
        );
        requests.increment(&[LEADER, status]);
    }

    fn note_rate_limits(&self, headers: &HeaderMap) {
        const GAUGES: [(&str, &str, &str); 4] = [
            ("rate_limit_queries_limit", "X-RateLimit-Limit", "Queries in one period"),
            ("rate_limit_queries_period", "X-RateLimit-Period", "Seconds of one period"),
            ("rate_limit_queries_remaining", "X-RateLimit-Remaining", "Queries left"),
            ("rate_limit_queries_reset", "X-RateLimit-Reset", "Seconds until the next period"),
        ];
        for (name, header, help) in GAUGES {
            if let Some(number) = number(headers, header) {
                let gauge = self.telemetry.gauge(name, help, &["endpoint", "join_leader"]);
                gauge.set(&[PATH, LEADER], number);
            }
        }
    }

    /// The text without the keys, should a server or the library repeat them.
    fn redacted(&self, text: &str) -> String {
        let without = text.replace(self.api_key.expose(), "redacted");
        without.replace(self.application_key.expose(), "redacted")
    }
}

fn class(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::UNPROCESSABLE_ENTITY => "unprocessable_entity_error",
        _ => "other_http_error",
    }
}

/// How long a 429 wants to be heeded.
fn hold_of(headers: &HeaderMap) -> Duration {
    let named = ["Retry-After", "X-RateLimit-Reset"];
    let seconds = named.iter().filter_map(|name| number(headers, name)).fold(0.0, f64::max);
    if seconds <= 0.0 {
        return Duration::from_secs(60);
    }
    Duration::from_secs_f64(seconds.min(LONGEST_HOLD.as_secs_f64()))
}

fn number(headers: &HeaderMap, name: &str) -> Option<f64> {
    let number: f64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const API_KEY: &str = "0123456789abcdef0123456789abcdef";
    const APPLICATION_KEY: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678";
    const SERIES: &str = r#"{"status":"ok","series":[{"query_index":0,"pointlist":[[1000,5]]}]}"#;

    type Answer = Result<Vec<Vec<Series>>, Failure>;

    /// Asks a server that gives these answers in turn, `times` times; the number of requests and the results.
    fn ask(answers: &'static [(u16, &'static str)], times: usize) -> (usize, Vec<Answer>) {
        let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").expect("a port is free"));
        let requests = Arc::new(AtomicUsize::new(0));
        let (serving, counted) = (server.clone(), requests.clone());
        let thread = std::thread::spawn(move || {
            for request in serving.incoming_requests() {
                let (status, body) = answers[counted.fetch_add(1, Ordering::SeqCst)];
                let reset = crate::http::message::header("X-RateLimit-Reset", "20");
                let answer = tiny_http::Response::from_string(body).with_header(reset);
                let _ = request.respond(answer.with_status_code(status));
            }
        });
        let endpoint = FallbackEndpoint {
            url: format!("http://{}", server.server_addr()),
            api_key: Secret::new(API_KEY),
            application_key: Secret::new(APPLICATION_KEY),
        };
        let (_source, stop) = Stop::new();
        let telemetry = telemetry::Registry::default();
        let mut client = QueryClient::new(&Config::default(), &endpoint, &telemetry, &stop)
            .expect("the endpoint is usable");
        let queries = ["avg:a{*}.rollup(30)".to_owned()];
        let results = (0..times).map(|_| client.query(&queries)).collect();
        server.unblock();
        thread.join().expect("the server does not panic");
        (requests.load(Ordering::SeqCst), results)
    }

    #[test]
    fn a_server_that_recovers_within_the_retries_is_a_success() {
        let (requests, results) = ask(&[(503, ""), (503, ""), (200, SERIES)], 1);
        assert_eq!(requests, 3);
        assert_eq!(results[0].as_ref().map(|answers| answers[0].len()), Ok(1));
    }

    #[test]
    fn a_rate_limit_is_heeded_without_asking_again() {
        let (requests, results) = ask(&[(429, "slow down")], 2);
        assert_eq!(requests, 1);
        let reason = "API error 429 Too Many Requests: slow down";
        assert_eq!(results[0], Err(Failure::Refused(reason.to_owned())));
        assert!(matches!(&results[1], Err(Failure::Refused(text)) if text.contains("again in")));
    }

    #[test]
    fn refused_keys_are_explained_and_never_shown() {
        let (requests, results) =
            ask(&[(403, "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678 has no rights")], 2);
        assert_eq!(requests, 1);
        let Err(Failure::Refused(text)) = &results[0] else { panic!("{results:?}") };
        assert!(text.starts_with("API error 403 Forbidden: redacted has no rights"), "{text}");
        assert!(text.contains("application key"), "{text}");
    }

    #[test]
    fn a_rejected_query_is_not_repeated() {
        let (requests, results) = ask(&[(400, "bad query")], 1);
        assert_eq!(requests, 1);
        assert!(matches!(results[0], Err(Failure::Rejected(_))));
    }
}
