//! The programs of one control plane: their files, their command lines, and the order they start in.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::api::Api;
use super::network::{KUBERNETES_SERVICE, Network};
use super::pki::{self, Authority};
use super::prerequisites;
use super::process::{Process, Program};
use super::wait::{PATIENCE, wait_until};

/// One JSON line for each finished request, except for those that the API server sends to itself.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ['system:apiserver']}
- {level: Metadata}
";

/// KWOK's own stages beside `stages/pod-ready.yaml` of the test bed.
const KWOK_STAGES: [&str; 4] =
    ["node-initialize", "node-heartbeat-with-lease", "pod-complete", "pod-delete"];

/// A program of the control plane that tests can end, freeze and start again.
pub struct Component {
    program: Program,
    process: Mutex<Process>,
}

impl Component {
    fn start(program: Program) -> Self {
        let process = Mutex::new(program.start());
        Self { program, process }
    }

    /// Ends it with SIGKILL and waits until its id is gone.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Starts it with the command line of before. Started while the old one still holds its port it would
    /// give up, therefore the old one is ended first.
    pub fn restart(&self) {
        let mut process = self.process();
        process.kill();
        *process = self.program.start();
    }

    /// Stops it where it is: its sockets stay open and say nothing.
    pub fn freeze(&self) {
        self.process().freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process().thaw();
    }

    /// It runs; else how it ended and the tail of its log.
    pub fn alive(&self) -> Result<(), String> {
        self.process().alive()
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running programs.
pub struct ControlPlane {
    /// Storage, in memory for all that matters: it never syncs.
    pub etcd: Component,
    /// The API server.
    pub api_server: Component,
    controllers: [Component; 3],
}

impl ControlPlane {
    /// Writes the files to `directory` and starts everything; returns when the API server and the controllers
    /// have shown that they work.
    pub fn start(network: &Network, directory: &Path) -> Self {
        let build = Build { network, directory, programs: prerequisites::programs() };
        build.write_files();
        let etcd = build.etcd();
        let api_server = build.api_server();
        let api = Api::administrator(base(network.control_plane()), directory);
        wait_until(PATIENCE, "ready API server", || {
            etcd.alive()?;
            api_server.alive()?;
            api.get("/readyz").map_err(|error| error.to_string())
        });
        let controllers = [build.controller_manager(), build.scheduler(), build.kwok()];
        let control_plane = Self { etcd, api_server, controllers };
        // Written by the controller manager in each namespace, as one of the first things it does.
        wait_until(PATIENCE, "working controller manager", || {
            control_plane.alive()?;
            api.get("/api/v1/namespaces/default/configmaps/kube-root-ca.crt")
                .and_then(|_| api.get("/api/v1/namespaces/default/serviceaccounts/default"))
                .map_err(|error| error.to_string())
        });
        control_plane
    }

    /// Everything runs; else which program ended, and how.
    pub fn alive(&self) -> Result<(), String> {
        [&self.etcd, &self.api_server]
            .into_iter()
            .chain(&self.controllers)
            .try_for_each(Component::alive)
    }
}

/// URL of the API server at `address`; port 443, so that it is the one of the `kubernetes` Service too.
pub fn base(address: Ipv4Addr) -> String {
    format!("https://{address}")
}

/// What the command lines are made of.
struct Build<'a> {
    network: &'a Network,
    directory: &'a Path,
    programs: &'a Path,
}

impl Build<'_> {
    fn write_files(&self) {
        let own = self.network.control_plane();
        let authority = Authority::create(self.directory, "ca");
        authority.server("server", &[Ipv4Addr::LOCALHOST, own, KUBERNETES_SERVICE]);
        authority.client("admin", "admin", Some("system:masters"));
        authority.client("controller-manager", "system:kube-controller-manager", None);
        authority.client("scheduler", "system:kube-scheduler", None);
        authority.client("kwok", "kwok", Some("system:masters"));
        let front_proxy = Authority::create(self.directory, "front-proxy-ca");
        front_proxy.client("front-proxy", "front-proxy-client", None);
        pki::signing_key(self.directory, "service-account");
        for user in ["admin", "controller-manager", "scheduler", "kwok"] {
            self.write_kubeconfig(user);
        }
        self.write("audit-policy.yaml", AUDIT_POLICY);
        let kwok_options = json!({
            "kind": "KwokConfiguration",
            "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
            "metadata": {"name": "testbed"},
            // Four by default: pods of a whole Deployment are to be Running at once.
            "options": {"podPlayStageParallelism": 16, "nodePlayStageParallelism": 16},
        });
        self.write("kwok-options.yaml", &kwok_options.to_string());
    }

