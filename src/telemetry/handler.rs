//! The telemetry port: `/metrics` and `/debug/vars` (spec events-and-leader §8).

use serde::Serialize;

use super::{Registry, process};
use crate::http::message::{self, Request, Response};

/// Answers scrapes from the registry, without authentication and for any method, as upstream does.
#[derive(Clone, Debug)]
pub struct Handler {
    registry: Registry,
}

/// The one variable of Go's expvar page that exists here; memory statistics of a Go runtime do not.
#[derive(Serialize)]
struct Variables {
    cmdline: Vec<String>,
}

impl Handler {
    /// A handler that shows `registry`.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

impl crate::http::Handler for Handler {
    fn handle(&self, request: &Request) -> Response {
        match request.segments().iter().map(AsRef::as_ref).collect::<Vec<_>>()[..] {
            ["metrics"] => {
                let text = self.registry.render() + &process::render();
                let content_type = "text/plain; version=0.0.4; charset=utf-8";
                message::owned(200, content_type, text.into_bytes())
            }
            ["debug", "vars"] => {
                let cmdline = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
                message::json(200, &Variables { cmdline: cmdline.collect() })
            }
            _ => message::text(404, "404 page not found"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tiny_http::Method;

    use super::*;
    use crate::http::Handler as _;

    fn answer(target: &str) -> (u16, String) {
        let registry = Registry::default();
        registry.counter("api_requests", "Requests answered", &[]).increment(&[]);
        let request = Request {
            method: Method::Get,
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            peer: ([127, 0, 0, 1], 1).into(),
            certificate: None,
        };
        let response = Handler::new(registry).handle(&request);
        let status = response.status_code().0;
        let mut body = String::new();
        response.into_reader().read_to_string(&mut body).expect("the body is text in memory");
        (status, body)
    }

    #[test]
    fn metrics_show_the_registry_and_the_process() {
        let (status, body) = answer("/metrics");
        assert_eq!(status, 200);
        assert!(body.contains("\napi_requests 1\n"), "{body}");
        assert!(body.contains("\n# TYPE process_resident_memory_bytes gauge\n"), "{body}");
    }

    #[test]
    fn variables_are_json_and_other_paths_are_unknown() {
        let (status, body) = answer("/debug/vars");
        assert_eq!(status, 200);
        assert!(body.starts_with("{\"cmdline\":["), "{body}");
        assert_eq!(answer("/"), (404, "404 page not found\n".to_owned()));
    }
}
