//! From path to path: `dd`, or another program, writes, and a process reads.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::report::{Goal, Row};
use super::{Effort, Plan, needs, rate, size, world};
use crate::Outcome;
use crate::processes::{MOST_BYTES, PLAIN_BYTES, Running, now};
use crate::world::{Place, World};

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;

/// The baselines of rows.
pub(crate) const FIFO: &str = "FIFO";
pub(crate) const LARGE_FIFO: &str = "FIFO of 1 MiB";

pub(crate) fn plans() -> Vec<Plan> {
    vec![
        dd_to_a_reader("follow", 4 * KIB, 96 * MIB, Goal::AtLeast(0.3)),
        dd_to_a_reader("follow", 64 * KIB, 192 * MIB, Goal::AtLeast(1.0)),
        dd_to_a_reader("follow", MIB, 192 * MIB, Goal::AtLeast(1.0)),
        // Small writes to a stream go one by one, so fewer bytes take as long.
        dd_to_a_reader("stream", 4 * KIB, 16 * MIB, Goal::None),
        dd_to_a_reader("stream", 64 * KIB, 192 * MIB, Goal::AtLeast(0.6)),
        dd_to_a_reader("stream", MIB, 192 * MIB, Goal::AtLeast(0.6)),
    ]
}

pub(crate) fn dd(from: &str, to: &Path, block: u64, total: u64) -> Command {
    let mut command = Command::new("dd");
    command.arg(format!("if={from}"));
    command.arg(format!("of={}", to.display()));
    command.arg(format!("bs={block}"));
    command.arg(format!("count={}", total / block));
    command.arg("status=none");
    command
}

/// The two numbers of a hand's last line.
pub(crate) fn numbers(line: &str) -> Outcome<(u64, u64)> {
    let mut words = line.split(' ').map(str::parse);
    match (words.next(), words.next()) {
        (Some(Ok(first)), Some(Ok(second))) => Ok((first, second)),
        _ => Err(format!("a hand said {line:?} instead of two numbers")),
    }
}

/// Lets a program write to a place that has a waiting reader. Returns the rate and the number of bytes that came.
fn pass(writer: Command, place: Place, pipe_bytes: usize) -> Outcome<(f64, u64)> {
    let reader = Running::hand(&["read", place.reader(), &pipe_bytes.to_string()])?.waiting()?;
    let start = now();
    // Reaped at once: a zombie is still in its process group, and tar's last bytes come with the end.
    Running::program(writer)?.finish()?;
    let (end, bytes) = numbers(&reader.finish()?)?;
    place.remove()?;
    Ok((rate(bytes, end.saturating_sub(start)), bytes))
}

/// The same, for the contents: a hash and the length.
fn contents(writer: Command, place: Place) -> Outcome<String> {
    let reader = Running::hand(&["hash", place.reader()])?.waiting()?;
    Running::program(writer)?.finish()?;
    let contents = reader.finish()?;
    place.remove()?;
    Ok(contents)
}

/// Rows with the same writer on both sides, after checking that both deliver the same: one next to a FIFO as
/// `mkfifo` makes it, which the goal is about, and one next to a FIFO with a pipe of 1 MiB.
pub(crate) fn compare(
    what: &str,
    goal: Goal,
    world: &World,
    suffix: &str,
    effort: Effort,
    write: impl Fn(&Place) -> Command,
    check: impl Fn(&Place) -> Command,
) -> Outcome<Vec<Row>> {
    let (fifo, file) = (world.site.fifo(suffix)?, world.file(suffix));
    let theirs = contents(check(&fifo), fifo)?;
    let ours = contents(check(&file), file)?;
    same(&ours, &theirs)?;
    let (mut plain, mut large) = (Vec::new(), Vec::new());
    for _ in effort.turns() {
        let through_a_fifo = |pipe_bytes| {
            let fifo = world.site.fifo(suffix)?;
            pass(write(&fifo), fifo, pipe_bytes)
        };
        let theirs = through_a_fifo(PLAIN_BYTES)?;
        let file = world.file(suffix);
        let (ours, came) = pass(write(&file), file, PLAIN_BYTES)?;
        complete(came, theirs.1)?;
        plain.push((ours, theirs.0));
        large.push((ours, through_a_fifo(MOST_BYTES)?.0));
    }
    Ok(vec![
        Row::ratio(what, FIFO, "MB/s", &plain, goal),
        Row::ratio(what, LARGE_FIFO, "MB/s", &large, Goal::None),
    ])
}

/// Checks that the mount delivered the same as the baseline.
pub(crate) fn same(ours: &str, theirs: &str) -> Outcome<()> {
    if ours == theirs {
        return Ok(());
    }
    Err(format!(
        "WRONG BYTES: the reader of the mount got {ours} (hash, length), the other {theirs}"
    ))
}

/// Checks that all bytes came.
pub(crate) fn complete(came: u64, expected: u64) -> Outcome<()> {
    if came == expected {
        return Ok(());
    }
    Err(format!("WRONG LENGTH: {came} bytes instead of {expected}"))
}

fn dd_to_a_reader(way: &'static str, block: u64, total: u64, goal: Goal) -> Plan {
    let name = format!("{way}, path to path, dd, {} writes", size(block));
    let what = name.clone();
    Plan::new(name, move |effort| {
        needs("dd")?;
        let world = world()?;
        let total = total / effort.less;
        let sample = world.site.at("sample");
        text(&sample, 8 * MIB)?;
        Ok(compare(
            &what,
            goal,
            &world,
            &format!(".{way}"),
            effort,
            |place| dd("/dev/zero", &place.path, block, total),
            |place| dd(&sample.to_string_lossy(), &place.path, block, 8 * MIB),
        )?)
    })
}

/// Makes a file of numbered lines.
pub(crate) fn text(path: &Path, bytes: u64) -> Outcome<()> {
    let failed = |error| format!("cannot write {}: {error}", path.display());
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).map_err(failed)?);
    for number in 0..bytes / 64 {
        writeln!(file, "{number:063}").map_err(failed)?;
    }
    file.flush().map_err(failed)
}
