//! Files from small to larger than memory, with the daemon's memory while they are written and
//! read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::Effort;
use super::many::{LIMIT, numbers};
use super::table::Table;
use crate::Outcome;
use crate::processes::{Running, now};
use crate::world::World;

const MIB: u64 = 1 << 20;

/// How often memory is sampled.
const SAMPLED: Duration = Duration::from_millis(20);

/// Nothing is kept.
pub(crate) fn stream(effort: Effort) -> Outcome<()> {
    through(
        "stream",
        effort,
        &[1, 16, 256, 1 << 10, 4 << 10, 16 << 10],
        &[],
    )
}

/// Everything is kept, past the first 256 MiB on disk.
pub(crate) fn follow(effort: Effort) -> Outcome<()> {
    let options = ["--memory", "256M"];
    through(
        "follow",
        effort,
        &[1, 16, 128, 512, 2 << 10, 8 << 10],
        &options,
    )
}

fn through(way: &str, effort: Effort, mib: &[u64], options: &[&str]) -> Outcome<()> {
    let mut table = Table::new("MiB", &["MB/s", "daemon MiB", "daemon s/GB"]);
    for size in effort.up_to(mib, 1 << 10) {
        let world = World::with(options, LIMIT)?;
        let place = world.file(&format!(".{way}"));
        let total = size * MIB;
        let reader = Running::hand(&["read", place.reader(), "65536"])?.waiting()?;
        let before = world.usage()?;
        let ended = AtomicBool::new(false);
        let (done, most) = thread::scope(|scope| {
            // A sampler of its own: only the daemon's usage counts.
            let sampler = scope.spawn(|| {
                let mut most = 0;
                while !ended.load(Ordering::Relaxed) {
                    most = most.max(world.usage().map_or(0, |usage| usage.resident_bytes));
                    thread::sleep(SAMPLED);
                }
                most
            });
            let start = now();
            let writer = Running::hand(&["write", place.writer(), "1048576", &total.to_string()]);
            let read = writer
                .and_then(|writer| writer.within(LIMIT).finish())
                .and_then(|_| reader.within(LIMIT).finish());
            ended.store(true, Ordering::Relaxed);
            let most = sampler.join().unwrap_or(0);
            let done = read
                .and_then(|line| numbers(&line))
                .map(|(end, came)| (end - start, came));
            (done, most)
        });
        let (nanoseconds, came) = done?;
        if came != total {
            return Err(format!("WRONG LENGTH: {came} bytes instead of {total}"));
        }
        let cpu = (world.usage()?.cpu - before.cpu).as_secs_f64();
        let rate = total as f64 * 1e3 / nanoseconds as f64;
        table.line(
            &size.to_string(),
            &[rate, most as f64 / MIB as f64, cpu * 1e9 / total as f64],
            cpu * 1e9 / total as f64,
        );
    }
    Ok(())
}
