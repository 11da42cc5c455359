//! Findings as text (spec cli §8).

use std::fmt::Write as _;

use crate::scrub;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Something does not work.
    Fail,
    /// It works, but less well than it could.
    Warning,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// What was looked at, in a few words.
    pub name: String,
    /// How it was found.
    pub diagnosis: String,
    /// What would mend it.
    pub remedy: Option<String>,
}

/// Findings that belong together.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Its name, in lower case with hyphens.
    pub name: &'static str,
    /// Its findings, in order.
    pub findings: Vec<Finding>,
}

impl Finding {
    pub(super) fn pass(name: impl Into<String>, diagnosis: impl Into<String>) -> Self {
        let (name, diagnosis) = (name.into(), diagnosis.into());
        Self { verdict: Verdict::Pass, name, diagnosis, remedy: None }
    }

    pub(super) fn fail(
        name: impl Into<String>,
        diagnosis: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Fail, remedy: Some(remedy.into()), ..Self::pass(name, diagnosis) }
    }

    pub(super) fn warning(
        name: impl Into<String>,
        diagnosis: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Warning, ..Self::fail(name, diagnosis, remedy) }
    }
}

/// The whole report, scrubbed; numbers run through all suites.
pub fn render(suites: &[Suite]) -> String {
    let mut text = "=== Starting diagnose ===\n".to_owned();
    let mut number = 0;
    for Suite { name, findings } in suites.iter().filter(|suite| !suite.findings.is_empty()) {
        let _ = writeln!(text, "==============\nSuite: {name}");
        for finding in findings {
            number += 1;
            let verdict = match finding.verdict {
                Verdict::Pass => "PASS",
                Verdict::Fail => "FAIL",
                Verdict::Warning => "WARNING",
            };
            let _ = writeln!(text, "{number}. --------------\n  {verdict} {}", finding.name);
            let _ = writeln!(text, "  Diagnosis: {}", finding.diagnosis);
            if let Some(remedy) = &finding.remedy {
                let _ = writeln!(text, "  Remediation: {remedy}");
            }
            text.push('\n');
        }
    }
    let count = |verdict| {
        let findings = suites.iter().flat_map(|suite| &suite.findings);
        findings.filter(|finding| finding.verdict == verdict).count()
    };
    let _ = write!(text, "-------------------------\n  Total:{number}");
    for (name, verdict) in
        [("Success", Verdict::Pass), ("Fail", Verdict::Fail), ("Warning", Verdict::Warning)]
    {
        match count(verdict) {
            0 => {}
            count => {
                let _ = write!(text, ", {name}:{count}");
            }
        }
    }
    text.push('\n');
    scrub::message(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_numbered_through_and_counted_without_zeros() {
        let suites = [
            Suite { name: "one", findings: vec![Finding::pass("a", "good")] },
            Suite { name: "two", findings: vec![Finding::fail("b", "bad", "mend it")] },
        ];
        let expected = "=== Starting diagnose ===\n==============\nSuite: one\n1. --------------\n  PASS a\n  \
                        Diagnosis: good\n\n==============\nSuite: two\n2. --------------\n  FAIL b\n  \
                        Diagnosis: bad\n  Remediation: mend it\n\n-------------------------\n  \
                        Total:2, Success:1, Fail:1\n";
        assert_eq!(render(&suites), expected);
    }
}
