//! A Pod of the cluster with a real process behind it, in the environment that a kubelet would give it.
//!
//! The Pod lives on a KWOK node and has the address of a network namespace of its own, where the process runs.
//! Token, CA and namespace file are laid out and rotated as a kubelet does it.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::api::ApiError;
use super::cluster::NODES;
use super::container::{self, Command};
use super::namespace::Namespace;
use super::network::{Actor, KUBERNETES_SERVICE};
use super::process::{Process, Program};
use super::wait::{PATIENCE, wait_until};

/// A Pod and the process behind it.
pub struct Replica<'a> {
    namespace: &'a Namespace<'a>,
    pod: Value,
    actor: Actor,
    directory: PathBuf,
    program: Program,
    process: Option<Process>,
    tokens: u32,
}

impl<'a> Replica<'a> {
    /// Makes the Pod `name` from `template` and starts `command` in place of its first container's image.
    pub fn start(
        namespace: &'a Namespace<'a>,
        name: &str,
        template: &Value,
        command: &Command<'_>,
    ) -> Self {
        let cluster = namespace.cluster;
        let actor = cluster.network().attach();
        let directory = cluster.directory().join(&actor.namespace);
        for part in ["root", "serviceaccount"] {
            fs::create_dir_all(directory.join(part)).expect("the run's directory is writable");
        }
        let pod = create_pod(namespace, name, template, actor.address);
        let hosts = format!(
            "127.0.0.1 localhost\n{} {name}\n{KUBERNETES_SERVICE} kubernetes.default.svc\n",
            actor.address
        );
        fs::write(directory.join("hosts"), hosts).expect("the run's directory is writable");
        let program = Program {
            name: format!("{}-{name}", namespace.name),
            namespace: actor.namespace.clone(),
            command: container::command_line(namespace, &pod, &directory, command),
            directory: cluster.directory().to_owned(),
        };
        let mut replica =
            Self { namespace, pod, actor, directory, program, process: None, tokens: 0 };
        replica.rotate_token().unwrap_or_else(|error| panic!("token of {name}: {error}"));
        replica.restart();
        replica
    }

    /// Address of the Pod.
    pub fn address(&self) -> Ipv4Addr {
        self.actor.address
    }

    /// The token that lies in the Pod now.
    pub fn token(&self) -> String {
        let file = self.directory.join("serviceaccount/token");
        fs::read_to_string(file).expect("it was written at the start")
    }

    /// Takes the Pod's link down: packets vanish, nothing is refused.
    pub fn cut(&self) {
        self.actor.cut();
    }

    /// Puts the link up again.
    pub fn heal(&self) {
        self.actor.heal();
    }

    /// Starts the process again, as a kubelet does when a container has ended.
    pub fn restart(&mut self) {
        self.process = None;
        self.process = Some(self.program.start());
    }

    /// The process, to be ended or frozen.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it is started in start")
    }

    /// Puts a fresh token where the process reads it, by the same atomic rename as a kubelet, and ends the one
    /// before: the API server takes it for ten more seconds, or until it restarts.
    pub fn rotate_token(&mut self) -> Result<(), ApiError> {
        let namespace = self.namespace;
        let account = self.pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
        let pod = self.pod["metadata"]["name"].as_str().unwrap_or_default();
        // Bound to a Secret, not to the Pod as a kubelet's: so one can be ended and the Pod goes on.
        let secret = |number: u32| format!("{pod}-token-{number}");
        let metadata = json!({"name": secret(self.tokens + 1)});
        namespace.apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata}));
        let token =
            namespace.api().token(&namespace.name, account, Some(&secret(self.tokens + 1)))?;
        if self.tokens > 0 {
            namespace.api().delete(&namespace.path("Secret", &secret(self.tokens)))?;
        }
        self.tokens += 1;
        let account = self.directory.join("serviceaccount");
        let generation = format!("..data_{}", self.tokens);
        let data = account.join(&generation);
        let authority = self.namespace.cluster.directory().join("ca.crt");
        let laid_out = fs::create_dir(&data)
            .and_then(|()| fs::write(data.join("token"), token))
            .and_then(|()| fs::write(data.join("namespace"), &self.namespace.name))
            .and_then(|()| fs::copy(authority, data.join("ca.crt")))
            .and_then(|_| symlink(&generation, account.join("..data_tmp")))
            .and_then(|()| fs::rename(account.join("..data_tmp"), account.join("..data")));
        laid_out.expect("the run's directory is writable");
        if self.tokens == 1 {
            for file in ["token", "namespace", "ca.crt"] {
                symlink(format!("..data/{file}"), account.join(file)).expect("a new directory");
            }
        }
        Ok(())
    }
}

/// Makes the Pod and waits until it is Running with `address`.
fn create_pod(namespace: &Namespace<'_>, name: &str, template: &Value, address: Ipv4Addr) -> Value {
    let mut pod = template.clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["annotations"]["testbed/pod-ip"] = json!(address.to_string());
    pod["spec"]["nodeName"] = json!(NODES[0]);
    namespace.apply(pod);
    wait_until(PATIENCE, "Running pod with its address", || {
        let pod = namespace.api().get(&namespace.path("Pod", name)).map_err(|e| e.to_string())?;
        if pod["status"]["podIP"] == json!(address.to_string()) {
            return Ok(pod);
        }
        Err(pod["status"].to_string())
    })
}
