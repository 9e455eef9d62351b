//! Files that are not read before they are whole: `dd` alone, including its close.

use std::fs;
use std::path::Path;

use super::paths::{KIB, MIB, complete, dd};
use super::report::{Goal, Row};
use super::{Plan, needs, rate, size, tmpfs, world};
use crate::Outcome;
use crate::processes::{Running, now};
use crate::world::remove;

const TOTAL: u64 = 192 * MIB;

pub(crate) fn plans() -> Vec<Plan> {
    [4 * KIB, 64 * KIB, MIB].map(plan).into()
}

fn plan(block: u64) -> Plan {
    let name = format!("settled, dd, {} writes, writer alone", size(block));
    let what = name.clone();
    Plan::new(name, move |effort| {
        needs("dd")?;
        let world = world()?;
        let memory = tmpfs()?;
        let total = TOTAL / effort.less;
        let write = |path: &Path| -> Outcome<f64> {
            let start = now();
            Running::program(dd("/dev/zero", path, block, total))?.finish()?;
            let rate = rate(total, now() - start);
            complete(
                fs::metadata(path).map_or(0, |metadata| metadata.len()),
                total,
            )?;
            remove(path)?;
            Ok(rate)
        };
        let mut turns = Vec::new();
        for _ in effort.turns() {
            let theirs = write(&memory.at("file"))?;
            let ours = write(&world.file(".settled").path)?;
            turns.push((ours, theirs));
        }
        Ok(vec![Row::ratio(
            &what,
            "tmpfs",
            "MB/s",
            &turns,
            goal(block),
        )])
    })
}

/// Root's goal relies on kernel passthrough, which the kernel does not allow together with its write-back cache.
fn goal(block: u64) -> Goal {
    if rustix::process::geteuid().is_root() {
        Goal::AtLeast(0.85)
    } else if block >= 64 * KIB {
        Goal::AtLeast(0.5)
    } else {
        Goal::None
    }
}
