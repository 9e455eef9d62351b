//! Many files, and many readers of one.

use std::thread;
use std::time::Duration;

use super::Effort;
use super::table::Table;
use crate::Outcome;
use crate::processes::Running;
use crate::world::World;

const MIB: u64 = 1 << 20;

/// How long a mount of these tables may live.
pub(crate) const LIMIT: Duration = Duration::from_secs(600);

/// Long enough for hundreds of requests, even on a slow virtual machine.
const REST: Duration = Duration::from_millis(100);

/// The two numbers of a hand's last line.
pub(crate) fn numbers(line: &str) -> Outcome<(u64, u64)> {
    let mut words = line.split(' ').map(str::parse);
    match (words.next(), words.next()) {
        (Some(Ok(first)), Some(Ok(second))) => Ok((first, second)),
        _ => Err(format!("a hand said {line:?} instead of two numbers")),
    }
}

/// Files of 1 KiB in one directory, closed before the next is made.
pub(crate) fn small_files(effort: Effort) -> Outcome<()> {
    let mut table = Table::new("files", &["µs each", "daemon µs", "KiB each"]);
    for files in effort.up_to(&[100, 1_000, 10_000, 100_000], 10_000) {
        let world = World::with(&[], LIMIT)?;
        let place = world.file("-%.txt");
        let before = world.usage()?;
        let (start, end) = numbers(
            &Running::hand(&["make", place.writer(), &files.to_string()])?
                .within(LIMIT)
                .finish()?,
        )?;
        let after = world.usage()?;
        let each = (end - start) as f64 / files as f64 / 1e3;
        let cpu = (after.cpu - before.cpu).as_secs_f64() * 1e6 / files as f64;
        let memory = after.resident_bytes.saturating_sub(before.resident_bytes) as f64;
        table.line(
            &files.to_string(),
            &[each, cpu, memory / 1024.0 / files as f64],
            cpu,
        );
    }
    Ok(())
}

pub(crate) fn files_at_once(effort: Effort) -> Outcome<()> {
    at_once(effort, false)
}

pub(crate) fn files_with_readers(effort: Effort) -> Outcome<()> {
    at_once(effort, true)
}

/// 64 KiB to each of many files that are all open, until all are closed or, with readers, everything
/// is read.
fn at_once(effort: Effort, read: bool) -> Outcome<()> {
    let mut table = Table::new("files", &["µs each", "daemon µs", "MB/s in all"]);
    for files in effort.up_to(&[1, 10, 100, 1_000, 10_000], 1_000) {
        let world = World::with(&[], LIMIT)?;
        let total = files * (64 << 10);
        let (seconds, cpu) = scatter(&world, files, total, read)?;
        let each = |seconds: f64| seconds * 1e6 / files as f64;
        let rate = total as f64 / 1e6 / seconds;
        table.line(
            &files.to_string(),
            &[each(seconds), each(cpu), rate],
            each(cpu),
        );
    }
    Ok(())
}

fn scatter(world: &World, files: u64, total: u64, read: bool) -> Outcome<(f64, f64)> {
    let place = world.file("-%.follow");
    let words = (files.to_string(), total.to_string());
    let before = world.usage()?;
    let reader = match read {
        true => Some(
            Running::hand(&["gather", place.reader(), &words.0])?
                .within(LIMIT)
                .waiting()?,
        ),
        false => None,
    };
    let writer = Running::hand(&["scatter", place.writer(), &words.0, &words.1])?.within(LIMIT);
    let (start, mut end) = numbers(&writer.finish()?)?;
    if let Some(reader) = reader {
        let (last, came) = numbers(&reader.finish()?)?;
        if came != total {
            return Err(format!("WRONG LENGTH: {came} bytes instead of {total}"));
        }
        end = last;
    }
    let cpu = world.usage()?.cpu - before.cpu;
    place.remove_all(usize::try_from(files).unwrap_or(0))?;
    Ok(((end - start) as f64 / 1e9, cpu.as_secs_f64()))
}

/// Each reader gets all bytes.
pub(crate) fn readers(effort: Effort) -> Outcome<()> {
    for (way, total) in [("follow", 64 * MIB), ("stream", 64 * MIB)] {
        println!("  {way}, 64 KiB writes, each reader's bytes counted");
        let mut table = Table::new("readers", &["MB/s in all", "daemon s"]);
        for readers in effort.up_to(&[1, 2, 8, 64, 512], 64) {
            let world = World::with(&[], LIMIT)?;
            let place = world.file(&format!(".{way}"));
            let count = readers.to_string();
            let reader = Running::hand(&["gather", place.reader(), &count])?
                .within(LIMIT)
                .waiting()?;
            // The mount's threads also sleep while the requests before the waiting one are answered.
            thread::sleep(REST);
            let before = world.usage()?;
            let start = crate::processes::now();
            Running::hand(&["write", place.writer(), "65536", &total.to_string()])?
                .within(LIMIT)
                .finish()?;
            let (end, came) = numbers(&reader.finish()?)?;
            if came != total * readers {
                return Err(format!(
                    "WRONG LENGTH: {came} bytes instead of {readers} × {total}"
                ));
            }
            let cpu = (world.usage()?.cpu - before.cpu).as_secs_f64();
            let seconds = (end - start) as f64 / 1e9;
            let each = cpu / readers as f64;
            table.line(&count, &[came as f64 / 1e6 / seconds, cpu], each);
        }
    }
    Ok(())
}
