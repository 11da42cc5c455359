//! Which integration an event belongs to (spec events-and-leader §2.9).

use super::object::ClusterEvent;

/// What every event belongs to while sources are not told apart, and what is not in the table.
pub const KUBERNETES: &str = "kubernetes";

/// The name by which the components of one integration are known.
fn of_component(component: &str) -> Option<&'static str> {
    Some(match component {
        "targetgroupbinding" => "amazon elb",
        "cilium-sidekick" => "cilium",
        "datadogagent" | "ExtendedDaemonSet" | "datadog-operator-manager" => "datadog operator",
        "source-controller" | "kustomize-controller" => "fluxcd",
        "karpenter" => "karpenter",
        "cluster-autoscaler" => "kubernetes cluster autoscaler",
        "endpoint-controller"
        | "endpoint-slice-controller"
        | "replicaset-controller"
        | "kube-controller-manager" => "kubernetes controller manager",
        "default-scheduler" => "kube_scheduler",
        "spark-operator" => "spark",
        "vaultd" => "vault",
        _ => return None,
    })
}

/// The `source_type_name` of an event.
pub fn of(event: &ClusterEvent, detect: bool) -> &'static str {
    if !detect {
        return KUBERNETES;
    }
    of_component(&event.reporting_component)
        .or_else(|| of_component(&event.source.component))
        .unwrap_or(KUBERNETES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reporting_component_goes_before_the_source() {
        let mut event = ClusterEvent::default();
        event.source.component = "karpenter".to_owned();
        assert_eq!(of(&event, false), "kubernetes");
        assert_eq!(of(&event, true), "karpenter");
        event.reporting_component = "default-scheduler".to_owned();
        assert_eq!(of(&event, true), "kube_scheduler");
        event.reporting_component = "kubelet".to_owned();
        event.source.component = "kubelet".to_owned();
        assert_eq!(of(&event, true), "kubernetes");
    }
}
