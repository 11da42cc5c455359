//! Tags and host of an event (spec events-and-leader §2.5, §2.8, §2.10).

use super::object::ClusterEvent;

/// What all events of this process have in common.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Tags of the configuration, of the cluster, and of the check's instance.
    pub tags: Vec<String>,
    /// What host names of nodes end in: a hyphen and the cluster's name, or nothing.
    pub host_suffix: String,
    /// The program's own host, for events that belong to no node.
    pub hostname: String,
    /// Whether the reporting component tells the source.
    pub detect_sources: bool,
}

/// The host that an event is attributed to.
pub fn host(event: &ClusterEvent, context: &Context) -> String {
    let about = &event.involved_object;
    let node = match about.kind.as_str() {
        "Pod" => event.source.host.as_str(),
        "Node" => about.name.as_str(),
        _ => "",
    };
    if node.is_empty() {
        context.hostname.clone()
    } else {
        format!("{node}{}", context.host_suffix)
    }
}

/// The tags of an event, sorted and unique; `more` are those of one form only.
pub fn of(event: &ClusterEvent, context: &Context, more: Option<String>) -> Vec<String> {
    let about = &event.involved_object;
    let mut tags = vec![
        format!("kube_kind:{}", about.kind),
        format!("kube_name:{}", about.name),
        format!("kubernetes_kind:{}", about.kind),
        format!("name:{}", about.name),
        format!("source_component:{}", event.source.component),
        "orchestrator:kubernetes".to_owned(),
        format!("reporting_controller:{}", event.reporting_component),
    ];
    if !about.namespace.is_empty() {
        tags.push(format!("kube_namespace:{}", about.namespace));
        tags.push(format!("namespace:{}", about.namespace));
    }
    tags.extend(kind_tag(&about.kind).map(|tag| format!("{tag}:{}", about.name)));
    tags.extend(more);
    tags.extend(context.tags.iter().cloned());
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// `alert_type` of an event.
pub fn alert_type(event: &ClusterEvent) -> &'static str {
    if event.kind == "Warning" { "warning" } else { "info" }
}

fn kind_tag(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Pod" => "pod_name",
        "Deployment" => "kube_deployment",
        "ReplicaSet" => "kube_replica_set",
        "ReplicationController" => "kube_replication_controller",
        "StatefulSet" => "kube_stateful_set",
        "DaemonSet" => "kube_daemon_set",
        "Job" => "kube_job",
        "CronJob" => "kube_cronjob",
        "Service" => "kube_service",
        "Namespace" => "kube_namespace",
        _ => return None,
    })
}
