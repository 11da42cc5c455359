//! The health port: `/live`, `/ready`, `/startup`, and every other path as `/live` (spec events-and-leader §7).

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::{Probe, Registry};
use crate::http::message::{self, Request, Response};
use crate::retry::Throttle;

/// Answers probes from the registry: 200 when nothing is unhealthy, else 500, with the same body.
#[derive(Debug)]
pub struct Handler {
    registry: Registry,
    log: Mutex<Throttle>,
}

impl Handler {
    /// A handler that asks `registry`.
    pub fn new(registry: Registry) -> Self {
        Self { registry, log: Mutex::default() }
    }
}

impl crate::http::Handler for Handler {
    fn handle(&self, request: &Request) -> Response {
        let probe = match request.path() {
            "/ready" => Probe::Ready,
            "/startup" => Probe::Startup,
            _ => Probe::Live,
        };
        let now = Instant::now();
        let report = self.registry.report(probe, now);
        if report.is_healthy() {
            return message::json(200, &report);
        }
        let admitted = self.log.lock().unwrap_or_else(PoisonError::into_inner).admit(now);
        if admitted.is_some() {
            log::info!("Healthcheck failed on: [{}]", report.unhealthy.join(" "));
        }
        message::json(500, &report)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tiny_http::Method;

    use super::*;
    use crate::http::Handler as _;

    fn answer(registry: &Registry, target: &str) -> (u16, String) {
        let request = Request {
            method: Method::Get,
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            peer: ([127, 0, 0, 1], 1).into(),
            certificate: None,
        };
        let response = Handler::new(registry.clone()).handle(&request);
        let status = response.status_code().0;
        let mut body = String::new();
        response.into_reader().read_to_string(&mut body).expect("the body is text in memory");
        (status, body)
    }

    #[test]
    fn each_path_asks_its_own_probe_and_unknown_paths_ask_for_life() {
        let registry = Registry::default();
        let watch = registry.heartbeat("watch");
        watch.beat(Instant::now());
        registry.set_condition("metadata-sync", Probe::Ready, false);
        registry.set_condition("api", Probe::Startup, true);
        let unready = r#"{"Healthy":["watch"],"Unhealthy":["metadata-sync"]}"#;
        assert_eq!(answer(&registry, "/ready"), (500, unready.to_owned()));
        let started = r#"{"Healthy":["api"],"Unhealthy":[]}"#;
        assert_eq!(answer(&registry, "/startup?verbose"), (200, started.to_owned()));
        for path in ["/live", "/", "/anything/else"] {
            assert_eq!(answer(&registry, path).0, 200, "{path}");
        }
    }
}
