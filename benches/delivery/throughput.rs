//! Bytes a second: `dd` and real programs, one file and a thousand.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::processes::Running;
use crate::report::{Goal, Report, Row};
use crate::world::{Place, World};
use crate::{Effort, Outcome, Plan, hands};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The size of the pipe where a FIFO is to have a large one; the most that anybody may set.
const LARGE_PIPE: u64 = MIB;

/// The rows' names begin with this, and the geometric mean is taken over them.
const PROGRAM: &str = "auto";

pub(crate) fn plans() -> Vec<Plan> {
    let mut plans = Vec::new();
    for (block, goal) in [(4 * KIB, 0.3), (64 * KIB, 1.0), (MIB, 1.0)] {
        plans.push(to_a_reader(
            "follow",
            block,
            400 * MIB,
            0,
            Goal::AtLeast(goal),
        ));
    }
    // Small writes to a stream go one by one, so that less of them takes as long.
    for (block, total, goal) in [
        (4 * KIB, 64 * MIB, Goal::None),
        (64 * KIB, 400 * MIB, Goal::AtLeast(0.6)),
        (MIB, 400 * MIB, Goal::AtLeast(0.6)),
    ] {
        plans.push(to_a_reader("stream", block, total, 0, goal));
    }
    plans.push(to_a_reader(
        "stream",
        MIB,
        400 * MIB,
        LARGE_PIPE,
        Goal::None,
    ));
    for (block, goal) in [
        (4 * KIB, Goal::None),
        (64 * KIB, Goal::AtLeast(0.5)),
        (MIB, Goal::AtLeast(0.5)),
    ] {
        plans.push(settled(block, goal));
    }
    plans.extend(PROGRAMS.iter().map(|program| {
        Plan::new(format!("{PROGRAM}: {}", program.name), |effort| {
            program_into_a_file(program, effort)
        })
    }));
    plans.push(Plan::new("1,000 files at once, no reader", |effort| {
        thousand(effort, false)
    }));
    plans.push(Plan::new("1,000 files at once, a reader each", |effort| {
        thousand(effort, true)
    }));
    plans
}

fn size(bytes: u64) -> String {
    if bytes >= MIB {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{} KiB", bytes / KIB)
    }
}

/// In units of 10^6 bytes a second.
fn rate(bytes: u64, nanoseconds: u64) -> f64 {
    bytes as f64 * 1e3 / nanoseconds as f64
}

fn dd(from: &str, to: &Place, block: u64, total: u64) -> Command {
    let mut command = Command::new("dd");
    command.arg(format!("if={from}"));
    command.arg(format!("of={}", to.writer()));
    command.arg(format!("bs={block}"));
    command.arg(format!("count={}", total / block));
    command.arg("status=none");
    command
}

/// The two numbers of a hand's last line.
fn numbers(line: &str) -> Outcome<(u64, u64)> {
    let mut words = line.split(' ').map(str::parse);
    match (words.next(), words.next()) {
        (Some(Ok(first)), Some(Ok(second))) => Ok((first, second)),
        _ => Err(format!("a hand said {line:?} instead of two numbers")),
    }
}

/// Lets a program write to a place whose reader waits. Gives the rate and the bytes that came.
fn pass(writer: Command, place: Place, pipe_bytes: u64) -> Outcome<(f64, u64)> {
    let pipe_bytes = pipe_bytes.to_string();
    let reader = Running::hand(&["read", place.reader(), &pipe_bytes])?.waiting()?;
    let start = hands::now();
    // Reaped at once: a zombie is still in its process group, and tar's last bytes come with the end.
    Running::program(writer)?.finish()?;
    let (end, bytes) = numbers(&reader.finish()?)?;
    place.remove()?;
    Ok((rate(bytes, end.saturating_sub(start)), bytes))
}

/// The same, for what came: a hash and the length.
fn contents(writer: Command, place: Place) -> Outcome<String> {
    let reader = Running::hand(&["hash", place.reader()])?.waiting()?;
    Running::program(writer)?.finish()?;
    let contents = reader.finish()?;
    place.remove()?;
    Ok(contents)
}

/// A row with the same writer on both sides, once it is known that both deliver the same.
fn compare(
    world: &World,
    suffix: &str,
    pipe_bytes: u64,
    effort: Effort,
    write: impl Fn(&Place) -> Command,
    check: impl Fn(&Place) -> Command,
) -> Outcome<Vec<(f64, f64)>> {
    let (fifo, file) = (world.fifo(suffix)?, world.file(suffix));
    let theirs = contents(check(&fifo), fifo)?;
    let ours = contents(check(&file), file)?;
    if ours != theirs {
        return Err(format!(
            "WRONG BYTES: the reader of the mount got {ours} (hash, length), that of the FIFO {theirs}"
        ));
    }
    let mut turns = Vec::new();
    for _ in 0..effort.runs {
        let fifo = world.fifo(suffix)?;
        let (theirs, expected) = pass(write(&fifo), fifo, pipe_bytes)?;
        let file = world.file(suffix);
        let (ours, came) = pass(write(&file), file, 0)?;
        if came != expected {
            return Err(format!("WRONG LENGTH: {came} bytes instead of {expected}"));
        }
        turns.push((ours, theirs));
    }
    Ok(turns)
}

