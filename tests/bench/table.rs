//! Rows of the result: what, ours, peer, ratio, budget, pass or not; for a terminal and as Markdown.

use std::fmt::Write;

/// One measurement.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// Our value with its unit.
    pub ours: String,
    /// The peer's value and name; empty when there is no peer.
    pub peer: String,
    /// Ours divided by the peer's; empty when there is none.
    pub ratio: String,
    /// The budget of the design; empty when there is none for this row.
    pub budget: String,
    /// Whether the budget is kept; none when there is none.
    pub pass: Option<bool>,
}

impl Row {
    /// A row without peer and budget.
    pub fn new(what: impl Into<String>, ours: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ours: ours.into(),
            peer: String::new(),
            ratio: String::new(),
            budget: String::new(),
            pass: None,
        }
    }

    /// Adds a peer, and the ratio of two values in the same unit.
    pub fn peer(mut self, peer: impl Into<String>, ours: f64, theirs: f64) -> Self {
        self.peer = peer.into();
        self.ratio = if theirs > 0.0 { format!("{:.2}", ours / theirs) } else { String::new() };
        self
    }

    /// Adds a budget and whether it is kept.
    pub fn budget(mut self, budget: impl Into<String>, kept: bool) -> Self {
        self.budget = budget.into();
        self.pass = Some(kept);
        self
    }
}

const HEADINGS: [&str; 6] = ["what", "ours", "peer", "ours/peer", "budget", "pass"];

/// The rows with aligned columns.
pub fn text(rows: &[Row]) -> String {
    let cells: Vec<[String; 6]> =
        std::iter::once(HEADINGS.map(str::to_owned)).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| {
        cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    text
}

/// The rows as a Markdown table.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = format!("| {} |\n|---|---|---|---|---|---|\n", HEADINGS.join(" | "));
    for row in rows {
        // Writing to a String does not fail.
        let _ = writeln!(text, "| {} |", cells(row).join(" | "));
    }
    text
}

/// Whether every row with a budget keeps it.
pub fn all_pass(rows: &[Row]) -> bool {
    rows.iter().all(|row| row.pass != Some(false))
}

fn cells(row: &Row) -> [String; 6] {
    let pass = match row.pass {
        None => "",
        Some(true) => "yes",
        Some(false) => "NO",
    };
    [
        row.what.clone(),
        row.ours.clone(),
        row.peer.clone(),
        row.ratio.clone(),
        row.budget.clone(),
        pass.to_owned(),
    ]
}
