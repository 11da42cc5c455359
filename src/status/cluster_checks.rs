//! The assignment of cluster checks (spec cluster-checks §9.4, cli §4.3).

use serde_json::{Map, Value, json};

use super::inputs::{ChecksRole, ClusterChecks};
use super::layout::Text;
use super::{Inputs, Section};

/// The section; the JSON key is absent where cluster checks are off.
pub(super) fn section(inputs: &Inputs) -> Section {
    let mut text = Text::default();
    let keys = match &inputs.cluster_checks {
        None => {
            text.line(2, "Not Enabled");
            Vec::new()
        }
        Some(checks) => {
            for line in lines(checks) {
                text.line(2, line);
            }
            vec![("clusterchecks", document(checks))]
        }
    };
    Section { title: "Cluster Checks Dispatching".into(), text: text.finish(), keys }
}

fn lines(checks: &ClusterChecks) -> Vec<String> {
    match &checks.role {
        ChecksRole::Unknown => vec!["Status: unknown".to_owned()],
        ChecksRole::Follower { leader: None } => {
            vec!["Status: Follower, no leader found".to_owned()]
        }
        ChecksRole::Follower { leader: Some(address) } => {
            vec![format!("Status: Follower, redirecting to leader at {address}")]
        }
        ChecksRole::Leader { warming_up: true } => vec!["Status: Leader, warming up".to_owned()],
        ChecksRole::Leader { warming_up: false } => vec![
            "Status: Leader, serving requests".to_owned(),
            format!("Active agents: {}", checks.nodes),
            format!("Check Configurations: {}", checks.dispatched + checks.dangling),
            format!("  - Dispatched: {}", checks.dispatched),
            format!("  - Unassigned: {}", checks.dangling),
        ],
    }
}

fn document(checks: &ClusterChecks) -> Value {
    let leader = matches!(checks.role, ChecksRole::Leader { .. });
    let active = checks.role == ChecksRole::Leader { warming_up: false };
    let leader_address = match &checks.role {
        ChecksRole::Follower { leader: Some(address) } => address.to_string(),
        _ => String::new(),
    };
    let names: Map<String, Value> =
        checks.names.iter().map(|name| (name.clone(), json!({}))).collect();
    json!({
        "Leader": leader,
        "Active": active,
        "Follower": matches!(checks.role, ChecksRole::Follower { .. }),
        "LeaderIP": leader_address,
        "NodeCount": checks.nodes,
        "ActiveConfigs": checks.dispatched,
        "DanglingConfigs": checks.dangling,
        "TotalConfigs": checks.dispatched + checks.dangling,
        "CheckNames": names,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::inputs;
    use super::*;

    fn shown(checks: Option<ClusterChecks>) -> (String, bool) {
        let section = section(&Inputs { cluster_checks: checks, ..inputs() });
        (section.text, section.keys.is_empty())
    }

    #[test]
    fn cli_08_a_follower_names_its_leader() {
        let leader = Some([10, 0, 0, 9].into());
        let role = ChecksRole::Follower { leader };
        let (text, _) = shown(Some(ClusterChecks { role, ..ClusterChecks::default() }));
        assert_eq!(text, "  Status: Follower, redirecting to leader at 10.0.0.9\n");
    }

    #[test]
    fn a_leader_counts_and_off_is_off() {
        let role = ChecksRole::Leader { warming_up: false };
        let checks = ClusterChecks {
            role,
            nodes: 2,
            dispatched: 4,
            dangling: 1,
            ..ClusterChecks::default()
        };
        let (text, _) = shown(Some(checks));
        assert_eq!(
            text,
            "  Status: Leader, serving requests\n  Active agents: 2\n  Check Configurations: 5\n    - Dispatched: 4\n    - Unassigned: 1\n"
        );
        assert_eq!(shown(None), ("  Not Enabled\n".to_owned(), true));
    }
}