/// `dd` to a reader, path to path.
fn to_a_reader(way: &'static str, block: u64, total: u64, pipe_bytes: u64, goal: Goal) -> Plan {
    let name = format!("{way}, path to path, {} writes", size(block));
    let what = name.clone();
    Plan::new(name, move |effort| {
        let world = World::new()?;
        let total = total / effort.less;
        let sample = world.outside("sample");
        text(&sample, 16 * MIB)?;
        let turns = compare(
            &world,
            &format!(".{way}"),
            pipe_bytes,
            effort,
            |place| dd("/dev/zero", place, block, total),
            |place| dd(&sample.to_string_lossy(), place, block, 16 * MIB),
        )?;
        let against = match pipe_bytes {
            0 => "FIFO".to_owned(),
            bytes => format!("FIFO of {}", size(bytes)),
        };
        Ok(vec![Row::ratio(&what, against, "MB/s", &turns, goal)])
    })
}

/// `dd` to a file that nobody reads before it is whole.
fn settled(block: u64, goal: Goal) -> Plan {
    let name = format!("settled, {} writes, writer alone", size(block));
    let what = name.clone();
    Plan::new(name, move |effort| {
        let world = World::new()?;
        let memory = tempfile::Builder::new()
            .prefix("fifofs-bench-")
            .tempdir_in("/dev/shm")
            .map_err(|error| format!("cannot make a directory in /dev/shm: {error}"))?;
        let total = 256 * MIB / effort.less;
        let write = |path: &Path| -> Outcome<f64> {
            let mut command = Command::new("dd");
            command.args(["if=/dev/zero", "status=none"]);
            command.arg(format!("of={}", path.display()));
            command.arg(format!("bs={block}"));
            command.arg(format!("count={}", total / block));
            let start = hands::now();
            Running::program(command)?.finish()?;
            let rate = rate(total, hands::now() - start);
            let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
            if length != total {
                return Err(format!("WRONG LENGTH: {length} bytes instead of {total}"));
            }
            fs::remove_file(path)
                .map_err(|error| format!("cannot remove {}: {error}", path.display()))?;
            Ok(rate)
        };
        let mut turns = Vec::new();
        for _ in 0..effort.runs {
            let theirs = write(&memory.path().join("file"))?;
            let ours = write(&world.file(".settled").path)?;
            turns.push((ours, theirs));
        }
        Ok(vec![Row::ratio(&what, "tmpfs", "MB/s", &turns, goal)])
    })
}

/// A program that writes text to a path.
struct Program {
    name: &'static str,
    suffix: &'static str,
    /// Makes what it needs in a directory outside the mount, and gives the program, its arguments but the last, which
    /// is the path to write to, and how much of it is text of ours to read.
    prepare: fn(&World, u64) -> Outcome<Vec<String>>,
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "C stdio",
        suffix: ".txt",
        prepare: |world, less| {
            let source = world.outside("stdio.c");
            fs::write(&source, STDIO).map_err(|error| format!("cannot write C: {error}"))?;
            let binary = world.outside("stdio").to_string_lossy().into_owned();
            let mut command = Command::new("cc");
            command.args(["-O2", "-o", &binary]).arg(&source);
            Running::program(command)?.finish()?;
            Ok(vec![binary, (4_000_000 / less).to_string()])
        },
    },
    Program {
        name: "perl",
        suffix: ".txt",
        prepare: |_, less| {
            let script = r#"open(F, ">", $ARGV[1]) or die $!;
                print F "a line of text, as programs write them: $_\n" for 1..$ARGV[0];
                close(F) or die $!;"#;
            let lines = 3_000_000 / less;
            Ok(["perl", "-e", script, &lines.to_string()]
                .map(str::to_owned)
                .into())
        },
    },
    Program {
        name: "seq",
        suffix: ".txt",
        prepare: |_, less| Ok(shell(&format!("exec seq {} > \"$0\"", 25_000_000 / less))),
    },
    Program {
        name: "Python",
        suffix: ".txt",
        prepare: |_, less| {
            let script = "import sys\nwith open(sys.argv[2], 'w') as f:\n for i in range(int(sys.argv[1])): \
                f.write('a line of text, as programs write them: %d\\n' % i)";
            let lines = 2_000_000 / less;
            Ok([&python()?, "-c", script, &lines.to_string()]
                .map(str::to_owned)
                .into())
        },
    },
    Program {
        name: "tar",
        suffix: ".tar",
        prepare: |world, less| {
            let tree = world.outside("tree");
            fs::create_dir(&tree).map_err(|error| format!("cannot make a directory: {error}"))?;
            for index in 0..64 {
                text(&tree.join(format!("{index}.txt")), 4 * MIB / less)?;
            }
            let tree = tree.to_string_lossy();
            Ok(["tar", "-C", &tree, "-c", ".", "-f"]
                .map(str::to_owned)
                .into())
        },
    },
    Program {
        name: "cat",
        suffix: ".txt",
        prepare: |world, less| {
            let source = world.outside("text");
            text(&source, 256 * MIB / less)?;
            Ok(shell(&format!("exec cat '{}' > \"$0\"", source.display())))
        },
    },
];

