//! Handshakes: versions, protocols, names, certificates, and clients that speak something else.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cluster_agent::http::certificate::Identity;
use cluster_agent::http::{Handler, Http2, Limits, Options, Server, Session, listen, tls};
use cluster_agent::sync::Published;
use cluster_agent::telemetry::Registry;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, SupportedProtocolVersion};

use crate::listener::{Answers, Listener, eventually, identity, server_config};
use crate::tls_client::{Offer, connect, connect_plain, exchange, read_answer};

const REQUEST: &str = "GET /version HTTP/1.1\r\nHost: a\r\n\r\n";

/// Says hello on HTTP/2 connections.
struct Hello;

impl Http2 for Hello {
    fn serve(&self, mut session: Session) {
        let _ = session.stream.write_all(b"h2 here").and_then(|()| session.stream.flush());
    }
}

/// Its name; what the client offers: versions, protocols, server name; and the protocol that is chosen.
type Case = (
    &'static str,
    Vec<&'static SupportedProtocolVersion>,
    &'static [&'static [u8]],
    &'static str,
    Option<&'static [u8]>,
);

#[test]
fn node_api_29_versions_and_protocols_are_negotiated() {
    let listener = Listener::start(
        Limits::default(),
        Some(server_config()),
        Some(Arc::new(Hello)),
        Answers::default(),
    );
    let (tls12, tls13) = (&rustls::version::TLS12, &rustls::version::TLS13);
    let none: &[&[u8]] = &[];
    let cases: [Case; 6] = [
        ("TLS 1.2 at most", vec![tls12], none, "localhost", None),
        ("TLS 1.3 only", vec![tls13], none, "localhost", None),
        ("no protocols", vec![tls12, tls13], none, "localhost", None),
        ("both", vec![tls12, tls13], &[b"h2", b"http/1.1"], "localhost", Some(b"http/1.1")),
        ("h2 only", vec![tls12, tls13], &[b"h2"], "localhost", Some(b"h2")),
        ("no name", vec![tls12, tls13], none, "127.0.0.1", None),
    ];
    for (case, versions, protocols, name, chosen) in cases {
        let version = (versions.len() == 1).then(|| versions[0].version);
        let offer = Offer { versions, protocols: protocols.to_vec(), name, certificate: None };
        let mut stream = connect(listener.address(), &offer).expect(case);
        assert_eq!(stream.conn.alpn_protocol(), chosen, "{case}");
        if let Some(version) = version {
            assert_eq!(stream.conn.protocol_version(), Some(version), "{case}");
        }
        if chosen == Some(b"h2") {
            let mut hello = [0; 7];
            stream.read_exact(&mut hello).expect(case);
            assert_eq!(&hello, b"h2 here");
        } else {
            assert_eq!(exchange(&mut stream, REQUEST).expect(case).status, 200, "{case}");
        }
    }
    let offer = Offer { protocols: vec![b"spdy/3"], ..Offer::default() };
    assert!(connect(listener.address(), &offer).is_err(), "no common protocol is an error");
}

#[test]
fn plain_http_on_the_tls_port_is_told_so() {
    let listener = Listener::tls(Limits::default());
    let mut stream = connect_plain(listener.address()).expect("the listener accepts");
    let answer = exchange(&mut stream, REQUEST).expect("there is an answer");
    assert_eq!((answer.status, answer.text().as_str()), (400, "this port speaks HTTPS\n"));
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).expect("the connection ends"), 0);
}

#[test]
fn binary_junk_ends_the_connection() {
    let listener = Listener::tls(Limits::default());
    for junk in [&[0_u8; 64][..], b"\x16\x03\x01\xff\xff junk", b"\x80\x2e\x01\x00\x02", b""] {
        let mut stream = connect_plain(listener.address()).expect("the listener accepts");
        stream.write_all(junk).expect("the junk is sent");
        stream.shutdown(std::net::Shutdown::Write).expect("the sending side can be closed");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 64, "at most an alert comes back");
    }
    eventually("the end of the threads", || listener.threads() == 1);
}

#[test]
fn a_slow_handshake_ends_after_the_request_time() {
    let limits = Limits { request: Duration::from_millis(300), ..Limits::default() };
    let listener = Listener::tls(limits);
    let _silent = connect_plain(listener.address()).expect("the listener accepts");
    let mut started = connect_plain(listener.address()).expect("the listener accepts");
    started.write_all(b"\x16\x03\x01\x02\x00\x01").expect("a part of the hello is sent");
    eventually("both connections", || listener.telemetry.total("dca_api_connections") == 2.0);
    eventually("the end of both", || listener.server.connections() == 0);
}

#[test]
fn a_replaced_certificate_is_used_by_the_next_connection() {
    let settings = Arc::new(Published::new(server_config()));
    let handler: Arc<dyn Handler> = Arc::new(Answers::default());
    let server = Server::start(Options {
        name: "reload".to_owned(),
        listener: listen::on_address(([127, 0, 0, 1], 0).into()).expect("a port is free"),
        tls: Some(settings.clone()),
        limits: Limits::default(),
        handler,
        http2: None,
        telemetry: Registry::default(),
    })
    .expect("the listener starts");
    let certificate = || {
        let stream = connect(server.local_address(), &Offer::default()).expect("TLS works");
        stream.conn.peer_certificates().expect("the server has a certificate")[0].to_vec()
    };
    assert_eq!(certificate(), identity().chain[0].to_vec());
    let other = Identity::self_signed(&["other".to_owned()], SystemTime::now())
        .expect("the identity is made");
    settings
        .set(tls::server_config(&other, tls::HTTP1_ONLY, None).expect("key and certificate fit"));
    assert_eq!(certificate(), other.chain[0].to_vec());
}

#[test]
fn a_client_certificate_reaches_the_handler_where_it_is_asked_for() {
    let authority_key = rcgen::KeyPair::generate().expect("a key is made");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("no names are valid");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).expect("the root is signed");
    let issuer = rcgen::Issuer::from_params(&authority, &authority_key);
    let key = rcgen::KeyPair::generate().expect("a key is made");
    let client = rcgen::CertificateParams::new(["front-proxy".to_owned()])
        .expect("the name is valid")
        .signed_by(&key, &issuer)
        .expect("the certificate is signed");

    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).expect("the root is usable");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
        .allow_unauthenticated()
        .build()
        .expect("the roots are usable");
    let config = tls::server_config(identity(), tls::HTTP1_ONLY, Some(verifier))
        .expect("key and certificate fit");
    let listener = Listener::start(Limits::default(), Some(config), None, Answers::default());

    let length = client.der().len().to_string() + "\n";
    let with = Some((client.der().to_vec(), key.serialize_der()));
    for (certificate, expected) in [(with, length.as_str()), (None, "0\n")] {
        let offer = Offer { certificate, ..Offer::default() };
        let mut stream = connect(listener.address(), &offer).expect("TLS works");
        let request = "GET /certificate HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(exchange(&mut stream, request).expect("it is served").text(), expected);
    }
    // A certificate of somebody else is refused in the handshake.
    let foreign = rcgen::generate_simple_self_signed(["x".to_owned()]).expect("it is made");
    let certificate = (foreign.cert.der().to_vec(), foreign.signing_key.serialize_der());
    let offer = Offer { certificate: Some(certificate), ..Offer::default() };
    let refused = connect(listener.address(), &offer).and_then(|mut stream| {
        stream.write_all(REQUEST.as_bytes()).and_then(|()| read_answer(&mut stream))
    });
    assert!(refused.is_err());
}
