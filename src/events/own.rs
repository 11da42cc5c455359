//! What the program says of itself in each flush: that it is up, and in which version (spec events-and-leader §4).

use std::time::{Duration, Instant, SystemTime};

use crate::config;
use crate::datadog::Forwarder;
use crate::datadog::intake::{self, Batch, Gauge, ServiceCheck, Status};
use crate::health::Heartbeat;
use crate::sync::Stop;
use crate::version;

/// Time between two flushes.
pub const FLUSH: Duration = Duration::from_secs(15);

/// How often the thread says that it is alive.
const BEAT: Duration = Duration::from_secs(5);

/// Sends the program's own service check and metric until `stop`.
pub fn run(
    forwarder: &Forwarder,
    settings: &config::Forwarder,
    hostname: &str,
    heartbeat: &Heartbeat,
    stop: &Stop,
) {
    let mut flush = Instant::now() + FLUSH;
    loop {
        heartbeat.beat(Instant::now());
        if stop.wait_until(flush.min(Instant::now() + BEAT)) {
            return;
        }
        if Instant::now() >= flush {
            flush += FLUSH;
            for payload in batches(settings, hostname, SystemTime::now())
                .into_iter()
                .flat_map(|batch| batch.payloads)
            {
                forwarder.send(payload);
            }
        }
    }
}

fn batches(settings: &config::Forwarder, hostname: &str, now: SystemTime) -> Vec<Batch> {
    let mut batches = Vec::new();
    if settings.send_service_checks {
        batches.push(intake::check_runs(&[ServiceCheck {
            check: "datadog.cluster_agent.up".to_owned(),
            host_name: hostname.to_owned(),
            timestamp: intake::unix_seconds(now),
            status: Status::Ok,
            message: String::new(),
            tags: Vec::new(),
        }]));
    }
    if settings.send_series {
        let tags = vec![format!("version:{}", version::number())];
        let running = Gauge::of_system("datadog.cluster_agent.running", 1.0, hostname, tags, now);
        batches.push(intake::series(&[running]));
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_configuration_can_switch_both_off() {
        let settings = Config::default().forwarder;
        assert_eq!(batches(&settings, "h", SystemTime::UNIX_EPOCH).len(), 2);
        let off = config::Forwarder { send_series: false, send_service_checks: false, ..settings };
        assert!(batches(&off, "h", SystemTime::UNIX_EPOCH).is_empty());
    }
}
