//! The program of this project as a replica, and what a node Agent asks it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{self, AUTH_TOKEN, Command, Namespace, PATIENCE, Replica, wait_until};
use crate::support::metadata_stream::MetadataStream;
use crate::support::node_agent::NodeAgent;

/// Port of the node API, as in the manifests.
const PORT: u16 = 5005;

/// A replica of `manifests/base` with the program behind it.
pub struct Agent<'a> {
    /// The Pod and its process.
    pub replica: Replica<'a>,
    node_agent: RefCell<NodeAgent>,
}

impl<'a> Agent<'a> {
    /// Installs the manifests in `namespace` and starts one replica. It may not be ready yet.
    pub fn install(namespace: &'a Namespace<'a>, variables: &[(&str, &str)]) -> Self {
        let mut template = harness::install(namespace);
        let environment = template["spec"]["containers"][0]["env"].as_array_mut();
        let environment = environment.expect("the manifest sets variables");
        for (name, value) in variables {
            environment.retain(|variable| variable["name"] != *name);
            environment.push(json!({"name": name, "value": value}));
        }
        let command = Command {
            program: Path::new(env!("CARGO_BIN_EXE_datadog-cluster-agent")),
            arguments: &["start"],
        };
        let replica = Replica::start(namespace, "agent-0", &template, &command);
        let address = SocketAddr::from((replica.address(), PORT));
        let node_agent = RefCell::new(NodeAgent::new(address, AUTH_TOKEN));
        Self { replica, node_agent }
    }

    /// Opens a metadata stream for `node`.
    pub fn stream(&self, node: &str) -> std::io::Result<MetadataStream> {
        MetadataStream::open((self.replica.address(), PORT).into(), AUTH_TOKEN, node)
    }

    /// Status code and body of a node Agent's GET.
    pub fn ask(&self, path: &str) -> Result<(u16, String), String> {
        let answer = self.node_agent.borrow_mut().get(path).map_err(|error| error.to_string())?;
        Ok((answer.status, answer.text()))
    }

    /// The JSON of a node Agent's GET; anything but a 200 is the reason why there is none.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        match self.ask(path)? {
            (200, body) => serde_json::from_str(&body).map_err(|error| format!("{error}: {body}")),
            (status, body) => Err(format!("{path}: {status}: {body}")),
        }
    }

    /// Waits for the first 200 of `path`. A program that has ended is an immediate failure, with its log.
    #[track_caller]
    pub fn wait_for(&mut self, path: &str) -> Value {
        wait_until(PATIENCE, "answer of the replica", || {
            if let Err(end) = self.replica.process().alive() {
                panic!("{end}");
            }
            self.get(path)
        })
    }
}
