//! A scripted agent: canned answers behind the real TLS loop, with token and certificate where a real one has them.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};

use cluster_agent::http::certificate::Identity;
use cluster_agent::http::message::{self, Handler, Request, Response};
use cluster_agent::http::{Limits, Options, Server, listen, tls};
use cluster_agent::sync::Published;
use cluster_agent::telemetry;

use crate::program::{Said, binary, command, said};
use crate::support::scratch::Scratch;

/// The session token.
pub const TOKEN: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

/// The agent, and the directory with its token and certificate.
pub struct Agent {
    pub directory: Scratch,
    pub port: u16,
    questions: Arc<Mutex<Vec<String>>>,
    _server: Server,
}

struct Script {
    answers: BTreeMap<&'static str, (u16, &'static str)>,
    questions: Arc<Mutex<Vec<String>>>,
}

impl Handler for Script {
    fn handle(&self, request: &Request) -> Response {
        let body = String::from_utf8_lossy(&request.body);
        let question = format!("{} {} {body}", request.method, request.target);
        self.questions.lock().expect("no handler panics").push(question.trim_end().to_owned());
        if request.header("Authorization") != Some(format!("Bearer {TOKEN}").as_str()) {
            return message::text(403, "invalid session token");
        }
        match self.answers.get(request.target.as_str()) {
            Some((status, body)) => {
                message::owned(*status, "application/json", body.as_bytes().to_vec())
            }
            None => message::text(404, "404 page not found"),
        }
    }
}

impl Agent {
    /// Starts one with these answers, each a target, a status and a body.
    pub fn start(answers: &[(&'static str, u16, &'static str)]) -> Self {
        let directory = Scratch::new();
        directory.write("auth_token", TOKEN);
        let file = directory.write("ipc_cert.pem", &certificate());
        let identity = Identity::from_files(&file, &file).expect("the file holds a pair");
        let questions = Arc::default();
        let script = Script {
            answers: answers.iter().map(|(path, status, body)| (*path, (*status, *body))).collect(),
            questions: Arc::clone(&questions),
        };
        let config = tls::server_config(&identity, tls::HTTP1_AND_HTTP2, None)
            .expect("the pair was made together");
        let server = Server::start(Options {
            name: "scripted".to_owned(),
            listener: listen::on_address(([127, 0, 0, 1], 0).into()).expect("a port is free"),
            tls: Some(Arc::new(Published::new(config))),
            limits: Limits::default(),
            handler: Arc::new(script),
            http2: None,
            telemetry: telemetry::Registry::default(),
        })
        .expect("the server starts");
        let port = server.local_address().port();
        Self { directory, port, questions, _server: server }
    }

    /// A call that finds this agent.
    pub fn command(&self, words: &[&str]) -> Command {
        asking(&self.directory, self.port, words)
    }

    /// What the program says when it asks this agent.
    pub fn call(&self, words: &[&str]) -> Said {
        said(&mut self.command(words))
    }

    /// The requests so far: method, target and body.
    pub fn questions(&self) -> Vec<String> {
        self.questions.lock().expect("no handler panics").clone()
    }
}

/// A call that looks for an agent on `port` with the token of `directory`.
pub fn asking(directory: &Scratch, port: u16, words: &[&str]) -> Command {
    let mut command = command(binary(), words);
    command.arg("-c").arg(directory.path());
    command.env("DD_CLUSTER_AGENT_CMD_PORT", port.to_string());
    command
}

/// A certificate and its key in one PEM text, as the program makes them for itself.
pub fn certificate() -> String {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let pair = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
    pair.cert.pem() + &pair.signing_key.serialize_pem()
}
