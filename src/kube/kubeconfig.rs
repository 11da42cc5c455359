//! Reads the current context of a kubeconfig file into [`Settings`] (spec config §2.3, `kubernetes_kubeconfig_path`).
//!
//! Ways to log in that need another program or a proxy are refused with the entry's name, not ignored: a client that
//! silently drops them would fail later with a misleading 401 or timeout.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::settings::{DEFAULT_LIST_TIMEOUT, DEFAULT_REQUEST_TIMEOUT, Error, Settings, Source};
use crate::secret::Secret;

/// Reads `path`; relative file names in it are relative to its directory.
pub fn load(path: &Path) -> Result<Settings, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    parse(&text, path.parent().unwrap_or(Path::new("")))
        .map_err(|problem| Error::Kubeconfig { path: path.to_owned(), problem })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    current_context: String,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    username: Option<IgnoredAny>,
    exec: Option<IgnoredAny>,
    auth_provider: Option<IgnoredAny>,
}

/// The settings of the current context in `text`; the error says which entry is wrong.
fn parse(text: &str, directory: &Path) -> Result<Settings, String> {
    let file: File = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let wanted = &file.current_context;
    let context = file
        .contexts
        .into_iter()
        .find(|entry| entry.name == *wanted)
        .ok_or_else(|| format!("the current context {wanted:?} is not among the contexts"))?
        .context;
    let cluster = file
        .clusters
        .into_iter()
        .find(|entry| entry.name == context.cluster)
        .ok_or_else(|| format!("there is no cluster {:?}", context.cluster))?
        .cluster;
    let user = match file.users.into_iter().find(|entry| entry.name == context.user) {
        Some(entry) => entry.user,
        None if context.user.is_empty() => User::default(),
        None => return Err(format!("there is no user {:?}", context.user)),
    };
    refuse_unsupported(&context, &cluster, &user)?;
    let server = cluster.server.trim_end_matches('/').to_owned();
    if !server.starts_with("https://") && !server.starts_with("http://") {
        return Err(format!("the server {server:?} is not an http or https address"));
    }

    let source = |file: Option<PathBuf>, data: Option<String>, key: &str| match (data, file) {
        (Some(data), _) => decoded(&data, key).map(Some),
        (None, Some(file)) => Ok(Some(Source::File(directory.join(file)))),
        (None, None) => Ok(None),
    };
    let ca = source(
        cluster.certificate_authority,
        cluster.certificate_authority_data,
        "certificate-authority-data",
    )?;
    let chain =
        source(user.client_certificate, user.client_certificate_data, "client-certificate-data")?;
    let key = source(user.client_key, user.client_key_data, "client-key-data")?;
    let certificate = match (chain, key) {
        (Some(chain), Some(key)) => Some((chain, key)),
        (None, None) => None,
        _ => return Err(format!("user {:?} needs both certificate and key", context.user)),
    };
    let token = match (user.token_file, user.token) {
        (Some(file), _) => Some(Source::File(directory.join(file))),
        (None, Some(token)) => Some(Source::Data(Secret::new(token))),
        (None, None) => None,
    };
    Ok(Settings {
        server,
        ca,
        verify: !cluster.insecure_skip_tls_verify,
        certificate,
        token,
        namespace: context.namespace.filter(|name| !name.is_empty()),
        request_timeout: DEFAULT_REQUEST_TIMEOUT,
        list_timeout: DEFAULT_LIST_TIMEOUT,
    })
}

fn refuse_unsupported(context: &Context, cluster: &Cluster, user: &User) -> Result<(), String> {
    let unsupported = [
        (cluster.proxy_url.is_some(), "cluster", &context.cluster, "proxy-url"),
        (cluster.tls_server_name.is_some(), "cluster", &context.cluster, "tls-server-name"),
        (user.exec.is_some(), "user", &context.user, "exec"),
        (user.auth_provider.is_some(), "user", &context.user, "auth-provider"),
        (user.username.is_some(), "user", &context.user, "username"),
    ];
    match unsupported.into_iter().find(|(present, ..)| *present) {
        Some((_, kind, name, key)) => Err(format!(
            "{kind} {name:?} uses {key}, which is not supported: use a token, a tokenFile or a client certificate"
        )),
        None => Ok(()),
    }
}

