//! Lists a collection page by page, handing over one object at a time.
//!
//! Every list asks for the newest state (no `resourceVersion`) in pages of [`PAGE`]. The alternative,
//! `resourceVersion=0`, is answered from the API server's cache: cheaper for etcd, but servers ignore `limit` with it
//! and build the whole answer at once, and with several API servers behind one address it can be older than what a
//! replica has shown before, so that a relist would take clients back in time. All pages of one list are of the same
//! version; when etcd has forgotten it half-way the server answers 410 and the list is begun again.

use std::fmt;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;
use ureq::http::Method;

use super::client::{Client, OBJECT_LIMIT};
use super::error::{Cause, Error, Result};
use super::objects::{Resource, null_as_default};
use super::split::{ENVELOPE_LIMIT, Item, Problem, Splitter};
use super::target::{Target, Verb, encode};
use super::transport::{Call, Lane};

/// Objects in one page: what the API server's own clients ask for.
pub const PAGE: usize = 500;

/// Longest wait for the head of a page and for each read: with the 5 s of a connect it stays below the 30 s in which a
/// thread has to show that it lives. A server that queues requests holds them for at most 15 s.
const WAIT: Duration = Duration::from_secs(20);

/// Size of one read.
const BUFFER: usize = 64 << 10;

/// Which objects of a collection are wanted; empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Label selector in its text form, `app=web,tier in (a,b)`.
    pub labels: String,
    /// Field selector in its text form, `metadata.name=x`.
    pub fields: String,
}

/// The end of one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The version of the whole list.
    pub version: String,
    /// Where the next page begins; `None` after the last one.
    pub continue_token: Option<String>,
}

/// An object that does not have the shape it should have; it is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadObject {
    /// `namespace/name`, `name`, or a question mark.
    pub name: String,
    /// What is wrong.
    pub problem: String,
}

/// Enough of an object to tell which one it is.
#[derive(Deserialize)]
pub(super) struct Named {
    metadata: Name,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    namespace: String,
    name: String,
}

impl Selection {
    /// Appends the selection to a query that has parameters already.
    pub(super) fn append(&self, url: &mut String) {
        for (key, value) in [("labelSelector", &self.labels), ("fieldSelector", &self.fields)] {
            if !value.is_empty() {
                url.push('&');
                url.push_str(key);
                url.push('=');
                encode(value, url);
            }
        }
    }
}

impl BadObject {
    /// Explains why an object cannot be read; `named` is what could be read of it.
    pub(super) fn unreadable(
        named: serde_json::Result<Named>,
        problem: &serde_json::Error,
    ) -> Self {
        let name = match named {
            Ok(Named { metadata: Name { namespace, name } }) if namespace.is_empty() => name,
            Ok(Named { metadata: Name { namespace, name } }) => format!("{namespace}/{name}"),
            Err(_) => "?".to_owned(),
        };
        Self { name, problem: problem.to_string() }
    }

    /// Explains why an object of `size` bytes is not read.
    pub(super) fn too_large(size: usize) -> Self {
        let problem =
            format!("{size} bytes are more than the {OBJECT_LIMIT} that an object can have");
        Self { name: "?".to_owned(), problem }
    }
}

impl fmt::Display for BadObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} cannot be read: {}", self.name, self.problem)
    }
}

/// Fetches one page, the first without a `continue_token`, and hands its objects to `visit`.
///
/// `beat` is called at least every 25 s. After an error some objects of the page may have been visited.
pub(super) fn page<T: Resource>(
    client: &Client,
    target: &Target,
    selection: &Selection,
    continue_token: Option<&str>,
    beat: &dyn Fn(),
    visit: impl FnMut(std::result::Result<T, BadObject>),
) -> Result<Page> {
    let mut path = format!("{}?limit={PAGE}", target.path());
    selection.append(&mut path);
    if let Some(token) = continue_token {
        path.push_str("&continue=");
        encode(token, &mut path);
    }
    let silence = client.transport.settings().list_timeout;
    let lane = Lane::Stream { wait: WAIT.min(silence) };
    let call = Call { method: Method::GET, path, body: None, lane };
    beat();
    client
        .transport
        .send(&call)
        .and_then(|answer| read(answer.into_body().into_reader(), silence, beat, visit))
        .map_err(|cause| Error::new(Verb::List, target, cause))
}

/// Whether a read was ended by the time limit of one wait: the connection is fine and may be read again.
pub(super) fn is_wait_over(error: &io::Error) -> bool {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<ureq::Error>())
        .is_some_and(|inner| matches!(inner, ureq::Error::Timeout(ureq::Timeout::PerRead)))
}

