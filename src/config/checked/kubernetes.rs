//! Access to the API server, leader election, events and metadata (spec config §2.3–§2.5).

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Reader, TagRules, tags};

/// File with the namespace of the own pod.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Namespace when that file does not exist.
const DEFAULT_NAMESPACE: &str = "default";

/// Access to the API server.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    /// kubeconfig file, for running outside a cluster.
    pub kubeconfig_path: Option<PathBuf>,
    /// Address of the API server inside a cluster: host (an IPv6 address without brackets) and port, from
    /// `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`.
    pub service: Option<(String, u16)>,
    /// CA file, when it is not the service account's.
    pub ca_path: Option<PathBuf>,
    /// Whether the certificate of the API server is checked.
    pub verify_tls: bool,
    /// Time for one request that is neither a list nor a watch.
    pub request_timeout: Duration,
    /// Time for one page of a list.
    pub list_timeout: Duration,
    /// Time between two full lists of a resource, unless never.
    pub resync_period: Option<Duration>,
    /// Time a controller waits for the first full list before it reports a late start.
    pub sync_timeout: Duration,
    /// Whether EndpointSlices are read instead of Endpoints.
    pub use_endpoint_slices: bool,
    /// Namespace of the own pod.
    pub own_namespace: String,
    /// Namespace of the lock, the resume token and the metrics store.
    pub resources_namespace: String,
    /// Label of the own node whose value is the cluster name when none is configured.
    pub cluster_name_label: Option<String>,
}

/// Election of a leader.
#[derive(Clone, Debug)]
pub struct LeaderElection {
    /// Whether there is one; without it every replica leads.
    pub enabled: bool,
    /// Lifetime of the leadership without a renewal.
    pub lease_duration: Duration,
    /// Name of the lock object.
    pub lease_name: String,
    /// Kind of the lock object.
    pub default_resource: LockKind,
    /// Whether the lock is given back when stopping.
    pub release_on_shutdown: bool,
}

/// Kind of the lock object (spec events-and-leader §1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// An annotation of a ConfigMap.
    ConfigMap,
    /// A Lease.
    Lease,
    /// A Lease if the API server has them, else a ConfigMap.
    Discover,
}

/// Collection of events.
#[derive(Clone, Debug)]
pub struct Events {
    /// Whether events are sent to Datadog.
    pub collect: bool,
    /// Whether the source of an event is told by its reporting component.
    pub detect_sources: bool,
}

/// Webhook objects that the official agent may have left behind, which delay every pod creation (spec config §3).
#[derive(Clone, Debug)]
pub struct AdmissionController {
    /// Name of the webhook configurations.
    pub webhook_name: String,
    /// Service they point to, when it is given.
    pub service_name: Option<String>,
}

/// Metadata served to node Agents.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Whether pods are mapped to their services.
    pub map_services: bool,
    /// Whether pods that are not ready count among the pods of a service.
    pub ignore_readiness: bool,
    /// Tags from labels of nodes.
    pub node_labels: TagRules,
    /// Tags from annotations of nodes.
    pub node_annotations: TagRules,
    /// Node annotations that node Agents take as aliases of their host.
    pub host_alias_annotations: Vec<String>,
    /// Tags from labels of pods.
    pub pod_labels: TagRules,
    /// Tags from annotations of pods.
    pub pod_annotations: TagRules,
    /// Tags from labels of namespaces.
    pub namespace_labels: TagRules,
    /// Tags from annotations of namespaces.
    pub namespace_annotations: TagRules,
}

