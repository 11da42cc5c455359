//! The election among the replicas (spec cli §4.2, §4.3).

use std::time::SystemTime;

use serde_json::json;

use super::inputs::LeaderElection;
use super::layout::Text;
use super::{Inputs, Section};
use crate::{scrub, time_format};

/// The section; two blanks after `Status:` are upstream's.
pub(super) fn section(inputs: &Inputs) -> Section {
    let mut text = Text::default();
    let keys = match &inputs.leader_election {
        LeaderElection::Disabled => {
            text.line(2, "Leader Election Status:  Disabled");
            json!({ "status": "Disabled" })
        }
        LeaderElection::Failing { error } => {
            let error = scrub::message(error);
            text.line(2, "Leader Election Status:  Failing");
            text.line(2, format_args!("Error: {error}"));
            json!({ "status": "Failing", "error": error })
        }
        LeaderElection::Running { leader, acquired, renewed, transitions, role, lock } => {
            let (acquired, renewed) = (date(*acquired), date(*renewed));
            let transitions = format!("{transitions} transitions");
            text.line(2, "Leader Election Status:  Running");
            text.line(2, format_args!("Leader Name is: {leader}"));
            text.line(2, format_args!("Last Acquisition of the lease: {acquired}"));
            text.line(2, format_args!("Renewed leadership: {renewed}"));
            text.line(2, format_args!("Number of leader transitions: {transitions}"));
            json!({
                "status": "Running",
                "leaderName": leader,
                "acquiredTime": acquired,
                "renewedTime": renewed,
                "transitions": transitions,
                "role": role,
                "lock": lock,
            })
        }
    };
    Section {
        title: "Leader Election".into(),
        text: text.finish(),
        keys: vec![("leaderelection", keys)],
    }
}

/// What this replica is and by which object, in a section of its own: scripts know the lines of the other one.
pub(super) fn lock(inputs: &Inputs) -> Section {
    let mut text = Text::default();
    if let LeaderElection::Running { role, lock, .. } = &inputs.leader_election {
        text.line(2, format_args!("Lock: {lock}"));
        text.line(2, format_args!("Role of this replica: {role}"));
    }
    Section { title: "Leader Election Lock".into(), text: text.finish(), keys: Vec::new() }
}

fn date(time: Option<SystemTime>) -> String {
    time.map_or_else(|| "unknown".to_owned(), time_format::rfc1123)
}

#[cfg(test)]
mod tests {
    use super::super::tests::inputs;
    use super::*;

    #[test]
    fn a_failing_election_shows_its_error() {
        let mut inputs = inputs();
        inputs.leader_election =
            LeaderElection::Failing { error: "leases is forbidden".to_owned() };
        let Section { text, keys, .. } = section(&inputs);
        assert_eq!(text, "  Leader Election Status:  Failing\n  Error: leases is forbidden\n");
        assert_eq!(keys[0].1, json!({ "status": "Failing", "error": "leases is forbidden" }));
    }
}