fn read<T: Resource>(
    mut body: impl Read,
    silence: Duration,
    beat: &dyn Fn(),
    mut visit: impl FnMut(std::result::Result<T, BadObject>),
) -> std::result::Result<Page, Cause> {
    let mut splitter = Splitter::default();
    let mut buffer = vec![0; BUFFER];
    let mut heard = Instant::now();
    loop {
        let length = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if is_wait_over(&error) && heard.elapsed() < silence => {
                beat();
                continue;
            }
            Err(error) => return Err(ureq::Error::from(error).into()),
        };
        heard = Instant::now();
        beat();
        splitter
            .feed(&buffer[..length], |item| {
                visit(match item {
                    Item::Whole(json) => serde_json::from_slice(json).map_err(|problem| {
                        BadObject::unreadable(serde_json::from_slice(json), &problem)
                    }),
                    Item::TooLarge(size) => Err(BadObject::too_large(size)),
                });
            })
            .map_err(broken)?;
    }
    page_end(&splitter.finish().map_err(broken)?)
}

fn broken(problem: Problem) -> Cause {
    match problem {
        Problem::EnvelopeTooLarge => Cause::TooLarge { limit: ENVELOPE_LIMIT as u64 },
        Problem::Unfinished => ureq::Error::Io(io::ErrorKind::UnexpectedEof.into()).into(),
    }
}

/// What stands around the items. All of it has to be there: an answer of something that is no API server must not
/// pass for an empty list.
fn page_end(envelope: &[u8]) -> std::result::Result<Page, Cause> {
    #[derive(Deserialize)]
    struct Envelope {
        metadata: ListMeta,
        #[serde(rename = "items")]
        _items: IgnoredAny,
    }
    #[derive(Deserialize)]
    struct ListMeta {
        #[serde(rename = "resourceVersion")]
        version: String,
        #[serde(rename = "continue", default, deserialize_with = "null_as_default")]
        continue_token: String,
    }
    let Envelope { metadata, .. } = serde_json::from_slice(envelope).map_err(Cause::Decode)?;
    let token = metadata.continue_token;
    Ok(Page { version: metadata.version, continue_token: (!token.is_empty()).then_some(token) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::objects::Node;

    fn listed(json: &str) -> (Vec<String>, std::result::Result<Page, Cause>) {
        let mut seen = Vec::new();
        let end = read::<Node>(json.as_bytes(), Duration::ZERO, &|| {}, |item| {
            seen.push(match item {
                Ok(node) => node.metadata.name,
                Err(bad) => bad.to_string(),
            });
        });
        (seen, end)
    }

    #[test]
    fn a_bad_object_is_explained_and_the_others_are_taken() {
        let (seen, end) = listed(
            r#"{"metadata":{"resourceVersion":"7","continue":"abc"},"items":[
                {"metadata":{"name":"a"}},{"metadata":{"name":"b","namespace":"s","labels":3}},{"metadata":{"name":"c"}}]}"#,
        );
        assert_eq!(seen[0], "a");
        assert!(
            seen[1].starts_with("s/b cannot be read: invalid type: integer `3`"),
            "{}",
            seen[1]
        );
        assert_eq!(seen[2], "c");
        let end = end.expect("the list is whole");
        assert_eq!(end, Page { version: "7".to_owned(), continue_token: Some("abc".to_owned()) });
    }

    #[test]
    fn null_items_are_an_empty_list() {
        let (seen, end) =
            listed(r#"{"kind":"NodeList","metadata":{"resourceVersion":"7"},"items":null}"#);
        assert_eq!(seen.len(), 0);
        assert_eq!(end.expect("the list is whole").continue_token, None);
    }

    #[test]
    fn what_is_no_list_is_not_an_empty_list() {
        for json in
            ["", "<html>", "{}", r#"{"metadata":{"resourceVersion":"7"}}"#, r#"{"items":[]}"#]
        {
            assert!(matches!(listed(json).1, Err(Cause::Decode(_))), "{json}");
        }
        let cut = r#"{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"}}"#;
        assert!(matches!(listed(cut).1, Err(Cause::Transport(_))));
    }

    #[test]
    fn selectors_are_escaped() {
        let mut url = "/x?limit=1".to_owned();
        Selection { labels: "a in (b,c)".to_owned(), fields: "metadata.name=x".to_owned() }
            .append(&mut url);
        assert_eq!(
            url,
            "/x?limit=1&labelSelector=a%20in%20%28b%2Cc%29&fieldSelector=metadata.name%3Dx"
        );
    }
}
