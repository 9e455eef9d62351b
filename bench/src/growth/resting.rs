//! What an idle mount uses, for each thing in it, and for a log that grows slowly.

use std::thread;
use std::time::Duration;

use super::Effort;
use super::many::LIMIT;
use super::table::figure;
use crate::Outcome;
use crate::processes::{Running, Usage};
use crate::world::World;

/// The number of files, by which the memory is divided.
const FILES: u64 = 10_000;

/// Lines per second of the log.
const RATE: u64 = 100;

pub(crate) fn all(effort: Effort) -> Outcome<()> {
    let watched = match effort {
        Effort::Full => Duration::from_secs(10),
        Effort::Quick => Duration::from_secs(3),
    };
    memory()?;
    idle(watched)?;
    for way in ["follow", "stream"] {
        log(way, watched)?;
    }
    Ok(())
}

/// The mount's usage once nothing happens any more.
fn rest(world: &World) -> Outcome<Usage> {
    thread::sleep(Duration::from_millis(1500));
    world.usage()
}

fn kib_each(more: Usage, less: Usage, count: u64) -> f64 {
    more.resident_bytes.saturating_sub(less.resident_bytes) as f64 / 1024.0 / count as f64
}

fn memory() -> Outcome<()> {
    let world = World::with(&[], LIMIT)?;
    let empty = rest(&world)?;
    figure(
        "memory of an empty mount, with both helpers",
        empty.resident_bytes as f64 / 1024.0,
        "KiB",
        "",
    );
    figure(
        "its threads, with those of both helpers",
        empty.threads as f64,
        "",
        "",
    );
    let place = world.file("-%.follow");
    let count = FILES.to_string();
    let holder = Running::hand(&["hold", place.writer(), &count])?
        .within(LIMIT)
        .ready()?;
    let open = rest(&world)?;
    figure(
        "memory of each of 10,000 files, open for writing",
        kib_each(open, empty, FILES),
        "KiB",
        "with 7 bytes in it",
    );
    holder.terminate()?;
    let closed = rest(&world)?;
    figure(
        "memory of each of these files, done",
        kib_each(closed, empty, FILES),
        "KiB",
        "",
    );
    drop(world);

    let world = World::with(&[], LIMIT)?;
    let place = world.file(".follow");
    let holder = Running::hand(&["hold", place.writer(), "1"])?.ready()?;
    let before = rest(&world)?;
    let path = place.writer();
    let handles = Running::hand(&["poll", path, &count])?
        .within(LIMIT)
        .waiting()?;
    let after = rest(&world)?;
    figure(
        "memory of each of 10,000 handles that poll one file",
        kib_each(after, before, FILES),
        "KiB",
        "goal: ≤ 4",
    );
    drop(handles);
    drop(holder);
    Ok(())
}

fn idle(watched: Duration) -> Outcome<()> {
    let world = World::with(&[], LIMIT)?;
    let place = world.file("-%.txt");
    Running::hand(&["make", place.writer(), "100"])?.finish()?;
    let before = rest(&world)?;
    thread::sleep(watched);
    let used = world.usage()?.cpu - before.cpu;
    figure(
        "processor time of a mount where nothing happens",
        used.as_secs_f64() * 1e6,
        "µs",
        "goal: 0",
    );
    Ok(())
}

/// Writes a line now and then, with a reader.
fn log(way: &str, watched: Duration) -> Outcome<()> {
    let world = World::with(&[], LIMIT)?;
    let place = world.file(&format!(".{way}"));
    let reader = Running::hand(&["read", place.reader(), "65536"])?.waiting()?;
    let lines = (watched.as_secs() * RATE).to_string();
    let pause_us = (1_000_000 / RATE).to_string();
    let before = world.usage()?;
    Running::hand(&["log", place.writer(), &lines, &pause_us])?
        .within(LIMIT)
        .finish()?;
    let used = world.usage()?.cpu - before.cpu;
    reader.finish()?;
    let percent = used.as_secs_f64() / watched.as_secs_f64() * 100.0;
    figure(
        &format!("of a core, for a log of 100 lines a second, {way}"),
        percent,
        "%",
        "goal: ≤ 5",
    );
    Ok(())
}
