//! Keys of the API server, leader election, events and metadata (spec config §2.3–§2.5).

use super::{Key, Kind, Violation};

/// Words of `leader_election_default_resource`; empty lets discovery choose (spec events-and-leader §1.2).
const LOCK_KINDS: &[&str] = &["configmap", "configmaps", "lease", "leases", ""];

pub(super) const API_SERVER: &[Key] = &[
    Key::text("kubernetes_kubeconfig_path", "", "kubeconfig file, for running outside a cluster"),
    Key::text(
        "kubernetes_apiserver_ca_path",
        "",
        "CA file of the API server; the service account's when empty",
    ),
    Key::boolean(
        "kubernetes_apiserver_tls_verify",
        "true",
        "Check the certificate of the API server",
    ),
    Key::seconds(
        "kubernetes_apiserver_client_timeout",
        "10",
        "Time for one request to the API server, not a watch",
    )
    .nonzero(),
    Key::seconds(
        "kubernetes_informers_resync_period",
        "300",
        "Time between two full lists; 0 is never",
    ),
    Key::seconds("kubernetes_informers_restclient_timeout", "60", "Time for one page of a list")
        .nonzero(),
    Key::seconds(
        "kube_cache_sync_timeout_seconds",
        "10",
        "Time a controller waits for the first full list",
    ),
    Key::boolean(
        "kubernetes_use_endpoint_slices",
        "false",
        "Read EndpointSlices instead of Endpoints, where the API server has them",
    ),
    Key::text(
        "kube_resources_namespace",
        "",
        "Namespace of the lock, the resume token and the metrics store; the own one when empty",
    ),
    Key::seconds("kubernetes_apiserver_informer_client_timeout", "0", "Time for a list or watch")
        .ignored(),
    Key::boolean(
        "kubernetes_apiserver_use_protobuf",
        "false",
        "Speak protobuf with the API server",
    )
    .ignored(),
];

pub(super) const LEADERSHIP: &[Key] = &[
    Key::boolean("leader_election", "false", "Elect a leader among the replicas"),
    Key::seconds("leader_lease_duration", "60", "Lifetime of the leadership without a renewal")
        .clamped_above(1, 3600),
    Key::name("leader_lease_name", "datadog-leader-election", "Name of the lock object"),
    Key::text(
        "leader_election_default_resource",
        "configmap",
        "Kind of the lock object, `configmap` or `lease`; empty lets discovery choose",
    )
    .one_of(LOCK_KINDS, Violation::Word("")),
    Key::boolean("leader_election_release_on_shutdown", "true", "Give the lock back when stopping"),
    Key::boolean("collect_kubernetes_events", "false", "Send Kubernetes events to Datadog"),
    Key::boolean(
        "kubernetes_events_source_detection.enabled",
        "false",
        "Tell the source of an event by its reporting component",
    ),
    Key::integer(
        "kubernetes_event_collection_timeout",
        "100",
        "Time for reading events, in milliseconds",
    )
    .ignored(),
];

pub(super) const METADATA: &[Key] = &[
    Key::boolean(
        "kubernetes_collect_metadata_tags",
        "true",
        "Map pods to their services for node Agents",
    )
    .fallback("use_metadata_mapper"),
    Key::boolean("use_metadata_mapper", "true", "Older name of `kubernetes_collect_metadata_tags`"),
    Key::boolean(
        "kubernetes_kube_service_ignore_readiness",
        "false",
        "Count pods that are not ready among the pods of a service",
    ),
    Key::map("kubernetes_node_labels_as_tags", "Node label to tag name"),
    Key::new(
        "kubernetes_node_annotations_as_tags",
        Kind::Map,
        r#"{"cluster.k8s.io/machine":"kube_machine"}"#,
        "Node annotation to tag name",
    ),
    Key::new(
        "kubernetes_node_annotations_as_host_aliases",
        Kind::List,
        r#"["cluster.k8s.io/machine"]"#,
        "Node annotations whose values are aliases of the host",
    ),
    Key::map("kubernetes_pod_labels_as_tags", "Pod label to tag name"),
    Key::map("kubernetes_pod_annotations_as_tags", "Pod annotation to tag name"),
    Key::map("kubernetes_namespace_labels_as_tags", "Namespace label to tag name"),
    Key::map("kubernetes_namespace_annotations_as_tags", "Namespace annotation to tag name"),
    Key::new(
        "kubernetes_resources_labels_as_tags",
        Kind::NestedMap,
        "",
        "Resource (`pods`, `nodes`, `deployments.apps`, …) to label to tag name",
    ),
    Key::new(
        "kubernetes_resources_annotations_as_tags",
        Kind::NestedMap,
        "",
        "Resource to annotation to tag name",
    ),
    Key::seconds("kubernetes_metadata_tag_update_freq", "60", "Polling period of node Agents")
        .ignored(),
    Key::boolean("kubernetes_map_services_on_ip", "false", "Map pods to services by address")
        .ignored(),
    Key::list("kubernetes_ad_tags_disabled", "Tags that Autodiscovery leaves out").ignored(),
];
