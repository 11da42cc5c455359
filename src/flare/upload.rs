//! Sends an archive to support: where to, in which form, how often, and what the answer means (spec cli §7.4).
//!
//! A `HEAD` follows redirects to find the address, a `POST` to exactly that address carries the archive in chunks. Each
//! is tried up to [`ATTEMPTS`] times when the network or the server fails. The key goes in a header and with the `POST`
//! alone: addresses end up in the logs of proxies.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body, ResponseExt, SendBody};

use crate::config::Config;
use crate::config::url::Url;
use crate::datadog::agent;
use crate::version;

/// How often a request is tried in all.
const ATTEMPTS: u32 = 3;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Longest silence of the peer, in either direction; a slow link may take as long as it moves.
const IDLE: Duration = Duration::from_secs(60);

/// As many redirects as browsers follow at least.
const REDIRECTS: u32 = 10;

/// Bytes of an answer that are read: a short document.
const LARGEST_ANSWER: u64 = 64 << 10;

/// Bytes of an answer that cannot be understood which are shown.
const SHOWN: usize = 150;

/// Separates the parts of the form; long enough not to occur in an archive by chance.
const BOUNDARY: &str = "7d4a6d158c9e4b0f-cluster-agent-flare-3f1b2a6c0e9d";

/// What is sent, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    /// The archive.
    pub archive: &'a Path,
    /// The support case, when there is one already.
    pub case: Option<&'a str>,
    /// The address that answers go to; may be empty.
    pub email: &'a str,
    /// The replica's name.
    pub hostname: &'a str,
}

/// Why an archive was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is said on standard output, beside the error.
    pub advice: Option<String>,
    /// The error.
    pub error: String,
}

/// An attempt that came to nothing.
enum Attempt {
    /// The next one may go better.
    Again(String),
    /// None will.
    Never(Failure),
}

/// What support answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    case_id: i64,
    #[serde(default)]
    error: String,
}

/// Sends the archive and gives the sentence for the user.
///
/// # Errors
/// See [`Failure`].
pub fn send(config: &Config, sending: &Sending<'_>) -> Result<String, Failure> {
    let url = address(config, sending.case);
    let first = agent(config, &url)?;
    let target = repeated(|| resolve(&first, &url))?;
    let agent = agent(config, &target)?;
    let answer = repeated(|| post(config, &agent, &target, sending))?;
    understood(config, answer)
}

/// The client for this address: the proxy depends on it.
fn agent(config: &Config, url: &str) -> Result<Agent, Failure> {
    let failed = |error: String| Failure { advice: None, error };
    let target =
        Url::parse(url).map_err(|problem| failed(format!("the flare's address {problem}")))?;
    agent::make(&target, &config.proxy, &config.tls).map_err(|error| failed(error.to_string()))
}

/// Where archives for this account go.
fn address(config: &Config, case: Option<&str>) -> String {
    let base = match &config.datadog.url {
        Some(url) => url.clone(),
        None => format!("https://app.{}", config.datadog.site),
    };
    let base = match Url::parse(&base) {
        Ok(url) => match flare_host(&url.host) {
            Some(host) => base.replacen(&url.host, &host, 1),
            None => base,
        },
        Err(_) => base,
    };
    let case = case.map_or(String::new(), |case| format!("/{case}"));
    format!("{}/support/flare{case}", base.trim_end_matches('/'))
}

/// The host that takes archives, for a host of Datadog's own: `app`, maybe a region, and a known domain.
fn flare_host(host: &str) -> Option<String> {
    let rest = host.strip_prefix("app.")?;
    let domain = ["datadoghq.com", "datadoghq.eu", "datad0g.com", "datad0g.eu", "ddog-gov.com"];
    let region = domain.iter().find_map(|domain| rest.strip_suffix(domain))?;
    let region = region.strip_suffix('.').unwrap_or(region);
    let is_region = region.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let version = version::number().replace('.', "-");
    is_region.then(|| format!("{version}-flare.agent.{rest}"))
}

