//! A thousand files at once, and a thousand captures, eight at a time.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fifofs::{Linger, Mount};
use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::paths::{KIB, complete, numbers};
use super::report::{Goal, Row};
use super::{Effort, Measured, Plan, Trouble, rate, world};
use crate::Outcome;
use crate::processes::{DEADLINE, Running};
use crate::world::{Site, World};

const FILES: usize = 1000;
const EACH: u64 = 192 * KIB;

/// The bytes of one capture.
const CAPTURED: &[u8] = &[b'x'; 1024];

/// The number of captures at a time.
const AT_ONCE: usize = 8;

pub(crate) fn plans() -> Vec<Plan> {
    vec![
        Plan::new("1,000 files at once, no reader", |effort| {
            files(effort, false)
        }),
        Plan::new("1,000 files at once, a reader each", |effort| {
            files(effort, true)
        }),
        Plan::new("1,000 captures of 1 KiB, library, 8 at a time", captures),
    ]
}

/// The same number of bytes to a thousand files, in turn, and to one: timed from when all are open until all are
/// closed or, with readers, everything is read.
fn files(effort: Effort, read: bool) -> Measured {
    let world = world()?;
    let count = FILES / if effort.less > 1 { 10 } else { 1 };
    let mut turns = Vec::new();
    for _ in effort.turns() {
        let one = scatter(&world, 1, count as u64 * EACH, read)?;
        turns.push((scatter(&world, count, count as u64 * EACH, read)?, one));
    }
    let (what, against) = match read {
        true => ("1,000 files at once, a reader each", "1 of each"),
        false => ("1,000 files at once, no reader", "1 file"),
    };
    let goal = Goal::AtLeast(0.8);
    Ok(vec![Row::ratio(what, against, "MB/s", &turns, goal)])
}

fn scatter(world: &World, files: usize, total: u64, read: bool) -> Outcome<f64> {
    let place = world.file("-%.follow");
    let words = (files.to_string(), total.to_string());
    let reader = match read {
        true => Some(Running::hand(&["gather", place.reader(), &words.0])?.waiting()?),
        false => None,
    };
    let writer = Running::hand(&["scatter", place.writer(), &words.0, &words.1])?;
    let (start, closed) = numbers(&writer.finish()?)?;
    let end = match reader {
        None => closed,
        Some(reader) => {
            let (end, came) = numbers(&reader.finish()?)?;
            complete(came, total)?;
            end
        }
    };
    place.remove_all(files)?;
    Ok(rate(total, end.saturating_sub(start)))
}

fn captures(effort: Effort) -> Measured {
    let count = FILES / if effort.less > 1 { 10 } else { 1 };
    let site = Site::new()?;
    let base = site.at("");
    // Once before it counts, also to find out whether a mount is possible.
    captured(&site, AT_ONCE).map_err(Trouble::Lacks)?;
    let mut turns = Vec::new();
    for _ in effort.turns() {
        let theirs = at_once(count, |_| piped(&base))?;
        let ours = captured(&site, count)?;
        // Captures per second.
        let per_second = |taken: Duration| count as f64 / taken.as_secs_f64();
        turns.push((per_second(ours), per_second(theirs)));
    }
    Ok(vec![Row::ratio(
        "1,000 captures of 1 KiB, library, 8 at a time",
        "mkfifo",
        "/s",
        &turns,
        Goal::AtLeast(1.0),
    )])
}

/// Does `work` `count` times, in a few threads; returns the time that everything takes.
fn at_once(count: usize, work: impl Fn(usize) -> Outcome<()> + Sync) -> Outcome<Duration> {
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let some = || -> Outcome<()> {
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                index if index < count => work(index)?,
                _ => return Ok(()),
            }
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(some)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    Ok(start.elapsed())
}

/// All captures on one mount, including making and ending the mount. A file is done when it is closed: the writer is
/// this process, which lives on.
fn captured(site: &Site, count: usize) -> Outcome<Duration> {
    let failed = |error: fifofs::Error| error.to_string();
    let start = Instant::now();
    let mount = Mount::builder()
        .linger(Linger::After(Duration::ZERO))
        .mount(site.at("mount"))
        .map_err(failed)?;
    at_once(count, |index| {
        let capture = mount.capture(format!("{index}.txt")).map_err(failed)?;
        let mut reader = capture.reader().map_err(failed)?;
        reader.set_timeout(Some(DEADLINE));
        let path = capture.path();
        std::fs::write(path, CAPTURED)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        right(&reader.read_all().map_err(failed)?)
    })?;
    mount.unmount().map_err(failed)?;
    Ok(start.elapsed())
}

/// The same with a FIFO in a directory of its own. One thread opens both ends, since 1 KiB fits into any pipe.
fn piped(base: &Path) -> Outcome<()> {
    let directory = tempfile::Builder::new()
        .tempdir_in(base)
        .map_err(|error| format!("cannot make a directory: {error}"))?;
    let path = directory.path().join("out");
    let bytes = through_a_fifo(&path)
        .map_err(|error| format!("cannot use the FIFO {}: {error}", path.display()))?;
    right(&bytes)?;
    directory
        .close()
        .map_err(|error| format!("cannot remove a directory: {error}"))
}

fn through_a_fifo(path: &Path) -> std::io::Result<Vec<u8>> {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut reader = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let mut writer = File::options().write(true).open(path)?;
    writer.write_all(CAPTURED)?;
    drop(writer);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn right(bytes: &[u8]) -> Outcome<()> {
    match bytes == CAPTURED {
        true => Ok(()),
        false => complete(bytes.len() as u64, CAPTURED.len() as u64)
            .and(Err("WRONG BYTES came from a capture".to_owned())),
    }
}
