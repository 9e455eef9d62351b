//! A table with a line for each number, and the cost of each next to that of the cheapest line before.

/// From which factor on the cost of one item counts as a cliff, against the cheapest line above.
const CLIFF: f64 = 2.0;

/// A table, printed as it is made.
pub(crate) struct Table {
    cheapest: f64,
}

impl Table {
    /// The columns between the number and the growth.
    pub(crate) fn new(number: &str, columns: &[&str]) -> Table {
        print!("  {number:>10}");
        for column in columns {
            print!("  {column:>12}");
        }
        println!("  of the cheapest above");
        Table {
            cheapest: f64::INFINITY,
        }
    }

    /// Prints a line; `cost` is the cost of one item, in any unit, preferably of processor time: on a busy machine
    /// that says more than the clock.
    pub(crate) fn line(&mut self, number: &str, columns: &[f64], cost: f64) {
        print!("  {number:>10}");
        for column in columns {
            print!("  {:>12}", digits(*column));
        }
        if self.cheapest.is_finite() {
            let growth = cost / self.cheapest;
            let cliff = if growth > CLIFF { "  CLIFF" } else { "" };
            println!("  {growth:.2}{cliff}");
        } else {
            println!();
        }
        self.cheapest = self.cheapest.min(cost);
    }
}

/// Formats with three significant digits.
fn digits(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Prints a single figure.
pub(crate) fn figure(what: &str, value: f64, unit: &str, goal: &str) {
    println!("  {what:<52} {:>8} {unit:<6} {goal}", digits(value));
}
