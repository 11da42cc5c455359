//! A cluster of any size, for measurements: nodes, namespaces, pods, and services that each select their own pods.

use std::time::{Duration, Instant};

use super::Server;

/// Namespaces of a cluster of any size.
const NAMESPACES: usize = 50;

/// How big a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Nodes, `node-0` and on.
    pub nodes: usize,
    /// Pods, spread evenly over nodes and namespaces.
    pub pods: usize,
    /// Services; each selects pods / services pods.
    pub services: usize,
}

impl Size {
    /// The size that the budgets are about.
    pub const FULL: Self = Self { nodes: 1_000, pods: 10_000, services: 2_000 };

    /// A part or a multiple of the full size.
    pub fn percent(percent: usize) -> Self {
        let of = |full: usize| full * percent / 100;
        Self { nodes: of(1_000), pods: of(10_000), services: of(2_000) }
    }
}

impl Server {
    /// Fills the server and waits until the endpoints are made; panics when they are not within two minutes.
    pub fn populate(&self, size: Size) {
        for number in 0..NAMESPACES {
            self.add_namespace(
                &namespace_of(number),
                serde_json::json!({"team": number.to_string()}),
            );
        }
        for number in 0..size.nodes {
            self.add_node(&format!("node-{number}"));
        }
        for number in 0..size.pods {
            let service = number % size.services.max(1);
            let node = format!("node-{}", number % size.nodes.max(1));
            self.add_pod(&namespace_of(service), &format!("app-{service}"), &node);
        }
        for number in 0..size.services {
            let name = format!("app-{number}");
            self.add_service(&namespace_of(number), &name, &name);
        }
        let give_up = Instant::now() + Duration::from_secs(120);
        let made = || self.shared.store.lock().count("endpoints");
        while made() < size.services {
            assert!(Instant::now() < give_up, "{} of {} endpoints made", made(), size.services);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The namespace of the service `app-NUMBER` and its pods.
pub fn namespace_of(service: usize) -> String {
    format!("team-{}", service % NAMESPACES)
}
