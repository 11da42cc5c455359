//! A node Agent's REST client: one kept connection without ALPN, Go's header fields, no verification
//! (spec node-api §1.4, §1.5, §5.2).

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use serde_json::Value;

use super::tls_client::{self, Answer, Offer, TlsStream};

/// One client; requests follow each other on its connection.
pub struct NodeAgent {
    address: SocketAddr,
    token: String,
    connection: Option<TlsStream>,
}

impl NodeAgent {
    /// A client of the program at `address`; it connects with its first request.
    pub fn new(address: SocketAddr, token: &str) -> Self {
        Self { address, token: token.to_owned(), connection: None }
    }

    /// GET.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send("GET", path, b"")
    }

    /// POST.
    pub fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.send("POST", path, body)
    }

    /// GET of a JSON document; panics when the answer is not 200 with JSON.
    #[track_caller]
    pub fn json(&mut self, path: &str) -> Value {
        let answer = self.get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        serde_json::from_slice(&answer.body)
            .unwrap_or_else(|error| panic!("GET {path}: {error} in {}", answer.text()))
    }

    /// The services of each pod of a node as the metadata collector asks for them: namespace → pod → services; `None`
    /// when the answer would make it keep what it had.
    pub fn services(&mut self, node: &str) -> Option<Value> {
        let answer = self.get(&format!("/api/v1/tags/pod/{node}")).ok()?;
        if answer.status != 200 {
            return None;
        }
        let document: Value = serde_json::from_slice(&answer.body).ok()?;
        document["Nodes"].get(node)?.get("services").cloned()
    }

    fn send(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        let length = match (method, body.len()) {
            ("GET", _) => String::new(),
            (_, length) => format!("Content-Length: {length}\r\n"),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Go-http-client/1.1\r\n{length}\
             Authorization: Bearer {}\r\nX-Real-Ip: \r\nAccept-Encoding: gzip\r\n\r\n",
            self.address, self.token,
        );
        let request = [head.as_bytes(), body].concat();
        // A kept connection that the server has closed meanwhile is replaced once, as Go's client does.
        if let Some(mut kept) = self.connection.take()
            && let Ok(answer) = tls_client::exchange(&mut kept, &request)
        {
            return Ok(self.keep(kept, answer));
        }
        let mut fresh =
            tls_client::connect_with(self.address, Arc::clone(configuration()), "127.0.0.1")?;
        let answer = tls_client::exchange(&mut fresh, &request)?;
        Ok(self.keep(fresh, answer))
    }

    fn keep(&mut self, connection: TlsStream, answer: Answer) -> Answer {
        if answer.header("Connection") != Some("close") {
            self.connection = Some(connection);
        }
        answer
    }
}

fn configuration() -> &'static Arc<ClientConfig> {
    static CONFIGURATION: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    CONFIGURATION.get_or_init(|| tls_client::client_config(&Offer::default()))
}
