//! Real programs that write text, with the delivery mode that fifofs chooses.

use std::process::Command;

use super::paths::{FIFO, LARGE_FIFO, MIB, compare, text};
use super::report::{Goal, Row};
use super::{Effort, Measured, Plan, needs, world};
use crate::Outcome;
use crate::processes::hand;
use crate::world::Place;

/// The rows' names begin with this, and the geometric mean is taken over them.
const PREFIX: &str = "auto, path to path, ";

/// A program that writes text to a path.
struct Program {
    name: &'static str,
    /// The program that must be installed for it.
    needs: Option<&'static str>,
    suffix: &'static str,
    /// The program and its arguments except the last one, the path to write to. Makes its inputs in the
    /// directory; the number divides sizes.
    command: fn(&std::path::Path, u64) -> Outcome<Command>,
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "C stdio",
        needs: None,
        suffix: ".txt",
        command: |_, less| hand(&["stdio", &(2_000_000 / less).to_string()]),
    },
    Program {
        name: "perl",
        needs: Some("perl"),
        suffix: ".txt",
        command: |_, less| {
            let script = r#"open(F, ">", $ARGV[1]) or die $!;
                print F "a line of text, as programs write them: $_\n" for 1..$ARGV[0];
                close(F) or die $!;"#;
            Ok(words(&[
                "perl",
                "-e",
                script,
                &(2_000_000 / less).to_string(),
            ]))
        },
    },
    Program {
        name: "seq",
        needs: Some("seq"),
        suffix: ".txt",
        command: |_, less| {
            let script = format!("exec seq {} > \"$0\"", 10_000_000 / less);
            Ok(words(&["sh", "-c", &script]))
        },
    },
    Program {
        name: "Python",
        needs: Some("python3"),
        suffix: ".txt",
        command: |_, less| {
            let script = "import sys\nwith open(sys.argv[2], 'w') as f:\n for i in range(int(sys.argv[1])): \
                f.write('a line of text, as programs write them: %d\\n' % i)";
            Ok(words(&[
                &python()?,
                "-c",
                script,
                &(800_000 / less).to_string(),
            ]))
        },
    },
    Program {
        name: "tar",
        needs: Some("tar"),
        suffix: ".tar",
        command: |directory, less| {
            let tree = directory.join("tree");
            std::fs::create_dir(&tree)
                .map_err(|error| format!("cannot make {}: {error}", tree.display()))?;
            for index in 0..64 {
                text(&tree.join(format!("{index}.txt")), 2 * MIB / less)?;
            }
            Ok(words(&[
                "tar",
                "-C",
                &tree.to_string_lossy(),
                "-c",
                ".",
                "-f",
            ]))
        },
    },
    Program {
        name: "cat",
        needs: Some("cat"),
        suffix: ".txt",
        command: |directory, less| {
            let source = directory.join("text");
            text(&source, 96 * MIB / less)?;
            let script = format!("exec cat '{}' > \"$0\"", source.display());
            Ok(words(&["sh", "-c", &script]))
        },
    },
];

pub(crate) fn plans() -> Vec<Plan> {
    let plan = |program: &'static Program| {
        Plan::new(format!("{PREFIX}{}", program.name), |effort| {
            into_a_file(program, effort)
        })
    };
    PROGRAMS.iter().map(plan).collect()
}

fn words(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// The Python interpreter itself, not a script that looks for it.
fn python() -> Outcome<String> {
    let output = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .map_err(|error| format!("cannot start python3: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn into_a_file(program: &Program, effort: Effort) -> Measured {
    if let Some(name) = program.needs {
        needs(name)?;
    }
    let world = world()?;
    let first = (program.command)(&world.site.at(""), effort.less)?;
    let command = |place: &Place| {
        let mut command = Command::new(first.get_program());
        command.args(first.get_args()).arg(place.writer());
        command
    };
    let what = format!("{PREFIX}{}", program.name);
    let goal = Goal::AtLeast(0.55);
    Ok(compare(
        &what,
        goal,
        &world,
        program.suffix,
        effort,
        command,
        command,
    )?)
}

/// The geometric means over all programs, for each turn, if any was measured. They count only if all were.
pub(crate) fn means(rows: &[Row]) -> Vec<Row> {
    let any = rows.iter().any(|row| row.what.starts_with(PREFIX));
    let mean = |(against, goal)| any.then(|| mean(rows, against, goal));
    [(FIFO, Goal::AtLeast(1.0)), (LARGE_FIFO, Goal::None)]
        .into_iter()
        .filter_map(mean)
        .collect()
}

fn mean(rows: &[Row], against: &str, goal: Goal) -> Row {
    let all: Vec<&Row> = rows
        .iter()
        .filter(|row| row.what.starts_with(PREFIX) && row.against == against)
        .collect();
    let what = format!("{PREFIX}geometric mean");
    let turns = all.iter().map(|row| row.figures.len()).min().unwrap_or(0);
    if all.len() < PROGRAMS.len() || turns == 0 {
        return Row::missing(what, "it is over all of these programs");
    }
    let mean = |turn: usize| {
        let logarithms: f64 = all.iter().map(|row| row.figures[turn].ln()).sum();
        (logarithms / all.len() as f64).exp()
    };
    Row {
        what,
        against: against.to_owned(),
        unit: "",
        ours: None,
        theirs: None,
        figures: (0..turns).map(mean).collect(),
        goal,
        note: String::new(),
    }
}