impl Kubernetes {
    pub(super) fn check(reader: &mut Reader) -> Self {
        let own_namespace = own_namespace(reader);
        Self {
            kubeconfig_path: reader.path("kubernetes_kubeconfig_path"),
            service: service(reader),
            ca_path: reader.path("kubernetes_apiserver_ca_path"),
            verify_tls: reader.boolean("kubernetes_apiserver_tls_verify"),
            request_timeout: reader.seconds("kubernetes_apiserver_client_timeout"),
            list_timeout: reader.seconds("kubernetes_informers_restclient_timeout"),
            resync_period: reader.seconds_or_never("kubernetes_informers_resync_period"),
            sync_timeout: reader.seconds("kube_cache_sync_timeout_seconds"),
            use_endpoint_slices: reader.boolean("kubernetes_use_endpoint_slices"),
            resources_namespace: reader
                .given_text("kube_resources_namespace")
                .unwrap_or_else(|| own_namespace.clone()),
            own_namespace,
            cluster_name_label: reader.given_text("kubernetes_node_label_as_cluster_name"),
        }
    }
}

impl LeaderElection {
    pub(super) fn check(reader: &mut Reader) -> Self {
        Self {
            enabled: reader.boolean("leader_election"),
            lease_duration: reader.seconds("leader_lease_duration"),
            lease_name: reader.text("leader_lease_name"),
            default_resource: match reader.text("leader_election_default_resource").as_str() {
                "configmap" | "configmaps" => LockKind::ConfigMap,
                "lease" | "leases" => LockKind::Lease,
                _ => LockKind::Discover,
            },
            release_on_shutdown: reader.boolean("leader_election_release_on_shutdown"),
        }
    }
}

impl Events {
    pub(super) fn check(reader: &mut Reader) -> Self {
        Self {
            collect: reader.boolean("collect_kubernetes_events"),
            detect_sources: reader.boolean("kubernetes_events_source_detection.enabled"),
        }
    }
}

impl AdmissionController {
    pub(super) fn check(reader: &mut Reader) -> Self {
        Self {
            webhook_name: reader.text("admission_controller.webhook_name"),
            service_name: reader.given_text("admission_controller.service_name"),
        }
    }
}

impl Metadata {
    pub(super) fn check(reader: &mut Reader) -> Self {
        let mut labels = |name: &str, resource: &str| {
            tags::rules(reader, name, "kubernetes_resources_labels_as_tags", resource)
        };
        let node_labels = labels("kubernetes_node_labels_as_tags", "nodes");
        let pod_labels = labels("kubernetes_pod_labels_as_tags", "pods");
        let namespace_labels = labels("kubernetes_namespace_labels_as_tags", "namespaces");
        let mut annotations = |name: &str, resource: &str| {
            tags::rules(reader, name, "kubernetes_resources_annotations_as_tags", resource)
        };
        let node_annotations = annotations("kubernetes_node_annotations_as_tags", "nodes");
        let pod_annotations = annotations("kubernetes_pod_annotations_as_tags", "pods");
        let namespace_annotations =
            annotations("kubernetes_namespace_annotations_as_tags", "namespaces");
        Self {
            map_services: reader.boolean("kubernetes_collect_metadata_tags"),
            ignore_readiness: reader.boolean("kubernetes_kube_service_ignore_readiness"),
            host_alias_annotations: reader.list("kubernetes_node_annotations_as_host_aliases"),
            node_labels,
            node_annotations,
            pod_labels,
            pod_annotations,
            namespace_labels,
            namespace_annotations,
        }
    }
}

fn own_namespace(reader: &mut Reader) -> String {
    // Outside a cluster the file does not exist; one that cannot be read is no better than none.
    let read = (reader.sources.read)(Path::new(NAMESPACE_FILE)).unwrap_or_default();
    match read.trim() {
        "" => DEFAULT_NAMESPACE.to_owned(),
        namespace => namespace.to_owned(),
    }
}

fn service(reader: &mut Reader) -> Option<(String, u16)> {
    let host = reader.sources.variable("KUBERNETES_SERVICE_HOST")?;
    let port = reader.sources.variable("KUBERNETES_SERVICE_PORT")?.trim();
    let Some(number) = port.parse().ok().filter(|number| *number != 0) else {
        let port = crate::config::text::excerpt(port);
        reader.warn(format!("KUBERNETES_SERVICE_PORT is \"{port}\", which is not a port"));
        return None;
    };
    let host = host.trim().trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), number))
}
