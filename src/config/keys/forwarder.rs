//! Keys of the delivery to Datadog (spec config §2.8, spec events-and-leader §5.6).

use super::{Key, Kind};

pub(super) const KEYS: &[Key] = &[
    Key::seconds("forwarder_timeout", "20", "Time for one request to Datadog").nonzero(),
    Key::new(
        "forwarder_retry_queue_payloads_max_size",
        Kind::Size,
        "15728640",
        "Bytes that wait for a retry, for each intake URL",
    )
    .nonzero(),
    Key::integer(
        "forwarder_retry_queue_max_size",
        "0",
        "Older size of that queue in units of 2 MiB, when the newer key is not set",
    ),
    Key::new(
        "forwarder_backoff_factor",
        Kind::Number,
        "2",
        "Spread of the random backoff, at least 2",
    )
    .within(2, 1_000),
    Key::new(
        "forwarder_backoff_base",
        Kind::Number,
        "2",
        "Backoff after the first error, in seconds",
    )
    .positive(),
    Key::new("forwarder_backoff_max", Kind::Number, "64", "Longest backoff, in seconds").positive(),
    Key::integer("forwarder_recovery_interval", "2", "Errors that one success makes up for")
        .nonzero(),
    Key::boolean("forwarder_recovery_reset", "false", "One success makes up for all errors"),
    Key::seconds("forwarder_stop_timeout", "2", "Time for the last delivery when stopping"),
    Key::boolean("enable_payloads.events", "true", "Send events"),
    Key::boolean("enable_payloads.service_checks", "true", "Send service checks"),
    Key::boolean("enable_payloads.series", "true", "Send metrics"),
    Key::integer("forwarder_num_workers", "1", "Threads of the delivery").ignored(),
    Key::integer("forwarder_max_concurrent_requests", "10", "Requests at a time").ignored(),
    Key::integer("forwarder_high_prio_buffer_size", "100", "Length of the first queue").ignored(),
    Key::integer("forwarder_low_prio_buffer_size", "100", "Length of the second queue").ignored(),
    Key::integer("forwarder_requeue_buffer_size", "100", "Length of the retry channel").ignored(),
    Key::integer(
        "forwarder_apikey_validation_interval",
        "60",
        "Minutes between two checks of the key",
    )
    .ignored(),
    Key::seconds("forwarder_connection_reset_interval", "0", "Lifetime of a connection").ignored(),
    Key::integer("forwarder_outdated_file_in_days", "10", "Days a stored payload is kept")
        .ignored(),
    Key::new(
        "forwarder_flush_to_disk_mem_ratio",
        Kind::Number,
        "0.5",
        "Part of the queue that is stored",
    )
    .ignored(),
    Key::text("forwarder_http_protocol", "auto", "HTTP version towards Datadog").ignored(),
];