    fn etcd(&self) -> Component {
        let own = self.network.control_plane();
        // Also on the bridge: tests ask etcd itself for a compaction.
        let client_urls = format!("http://127.0.0.1:2379,http://{own}:2379");
        self.component(
            "etcd",
            &[
                self.path("--data-dir=", "etcd"),
                format!("--listen-client-urls={client_urls}"),
                format!("--advertise-client-urls={client_urls}"),
                "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
                "--unsafe-no-fsync".to_owned(),
                "--quota-backend-bytes=4294967296".to_owned(),
                "--log-level=warn".to_owned(),
            ],
        )
    }

    fn api_server(&self) -> Component {
        let own = self.network.control_plane();
        self.component(
            "kube-apiserver",
            &[
                "--etcd-servers=http://127.0.0.1:2379".to_owned(),
                "--bind-address=0.0.0.0".to_owned(),
                "--secure-port=443".to_owned(),
                format!("--advertise-address={own}"),
                "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
                "--authorization-mode=RBAC".to_owned(),
                self.path("--tls-cert-file=", "server.crt"),
                self.path("--tls-private-key-file=", "server.key"),
                self.path("--client-ca-file=", "ca.crt"),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                self.path("--service-account-key-file=", "service-account.pub"),
                self.path("--service-account-signing-key-file=", "service-account.key"),
                // The aggregator dials endpoint addresses: there is no kube-proxy behind ClusterIPs.
                "--enable-aggregator-routing=true".to_owned(),
                self.path("--requestheader-client-ca-file=", "front-proxy-ca.crt"),
                "--requestheader-allowed-names=front-proxy-client".to_owned(),
                "--requestheader-username-headers=X-Remote-User".to_owned(),
                "--requestheader-group-headers=X-Remote-Group".to_owned(),
                "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
                "--requestheader-uid-headers=X-Remote-Uid".to_owned(),
                self.path("--proxy-client-cert-file=", "front-proxy.crt"),
                self.path("--proxy-client-key-file=", "front-proxy.key"),
                self.path("--audit-policy-file=", "audit-policy.yaml"),
                self.path("--audit-log-path=", "audit.log"),
            ],
        )
    }

    /// Without leader election, which would end the program in an outage of the API server.
    fn controller_manager(&self) -> Component {
        self.component(
            "kube-controller-manager",
            &[
                self.path("--kubeconfig=", "controller-manager.kubeconfig"),
                "--use-service-account-credentials".to_owned(),
                self.path("--service-account-private-key-file=", "service-account.key"),
                self.path("--root-ca-file=", "ca.crt"),
                "--leader-elect=false".to_owned(),
                "--horizontal-pod-autoscaler-sync-period=2s".to_owned(),
                "--horizontal-pod-autoscaler-downscale-stabilization=5s".to_owned(),
                "--kube-api-qps=500".to_owned(),
                "--kube-api-burst=1000".to_owned(),
            ],
        )
    }

    fn scheduler(&self) -> Component {
        self.component(
            "kube-scheduler",
            &[
                self.path("--kubeconfig=", "scheduler.kubeconfig"),
                "--leader-elect=false".to_owned(),
                "--kube-api-qps=500".to_owned(),
                "--kube-api-burst=1000".to_owned(),
            ],
        )
    }

    fn kwok(&self) -> Component {
        let mut arguments = vec![
            self.path("--kubeconfig=", "kwok.kubeconfig"),
            "--manage-all-nodes=false".to_owned(),
            "--manage-nodes-with-label-selector=type=kwok".to_owned(),
            "--cidr=10.244.0.0/16".to_owned(),
            format!("--node-ip={}", self.network.control_plane()),
            self.path("--config=", "kwok-options.yaml"),
            format!("--config={}/tests/cluster/stages/pod-ready.yaml", env!("CARGO_MANIFEST_DIR")),
        ];
        for stage in KWOK_STAGES {
            arguments.push(format!("--config={}/stages/{stage}.yaml", self.programs.display()));
        }
        self.component("kwok", &arguments)
    }

    fn component(&self, name: &str, arguments: &[String]) -> Component {
        let mut command = vec![OsString::from(self.programs.join(name))];
        command.extend(arguments.iter().map(OsString::from));
        Component::start(Program {
            name: name.to_owned(),
            namespace: self.network.control_plane_namespace(),
            command,
            directory: self.directory.to_owned(),
        })
    }

    fn write_kubeconfig(&self, user: &str) {
        let file = |name: String| -> PathBuf { self.directory.join(name) };
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": {
                "server": base(self.network.control_plane()),
                "certificate-authority": file("ca.crt".to_owned()),
            }}],
            "users": [{"name": user, "user": {
                "client-certificate": file(format!("{user}.crt")),
                "client-key": file(format!("{user}.key")),
            }}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
            "current-context": "testbed",
        });
        self.write(&format!("{user}.kubeconfig"), &kubeconfig.to_string());
    }

    fn path(&self, flag: &str, file: &str) -> String {
        format!("{flag}{}", self.directory.join(file).display())
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.directory.join(file), text).expect("the run's directory is writable");
    }
}
