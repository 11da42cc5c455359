//! A Pod of the cluster with a real process behind it, in the environment that a kubelet would give it.
//!
//! The Pod lives on a KWOK node and has the address of a network namespace of its own; the process runs there,
//! in a file system made for it: the machine's libraries, read-only, and directories of its own for the rest.
//! Token, CA and namespace file are laid out and rotated as a kubelet does it.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::api::ApiError;
use super::cluster::NODES;
use super::namespace::{Namespace, pod_spec};
use super::network::KUBERNETES_SERVICE;
use super::process::{Process, Program};
use super::wait::{PATIENCE, wait_until};

/// Arguments: the pod's directory, its name, the program, then the variables and the command line.
///
/// The root is a tmpfs in a mount namespace of the process, so it goes with it and nothing of the machine is
/// written to. `/proc` and `/dev` are the machine's.
const SCRIPT: &str = r#"
set -eu
pod=$1 name=$2 program=$3
shift 3
mount -t tmpfs pod "$pod/root"
cd "$pod/root"
mkdir -p app dev etc/datadog-agent proc tmp usr var/log run/secrets/kubernetes.io/serviceaccount
chmod 1777 tmp
ln -s /run var/run
mount --rbind /dev dev
mount --rbind /proc proc
mount --bind -o ro /usr usr
for directory in bin sbin lib lib64; do
    if [ -L "/$directory" ]; then
        cp -P "/$directory" .
    elif [ -d "/$directory" ]; then
        mkdir "$directory"
        mount --bind -o ro "/$directory" "$directory"
    fi
done
touch app/program
mount --bind -o ro "$program" app/program
cp "$pod/hosts" etc/hosts
mount --bind "$pod/serviceaccount" run/secrets/kubernetes.io/serviceaccount
echo "$name" >/proc/sys/kernel/hostname
exec chroot . env -i "$@"
"#;

/// What runs in the container.
pub struct Container<'a> {
    /// The program; a path of this machine.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [&'a str],
    /// Variables beside those that a kubelet sets.
    pub environment: &'a [(&'a str, &'a str)],
}

/// A Pod and the process behind it.
pub struct Replica<'a> {
    namespace: &'a Namespace<'a>,
    name: String,
    service_account: String,
    directory: PathBuf,
    program: Program,
    process: Option<Process>,
    tokens: u32,
}

impl<'a> Replica<'a> {
    /// Makes the Pod `name`, labelled `app: {app}`, and starts `container` as `service_account`, which must be
    /// there.
    pub fn start(
        namespace: &'a Namespace<'a>,
        name: &str,
        app: &str,
        service_account: &str,
        container: &Container<'_>,
    ) -> Self {
        let cluster = namespace.cluster;
        let actor = cluster.network().attach();
        let directory = cluster.directory().join(&actor.namespace);
        for part in ["root", "serviceaccount"] {
            fs::create_dir_all(directory.join(part)).expect("the run's directory is writable");
        }
        create_pod(namespace, name, app, service_account, actor.address);
        let hosts = format!(
            "127.0.0.1 localhost\n{} {name}\n{KUBERNETES_SERVICE} kubernetes.default.svc\n",
            actor.address
        );
        fs::write(directory.join("hosts"), hosts).expect("the run's directory is writable");
        let program = Program {
            name: format!("{}-{name}", namespace.name),
            namespace: actor.namespace.clone(),
            command: command_line(&directory, name, container),
            directory: cluster.directory().to_owned(),
        };
        let mut replica = Self {
            namespace,
            name: name.to_owned(),
            service_account: service_account.to_owned(),
            directory,
            program,
            process: None,
            tokens: 0,
        };
        replica.rotate_token().unwrap_or_else(|error| panic!("token of {name}: {error}"));
        replica.restart();
        replica
    }

    /// The token that lies in the Pod now.
    pub fn token(&self) -> String {
        let file = self.directory.join("serviceaccount/token");
        fs::read_to_string(file).expect("it was written at the start")
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

    /// Puts a fresh token where the process reads it, by the same atomic rename as a kubelet.
    pub fn rotate_token(&mut self) -> Result<(), ApiError> {
        let token = self.namespace.token(&self.service_account, Some(&self.name))?;
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

fn create_pod(
    namespace: &Namespace<'_>,
    name: &str,
    app: &str,
    service_account: &str,
    address: Ipv4Addr,
) {
    let mut spec = pod_spec();
    spec["nodeName"] = json!(NODES[0]);
    spec["serviceAccountName"] = json!(service_account);
    namespace.apply(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app": app},
            "annotations": {"testbed/pod-ip": address.to_string()},
        },
        "spec": spec,
    }));
    wait_until(PATIENCE, "Running pod with its address", || {
        let pod = namespace.api().get(&namespace.path("Pod", name)).map_err(|e| e.to_string())?;
        if pod["status"]["podIP"] == json!(address.to_string()) {
            return Ok(());
        }
        Err(pod["status"].to_string())
    });
}

fn command_line(directory: &Path, name: &str, container: &Container<'_>) -> Vec<OsString> {
    let mut command: Vec<OsString> =
        ["unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", SCRIPT, "pod"]
            .map(OsString::from)
            .to_vec();
    command.extend([directory.into(), name.into(), container.program.into()]);
    let kubelet = [
        "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
        format!("HOSTNAME={name}"),
        format!("KUBERNETES_SERVICE_HOST={KUBERNETES_SERVICE}"),
        "KUBERNETES_SERVICE_PORT=443".to_owned(),
        "KUBERNETES_SERVICE_PORT_HTTPS=443".to_owned(),
    ];
    command.extend(kubelet.map(OsString::from));
    let given = container.environment.iter().map(|(name, value)| format!("{name}={value}").into());
    command.extend(given);
    command.push("/app/program".into());
    command.extend(container.arguments.iter().map(OsString::from));
    command
}
