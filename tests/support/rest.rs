//! A REST client for tests that speak to an API server themselves.

use std::io::{BufRead, BufReader};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, Method, Request};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Longer than any answer takes on a loaded machine, shorter than a test run's patience.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// More events than any test lets pile up.
const WATCH_LINES: usize = 10_000;

/// Sends requests with one token.
#[derive(Clone)]
pub struct Rest {
    base: String,
    token: String,
    authority: Option<String>,
    agent: Agent,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body as sent.
    pub text: String,
    /// The body parsed, null where it is no JSON.
    pub json: Value,
}

/// The lines of a watch, read by a thread.
pub struct Watching {
    /// The HTTP status; other than 200 there are no events.
    pub status: u16,
    lines: Receiver<String>,
    agent: Agent,
}

/// What a watch gave within the time that a test allowed.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// An event's type and object.
    Event(String, Value),
    /// The server ended the stream.
    End,
    /// Nothing.
    Silence,
}

impl Rest {
    /// A client of the server at `base` (scheme, host and port); `authority` is PEM.
    pub fn new(base: &str, token: &str, authority: Option<&str>) -> Self {
        Self {
            base: base.to_owned(),
            token: token.to_owned(),
            authority: authority.map(str::to_owned),
            agent: agent(authority),
        }
    }

    /// GET.
    pub fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None, "")
    }

    /// POST of an object.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, Some(body), "application/json")
    }

    /// PUT of an object.
    pub fn put(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PUT, path, Some(body), "application/json")
    }

    /// PATCH with a JSON merge patch.
    pub fn merge_patch(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PATCH, path, Some(body), "application/merge-patch+json")
    }

    /// DELETE, with options or without.
    pub fn delete(&self, path: &str, options: Option<&Value>) -> Reply {
        self.send(Method::DELETE, path, options, "application/json")
    }

    /// Opens a watch; the path holds its query.
    pub fn watch(&self, path: &str) -> Watching {
        // An agent of its own: dropping the watch shuts it down, which ends the reader.
        let agent = agent(self.authority.as_deref());
        let request = agent.get(format!("{}{path}", self.base));
        let answer = request.header("Authorization", format!("Bearer {}", self.token)).call();
        let answer = answer.unwrap_or_else(|error| panic!("watch {path}: {error}"));
        let status = answer.status().as_u16();
        let (sender, lines) = crossbeam_channel::bounded(WATCH_LINES);
        let reader = BufReader::new(answer.into_body().into_reader());
        let read = move || {
            for line in reader.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        };
        let spawned = thread::Builder::new().name("test-watch".to_owned()).spawn(read);
        drop(spawned.expect("the system has room for a thread"));
        Watching { status, lines, agent }
    }

    fn send(&self, method: Method, path: &str, body: Option<&Value>, kind: &str) -> Reply {
        let head = || {
            Request::builder()
                .method(method.clone())
                .uri(format!("{}{path}", self.base))
                .header("Authorization", format!("Bearer {}", self.token))
        };
        let answer = match body {
            Some(body) => {
                let request = head().header("Content-Type", kind).body(body.to_string());
                self.agent.run(request.expect("the test's path is a URL"))
            }
            None => self.agent.run(head().body(()).expect("the test's path is a URL")),
        };
        let mut answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text = answer.body_mut().with_config().limit(u64::MAX).read_to_string();
        let text = text.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        Reply {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            json: serde_json::from_str(&text).unwrap_or_default(),
            text,
        }
    }
}

impl Reply {
    /// The body, after the status was what the test expects.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json
    }
}

impl Watching {
    /// What comes within `limit`.
    pub fn hear(&self, limit: Duration) -> Heard {
        match self.lines.recv_timeout(limit) {
            Ok(line) => {
                let event: Value = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("{error} in watch line {line:?}"));
                let kind = event["type"].as_str().unwrap_or_default().to_owned();
                Heard::Event(kind, event["object"].clone())
            }
            Err(RecvTimeoutError::Timeout) => Heard::Silence,
            Err(RecvTimeoutError::Disconnected) => Heard::End,
        }
    }

    /// The next event.
    #[track_caller]
    pub fn event(&self) -> (String, Value) {
        match self.hear(ANSWER_LIMIT) {
            Heard::Event(kind, object) => (kind, object),
            other => panic!("instead of an event: {other:?}"),
        }
    }

    /// The next event that is no bookmark.
    #[track_caller]
    pub fn change(&self) -> (String, Value) {
        loop {
            let (kind, object) = self.event();
            if kind != "BOOKMARK" {
                return (kind, object);
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.agent.clone().shutdown();
    }
}

fn agent(authority: Option<&str>) -> Agent {
    let roots = authority.map(|pem| {
        let certificate = Certificate::from_pem(pem.as_bytes()).expect("the authority is PEM");
        RootCerts::new_with_certs(&[certificate])
    });
    let mut tls = TlsConfig::builder();
    if let Some(roots) = roots {
        tls = tls.root_certs(roots);
    }
    let config = Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .allow_non_standard_methods(true)
        .timeout_connect(Some(ANSWER_LIMIT))
        .timeout_recv_response(Some(ANSWER_LIMIT))
        .user_agent("cluster-agent-tests")
        .tls_config(tls.build());
    config.build().into()
}
