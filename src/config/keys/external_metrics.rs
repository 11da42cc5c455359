//! Keys of external metrics (spec config §2.7, spec external-metrics §2).

use super::{Key, Kind, Violation, current, deprecated};

pub(super) const KEYS: &[Key] = &[
    Key::boolean("external_metrics_provider.enabled", "false", "Serve external metrics to the HPA"),
    Key::port("external_metrics_provider.port", "8443", "HTTPS port of the external metrics API"),
    Key::new(
        "external_metrics_provider.endpoint",
        Kind::Url,
        "",
        "Base URL of metric queries; `https://api.` and the site when empty",
    )
    .url(Violation::LowerLayer)
    .environment(&[current("DD_EXTERNAL_METRICS_PROVIDER_ENDPOINT"), deprecated("DATADOG_HOST")]),
    Key::secret("external_metrics_provider.api_key", "API key of metric queries; `api_key` when empty"),
    Key::secret("external_metrics_provider.app_key", "Application key of metric queries; `app_key` when empty"),
    Key::new(
        "external_metrics_provider.endpoints",
        Kind::Objects,
        "",
        "Fallback endpoints of metric queries, each a map with `url` or `site`, `api_key`, `app_key`; file only",
    )
    .environment(&[]),
    Key::seconds("external_metrics_provider.refresh_period", "30", "Time between two rounds of queries")
        .nonzero()
        .environment(&[
            current("DD_EXTERNAL_METRICS_PROVIDER_REFRESH_PERIOD"),
            deprecated("DD_EXTERNAL_METRICS_REFRESH_PERIOD"),
        ]),
    Key::seconds("external_metrics_provider.max_age", "120", "Age at which a value is no longer served")
        .nonzero()
        .environment(&[
            current("DD_EXTERNAL_METRICS_PROVIDER_MAX_AGE"),
            deprecated("DD_EXTERNAL_METRICS_MAX_AGE"),
        ]),
    Key::text("external_metrics.aggregator", "avg", "How points of one bucket become a value")
        .one_of(&["avg", "sum", "max", "min"], Violation::LowerLayer)
        .environment(&[
            current("DD_EXTERNAL_METRICS_AGGREGATOR"),
            deprecated("DD_EXTERNAL_METRICS_PROVIDER_AGGREGATOR"),
        ]),
    Key::seconds("external_metrics_provider.bucket_size", "300", "Length of the query window")
        .nonzero()
        .environment(&[
            current("DD_EXTERNAL_METRICS_PROVIDER_BUCKET_SIZE"),
            deprecated("DD_EXTERNAL_METRICS_BUCKET_SIZE"),
        ]),
    Key::seconds("external_metrics_provider.max_time_window", "86400", "Longest query window").nonzero(),
    Key::seconds("external_metrics_provider.rollup", "30", "Resolution of queried points").nonzero().environment(&[
        current("DD_EXTERNAL_METRICS_PROVIDER_ROLLUP"),
        deprecated("DD_EXTERNAL_METRICS_ROLLUP"),
    ]),
    Key::seconds(
        "external_metrics_provider.local_copy_refresh_rate",
        "30",
        "Time between two readings of the metrics store",
    )
    .nonzero()
    .environment(&[
        current("DD_EXTERNAL_METRICS_PROVIDER_LOCAL_COPY_REFRESH_RATE"),
        deprecated("DD_EXTERNAL_METRICS_LOCAL_COPY_REFRESH_RATE"),
    ]),
    Key::integer("external_metrics_provider.chunk_size", "35", "Queries in one HTTP request").clamped(1, 35),
    Key::seconds(
        "external_metrics_provider.query_validity_period",
        "30",
        "Grace added to the age limit of values of DatadogMetrics",
    ),
    Key::boolean(
        "external_metrics_provider.split_batches_with_backoff",
        "false",
        "Query failing DatadogMetrics alone, with a backoff",
    ),
    Key::integer("external_metrics_provider.max_parallel_queries", "10", "HTTP requests at a time").clamped(1, 300),
    Key::boolean("external_metrics_provider.use_datadogmetric_crd", "false", "Work with DatadogMetric resources"),
    Key::boolean(
        "external_metrics_provider.enable_datadogmetric_autogen",
        "true",
        "Create DatadogMetrics for metric names in HPAs",
    ),
    Key::boolean("external_metrics_provider.wpa_controller", "false", "Watch WatermarkPodAutoscalers: not supported"),
    Key::text(
        "external_metrics_provider.autoscaler_autogen_label_selector",
        "",
        "Label selector of HPAs that DatadogMetrics are created for",
    )
    .fallback("external_metrics_provider.hpa_label_selector"),
    Key::text(
        "external_metrics_provider.hpa_label_selector",
        "",
        "Older name of `external_metrics_provider.autoscaler_autogen_label_selector`",
    ),
    Key::map("external_metrics_provider.config", "Options of the official API server library by name"),
    Key::name("hpa_configmap_name", "datadog-custom-metrics", "ConfigMap of the metrics store"),
    Key::seconds("hpa_watcher_gc_period", "300", "Time between two removals of unused metrics").nonzero(),
    Key::seconds("external_metrics_provider.batch_window", "10", "Time for collecting changes")
        .environment(&[
            current("DD_EXTERNAL_METRICS_PROVIDER_BATCH_WINDOW"),
            deprecated("DD_EXTERNAL_METRICS_BATCH_WINDOW"),
        ])
        .ignored(),
    Key::seconds("hpa_watcher_polling_freq", "10", "Polling period of HPAs").ignored(),
    Key::integer("external_metrics_provider.num_workers", "2", "Threads of the DatadogMetric controller").ignored(),
    Key::integer("external_metrics_provider.startup_retries", "0", "Attempts at start").ignored(),
    Key::new("external_metrics_provider.startup_retry_delay", Kind::Duration, "0", "Time between them").ignored(),
    Key::new("external_metrics_provider.startup_retry_max_delay", Kind::Duration, "0", "Longest time between them")
        .ignored(),
];