fn repeated<T>(mut attempt: impl FnMut() -> Result<T, Attempt>) -> Result<T, Failure> {
    for number in 1.. {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(Attempt::Never(failure)) => return Err(failure),
            Err(Attempt::Again(error)) if number >= ATTEMPTS => {
                let error = format!("failed to send flare after {ATTEMPTS} attempts: {error}");
                return Err(Failure { advice: None, error });
            }
            Err(Attempt::Again(error)) => {
                log::warn!("cannot send the flare yet: {error}");
                thread::sleep(PAUSE);
            }
        }
    }
    unreachable!("the last attempt returns")
}

/// The address at the end of the redirects.
fn resolve(agent: &Agent, url: &str) -> Result<String, Attempt> {
    let request = agent
        .head(url)
        .config()
        .max_redirects(REDIRECTS)
        .http_status_as_error(false)
        .timeout_per_read(Some(IDLE))
        .timeout_per_write(Some(IDLE));
    let answer = request.build().call().map_err(broken)?;
    match answer.status() {
        StatusCode::OK | StatusCode::NOT_FOUND => Ok(answer.get_uri().to_string()),
        status if status.is_server_error() => Err(Attempt::Again(format!("{url}: {status}"))),
        status => {
            let error =
                format!("We couldn't reach the flare backend {url} via redirects: {status}");
            Err(Attempt::Never(Failure { advice: None, error }))
        }
    }
}