fn decoded(data: &str, key: &str) -> Result<Source, String> {
    let bytes = STANDARD.decode(data.trim()).map_err(|error| format!("{key}: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{key}: not PEM"))?;
    Ok(Source::Data(Secret::new(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
apiVersion: v1
kind: Config
current-context: here
contexts:
- name: there
  context: {cluster: far, user: other}
- name: here
  context: {cluster: near, user: me, namespace: shop}
clusters:
- name: near
  cluster: {server: 'https://[fd00::1]:6443/', certificate-authority: pki/ca.crt}
users:
- name: me
  user: {client-certificate: /abs/me.crt, client-key-data: a2V5, tokenFile: token, token: ignored}
";

    fn problem(text: &str) -> String {
        parse(text, Path::new("/etc")).expect_err("the file is not usable")
    }

    #[test]
    fn the_current_context_is_taken_and_paths_are_relative_to_the_file() {
        let settings = parse(WHOLE, Path::new("/etc/kube")).expect("the file is complete");
        assert_eq!(settings.server, "https://[fd00::1]:6443");
        assert_eq!(settings.namespace.as_deref(), Some("shop"));
        assert!(settings.verify);
        assert_eq!(settings.ca.expect("a CA").to_string(), "/etc/kube/pki/ca.crt");
        let (chain, key) = settings.certificate.expect("a certificate");
        assert_eq!(chain.to_string(), "/abs/me.crt");
        assert_eq!(key.read().expect("inline data reads"), b"key");
        assert_eq!(settings.token.expect("a token").to_string(), "/etc/kube/token");
    }

    #[test]
    fn unusable_files_say_which_entry_is_wrong() {
        let near = "{server: 'https://a'}";
        let file = |cluster: &str, user: &str| {
            format!(
                "{{current-context: x, contexts: [{{name: x, context: {{cluster: c, user: u}}}}], \
                  clusters: [{{name: c, cluster: {cluster}}}], users: [{{name: u, user: {user}}}]}}"
            )
        };
        for (text, expected) in [
            ("{}".to_owned(), "the current context \"\" is not among the contexts"),
            (
                file("{server: 'ftp://a'}", "{}"),
                "the server \"ftp://a\" is not an http or https address",
            ),
            (file(near, "{exec: {command: aws}}"), "user \"u\" uses exec, which is not supported"),
            (file(near, "{auth-provider: {name: gcp}}"), "user \"u\" uses auth-provider"),
            (file(near, "{username: me, password: x}"), "user \"u\" uses username"),
            (
                file("{server: 'https://a', proxy-url: 'http://p'}", "{}"),
                "cluster \"c\" uses proxy-url",
            ),
            (file(near, "{client-certificate: a}"), "user \"u\" needs both certificate and key"),
            (
                file("{server: 'https://a', certificate-authority-data: '!'}", "{}"),
                "certificate-authority-data: ",
            ),
            (file(near, "{token: a}").replace("name: u", "name: v"), "there is no user \"u\""),
            (file(near, "{}").replace("name: c", "name: d"), "there is no cluster \"c\""),
        ] {
            let found = problem(&text);
            assert!(found.starts_with(expected), "{found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn a_context_may_do_without_a_user_and_without_checking_the_server() {
        let settings = parse(
            "{current-context: x, contexts: [{name: x, context: {cluster: c}}],
              clusters: [{name: c, cluster: {server: 'http://a:8080', insecure-skip-tls-verify: true}}]}",
            Path::new(""),
        )
        .expect("the file is complete");
        assert!(!settings.verify && settings.token.is_none() && settings.certificate.is_none());
    }
}
