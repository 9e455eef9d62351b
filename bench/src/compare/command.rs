//! `fifofs run`, next to a FIFO and `cat`, and to a shell's process substitution.

use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Instant;

use aligned_vec::avec;
use rustix::fs::{Mode, OFlags};

use super::paths::{MIB, complete};
use super::report::{Goal, Row};
use super::{Effort, Measured, Plan, Trouble, needs, rate};
use crate::PAGE_BYTES;
use crate::hands::Seen;
use crate::processes::{MOST_BYTES, Running, hand};
use crate::world::Site;
use crate::{Outcome, fifofs, own_executable};

const TOTAL: u64 = 384 * MIB;

/// The exit status of `fifofs run` if the program made no output.
const NOT_MADE: i32 = 74;

/// The number of starts whose mean is one turn.
const STARTS: u64 = 16;

pub(crate) fn plans() -> Vec<Plan> {
    vec![
        Plan::new("stream, fifofs run to a pipe, 1 MiB writes", |effort| {
            to_a_pipe(effort)
        }),
        Plan::new("fifofs run -- true {out}, whole process", |effort| {
            start(effort)
        }),
    ]
}

/// Checks that `fifofs run` can mount.
fn mounts() -> Result<(), Trouble> {
    super::world().map(drop)
}

/// Reads a program's standard output, through a large pipe, to its end.
fn read(mut running: Running, total: u64) -> Outcome<f64> {
    let mut seen = Seen::default();
    let mut buffer = avec![[PAGE_BYTES]| 0; MOST_BYTES];
    running.read_output(&mut buffer, |bytes| seen.add(bytes))?;
    running.finish()?;
    complete(seen.bytes, total)?;
    Ok(rate(total, seen.last.saturating_sub(seen.first)))
}

fn to_a_pipe(effort: Effort) -> Measured {
    let total = TOTAL / effort.less;
    needs("cat")?;
    mounts()?;
    let site = Site::new()?;
    let (block, bytes) = (MIB.to_string(), total.to_string());
    let fifo = || -> Outcome<f64> {
        let place = site.fifo("")?;
        // Held open, so that the pipe has its size before a reader comes.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let held = rustix::fs::open(&place.path, flags, Mode::empty())
            .and_then(|fifo| {
                rustix::pipe::fcntl_setpipe_size(fifo.as_fd(), MOST_BYTES).map(|_| fifo)
            })
            .map_err(|errno| format!("cannot open {}: {errno}", place.reader()))?;
        let mut cat = Command::new("cat");
        cat.arg(&place.path);
        let cat = Running::piped(cat)?;
        let writer = Running::program(hand(&["write", place.writer(), &block, &bytes])?)?;
        let rate = read(cat, total)?;
        writer.finish()?;
        drop(held);
        Ok(rate)
    };
    let (fifofs, own) = (fifofs()?, own_executable()?);
    let run = || -> Outcome<f64> {
        let mut command = Command::new(&fifofs);
        command.args(["run", "--deliver", "stream", "--"]).arg(&own);
        command.args(["hand", "write", "{out}", &block, &bytes]);
        // The hand's report is not needed.
        command.stderr(Stdio::null());
        read(Running::piped(command)?, total)
    };
    let mut turns = Vec::new();
    for _ in effort.turns() {
        let theirs = fifo()?;
        turns.push((run()?, theirs));
    }
    Ok(vec![Row::ratio(
        "stream, fifofs run to a pipe, 1 MiB writes",
        "FIFO and cat",
        "MB/s",
        &turns,
        Goal::AtLeast(1.0),
    )])
}

fn start(effort: Effort) -> Measured {
    let starts = (STARTS / effort.less).max(2);
    needs("bash")?;
    needs("cat")?;
    mounts()?;
    let fifofs = fifofs()?;
    // The milliseconds until the end. `true` makes no output, which `fifofs run` reports by its status.
    let once = |program: &std::path::Path, words: &[&str], status: i32| -> Outcome<f64> {
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let ended = command
            .status()
            .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let taken = start.elapsed().as_secs_f64() * 1e3;
        if ended.code() != Some(status) {
            return Err(format!("{command:?} ended with {ended}"));
        }
        Ok(taken)
    };
    let mut turns = Vec::new();
    for _ in effort.turns() {
        let (mut ours, mut theirs) = (0.0, 0.0);
        for _ in 0..starts {
            theirs += once("bash".as_ref(), &["-c", "true > >(cat)"], 0)?;
            ours += once(&fifofs, &["run", "--", "true", "{out}"], NOT_MADE)?;
        }
        let mean = |sum: f64| sum / starts as f64;
        turns.push((mean(ours), mean(theirs)));
    }
    Ok(vec![Row::ratio(
        "fifofs run -- true {out}, whole process",
        "bash, >(cat)",
        "ms",
        &turns,
        Goal::AtMost(2.0),
    )])
}
