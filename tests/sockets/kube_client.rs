//! Short requests: credentials that rotate, answers that fail, budgets, and TLS.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_agent::kube::list::Selection;
use cluster_agent::kube::objects::{ConfigMap, Node};
use cluster_agent::kube::settings::Source;
use cluster_agent::kube::{Cause, Client, Settings, Target};
use cluster_agent::secret::Secret;
use cluster_agent::sync::{Published, Stop, StopSource};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::kube_server::{
    Server, Stream, answer, chunk, chunked, hold, page, send, settings, status,
};

fn client(settings: Settings) -> (Client, StopSource) {
    let (source, stop) = Stop::new();
    (Client::start(settings, stop).expect("a thread starts"), source)
}

/// A directory of its own for one test, removed when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kube-client-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }

    fn write(&self, name: &str, contents: &str) -> Source {
        let path = self.0.join(name);
        fs::write(&path, contents).expect("the directory is writable");
        Source::File(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lock() -> Target {
    Target::of::<ConfigMap>().in_namespace("mon").named("lock")
}

#[test]
fn a_write_keeps_what_this_program_does_not_know() {
    let server = Server::start(|request, stream| match request.line.split(' ').next() {
        Some("GET") => {
            let object = r#"{"metadata":{"name":"lock","resourceVersion":"7","annotations":{"a":"1","leader":"x"},"future":{"b":[1.5]}},"binaryData":{"k":"AA=="}}"#;
            answer(stream, 200, object);
        }
        _ => answer(stream, 200, &request.body),
    });
    let (client, _stop) = client(server.settings());
    let mut object: Value = client.get(&lock()).expect("it exists");
    object["metadata"]["annotations"]["leader"] = json!("me");
    let written: Value = client.replace(&lock(), &object).expect("it is written");
    assert_eq!(written, object);
    let _: Value = client.merge_patch(&lock(), &json!({"data": {"id": null}})).expect("patched");
    let maps = Target::of::<ConfigMap>().in_namespace("mon");
    let _: Value = client.create(&maps, &json!({"metadata": {"name": "lock"}})).expect("made");
    client.delete(&lock()).expect("deleted");

    let seen = [(); 5].map(|()| server.request());
    assert_eq!(
        seen.each_ref().map(|request| request.line.as_str()),
        [
            "GET /api/v1/namespaces/mon/configmaps/lock",
            "PUT /api/v1/namespaces/mon/configmaps/lock",
            "PATCH /api/v1/namespaces/mon/configmaps/lock",
            "POST /api/v1/namespaces/mon/configmaps",
            "DELETE /api/v1/namespaces/mon/configmaps/lock",
        ]
    );
    assert!(seen[1].body.contains(r#""future":{"b":[1.5]}"#), "{}", seen[1].body);
    assert_eq!(seen[1].headers["content-type"], "application/json");
    assert_eq!(seen[2].headers["content-type"], "application/merge-patch+json");
    assert_eq!(seen[2].body, r#"{"data":{"id":null}}"#);
}

#[test]
fn a_refused_token_is_read_anew_and_the_request_repeated_once() {
    let directory = Directory::new("token");
    let token = directory.write("token", "old\n");
    let rotated = directory.0.join("token");
    let server = Server::start(move |request, stream| {
        if request.headers.get("authorization").map(String::as_str) == Some("Bearer new") {
            return answer(stream, 200, r#"{"metadata":{"name":"n1"}}"#);
        }
        fs::write(&rotated, if request.number < 2 { "older" } else { "new" }).expect("writable");
        answer(stream, 401, &status(401, "Unauthorized"));
    });
    let mut settings = server.settings();
    settings.token = Some(token);
    let (client, _stop) = client(settings);
    let target = Target::of::<Node>().named("n1");
    let refused = client.get::<Node>(&target).expect_err("both tokens are refused");
    assert!(matches!(refused.cause, Cause::Unauthorized { .. }), "{refused}");
    let node: Node = client.get(&target).expect("the third token is accepted");
    assert_eq!(node.metadata.name, "n1");
    let tokens = [(); 4].map(|()| server.request().headers["authorization"].clone());
    assert_eq!(tokens, ["Bearer old", "Bearer older", "Bearer older", "Bearer new"]);
}

#[test]
fn a_token_given_inline_is_not_tried_twice() {
    let server = Server::start(|_, stream| answer(stream, 401, "Unauthorized"));
    let mut settings = server.settings();
    settings.token = Some(Source::Data(Secret::new("hunter2")));
    let (client, _stop) = client(settings);
    let refused = client.get::<Node>(&Target::of::<Node>().named("n1")).expect_err("refused");
    assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    server.request();
    assert!(server.requests.try_recv().is_err());
}

#[test]
fn a_missing_token_fails_the_request_and_heals() {
    let directory = Directory::new("missing");
    let server = Server::start(|_, stream| answer(stream, 200, r#"{"metadata":{"name":"n1"}}"#));
    let mut settings = server.settings();
    settings.token = Some(Source::File(directory.0.join("token")));
    let (client, _stop) = client(settings);
    let target = Target::of::<Node>().named("n1");
    let error = client.get::<Node>(&target).expect_err("there is no token");
    assert!(matches!(error.cause, Cause::Credentials(_)), "{error}");
    directory.write("token", "t");
    client.get::<Node>(&target).expect("there is one now");
}

#[test]
fn failures_are_sorted_by_what_to_do_next() {
    let server = Server::start(|request, stream| match request.line.rsplit('/').next() {
        Some("conflict") => answer(stream, 409, &status(409, "the object has been modified")),
        Some("busy") => send(
            stream,
            "HTTP/1.1 429 X\r\nRetry-After: 3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        Some("moved") => send(
            stream,
            "HTTP/1.1 302 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        Some("huge") => {
            chunked(stream);
            for _ in 0..64 {
                chunk(stream, &" ".repeat(64 << 10));
            }
        }
        Some("html") => answer(stream, 200, "<html>"),
        Some("cut") => send(stream, "HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{"),
        _ => answer(stream, 404, &status(404, "not found")),
    });
    let (client, _stop) = client(server.settings());
    type Check = fn(&Cause) -> bool;
    let cases: [(&str, Check); 7] = [
        ("conflict", |cause| matches!(cause, Cause::Conflict { .. })),
        ("busy", |cause| cause.retry_after() == Some(Duration::from_secs(3))),
        ("moved", |cause| matches!(cause, Cause::Rejected { status: 302, .. })),
        ("huge", |cause| matches!(cause, Cause::TooLarge { .. })),
        ("html", |cause| matches!(cause, Cause::Decode(_))),
        ("cut", |cause| matches!(cause, Cause::Transport(_))),
        ("absent", |cause| matches!(cause, Cause::NotFound)),
    ];
    for (name, expected) in cases {
        let outcome = client.get::<Value>(&Target::of::<Node>().named(name));
        let error = outcome.expect_err("every answer is a failure");
        assert!(expected(&error.cause), "{name}: {error:?}");
    }
}

#[test]
fn the_budget_of_a_request_holds_over_a_dripping_answer() {
    let server = Server::start(|_, stream| {
        chunked(stream);
        while stream.write_all(b"1\r\n \r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let (client, _stop) = client(server.settings());
    let begun = Instant::now();
    let outcome = client.within(Duration::from_millis(300)).get::<Value>(&lock());
    let error = outcome.expect_err("the answer never ends");
    assert!(matches!(error.cause, Cause::Timeout(_)), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_stop_refuses_lists_but_not_the_release_of_the_lock() {
    let server = Server::start(|_, stream| answer(stream, 200, "{}"));
    let (client, stop) = client(server.settings());
    drop(stop);
    let begun = Instant::now();
    loop {
        let outcome = client.list::<Node>(&Target::of::<Node>(), &Selection::default(), |_| {});
        if matches!(&outcome, Err(error) if matches!(error.cause, Cause::Stopped)) {
            break;
        }
        assert!(begun.elapsed() < crate::kube_server::PATIENCE, "{outcome:?}");
    }
    client.get::<Value>(&lock()).expect("short requests go on");
}

#[test]
fn a_small_list_is_visited_over_all_pages() {
    let server = Server::start(|request, stream| match request.number {
        0 => answer(stream, 200, &page("5", "more", &["a", "b"])),
        1 => answer(stream, 200, &page("5", "", &["c"])),
        _ => answer(stream, 200, &page("5", "", &[])[..20]),
    });
    let (client, _stop) = client(server.settings());
    let mut names = Vec::new();
    let mut list = || {
        client.list(&Target::of::<Node>(), &Selection::default(), |node: Node| {
            names.push(node.metadata.name);
        })
    };
    assert_eq!(list().expect("both pages come"), "5");
    list().expect_err("half a list is an error");
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn an_api_is_served_or_not_or_unknown() {
    let server = Server::start(|request, stream| match request.number {
        0 => answer(stream, 200, r#"{"kind":"APIResourceList","resources":[{"name":"nodes"}]}"#),
        1 => answer(stream, 200, r#"{"resources":[{"name":"pods"}]}"#),
        2 => answer(stream, 404, "404 page not found"),
        _ => answer(stream, 503, ""),
    });
    let (client, _stop) = client(server.settings());
    let served = [(); 4].map(|()| client.serves(&Target::of::<Node>()).ok());
    assert_eq!(served, [Some(true), Some(false), Some(false), None]);
    assert_eq!(server.request().line, "GET /api/v1");
}

/// A certificate for 127.0.0.1 that is its own CA, and the server settings that show it.
fn identity() -> (String, Arc<ServerConfig>) {
    let made =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("rcgen works");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("key and certificate fit");
    (made.cert.pem(), Arc::new(config))
}

/// A TLS server whose settings can be exchanged.
fn tls_server(
    config: Arc<Published<Arc<ServerConfig>>>,
    script: impl Fn(&crate::kube_server::Request, &mut dyn Stream) + Send + Sync + 'static,
) -> Server {
    Server::start_wrapped(
        move |mut socket| {
            let mut connection = ServerConnection::new(Arc::clone(&config.get())).ok()?;
            while connection.is_handshaking() {
                connection.complete_io(&mut socket).ok()?;
            }
            Some(Box::new(StreamOwned::new(connection, socket)))
        },
        script,
    )
}

#[test]
fn a_changed_ca_is_read_when_the_old_one_no_longer_fits() {
    let directory = Directory::new("ca");
    let (first_ca, first) = identity();
    let (second_ca, second) = identity();
    let config = Arc::new(Published::new(first));
    let server = tls_server(Arc::clone(&config), |_, stream| answer(stream, 200, "{}"));
    let mut settings = settings(format!("https://{}", server.address));
    settings.ca = Some(directory.write("ca.crt", &first_ca));
    let (client, _stop) = client(settings);
    client.get::<Value>(&lock()).expect("the CA fits");

    config.set(second);
    let error = client.get::<Value>(&lock()).expect_err("the server's certificate is another");
    let remedy = error.remedy().expect("there is a remedy");
    assert!(remedy.starts_with("check that the CA certificate"), "{error}: {remedy}");

    directory.write("ca.crt", "not a certificate");
    client.get::<Value>(&lock()).expect_err("the previous CA is kept");
    directory.write("ca.crt", &second_ca);
    client.get::<Value>(&lock()).expect("the new CA fits");
}

#[test]
fn a_server_is_not_checked_only_when_that_is_asked_for() {
    let (_, config) = identity();
    let server =
        tls_server(Arc::new(Published::new(config)), |_, stream| answer(stream, 200, "{}"));
    let mut settings = settings(format!("https://{}", server.address));
    let (checked, _stop) = client(settings.clone());
    checked.get::<Value>(&lock()).expect_err("no public authority has signed it");
    settings.verify = false;
    let (unchecked, _stop) = client(settings);
    unchecked.get::<Value>(&lock()).expect("it is not checked");
}

#[test]
fn a_client_certificate_is_shown() {
    let (ca, config) = identity();
    let made = rcgen::generate_simple_self_signed(vec!["me".to_owned()]).expect("rcgen works");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let provider = Arc::clone(config.crypto_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .expect("there is a root");
    let server_made =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("rcgen works");
    drop(ca);
    let key = PrivateKeyDer::try_from(server_made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![server_made.cert.der().clone()], key)
        .expect("key and certificate fit");
    let server = tls_server(Arc::new(Published::new(Arc::new(config))), |_, stream| {
        answer(stream, 200, "{}")
    });
    let inline = |text: String| Source::Data(Secret::new(text));
    let mut settings = settings(format!("https://{}", server.address));
    settings.ca = Some(inline(server_made.cert.pem()));
    let (without, _stop) = client(settings.clone());
    without.get::<Value>(&lock()).expect_err("the server asks for a certificate");
    settings.certificate =
        Some((inline(made.cert.pem()), inline(made.signing_key.serialize_pem())));
    let (with, _stop) = client(settings);
    with.get::<Value>(&lock()).expect("the certificate is accepted");
}

#[test]
fn an_unreachable_server_is_named_by_what_was_tried() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let (client, _stop) = client(settings(format!("http://{address}")));
    let error = client.get::<Value>(&lock()).expect_err("nobody listens");
    assert!(
        error.to_string().starts_with(r#"cannot get configmaps "lock" in namespace "mon": "#),
        "{error}"
    );
    assert!(matches!(error.cause, Cause::Transport(_)));
}

#[test]
fn a_silent_server_costs_no_more_than_the_budget() {
    let server = Server::start(|_, stream| hold(stream));
    let (client, _stop) = client(server.settings());
    let error = client
        .within(Duration::from_millis(200))
        .get::<Value>(&lock())
        .expect_err("nothing is answered");
    assert!(matches!(error.cause, Cause::Timeout(_)), "{error:?}");
}
