//! The state of the control plane as service checks (spec events-and-leader §3).
//!
//! Component statuses are read where the API server has them; where it does not, or when the instance says so, its own
//! readiness is read instead.

use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;

use crate::datadog::Forwarder;
use crate::datadog::intake::{self, ServiceCheck, Status};
use crate::health::Heartbeat;
use crate::kube::objects::null_as_default;
use crate::kube::{Cause, Client, Error};
use crate::leader::Leadership;
use crate::retry::Throttle;
use crate::sync::Stop;

use super::report::Report;

const CHECK: &str = "kube_apiserver_controlplane.up";
const COMPONENTS: &str = "/api/v1/componentstatuses?timeoutSeconds=10";
const READINESS: &str = "/readyz?verbose";

/// A refusal is logged this often.
const COMPLAINTS: Duration = Duration::from_secs(300);

/// How often the thread says that it is alive.
const BEAT: Duration = Duration::from_secs(5);

/// A run reads this long at most; two requests stay below the deadline of a heartbeat.
pub const READ: Duration = Duration::from_secs(10);

/// What the thread works with.
pub struct ControlPlane {
    /// The API server.
    pub client: Client,
    /// Whether this replica runs the check; `None` runs it always.
    pub leadership: Option<Leadership>,
    /// Where the checks go.
    pub forwarder: Forwarder,
    /// Whether service checks are sent at all.
    pub is_sent: bool,
    /// Whether component statuses are read.
    pub use_component_status: bool,
    /// Time between two runs.
    pub interval: Duration,
    /// Tags of the instance.
    pub tags: Vec<String>,
    /// The program's own host.
    pub hostname: String,
}

/// The outcome for one component.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Component {
    name: String,
    status: Status,
    message: String,
}

#[derive(Deserialize)]
struct ComponentList {
    #[serde(default, deserialize_with = "null_as_default")]
    items: Vec<ComponentStatus>,
}

#[derive(Deserialize)]
struct ComponentStatus {
    #[serde(default)]
    metadata: Named,
    #[serde(default, deserialize_with = "null_as_default")]
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
struct Named {
    #[serde(default, deserialize_with = "null_as_default")]
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    kind: String,
    #[serde(deserialize_with = "null_as_default")]
    status: String,
    #[serde(deserialize_with = "null_as_default")]
    message: String,
    #[serde(deserialize_with = "null_as_default")]
    error: String,
}

impl ControlPlane {
    /// Runs the check until `stop`.
    pub fn run(&self, report: &Report, heartbeat: &Heartbeat, stop: &Stop) {
        let mut complaints = Throttle::new(COMPLAINTS);
        let mut next = Instant::now() + self.interval;
        loop {
            heartbeat.beat(Instant::now());
            if stop.wait_until(next.min(Instant::now() + BEAT)) {
                return;
            }
            if Instant::now() < next {
                continue;
            }
            next = Instant::now() + self.interval;
            if self.leadership.as_ref().is_none_or(Leadership::is_leader) {
                let start = Instant::now();
                let outcome = self.once(&mut complaints);
                report.ran(outcome, start.elapsed(), SystemTime::now());
            }
        }
    }

    fn once(&self, complaints: &mut Throttle) -> Result<usize, String> {
        let components = match self.read() {
            Ok(components) => components,
            Err(problem) => {
                if complaints.admit(Instant::now()).is_some() {
                    log::warn!(
                        "Could not collect control plane status from ComponentStatus: {problem}"
                    );
                }
                return Err(problem);
            }
        };
        let now = intake::unix_seconds(SystemTime::now());
        let checks: Vec<ServiceCheck> =
            components.into_iter().map(|component| self.check(component, now)).collect();
        if self.is_sent {
            for payload in intake::check_runs(&checks).payloads {
                self.forwarder.send(payload);
            }
        }
        Ok(checks.len())
    }

