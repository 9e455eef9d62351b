//! The first capture of a process: its watchdog is forked, and a fork copies page tables.

use super::report::{Goal, Row};
use super::{Plan, world};
use crate::Outcome;
use crate::processes::Running;

/// The heap of a large process.
const HEAP_MIB: u64 = 2048;

pub(crate) fn plans() -> Vec<Plan> {
    vec![
        plan("huge", Goal::AtMost(2.0)),
        // What a fork costs with small pages: only another kind of helper would be cheaper
        // (docs/lab-notes.md).
        plan("small", Goal::None),
    ]
}

fn plan(pages: &'static str, goal: Goal) -> Plan {
    let name = format!("first capture, 2 GiB of heap in {pages} pages");
    let what = name.clone();
    Plan::new(name, move |effort| {
        // Reports here if no mount is possible.
        drop(world()?);
        let once = |mebibytes: u64| -> Outcome<f64> {
            let said =
                Running::hand(&["first-capture", &mebibytes.to_string(), pages])?.finish()?;
            let nanoseconds: f64 = said.parse().map_err(|_| format!("a hand said {said:?}"))?;
            Ok(nanoseconds / 1e6)
        };
        let mut turns = Vec::new();
        for _ in effort.turns() {
            let theirs = once(0)?;
            turns.push((once(HEAP_MIB / effort.less)?, theirs));
        }
        Ok(vec![Row::ratio(&what, "no heap", "ms", &turns, goal)])
    })
}
