//! Whether the API server answers, and whether it allows what the features in use need (spec cli §8, deploy §2.1).

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::report::{Finding, Suite};
use crate::config::{Config, LockKind};
use crate::kube::{Client, Target};

/// Longest wait for one answer; there are about twenty questions.
const PATIENCE: Duration = Duration::from_secs(5);

/// One rule that a role must have.
struct Rule {
    group: &'static str,
    resource: &'static str,
    name: Option<String>,
    verbs: &'static [&'static str],
    /// The own namespace, or the whole cluster.
    namespace: Option<String>,
    feature: &'static str,
}

#[derive(Deserialize)]
struct Review {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    allowed: bool,
}

pub(super) fn connectivity(client: &Result<Client, String>) -> Suite {
    const NAME: &str = "[Kubernetes] API server";
    let finding = match client {
        Err(reason) => Finding::fail(
            NAME,
            reason,
            "run in a pod with a service account, or set DD_KUBERNETES_KUBECONFIG_PATH",
        ),
        Ok(client) => {
            let start = Instant::now();
            match client.within(PATIENCE).fetch("/version") {
                Ok(_) => Finding::pass(
                    NAME,
                    format!("{} answered in {} ms", client.server(), start.elapsed().as_millis()),
                ),
                Err(error) => Finding::fail(
                    NAME,
                    format!("{}: {error}", client.server()),
                    "open the way to this address in network policies and firewalls; it is never reached by a proxy",
                ),
            }
        }
    };
    Suite { name: "connectivity-kubernetes", findings: vec![finding] }
}

/// One access review for each verb of each rule.
pub(super) fn permissions(config: &Config, client: &Result<Client, String>) -> Suite {
    let mut findings = Vec::new();
    if let Ok(client) = client {
        let client = client.within(PATIENCE);
        for rule in rules(config) {
            let finding = judged(&client, &rule);
            let unanswered = finding.is_err();
            findings.push(finding.unwrap_or_else(|finding| finding));
            if unanswered {
                // The server does not answer; the other questions would only take time.
                break;
            }
        }
    }
    Suite { name: "kubernetes-permissions", findings }
}

fn judged(client: &Client, rule: &Rule) -> Result<Finding, Finding> {
    let named = rule.name.as_ref().map_or(String::new(), |name| format!(" {name:?}"));
    let name = format!("[Kubernetes] {} {}{named}", rule.verbs.join("/"), rule.resource);
    let target = Target::new("/apis/authorization.k8s.io/v1", "selfsubjectaccessreviews");
    let mut denied = Vec::new();
    for verb in rule.verbs {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "group": rule.group,
                "resource": rule.resource,
                "name": rule.name,
                "namespace": rule.namespace,
                "verb": verb,
            }},
        });
        match client.create::<Review>(&target, &review) {
            Ok(review) if review.status.allowed => {}
            Ok(_) => denied.push(*verb),
            Err(error) => {
                return Err(Finding::warning(
                    name,
                    format!("the API server does not say: {error}"),
                    "see the suite connectivity-kubernetes",
                ));
            }
        }
    }
    if denied.is_empty() {
        return Ok(Finding::pass(name, "allowed"));
    }
    let names =
        rule.name.as_ref().map_or(String::new(), |name| format!(" resourceNames [{name:?}]"));
    Ok(Finding::fail(
        name,
        format!("{} is denied: {}", denied.join(", "), rule.feature),
        format!(
            "grant apiGroups [{:?}] resources [{:?}]{names} verbs {denied:?} to the service account",
            rule.group, rule.resource
        ),
    ))
}

/// The rules that the features in use need; the same as in manifests/base/rbac.yaml.
fn rules(config: &Config) -> Vec<Rule> {
    const READ: &[&str] = &["get", "list", "watch"];
    const WRITE: &[&str] = &["get", "update"];
    let namespace = &config.kubernetes.resources_namespace;
    let cluster = |group, resource, feature| Rule {
        group,
        resource,
        name: None,
        verbs: READ,
        namespace: None,
        feature,
    };
    let own = |group, resource, name: Option<&str>, verbs, feature| Rule {
        group,
        resource,
        name: name.map(str::to_owned),
        verbs,
        namespace: Some(namespace.clone()),
        feature,
    };
    let mut rules = vec![
        cluster("", "nodes", "no labels of nodes, no map of services"),
        cluster("", "namespaces", "no labels of namespaces"),
        own("", "configmaps", Some("datadog-cluster-id"), WRITE, "the cluster's id is not kept"),
        own(
            "",
            "configmaps",
            None,
            &["create"],
            "the first lock and the cluster's id are not made",
        ),
    ];
    if config.metadata.map_services {
        rules.push(if config.kubernetes.use_endpoint_slices {
            cluster("discovery.k8s.io", "endpointslices", "no services of pods")
        } else {
            cluster("", "endpoints", "no services of pods")
        });
    }
    if config.cluster_checks.enabled {
        rules.push(cluster("", "services", "no checks from annotations of Services"));
    }
    let election = &config.leader_election;
    if election.enabled {
        let name = Some(election.lease_name.as_str());
        let feature = "no replica can lead";
        rules.push(if election.default_resource == LockKind::Lease {
            own("coordination.k8s.io", "leases", name, WRITE, feature)
        } else {
            own("", "configmaps", name, WRITE, feature)
        });
    }
    rules
}