const STDIO: &str = r#"
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    FILE *file = fopen(argv[2], "w");
    if (!file) return 1;
    for (long i = 0; i < atol(argv[1]); i++)
        if (fputs("a line of text, as programs write them, sixty bytes of length\n", file) < 0) return 1;
    return fclose(file) != 0;
}
"#;

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).into()
}

/// Python itself, and not a script that looks for it.
fn python() -> Outcome<String> {
    let output = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .map_err(|error| format!("cannot start python3: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Makes a file of numbered lines.
fn text(path: &PathBuf, bytes: u64) -> Outcome<()> {
    let failed = |error| format!("cannot write {}: {error}", path.display());
    let mut file = std::io::BufWriter::new(fs::File::create(path).map_err(failed)?);
    for number in 0..bytes / 64 {
        writeln!(file, "{number:063}").map_err(failed)?;
    }
    file.flush().map_err(failed)
}

fn program_into_a_file(program: &Program, effort: Effort) -> Outcome<Vec<Row>> {
    let world = World::new()?;
    let words = (program.prepare)(&world, effort.less)?;
    let command = |place: &Place| {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(place.writer());
        command
    };
    let turns = compare(&world, program.suffix, 0, effort, command, command)?;
    let what = format!("{PROGRAM}: {}", program.name);
    Ok(vec![Row::ratio(
        what,
        "FIFO",
        "MB/s",
        &turns,
        Goal::AtLeast(0.55),
    )])
}

/// The geometric mean over all programs, of each turn.
pub(crate) fn mean_of_programs(report: &mut Report) {
    let all: Vec<&[f64]> = report
        .rows()
        .iter()
        .filter(|row| row.what.starts_with(PROGRAM))
        .map(|row| row.figures.as_slice())
        .collect();
    if all.len() < PROGRAMS.len() {
        return;
    }
    let turns = all.iter().map(|figures| figures.len()).min().unwrap_or(0);
    let mean = |turn: usize| {
        let logarithms: f64 = all.iter().map(|figures| figures[turn].ln()).sum();
        (logarithms / all.len() as f64).exp()
    };
    report.add(Row {
        what: "auto: geometric mean".to_owned(),
        against: "FIFO".to_owned(),
        unit: "",
        ours: None,
        theirs: None,
        figures: (0..turns).map(mean).collect(),
        goal: Goal::AtLeast(1.0),
        note: String::new(),
    });
}

/// The same number of bytes to a thousand files, in turn, and to one.
fn thousand(effort: Effort, read: bool) -> Outcome<Vec<Row>> {
    const FILES: u64 = 1000;
    const EACH: u64 = 256 * KIB;
    let world = World::new()?;
    let total = FILES * EACH;
    let write = |files: u64| -> Outcome<f64> {
        let place = world.file("-%.follow");
        let (files, bytes) = (files.to_string(), total.to_string());
        let reader = match read {
            true => Some(Running::hand(&["gather", place.reader(), &files])?.waiting()?),
            false => None,
        };
        let writer = Running::hand(&["scatter", place.writer(), &files, &bytes])?;
        let (start, closed) = numbers(&writer.finish()?)?;
        let end = match reader {
            None => closed,
            Some(reader) => {
                let (end, came) = numbers(&reader.finish()?)?;
                if came != total {
                    return Err(format!("WRONG LENGTH: {came} bytes instead of {total}"));
                }
                end
            }
        };
        let files = files.parse().unwrap_or(0);
        for index in 0..files {
            let path = place.writer().replace('%', &u64::to_string(&index));
            fs::remove_file(&path).map_err(|error| format!("cannot remove {path}: {error}"))?;
        }
        Ok(rate(total, end.saturating_sub(start)))
    };
    let mut turns = Vec::new();
    for _ in 0..effort.runs {
        let one = write(1)?;
        turns.push((write(FILES)?, one));
    }
    let what = match read {
        true => "1,000 files at once, a reader each",
        false => "1,000 files at once, no reader",
    };
    let against = match read {
        true => "1 file, 1 reader",
        false => "1 file",
    };
    Ok(vec![Row::ratio(
        what,
        against,
        "MB/s",
        &turns,
        Goal::AtLeast(0.8),
    )])
}