    fn read(&self) -> Result<Vec<Component>, String> {
        if !self.use_component_status {
            return Ok(of_readiness(self.client.fetch(READINESS)));
        }
        match self.client.fetch(COMPONENTS) {
            Ok(body) => of_components(&body),
            Err(Error { cause: Cause::NotFound, .. }) => {
                Ok(of_readiness(self.client.fetch(READINESS)))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn check(&self, component: Component, now: u64) -> ServiceCheck {
        let mut tags = vec![format!("component:{}", component.name)];
        tags.extend(self.tags.iter().cloned());
        ServiceCheck {
            check: CHECK.to_owned(),
            host_name: self.hostname.clone(),
            timestamp: now,
            status: component.status,
            message: component.message,
            tags,
        }
    }
}

fn of_components(body: &[u8]) -> Result<Vec<Component>, String> {
    let list: ComponentList = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut components = Vec::new();
    for item in list.items {
        let name = item.metadata.name;
        if name.is_empty() {
            return Err(
                "metadata structure has changed. Not collecting API Server's Components status"
                    .to_owned(),
            );
        }
        for condition in item.conditions.into_iter().filter(|condition| condition.kind == "Healthy")
        {
            let (status, message) = match condition.status.as_str() {
                "True" => (Status::Ok, condition.message),
                "False" if condition.error.is_empty() => (Status::Critical, condition.message),
                "False" => (Status::Critical, condition.error),
                _ => (Status::Unknown, String::new()),
            };
            components.push(Component { name: name.clone(), status, message });
        }
    }
    Ok(components)
}

/// The API server's readiness, and etcd's where the answer has a line for it.
fn of_readiness(answer: Result<Vec<u8>, Error>) -> Vec<Component> {
    let component = |name: &str, status, message: &str| Component {
        name: name.to_owned(),
        status,
        message: message.to_owned(),
    };
    let (body, server) = match answer {
        Ok(body) => {
            (String::from_utf8_lossy(&body).into_owned(), component("apiserver", Status::Ok, "ok"))
        }
        Err(Error { cause: Cause::Unavailable { message, .. }, .. }) => {
            (message, component("apiserver", Status::Critical, "apiserver not ready"))
        }
        Err(error) => (String::new(), component("apiserver", Status::Critical, &error.to_string())),
    };
    let etcd = body.lines().find_map(|line| {
        let is_etcd = |rest: &str| rest == "etcd" || rest.starts_with("etcd ");
        if line.strip_prefix("[+]").is_some_and(is_etcd) {
            Some(component("etcd", Status::Ok, "ok"))
        } else if line.strip_prefix("[-]").is_some_and(is_etcd) {
            Some(component("etcd", Status::Critical, "etcd not ready"))
        } else {
            None
        }
    });
    std::iter::once(server).chain(etcd).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: events_and_leader_22
    #[test]
    fn conditions_become_statuses_and_items_without_any_are_left_out() {
        let body = br#"{"kind": "ComponentStatusList", "items": [
            {"metadata": {"name": "etcd-0"}, "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]},
            {"metadata": {"name": "scheduler"}, "conditions": [
                {"type": "Healthy", "status": "False", "message": "m", "error": "refused"},
                {"type": "Other", "status": "True"}]},
            {"metadata": {"name": "cm"}, "conditions": [{"type": "Healthy", "status": "False", "message": "m"}]},
            {"metadata": {"name": "odd"}, "conditions": [{"type": "Healthy", "status": "Unknown", "message": "m"}]},
            {"metadata": {"name": "bare"}}
        ]}"#;
        let found = of_components(body).expect("it can be read");
        let found: Vec<_> =
            found.iter().map(|c| (c.name.as_str(), c.status, c.message.as_str())).collect();
        assert_eq!(
            found,
            [
                ("etcd-0", Status::Ok, "ok"),
                ("scheduler", Status::Critical, "refused"),
                ("cm", Status::Critical, "m"),
                ("odd", Status::Unknown, ""),
            ]
        );
        assert!(of_components(br#"{"items": [{}]}"#).is_err());
    }

    #[test]
    fn readiness_tells_of_the_server_and_of_etcd() {
        let statuses = |body: &str| -> Vec<(String, Status)> {
            let found = of_readiness(Ok(body.as_bytes().to_vec()));
            found.into_iter().map(|component| (component.name, component.status)).collect()
        };
        let server = ("apiserver".to_owned(), Status::Ok);
        assert_eq!(statuses("ok"), std::slice::from_ref(&server));
        let etcd = |status| ("etcd".to_owned(), status);
        assert_eq!(
            statuses("[+]ping ok\n[+]etcd ok\n[+]etcd-readiness ok\nreadyz check passed"),
            [server.clone(), etcd(Status::Ok)]
        );
        assert_eq!(statuses("[-]etcd failed: reason withheld"), [server, etcd(Status::Critical)]);
    }
}
