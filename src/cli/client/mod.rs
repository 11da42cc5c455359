//! Asks the running agent of the same pod (spec cli §2).
//!
//! The connection goes to 127.0.0.1, then ::1, without asking a name server and never through a proxy. The server is
//! trusted when it shows exactly the certificate in its certificate file; where there is no such file, anything on
//! loopback is. The token is read from the first file that the server would have written it to.

mod error;
mod loopback;
mod token;

use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{Method, Request};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;

pub(super) use error::{Error, Refusal};

use crate::config::Config;
use crate::secret::Secret;
use loopback::Loopback;

/// Longest wait for a connection: the peer is on this host.
const CONNECT: Duration = Duration::from_secs(2);

/// Longest wait for a whole answer, unless the caller says otherwise.
const TOTAL: Duration = Duration::from_secs(30);

/// The same for an archive (spec cli §2).
const FLARE: Duration = Duration::from_secs(600);

/// Largest answer: the map of all pods of a cluster of 10,000 nodes, 110 pods each, is about 60 MB.
const LARGEST_ANSWER: u64 = 128 << 20;

/// The connection to the running agent.
pub(super) struct Client {
    agent: Agent,
    port: u16,
    token: Secret,
}

/// What is asked.
enum Question<'a> {
    Get,
    /// A form with the one field `value`.
    Post(&'a str),
    /// Nothing but the question.
    PostNull,
}

impl Client {
    /// A client for the agent that runs with this configuration.
    ///
    /// # Errors
    /// When there is no token, or the certificate file holds none.
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let found = token::find(config)?;
        let tls = match &found.certificate {
            Some(file) if file.exists() => {
                let certificate = certificate(file)?;
                TlsConfig::builder().root_certs(RootCerts::from(vec![certificate])).build()
            }
            // Only loopback addresses are ever dialled.
            _ => TlsConfig::builder().disable_verification(true).build(),
        };
        let port = config.listeners.command_port;
        Ok(Self { agent: agent(tls, TOTAL), port, token: found.token })
    }

    /// The body of a `GET`.
    pub(super) fn get(&self, path: &str) -> Result<String, Error> {
        self.ask(path, &Question::Get, TOTAL)
    }

    /// The body of a `GET` that must be there within `limit`.
    pub(super) fn get_within(&self, path: &str, limit: Duration) -> Result<String, Error> {
        self.ask(path, &Question::Get, limit)
    }

    /// Sends the form field `value`.
    pub(super) fn post_value(&self, path: &str, value: &str) -> Result<String, Error> {
        self.ask(path, &Question::Post(value), TOTAL)
    }

    /// What the agent answers when it is asked for an archive, `path` being one of those questions.
    pub(super) fn post_flare(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.ask_bytes(path, &Question::PostNull, FLARE)
    }

    fn ask(&self, path: &str, question: &Question<'_>, limit: Duration) -> Result<String, Error> {
        self.ask_bytes(path, question, limit).map(text)
    }

    fn ask_bytes(
        &self,
        path: &str,
        question: &Question<'_>,
        limit: Duration,
    ) -> Result<Vec<u8>, Error> {
        let url = format!("https://localhost:{}{path}", self.port);
        let authorization = format!("Bearer {}", self.token.expose());
        let (method, content_type, body) = match question {
            Question::Get => (Method::GET, "application/json", String::new()),
            Question::Post(value) => {
                let body = format!("value={}", percent_encoded(value));
                (Method::POST, "application/x-www-form-urlencoded", body)
            }
            Question::PostNull => (Method::POST, "application/json", "null".to_owned()),
        };
        let request = Request::builder()
            .method(method)
            .uri(&url)
            .header("Authorization", authorization)
            .header("Content-Type", content_type);
        send(&self.agent, request, body, &url, self.port, limit)
    }
}

/// The metrics of the telemetry port, which wants no token.
pub(super) fn metrics(port: u16) -> Result<String, Error> {
    let url = format!("http://localhost:{port}/metrics");
    let agent = agent(TlsConfig::default(), TOTAL);
    send(&agent, Request::get(&url), String::new(), &url, port, TOTAL).map(text)
}

/// An answer for people: what is no UTF-8 in it becomes replacement characters.
fn text(answer: Vec<u8>) -> String {
    String::from_utf8(answer)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Text as it may stand in a path segment or a form value.
pub(super) fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn agent(tls: TlsConfig, total: Duration) -> Agent {
    let config = Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .tls_config(tls)
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(total))
        .build();
    Agent::with_parts(config, DefaultConnector::default(), Loopback)
}

fn send(
    agent: &Agent,
    request: ureq::http::request::Builder,
    body: String,
    url: &str,
    port: u16,
    limit: Duration,
) -> Result<Vec<u8>, Error> {
    let method = request.method_ref().cloned().unwrap_or_default();
    let failed = |cause| Error::unreachable(method.as_str(), url, port, cause);
    let answer = if method == Method::POST {
        let request = request.body(body).map_err(|error| failed(error.into()))?;
        agent.run(agent.configure_request(request).timeout_global(Some(limit)).build())
    } else {
        let request = request.body(()).map_err(|error| failed(error.into()))?;
        agent.run(agent.configure_request(request).timeout_global(Some(limit)).build())
    };
    let answer = answer.map_err(failed)?;
    let status = answer.status().as_u16();
    let body = answer
        .into_body()
        .into_with_config()
        .limit(LARGEST_ANSWER)
        .read_to_vec()
        .map_err(failed)?;
    if status >= 400 {
        return Err(Error::Refused(Refusal { status, body: text(body) }));
    }
    Ok(body)
}

/// The first certificate of a PEM file that also holds the key.
fn certificate(file: &Path) -> Result<Certificate<'static>, Error> {
    let text = std::fs::read(file).map_err(|error| Error::certificate(file, error.to_string()))?;
    let certificate = parse_pem(&text).find_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    certificate.ok_or_else(|| Error::certificate(file, "it holds no certificate".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_unreserved_characters_are_encoded() {
        assert_eq!(percent_encoded("a b&c=ö/~"), "a%20b%26c%3D%C3%B6%2F~");
    }
}
