//! What was measured, as a table or as JSON. Knows nothing of how it was measured.

use std::process::ExitCode;

use serde_json::{Value, json};

/// What the contract asks of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// Shown to be compared with, promised to nobody.
    None,
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn met(self, figure: f64) -> Option<bool> {
        match self {
            Goal::None => None,
            Goal::AtLeast(least) => Some(figure >= least),
            Goal::AtMost(most) => Some(figure <= most),
        }
    }

    fn text(self) -> String {
        match self {
            Goal::None => "-".to_owned(),
            Goal::AtLeast(least) => format!("≥ {least}"),
            Goal::AtMost(most) => format!("≤ {most}"),
        }
    }
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) against: String,
    /// Of `ours` and `theirs`.
    pub(crate) unit: &'static str,
    /// The median of the turns.
    pub(crate) ours: Option<f64>,
    pub(crate) theirs: Option<f64>,
    /// What the goal is about, of every turn: a ratio, or `ours` itself where there is no baseline.
    pub(crate) figures: Vec<f64>,
    pub(crate) goal: Goal,
    pub(crate) note: String,
}

impl Row {
    /// A row of turns, each what fifofs took or reached and what the baseline did.
    pub(crate) fn ratio(
        what: impl Into<String>,
        against: impl Into<String>,
        unit: &'static str,
        turns: &[(f64, f64)],
        goal: Goal,
    ) -> Row {
        let ours: Vec<f64> = turns.iter().map(|turn| turn.0).collect();
        let theirs: Vec<f64> = turns.iter().map(|turn| turn.1).collect();
        Row {
            what: what.into(),
            against: against.into(),
            unit,
            ours: Some(median(&ours)),
            theirs: Some(median(&theirs)),
            figures: turns.iter().map(|turn| turn.0 / turn.1).collect(),
            goal,
            note: String::new(),
        }
    }

    /// A row without a baseline.
    pub(crate) fn absolute(
        what: impl Into<String>,
        unit: &'static str,
        figures: Vec<f64>,
        goal: Goal,
    ) -> Row {
        Row {
            what: what.into(),
            against: "-".to_owned(),
            unit,
            ours: Some(median(&figures)),
            theirs: None,
            figures,
            goal,
            note: String::new(),
        }
    }

    pub(crate) fn with_note(mut self, note: impl Into<String>) -> Row {
        self.note = note.into();
        self
    }

    fn met(&self) -> Option<bool> {
        self.goal.met(median(&self.figures))
    }

    fn json(&self) -> Value {
        let (least, most) = range(&self.figures);
        json!({
            "what": self.what,
            "against": self.against,
            "unit": self.unit,
            "fifofs": self.ours,
            "baseline": self.theirs,
            "figure": median(&self.figures),
            "min": least,
            "max": most,
            "goal": self.goal.text(),
            "met": self.met(),
            "note": self.note,
        })
    }
}

/// The middle one, or the mean of the two in the middle. Not a number if there are none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

fn range(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (least, most)
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Rows, printed as they come; with JSON, all at the end.
pub(crate) struct Report {
    json: bool,
    rows: Vec<Row>,
    failures: Vec<(String, String)>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Report {
        if !json {
            println!(
                "{:<44} {:<18} {:>8} {:>8} {:<7} {:>6} {:>13} {:>7} met",
                "what", "against", "fifofs", "baseline", "", "figure", "min–max", "goal"
            );
        }
        Report {
            json,
            rows: Vec::new(),
            failures: Vec::new(),
        }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn add(&mut self, row: Row) {
        if !self.json {
            let (least, most) = range(&row.figures);
            let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
            let met = match row.met() {
                None => "",
                Some(true) => "yes",
                Some(false) => "NO",
            };
            let line = format!(
                "{:<44} {:<18} {:>8} {:>8} {:<7} {:>6} {:>13} {:>7} {met:<3} {}",
                row.what,
                row.against,
                shown(row.ours),
                shown(row.theirs),
                row.unit,
                number(median(&row.figures)),
                format!("{}–{}", number(least), number(most)),
                row.goal.text(),
                row.note
            );
            println!("{}", line.trim_end());
        }
        self.rows.push(row);
    }

    pub(crate) fn fail(&mut self, what: &str, why: &str) {
        if !self.json {
            println!("{what:<44} FAILED: {why}");
        }
        self.failures.push((what.to_owned(), why.to_owned()));
    }

    /// A goal that is not met is a result, not a failure; that something could not be measured is one.
    pub(crate) fn finish(self) -> ExitCode {
        if self.json {
            let failures: Vec<Value> = self
                .failures
                .iter()
                .map(|(what, why)| json!({ "what": what, "why": why }))
                .collect();
            let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
            println!("{:#}", json!({ "rows": rows, "failures": failures }));
        }
        if self.failures.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
