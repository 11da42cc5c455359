//! What a kubelet makes of a pod's first container: its variables, mounts and user.

use std::ffi::OsString;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::namespace::Namespace;
use super::network::KUBERNETES_SERVICE;

/// Where the image has its program, and `PATH` of the image.
const PROGRAMS: &str = "/opt/datadog-agent/bin";

/// Arguments: the pod's directory (with `hosts` and `serviceaccount`), its name, user id, `ro` or `rw`, the
/// program, the number of empty volumes and their paths; then variables, program and arguments for `env`.
///
/// The root is a tmpfs in a mount namespace of the process, so it goes with it and nothing of the machine is
/// written to. The machine lends its libraries, `/proc` and `/dev`.
const SCRIPT: &str = r#"
set -eu
pod=$1 name=$2 user=$3 mode=$4 program=$5 volumes=$6
shift 6
mount -t tmpfs pod "$pod/root"
cd "$pod/root"
mkdir -p dev etc/datadog-agent opt/datadog-agent/bin opt/datadog-agent/run proc tmp usr var/log/datadog \
    run/secrets/kubernetes.io/serviceaccount
chmod 1777 tmp
chown "$user:$user" etc/datadog-agent opt/datadog-agent/run var/log/datadog
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
target=opt/datadog-agent/bin/${program##*/}
touch "$target"
mount --bind -o ro "$program" "$target"
cp "$pod/hosts" etc/hosts
mount --bind "$pod/serviceaccount" run/secrets/kubernetes.io/serviceaccount
while [ "$volumes" -gt 0 ]; do
    mkdir -p ".$1"
    mount -t tmpfs -o mode=777 volume ".$1"
    shift
    volumes=$((volumes - 1))
done
mount -o "remount,$mode" "$pod/root"
echo "$name" >/proc/sys/kernel/hostname
exec chroot --userspec "$user:$user" . env -i "$@"
"#;

/// What runs in the container in place of its image.
pub struct Command<'a> {
    /// The program; a path of this machine.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [&'a str],
}

/// The command line that becomes `command` in the first container of `pod`, whose files are in `directory`.
pub fn command_line(
    namespace: &Namespace<'_>,
    pod: &Value,
    directory: &Path,
    command: &Command<'_>,
) -> Vec<OsString> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = text(&pod["metadata"]["name"]);
    let container = &pod["spec"]["containers"][0];
    let user = pod["spec"]["securityContext"]["runAsUser"].as_u64().unwrap_or(0);
    let read_only = container["securityContext"]["readOnlyRootFilesystem"] == true;
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    // The API server adds the service account's volume, which the script has anyway.
    let volumes: Vec<String> = mounts
        .map(|mount| text(&mount["mountPath"]))
        .filter(|path| !path.starts_with("/var/run/secrets"))
        .collect();

    let mut line = arguments(&["unshare", "--mount", "--uts", "--propagation", "private"]);
    line.extend(arguments(&["sh", "-c", SCRIPT, "pod"]));
    line.push(directory.into());
    line.extend(arguments(&[&name, &user.to_string(), if read_only { "ro" } else { "rw" }]));
    line.push(command.program.into());
    line.push(volumes.len().to_string().into());
    line.extend(volumes.into_iter().map(OsString::from));
    line.extend(arguments(&[
        &format!("PATH={PROGRAMS}:/usr/local/bin:/usr/bin:/bin"),
        "DOCKER_DD_AGENT=true",
        &format!("HOSTNAME={name}"),
        &format!("KUBERNETES_SERVICE_HOST={KUBERNETES_SERVICE}"),
        "KUBERNETES_SERVICE_PORT=443",
        "KUBERNETES_SERVICE_PORT_HTTPS=443",
    ]));
    for variable in container["env"].as_array().into_iter().flatten() {
        let value = value_of(namespace, pod, variable);
        line.push(format!("{}={value}", text(&variable["name"])).into());
    }
    let program = command.program.file_name().expect("a program is a file");
    line.push(Path::new(PROGRAMS).join(program).into());
    line.extend(arguments(command.arguments));
    line
}

/// Value of one entry of `env`.
fn value_of(namespace: &Namespace<'_>, pod: &Value, variable: &Value) -> String {
    let source = &variable["valueFrom"];
    if let Some(path) = source["fieldRef"]["fieldPath"].as_str() {
        let field = pod.pointer(&format!("/{}", path.replace('.', "/")));
        return field.and_then(Value::as_str).unwrap_or_default().to_owned();
    }
    if let Some(name) = source["secretKeyRef"]["name"].as_str() {
        let secret = namespace.api().get(&namespace.path("Secret", name));
        let secret = secret.unwrap_or_else(|error| panic!("Secret {name}: {error}"));
        let key = source["secretKeyRef"]["key"].as_str().unwrap_or_default();
        let data = secret["data"][key].as_str().unwrap_or_default();
        let bytes = BASE64_STANDARD.decode(data).expect("the API server encodes it");
        return String::from_utf8(bytes).expect("the tests' secrets are text");
    }
    variable["value"].as_str().unwrap_or_default().to_owned()
}

fn arguments(texts: &[&str]) -> Vec<OsString> {
    texts.iter().map(OsString::from).collect()
}
