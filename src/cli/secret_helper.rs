//! `secret-helper read`: resolves secrets for a program that speaks upstream's protocol on standard input and output
//! (spec cli §11); `/readsecret.sh` and `/readsecret_multiple_providers.sh` in the image are this command.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::Command;
use super::arguments::{Flag, UsageError};
use super::error::Error;
use super::session::Session;
use crate::daemon::kubernetes;
use crate::kube::{Client, Target};
use crate::sync::Stop;

pub(super) const COMMAND: Command = Command {
    name: "secret-helper",
    alias: None,
    operands: "read [directory]",
    summary: "Resolve the secrets listed on standard input",
    flags: &[Flag {
        short: &[],
        long: "with-provider-prefixes",
        value: None,
        summary: "take file@/path and k8s_secret@namespace/name/key",
    }],
    run,
};

/// Bytes of a secret in a file.
const LARGEST: u64 = 8192;

/// Bytes of the question: a thousand names.
const LARGEST_QUESTION: u64 = 1 << 20;

/// How long the API server may take for one secret.
const PATIENCE: Duration = Duration::from_secs(10);

/// The major version of the protocol.
const MAJOR: &str = "1";

#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    version: String,
    #[serde(default)]
    secrets: Vec<String>,
}

#[derive(Default, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

#[derive(Deserialize)]
struct KubernetesSecret {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

fn run(session: &mut Session<'_>) -> Result<(), Error> {
    let operands = std::mem::take(&mut session.options.operands);
    let directory = match operands.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["read"] => None,
        ["read", directory, ..] => Some(Path::new(directory)),
        [other, ..] => {
            let program = format!("{} secret-helper", session.program);
            return Err(UsageError::UnknownCommand { name: other.to_owned(), program }.into());
        }
        [] => return Err(Error::Operands("secret-helper needs the word read")),
    };
    let prefixes = session.options.has("with-provider-prefixes");
    if directory.is_none() && !prefixes {
        return Err(Error::Operands("secret-helper read needs the directory of the secrets"));
    }
    let mut input = String::new();
    io::stdin()
        .lock()
        .take(LARGEST_QUESTION)
        .read_to_string(&mut input)
        .map_err(|error| Error::Secrets(format!("cannot read standard input: {error}")))?;
    let secrets = asked(&input).map_err(Error::Secrets)?;
    let answers: BTreeMap<String, Answer> = secrets
        .into_iter()
        .map(|id| {
            let found = if prefixes {
                with_prefix(session, &id, directory)
            } else {
                in_directory(directory, &id)
            };
            let answer = match found {
                Ok(value) => Answer { value, ..Answer::default() },
                Err(error) => Answer { error, ..Answer::default() },
            };
            (id, answer)
        })
        .collect();
    let text = serde_json::to_string(&answers).map_err(Error::Answer)?;
    Ok(session.out.write_all(text.as_bytes())?)
}

/// The names of the secrets that are wanted.
fn asked(input: &str) -> Result<Vec<String>, String> {
    let question: Question = serde_json::from_str(input)
        .map_err(|error| format!("failed to unmarshal json input: {error}"))?;
    if question.version.split('.').next() != Some(MAJOR) {
        return Err(format!("incompatible protocol version {:?}", question.version));
    }
    if question.secrets.is_empty() {
        return Err("no secrets listed in input".to_owned());
    }
    Ok(question.secrets)
}

fn with_prefix(
    session: &Session<'_>,
    id: &str,
    directory: Option<&Path>,
) -> Result<String, String> {
    match id.split_once('@') {
        None => in_directory(directory, id),
        Some(("file", path)) => {
            let path = Path::new(path);
            in_file(path, path.parent().unwrap_or(Path::new("/")))
        }
        Some(("k8s_secret", path)) => in_kubernetes(session, path),
        Some((provider, _)) => Err(format!("provider not supported: {provider}")),
    }
}

fn in_directory(directory: Option<&Path>, id: &str) -> Result<String, String> {
    let directory = directory.ok_or("there is no directory for secrets without a provider")?;
    in_file(&directory.join(id), directory)
}

/// The content of a file that is really in `directory`: a link may lead to another file there, as in a mounted Secret,
/// but not out of it.
fn in_file(path: &Path, directory: &Path) -> Result<String, String> {
    let problem = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "secret does not exist".to_owned(),
        _ => error.to_string(),
    };
    let real = fs::canonicalize(path).map_err(problem)?;
    let directory = fs::canonicalize(directory).map_err(problem)?;
    if !real.starts_with(&directory) {
        return Err(format!(
            "not following symlink {:?} outside of {:?}",
            real.display().to_string(),
            directory.display().to_string()
        ));
    }
    let mut content = Vec::new();
    let file = File::open(&real).map_err(problem)?;
    file.take(LARGEST + 1).read_to_end(&mut content).map_err(problem)?;
    if content.len() as u64 > LARGEST {
        return Err("secret exceeds max allowed size".to_owned());
    }
    String::from_utf8(content).map_err(|_| "secret is not valid UTF-8".to_owned())
}

fn in_kubernetes(session: &Session<'_>, path: &str) -> Result<String, String> {
    let [namespace, name, key] = path.split('/').collect::<Vec<_>>()[..] else {
        return Err("invalid format. Use: \"namespace/name/key\"".to_owned());
    };
    let loaded = session.load().map_err(|error| error.to_string())?;
    let settings =
        kubernetes::settings(&loaded.config.kubernetes).map_err(|error| error.to_string())?;
    let (_work, stop) = Stop::new();
    let client = Client::start(settings, stop).map_err(|error| error.to_string())?;
    let target = Target::new("/api/v1", "secrets").in_namespace(namespace).named(name);
    let secret: KubernetesSecret =
        client.within(PATIENCE).get(&target).map_err(|error| error.to_string())?;
    let missing = || format!("key {key} not found in secret {namespace}/{name}");
    let value = secret.data.get(key).ok_or_else(missing)?;
    let value = STANDARD.decode(value).map_err(|error| error.to_string())?;
    String::from_utf8(value).map_err(|_| "secret is not valid UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_protocol_and_real_questions_are_answered() {
        for (input, expected) in [
            (r#"{"version":"1.0","secrets":["a"]}"#, Ok(vec!["a".to_owned()])),
            (r#"{"version":"1.7","secrets":["a"]}"#, Ok(vec!["a".to_owned()])),
            (
                r#"{"version":"2.0","secrets":["a"]}"#,
                Err("incompatible protocol version \"2.0\"".to_owned()),
            ),
            (r#"{"version":"1.0"}"#, Err("no secrets listed in input".to_owned())),
        ] {
            assert_eq!(asked(input), expected, "{input}");
        }
    }
}
