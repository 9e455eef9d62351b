//! Many waiters that get nothing: what they cost, and how they slow down others.

use std::thread;
use std::time::Duration;

use super::Effort;
use super::many::LIMIT;
use super::table::Table;
use crate::Outcome;
use crate::processes::{Running, now};
use crate::world::{Place, World};

/// How long they are watched.
const WATCHED: Duration = Duration::from_secs(3);

/// The most waiters of one process: it has at most 65,530 mappings (vm.max_map_count), of which a thread takes two; and
/// in many containers no more than some ten thousand descriptors.
const AT_ONCE: u64 = 10_000;

/// How many lines are sent beside them.
const LINES: usize = 50;

/// As many as the machine allows threads: usually 32,768 (pid_max).
pub(crate) fn in_open(effort: Effort) -> Outcome<()> {
    waiting(
        effort.up_to(&[1, 100, 1_000, 10_000, 20_000], 1_000),
        |world, count, index| {
            let place = world.file(&format!("-{index}-%"));
            let each = count.to_string();
            Running::hand(&["wait", place.reader(), &each])?
                .within(LIMIT)
                .waiting()
        },
        AT_ONCE,
    )
}

/// For one file that is being written, which each of them has read so far.
pub(crate) fn in_poll(effort: Effort) -> Outcome<()> {
    let mut held: Option<(Running, String)> = None;
    waiting(
        effort.up_to(&[1, 100, 1_000, 10_000, 100_000], 10_000),
        |world, count, index| {
            if index == 0 {
                let place = world.file(".follow");
                let holder = Running::hand(&["hold", place.writer(), "1"])?.ready()?;
                held = Some((holder, place.writer().to_owned()));
            }
            let path = held.as_ref().map_or("", |(_, path)| path);
            let count = count.to_string();
            Running::hand(&["poll", path, &count])?
                .within(LIMIT)
                .waiting()
        },
        AT_ONCE,
    )
}

fn waiting(
    counts: Vec<u64>,
    mut start: impl FnMut(&World, u64, u64) -> Outcome<Running>,
    most: u64,
) -> Outcome<()> {
    let columns = [
        "µs to begin",
        "daemon µs",
        "KiB each",
        "% of a core",
        "line, ms",
        "create, µs",
        "ms to end",
    ];
    let mut table = Table::new("waiting", &columns);
    for count in counts {
        let world = World::with(&[], LIMIT)?;
        thread::sleep(Duration::from_millis(300));
        let before = world.usage()?;
        let begun = now();
        let mut waiters = Vec::new();
        let mut left = count;
        while left > 0 {
            let some = left.min(most);
            waiters.push(start(&world, some, waiters.len() as u64)?);
            left -= some;
        }
        let begin_us = (now() - begun) as f64 / 1e3 / count as f64;
        thread::sleep(Duration::from_millis(300));
        let during = world.usage()?;
        thread::sleep(WATCHED);
        let after = world.usage()?;
        let cpu_us = (during.cpu - before.cpu).as_secs_f64() * 1e6 / count as f64;
        let kib = during.resident_bytes.saturating_sub(before.resident_bytes) as f64 / 1024.0;
        let percent = (after.cpu - during.cpu).as_secs_f64() / WATCHED.as_secs_f64() * 100.0;
        let line_ms = line(world.file(".follow"))?;
        let create_us = create(&world)?;
        let ended = now();
        for waiter in waiters {
            waiter.within(LIMIT).terminate()?;
        }
        let end_ms = (now() - ended) as f64 / 1e6;
        table.line(
            &count.to_string(),
            &[
                begin_us,
                cpu_us,
                kib / count as f64,
                percent,
                line_ms,
                create_us,
                end_ms,
            ],
            cpu_us,
        );
    }
    Ok(())
}

/// The median of the milliseconds that a line takes to a reader beside them.
fn line(place: Place) -> Outcome<f64> {
    let count = LINES.to_string();
    let reader = Running::hand(&["read-lines", place.reader()])?.waiting()?;
    Running::hand(&["write-lines", place.writer(), &count])?.finish()?;
    let said = reader.finish()?;
    let mut taken: Vec<u64> = said.split(' ').filter_map(|one| one.parse().ok()).collect();
    taken.sort_unstable();
    let middle = taken.get(LINES / 2).ok_or("lines were lost")?;
    Ok(*middle as f64 / 1e6)
}

/// The microseconds that a small file takes beside them.
fn create(world: &World) -> Outcome<f64> {
    const FILES: f64 = 200.0;
    let place = world.file("-%.txt");
    let (start, end) =
        super::many::numbers(&Running::hand(&["make", place.writer(), "200"])?.finish()?)?;
    Ok((end - start) as f64 / 1e3 / FILES)
}