fn post(
    config: &Config,
    agent: &Agent,
    url: &str,
    sending: &Sending<'_>,
) -> Result<Response<Body>, Attempt> {
    let archive = File::open(sending.archive).map_err(|error| {
        let error = format!("cannot read {}: {error}", sending.archive.display());
        Attempt::Never(Failure { advice: None, error })
    })?;
    let (before, after) = form(sending);
    let mut body = Cursor::new(before).chain(archive).chain(Cursor::new(after));
    let request = agent
        .post(url)
        .header("DD-API-KEY", config.datadog.api_key.expose())
        .header("Content-Type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .config()
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_per_read(Some(IDLE))
        .timeout_per_write(Some(IDLE));
    // A reader has no length: the body goes out in chunks.
    let answer = request.build().send(SendBody::from_reader(&mut body)).map_err(broken)?;
    if answer.status().is_server_error() {
        return Err(Attempt::Again(format!("{url}: {}", answer.status())));
    }
    Ok(answer)
}

/// What stands before and after the archive.
fn form(sending: &Sending<'_>) -> (Vec<u8>, Vec<u8>) {
    let field = |name: &str, value: &str| {
        let value = value.replace(['\r', '\n'], " ");
        format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    let mut before = String::new();
    if let Some(case) = sending.case {
        before.push_str(&field("case_id", case));
    }
    if !sending.email.is_empty() {
        before.push_str(&field("email", sending.email));
    }
    before.push_str(&field("source", "local"));
    let name = sending.archive.file_name().unwrap_or_default().to_string_lossy();
    before.push_str(&format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"flare_file\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    ));
    let version = format!("{}+{}", version::number(), version::META);
    let after = format!(
        "\r\n{}{}--{BOUNDARY}--\r\n",
        field("agent_version", &version),
        field("hostname", sending.hostname)
    );
    (before.into_bytes(), after.into_bytes())
}

/// Whether another attempt may help: the network failed, as opposed to the request being impossible.
fn broken(error: ureq::Error) -> Attempt {
    let transient = match &error {
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => true,
        ureq::Error::Io(error) => error.kind() != io::ErrorKind::InvalidData,
        _ => false,
    };
    let text = error.to_string();
    if transient {
        Attempt::Again(text)
    } else {
        Attempt::Never(Failure { advice: None, error: text })
    }
}

fn understood(config: &Config, answer: Response<Body>) -> Result<String, Failure> {
    let status = answer.status();
    if status == StatusCode::FORBIDDEN {
        let key = config.datadog.api_key.expose();
        let error = match key.char_indices().rev().nth(4) {
            Some((tail, _)) => format!(
                "HTTP 403 Forbidden: Make sure your API key is valid. API Key ending with: {}",
                &key[tail..]
            ),
            None => {
                "HTTP 403 Forbidden: Make sure your API key is valid. API key is missing".to_owned()
            }
        };
        return Err(Failure { advice: None, error });
    }
    let content_type = answer.headers().get("Content-Type").and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let body = answer
        .into_body()
        .into_with_config()
        .limit(LARGEST_ANSWER)
        .lossy_utf8(true)
        .read_to_string()
        .unwrap_or_default();
    let problem = if !content_type.starts_with("application/json") {
        format!("the server answered {status} with content type \"{content_type}\"")
    } else if status != StatusCode::OK {
        format!("the server answered {status}")
    } else {
        match serde_json::from_str::<Answer>(&body) {
            Ok(Answer { case_id, error }) if error.is_empty() => {
                return Ok(format!(
                    "Your logs were successfully uploaded. For future reference, your internal case id is {case_id}"
                ));
            }
            Ok(Answer { error, .. }) => {
                let error = format!(
                    "An error occurred while uploading the flare: {error}. Please contact support by email."
                );
                return Err(Failure { advice: None, error });
            }
            Err(error) => error.to_string(),
        }
    };
    let shown = &body[..body.floor_char_boundary(SHOWN)];
    Err(Failure {
        advice: Some(
            "Error: could not deserialize response body -- Please contact support by email."
                .to_owned(),
        ),
        error: format!("{problem}\nServer returned:\n{shown}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};

    fn configured(variables: &[(&str, &str)]) -> Config {
        let sources = Sources::new(variables.iter().copied());
        config::load_for_command(&sources).expect("the values are valid").config
    }

    #[test]
    fn only_hosts_of_datadogs_own_are_replaced() {
        for (variable, value, expected) in [
            ("DD_SITE", "datadoghq.com", "https://7-70-0-flare.agent.datadoghq.com/support/flare"),
            (
                "DD_SITE",
                "us3.datadoghq.com",
                "https://7-70-0-flare.agent.us3.datadoghq.com/support/flare",
            ),
            ("DD_SITE", "datadoghq.eu", "https://7-70-0-flare.agent.datadoghq.eu/support/flare"),
            ("DD_SITE", "ddog-gov.com", "https://7-70-0-flare.agent.ddog-gov.com/support/flare"),
            ("DD_SITE", "a.b.datadoghq.com", "https://app.a.b.datadoghq.com/support/flare"),
            ("DD_SITE", "example.test", "https://app.example.test/support/flare"),
            ("DD_DD_URL", "http://relay.test:8080/", "http://relay.test:8080/support/flare"),
        ] {
            assert_eq!(address(&configured(&[(variable, value)]), None), expected);
        }
        let config = configured(&[("DD_DD_URL", "http://relay.test")]);
        assert_eq!(address(&config, Some("123")), "http://relay.test/support/flare/123");
    }

    #[test]
    fn parts_come_in_order_and_an_address_cannot_add_one() {
        let sending = Sending {
            archive: Path::new("/tmp/a.zip"),
            case: Some("7"),
            email: "a@b.c\r\n--x",
            hostname: "node",
        };
        let (before, after) = form(&sending);
        let text =
            String::from_utf8(before).expect("it is text") + &String::from_utf8_lossy(&after);
        let names: Vec<&str> = text
            .split("name=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .filter(|name| *name != "a.zip")
            .collect();
        assert_eq!(
            names,
            ["case_id", "email", "source", "flare_file", "agent_version", "hostname"]
        );
        assert!(text.contains("a@b.c  --x"), "{text}");
    }
}
