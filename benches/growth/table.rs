//! A table whose lines are numbers, and the cost of each next to that of the one before.

/// How much dearer one more may be than in the line above.
const CLIFF: f64 = 2.0;

/// Printed as it is made.
pub(crate) struct Table {
    last: Option<f64>,
}

impl Table {
    /// The columns between the number and the growth.
    pub(crate) fn new(number: &str, columns: &[&str]) -> Table {
        print!("  {number:>10}");
        for column in columns {
            print!("  {column:>12}");
        }
        println!("  cost of one more, next to the line above");
        Table { last: None }
    }

    /// A line; `cost` is what one of them costs, in whatever unit.
    pub(crate) fn line(&mut self, number: &str, columns: &[f64], cost: f64) {
        print!("  {number:>10}");
        for column in columns {
            print!("  {:>12}", digits(*column));
        }
        match self.last {
            None => println!(),
            Some(last) => {
                let growth = cost / last;
                let cliff = if growth > CLIFF { "  CLIFF" } else { "" };
                println!("  {growth:.2}{cliff}");
            }
        }
        self.last = Some(cost);
    }
}

/// Three that count.
fn digits(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// One figure by itself.
pub(crate) fn figure(what: &str, value: f64, unit: &str, goal: &str) {
    println!("  {what:<52} {:>8} {unit:<6} {goal}", digits(value));
}
