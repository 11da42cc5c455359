//! Keys of the account, identity, logs, listeners, proxy and TLS (spec config §2.1, §2.2).

use super::{Key, Kind, Violation, current};

/// Words of `log_level`.
const LOG_LEVELS: &[&str] =
    &["trace", "debug", "info", "warn", "warning", "error", "critical", "off"];

/// Words of `min_tls_version`.
const TLS_VERSIONS: &[&str] = &["tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3"];

pub(super) const ACCOUNT: &[Key] = &[
    Key::secret("api_key", "Datadog API key, required; surrounding white space is removed"),
    Key::secret("app_key", "Datadog application key, needed to query metrics for external metrics"),
    Key::text("site", "", "Datadog site such as `datadoghq.eu`; `datadoghq.com` when empty"),
    Key::new("dd_url", Kind::Url, "", "Base URL of the intake, used verbatim; wins over `site`")
        .url(Violation::Exit)
        .environment(&[current("DD_DD_URL"), current("DD_URL")]),
    Key::new(
        "additional_endpoints",
        Kind::Endpoints,
        "",
        "Further intake URLs, each with its API keys",
    ),
    Key::boolean(
        "convert_dd_site_fqdn.enabled",
        "false",
        "Append a dot to the host names of well-known sites",
    ),
    Key::text("hostname", "", "Host name reported to Datadog; found out when empty"),
    Key::text("hostname_file", "", "File whose content is the host name"),
    Key::text(
        "cluster_name",
        "",
        "Name of the cluster in tags and host aliases; dot-separated labels, 80 characters",
    ),
    Key::boolean(
        "enabled_rfc1123_compliant_cluster_name_tag",
        "true",
        "Replace underscores by hyphens where the cluster name is a tag value",
    ),
    Key::boolean(
        "disable_cluster_name_tag_key",
        "false",
        "Leave out the tag `cluster_name` where it only repeats `kube_cluster_name`",
    ),
    Key::text(
        "kubernetes_node_label_as_cluster_name",
        "",
        "Label of the own node whose value is the cluster name when `cluster_name` is empty",
    ),
    Key::list("tags", "Tags of everything sent to Datadog, each `key:value`"),
    Key::list("extra_tags", "Added to `tags`"),
    Key::new(
        "allow_arbitrary_tags",
        Kind::Boolean,
        "false",
        "Ask the intake to keep tag values as they are",
    ),
];

pub(super) const LOGGING: &[Key] = &[
    Key::text("log_level", "info", "Least serious level that is logged")
        .one_of(LOG_LEVELS, Violation::Exit),
    Key::boolean("log_format_json", "false", "One JSON object a line instead of text"),
    Key::boolean("log_format_rfc3339", "false", "Times in RFC 3339"),
    Key::boolean("log_to_console", "true", "Write the log to the console"),
    Key::text("log_file", "", "Log file; `/var/log/datadog/cluster-agent.log` when empty"),
    Key::boolean("disable_file_logging", "false", "Write no log file"),
    Key::new("log_file_max_size", Kind::Size, "10Mb", "Size at which the log file is rolled over")
        .nonzero(),
    Key::integer("log_file_max_rolls", "1", "Rolled log files that are kept"),
    Key::integer(
        "logging_frequency",
        "500",
        "Successful deliveries between two log lines about them",
    )
    .nonzero(),
    Key::boolean("log_payloads", "false", "Log what is sent to Datadog").ignored(),
    Key::boolean("log_to_syslog", "false", "Log to syslog").ignored(),
    Key::text("syslog_uri", "", "Address of syslog").ignored(),
    Key::boolean("syslog_rfc", "false", "Format of syslog lines").ignored(),
    Key::list(
        "scrubber.additional_keys",
        "Further keys whose values are masked in logs and flares",
    )
    .fallback("flare_stripped_keys"),
    Key::list("flare_stripped_keys", "Older name of `scrubber.additional_keys`"),
];

