//! Prints measurements, as a table or as JSON. Does not know how they were made.

use serde_json::{Value, json};

/// The goal of the project for a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// Shown for comparison only.
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

    fn text(self) -> Option<String> {
        match self {
            Goal::None => None,
            Goal::AtLeast(least) => Some(format!("≥ {least}")),
            Goal::AtMost(most) => Some(format!("≤ {most}")),
        }
    }
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) against: String,
    /// The unit of `ours` and `theirs`.
    pub(crate) unit: &'static str,
    /// The median of the turns.
    pub(crate) ours: Option<f64>,
    pub(crate) theirs: Option<f64>,
    /// The figures of all turns that the goal is about: ratios, or `ours` itself without a baseline. Empty if
    /// nothing was measured.
    pub(crate) figures: Vec<f64>,
    pub(crate) goal: Goal,
    pub(crate) note: String,
}

impl Row {
    /// A row of turns: pairs of what fifofs and what the baseline took or reached.
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

    /// A row that could not be measured, with the reason.
    pub(crate) fn missing(what: impl Into<String>, why: impl Into<String>) -> Row {
        Row {
            what: what.into(),
            against: "-".to_owned(),
            unit: "",
            ours: None,
            theirs: None,
            figures: Vec::new(),
            goal: Goal::None,
            note: why.into(),
        }
    }

    pub(crate) fn with_note(mut self, note: impl Into<String>) -> Row {
        self.note = note.into();
        self
    }

    fn figure(&self) -> Option<f64> {
        (!self.figures.is_empty()).then(|| median(&self.figures))
    }

    fn met(&self) -> Option<bool> {
        self.goal.met(self.figure()?)
    }

    pub(crate) fn json(&self) -> Value {
        let (least, most) = range(&self.figures).unzip();
        json!({
            "what": self.what,
            "against": (self.against != "-").then_some(&self.against),
            "unit": self.unit,
            "fifofs": self.ours,
            "baseline": self.theirs,
            "figure": self.figure(),
            "min": least,
            "max": most,
            "turns": self.figures.len(),
            "goal": self.goal.text(),
            "met": self.met(),
            "note": self.note,
        })
    }

    /// One line, under [`heading`].
    pub(crate) fn line(&self) -> String {
        let Some(figure) = self.figure() else {
            return format!("{:<46} not measured: {}", self.what, self.note);
        };
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
        let spread = range(&self.figures).map_or_else(String::new, |(least, most)| {
            format!("{}–{}", number(least), number(most))
        });
        let met = match self.met() {
            None => "",
            Some(true) => "yes",
            Some(false) => "NO",
        };
        let line = format!(
            "{:<46} {:<13} {:>7} {:>8} {:<5} {:>6} {:>11} {:>7} {met:<3} {}",
            self.what,
            self.against,
            shown(self.ours),
            shown(self.theirs),
            self.unit,
            number(figure),
            spread,
            self.goal.text().unwrap_or_else(|| "-".to_owned()),
            self.note
        );
        line.trim_end().to_owned()
    }
}

/// The headings of the columns of [`Row::line`].
pub(crate) fn heading() -> String {
    format!(
        "{:<46} {:<13} {:>7} {:>8} {:<5} {:>6} {:>11} {:>7} met",
        "what", "against", "fifofs", "baseline", "", "figure", "min–max", "goal"
    )
}

/// The median; not a number if there are no values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

fn range(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    let most = values.iter().copied().max_by(f64::total_cmp)?;
    Some((least, most))
}

/// Formats with three significant digits.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_of_the_ratios_of_the_turns() {
        let turns = [(10.0, 10.0), (30.0, 10.0), (8.0, 4.0)];
        let row = Row::ratio("x", "FIFO", "MB/s", &turns, Goal::AtLeast(2.5)).json();
        assert_eq!((&row["figure"], &row["min"]), (&json!(2.0), &json!(1.0)));
        assert_eq!((&row["max"], &row["met"]), (&json!(3.0), &json!(false)));
        assert_eq!(
            (&row["fifofs"], &row["baseline"]),
            (&json!(10.0), &json!(10.0))
        );
        let four = Row::absolute("x", "ms", vec![4.0, 1.0, 3.0, 2.0], Goal::AtMost(2.5));
        assert_eq!(four.json()["figure"], 2.5);
        assert_eq!(four.json()["met"], true);
    }

    #[test]
    fn a_row_that_was_not_measured_says_why_and_meets_no_goal() {
        let row = Row::missing("auto: perl", "perl is not installed");
        assert!(row.line().ends_with("not measured: perl is not installed"));
        assert_eq!(row.json()["figure"], Value::Null);
        assert_eq!(row.json()["met"], Value::Null);
    }
}
