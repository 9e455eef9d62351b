//! What waiting costs: the latency of a line, idle waiters, and the time until a signal ends a wait.

use std::thread;
use std::time::Duration;

use super::report::{Goal, Row, median};
use super::{Effort, Measured, Plan, world};
use crate::Outcome;
use crate::processes::{Running, Usage};
use crate::world::{Place, World};

/// The number of many waiters.
const MANY: u64 = 1000;

/// How long idle waiters are watched.
const WATCHED: Duration = Duration::from_secs(2);

const STREAM: &str = "latency of a line, stream, path to path";
const FOLLOW: &str = "latency of a line, follow, path to path";

pub(crate) fn latencies() -> Vec<Plan> {
    vec![
        Plan::new(STREAM, stream_latency),
        Plan::new(FOLLOW, follow_latency),
    ]
}

pub(crate) fn idle_plans() -> Vec<Plan> {
    vec![
        Plan::new("idle: readers waiting in open", |effort| {
            idle(effort, false)
        }),
        Plan::new("idle: readers waiting in read", |effort| idle(effort, true)),
        Plan::new("signal: death of a waiting reader", signals),
    ]
}

/// The microseconds that lines took from their write to a waiting reader.
fn lines(place: Place, effort: Effort) -> Outcome<Vec<f64>> {
    let count = (50 / effort.less).max(20).to_string();
    let reader = Running::hand(&["read-lines", place.reader()])?.waiting()?;
    Running::hand(&["write-lines", place.writer(), &count])?.finish()?;
    let said = reader.finish()?;
    place.remove()?;
    let taken: Vec<f64> = said
        .split(' ')
        .filter_map(|taken| taken.parse::<f64>().ok())
        .map(|nanoseconds| nanoseconds / 1e3)
        .collect();
    if taken.len().to_string() == count {
        Ok(taken)
    } else {
        Err(format!(
            "WRONG LENGTH: {} lines instead of {count}",
            taken.len()
        ))
    }
}

fn greatest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn stream_latency(effort: Effort) -> Measured {
    let world = world()?;
    let mut turns = Vec::new();
    let mut worst = (0.0_f64, 0.0_f64);
    for _ in effort.turns() {
        let theirs = lines(world.site.fifo("")?, effort)?;
        let ours = lines(world.file(".stream"), effort)?;
        turns.push((median(&ours), median(&theirs)));
        worst = (worst.0.max(greatest(&ours)), worst.1.max(greatest(&theirs)));
    }
    let row = Row::ratio(STREAM, "FIFO", "µs", &turns, Goal::AtMost(3.0));
    let note = format!("slowest line {:.0} µs, FIFO {:.0} µs", worst.0, worst.1);
    Ok(vec![row.with_note(note)])
}

fn follow_latency(effort: Effort) -> Measured {
    let world = world()?;
    let mut turns = Vec::new();
    let mut slowest = Vec::new();
    for _ in effort.turns() {
        let milliseconds: Vec<f64> = lines(world.file(".follow"), effort)?
            .into_iter()
            .map(|microseconds| microseconds / 1e3)
            .collect();
        turns.push(median(&milliseconds));
        slowest.push(greatest(&milliseconds));
    }
    Ok(vec![
        Row::absolute(FOLLOW, "ms", turns, Goal::AtMost(10.0)),
        Row::absolute(
            "latency of the slowest line, follow",
            "ms",
            slowest,
            Goal::None,
        ),
    ])
}

/// The cost of a thousand waiters that get nothing: either in open(2) for paths that do not exist, or in read(2)
/// for one file that is being written.
fn idle(effort: Effort, in_read: bool) -> Measured {
    let world = world()?;
    let held = world.file(".follow");
    let holder = match in_read {
        true => Some(Running::hand(&["hold", held.writer(), "1"])?.ready()?),
        false => None,
    };
    let never = world.file("-%");
    let template = if in_read {
        held.reader()
    } else {
        never.reader()
    };
    // Threads that are started for the first waiter serve all.
    let first = Running::hand(&["wait", template, "1"])?.waiting()?;
    let before = rest(&world)?;
    let waiters = Running::hand(&["wait", template, &MANY.to_string()])?.waiting()?;
    let during = rest(&world)?;
    let watched = if effort.less > 1 {
        WATCHED / 4
    } else {
        WATCHED
    };
    thread::sleep(watched);
    let after = world.usage()?;
    let death = waiters.terminate()?;
    drop((first, holder));

    let kib = during.resident_bytes.saturating_sub(before.resident_bytes) as f64 / 1024.0;
    let threads = during.threads.saturating_sub(before.threads) as f64;
    let percent = (after.cpu - during.cpu).as_secs_f64() / watched.as_secs_f64() * 100.0;
    let place = if in_read { "in read" } else { "in open" };
    let what = |of: &str| format!("idle: {of}, {MANY} readers {place}");
    Ok(vec![
        Row::absolute(
            what("memory of each"),
            "KiB",
            vec![kib / MANY as f64],
            Goal::AtMost(4.0),
        ),
        Row::absolute(what("threads more"), "", vec![threads], Goal::AtMost(0.0)),
        Row::absolute(what("of a core"), "%", vec![percent], Goal::AtMost(1.0)),
        Row::absolute(
            what("death by SIGTERM"),
            "ms",
            vec![death.as_secs_f64() * 1e3],
            Goal::AtMost(1000.0),
        ),
    ])
}

/// The mount's usage once nothing happens in it.
fn rest(world: &World) -> Outcome<Usage> {
    thread::sleep(Duration::from_millis(500));
    world.usage()
}

/// How long a waiting reader takes to die of a signal: alone, and beside a thousand others.
fn signals(effort: Effort) -> Measured {
    let world = world()?;
    let death = |place: Place| -> Outcome<f64> {
        let reader = Running::hand(&["read", place.reader(), "65536"])?.waiting()?;
        Ok(reader.terminate()?.as_secs_f64() * 1e3)
    };
    let rounds = (20 / effort.less).max(3);
    let deaths = |fifofs: bool| -> Outcome<Vec<f64>> {
        let place = || match fifofs {
            true => Ok(world.file(".txt")),
            false => world.site.fifo(""),
        };
        (0..rounds).map(|_| death(place()?)).collect()
    };
    let fifo = median(&deaths(false)?);
    let alone = deaths(true)?;
    let never = world.file("-%");
    let waiters = Running::hand(&["wait", never.reader(), &MANY.to_string()])?.waiting()?;
    let beside = deaths(true)?;
    drop(waiters);
    let note = format!("a FIFO's reader {fifo:.2} ms");
    Ok(vec![
        Row::absolute(
            "signal: death of a waiting reader",
            "ms",
            alone,
            Goal::AtMost(200.0),
        )
        .with_note(note),
        Row::absolute(
            format!("signal: the same beside {MANY} others"),
            "ms",
            beside,
            Goal::AtMost(1000.0),
        ),
    ])
}