pub(super) const LISTENERS: &[Key] = &[
    Key::port_or_off("health_port", "0", "Port of the health probes; 0 is off"),
    Key::port_or_off("metrics_port", "5000", "Port of the Prometheus metrics; 0 is off")
        .fallback("expvar_port"),
    Key::port_or_off("expvar_port", "5000", "Older name of `metrics_port`"),
    Key::port(
        "cluster_agent.cmd_port",
        "5005",
        "Port of the API for node Agents and the command line",
    ),
    Key::secret(
        "cluster_agent.auth_token",
        "Token of node Agents, at least 32 characters; read from or written to a file beside the configuration when \
         empty",
    ),
    Key::text("auth_token_file_path", "", "File of the session token of the command line"),
    Key::text(
        "ipc_cert_file_path",
        "",
        "File of the certificate and key that the command line trusts",
    ),
    Key::name(
        "cluster_agent.kubernetes_service_name",
        "datadog-cluster-agent",
        "Service of the cluster agents",
    ),
    Key::name("cluster_agent.token_name", "datadogtoken", "ConfigMap of the event resume token"),
    Key::seconds(
        "cluster_agent.server.read_timeout_seconds",
        "10",
        "Time for a client to send a request",
    )
    .nonzero(),
    Key::seconds(
        "cluster_agent.server.write_timeout_seconds",
        "10",
        "Time for a client to take an answer",
    )
    .nonzero(),
    Key::seconds(
        "cluster_agent.server.idle_timeout_seconds",
        "90",
        "Time an idle client connection is kept",
    )
    .nonzero(),
    Key::integer(
        "cluster_agent.max_leader_connections",
        "100",
        "Connections from a follower to the leader",
    )
    .nonzero(),
    Key::integer(
        "cluster_agent.max_connections",
        "8192",
        "Connections on the API port at a time; an addition of this product",
    )
    .nonzero(),
    Key::integer(
        "cluster_agent.max_streams",
        "2000",
        "gRPC metadata streams at a time, node Agents above it poll; an addition of this product",
    ),
    Key::boolean("cluster_agent.enabled", "false", "A node Agent setting, without effect here"),
    Key::boolean(
        "cluster_trust_chain.enable_tls_verification",
        "false",
        "Serve a certificate signed by the given authority",
    )
    .ignored(),
    Key::text("cluster_trust_chain.ca_cert_file_path", "", "Certificate of that authority")
        .ignored(),
    Key::text("cluster_trust_chain.ca_key_file_path", "", "Key of that authority").ignored(),
];

pub(super) const NETWORK: &[Key] = &[
    Key::new("proxy.http", Kind::ProxyUrl, "", "Proxy for `http` targets")
        .environment(&[current("DD_PROXY_HTTP"), current("HTTP_PROXY"), current("http_proxy")])
        .empty_overrides(),
    Key::new(
        "proxy.https",
        Kind::ProxyUrl,
        "",
        "Proxy for `https` targets, which is all Datadog traffic",
    )
    .environment(&[current("DD_PROXY_HTTPS"), current("HTTPS_PROXY"), current("https_proxy")])
    .empty_overrides(),
    Key::new("proxy.no_proxy", Kind::CommaList, "", "Hosts that are reached directly")
        .environment(&[current("DD_PROXY_NO_PROXY"), current("NO_PROXY"), current("no_proxy")])
        .empty_overrides(),
    Key::boolean(
        "no_proxy_nonexact_match",
        "false",
        "Match `proxy.no_proxy` by domain, address range and port instead of by exact text",
    ),
    Key::boolean(
        "use_proxy_for_cloud_metadata",
        "false",
        "Do not add the cloud metadata addresses to `proxy.no_proxy`",
    ),
    Key::boolean("skip_ssl_validation", "false", "Accept any certificate of Datadog and the proxy"),
    Key::text(
        "min_tls_version",
        "tlsv1.2",
        "Oldest TLS version towards Datadog; 1.0 and 1.1 mean 1.2",
    )
    .one_of(TLS_VERSIONS, Violation::LowerLayer),
    Key::new(
        "tls_handshake_timeout",
        Kind::Duration,
        "10s",
        "Time for a TLS handshake with Datadog",
    )
    .positive(),
    Key::new("force_tls_12", Kind::Boolean, "false", "Older switch, always on here").ignored(),
    Key::text("sslkeylogfile", "", "File for TLS session keys").ignored(),
    Key::boolean("fips.enabled", "false", "Send through a FIPS proxy: refused at start"),
    Key::integer("fips.port_range_start", "9803", "First port of the FIPS proxy").ignored(),
    Key::text("fips.local_address", "localhost", "Address of the FIPS proxy").ignored(),
    Key::boolean("fips.https", "true", "Speak TLS with the FIPS proxy").ignored(),
    Key::boolean("fips.tls_verify", "true", "Check the certificate of the FIPS proxy").ignored(),
];
