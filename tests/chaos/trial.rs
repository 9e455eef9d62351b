//! One program, in a plain directory, and then in a mount with its readers, or under `fifofs run`.
//!
//! Starts, waits for and ends all processes; the oracle judges them. Each process generates the program again from the
//! seed and the number, so nothing has to be passed to it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::actor::{Stage, prepare};
use crate::common::{FIFOFS, Finished, MARKER, Place, Process};
use crate::kills::{Blow, Victim};
use crate::ledger::{Ledger, NOT_DONE, Record, now};
use crate::model::World;
use crate::oracle::{Case, Verdict};
use crate::plan::{Destination, Setup, Trial};
use crate::program::{NAMES, Name, Op, Program, Step, digest};
use crate::reader::{Ended, Reading};

/// Within this time all processes must have ended that have no reason to wait.
const ENDS: Duration = Duration::from_secs(60);

/// How long readers that may wait for ever are left waiting after the program has ended.
const IN_VAIN: Duration = Duration::from_millis(2_500);

/// How long before the program early readers are started.
const HEAD_START: Duration = Duration::from_millis(25);

/// How a reader ended, and by when; or an error if it had to be killed.
type End = Result<(Finished, u64), String>;

/// The results of a trial.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) verdicts: Vec<(String, Verdict)>,
    /// Other errors.
    pub(crate) faults: Vec<String>,
    /// The state of the world, if anything is wrong.
    pub(crate) world: String,
    /// The times of the steps, if anything is wrong.
    pub(crate) times: String,
}

impl Seen {
    pub(crate) fn is_well(&self) -> bool {
        let fault = |(_, verdict): &(String, Verdict)| matches!(verdict, Verdict::Fault(_));
        self.faults.is_empty() && !self.verdicts.iter().any(fault)
    }
}

/// A trial with everything that its processes need to know.
pub(crate) struct Stand<'a> {
    pub(crate) place: &'a Arc<Place>,
    pub(crate) seed: u64,
    pub(crate) number: u64,
    pub(crate) setup: Setup,
    pub(crate) trial: &'a Trial,
    /// In a round of kills, the kill.
    pub(crate) blow: Option<Blow>,
}

impl Stand<'_> {
    fn program(&self) -> &Program {
        &self.trial.program
    }

    /// This binary, to play the given part.
    fn command(&self, part: &str) -> Command {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command
            .arg(part)
            .arg(self.seed.to_string())
            .arg(self.number.to_string());
        command
    }

    fn ledger(&self, stage: Stage) -> PathBuf {
        let path = self.place.at("plain");
        path.join(format!("{}.{stage:?}", self.number))
    }

    fn actor(&self, stage: Stage, directory: &Path) -> Command {
        let ledger = self.ledger(stage);
        Ledger::create(&ledger);
        let mut command = self.command("actor");
        command.arg(format!("{stage:?}")).arg(ledger).arg(directory);
        command
    }

    /// Runs the program in a plain directory: the model must be right.
    fn check_model(&self) -> Result<(), String> {
        let directory = self.place.at("plain").join(format!("t{}", self.number));
        fs::create_dir(&directory).expect("a plain directory");
        prepare(self.program(), &directory);
        let actor = self.place.spawn(self.actor(Stage::Plain, &directory));
        let finished = actor
            .try_finish(ENDS)
            .ok_or("the program does not end in a plain directory")?;
        let record = Record::read(&self.ledger(Stage::Plain));
        let wrong = self.differences(&record);
        if !wrong.is_empty() || !finished.stderr.is_empty() {
            let wrong = wrong.join("\n    ");
            return Err(format!(
                "the model is wrong, in a plain directory: {wrong}\n{}",
                finished.stderr
            ));
        }
        let case = Case::new(self.program(), self.setup, &record, false);
        let left = self.survey(&directory)?;
        let expected = self.expected(case.last());
        if left != expected {
            return Err(format!(
                "the model is wrong: a plain directory has {left:?} and not {expected:?}"
            ));
        }
        Ok(())
    }

    /// Steps with unexpected results. A process that reads another one's output is a reader like any other, and gets an
    /// error if that one was killed.
    fn differences(&self, record: &Record) -> Vec<String> {
        let mut world = World::new(self.program());
        let mut wrong = Vec::new();
        let mut killed = false;
        let is_told = |step: &Step, outcome: i64| {
            matches!(step.op, Op::ReadName { .. }) && outcome == -i64::from(libc::EIO)
        };
        for (number, step) in self.program().steps.iter().enumerate() {
            let expected = world.apply(*step);
            killed |= matches!(step.op, Op::Kill { .. });
            match record.steps[number].map(|done| done.end) {
                Some(Some((_, outcome))) if outcome == expected => {}
                Some(Some((_, outcome))) if killed && is_told(step, outcome) => {}
                // If all is killed, later steps are not done.
                None | Some(None | Some((_, NOT_DONE))) if record.killed.is_some() => {}
                Some(Some((_, outcome))) => wrong.push(format!(
                    "step {number} gave {outcome} and not {expected}: {:?}",
                    step.op
                )),
                _ => wrong.push(format!("step {number} was not done: {:?}", step.op)),
            }
        }
        wrong
    }

    fn expected(&self, world: &World) -> Vec<String> {
        let mut lines: Vec<_> = (0..NAMES as Name)
            .filter_map(|name| {
                let content = world.standing(name)?.content?;
                let name = &self.program().names[usize::from(name)];
                Some(format!("{name} {} {}", content.len(), digest(&content)))
            })
            .collect();
        lines.sort();
        lines
    }

    /// The contents of a directory, which are removed.
    fn survey(&self, directory: &Path) -> Result<Vec<String>, String> {
        let mut command = self.command("survey");
        command.arg(directory);
        let finished = self.place.spawn(command).try_finish(ENDS);
        let finished = finished.ok_or("reading what is left, and removing it, does not end")?;
        if !finished.status.success() {
            return Err(format!("reading what is left: {}", finished.stderr));
        }
        Ok(finished.text().lines().map(str::to_owned).collect())
    }

    /// Runs it in the place's mount, which the process `daemon` serves.
    pub(crate) fn in_mount(&self, daemon: i32) -> Seen {
        let mut seen = Seen::default();
        if let Err(error) = self
            .check_model()
            .and_then(|()| self.play(daemon, &mut seen))
        {
            seen.faults.push(error);
        }
        if !seen.is_well() {
            seen.world = self.place.state();
            seen.times = self.times(Stage::Mount);
        }
        seen
    }

    fn play(&self, daemon: i32, seen: &mut Seen) -> Result<(), String> {
        let mount = self.place.mount_point();
        let relative = format!("t{}", self.number);
        let directory = mount.join(&relative);
        fs::create_dir(&directory).map_err(|error| format!("a directory: {error}"))?;
        if self.program().initial.is_some() {
            let mut command = self.command("prepare");
            command.arg(&directory);
            let finished = self.place.spawn(command).try_finish(ENDS);
            finished.ok_or("writing what is there before does not end")?;
        }
        let start = |number: usize| {
            let mut command = self.command("reader");
            command
                .arg(number.to_string())
                .arg(&mount)
                .arg(format!("{relative}/{}", self.program().watched()));
            (number, self.place.spawn(command))
        };
        let plans = &self.trial.readers;
        let (early, late): (Vec<_>, Vec<_>) =
            (0..plans.len()).partition(|number| plans[*number].delay.is_none());
        let mut readers: Vec<_> = early.into_iter().map(start).collect();
        if !readers.is_empty() {
            thread::sleep(HEAD_START);
        }
        let program = self.place.spawn(self.actor(Stage::Mount, &directory));
        readers.extend(late.into_iter().map(start));
        if let Some(blow) = self.blow {
            blow.strike(self.place, daemon, &program, &readers);
        }
        let ended = program.try_finish(ENDS);
        let ended = ended.ok_or("HANGS: the program does not end")?;
        let is_victim = |victim: Victim| self.blow.is_some_and(|blow| blow.victim == victim);
        let unmounted = self.blow.is_some_and(|blow| blow.victim.is_daemon());
        let killed = is_victim(Victim::Writer);
        if !ended.stderr.is_empty() && !unmounted {
            seen.faults
                .push(format!("the program said {}", ended.stderr));
        }
        let record = Record::read(&self.ledger(Stage::Mount));
        let wrong = self.differences(&record);
        let diverged = !wrong.is_empty();
        if self.setup.way() != "stream" && !unmounted && !killed {
            seen.faults.extend(wrong);
        }
        let case = Case::new(self.program(), self.setup, &record, diverged);
        for (number, end) in self.finish_readers(readers, &case) {
            let kind = plans[number].kind;
            let name = format!("reader {number}, {kind:?}");
            let verdict = match end {
                Ok((finished, before)) => {
                    let reading = Reading::of(kind, finished, before);
                    let verdict = case.judge(kind, &reading);
                    let is_well = reading.ended == Ended::Well;
                    match verdict {
                        // A reader that is killed or loses the mount gets an error; a clean end is right, too.
                        Verdict::Fault(_) if (unmounted || killed) && !is_well => Verdict::Told,
                        Verdict::Fault(_) if killed => Verdict::Late,
                        Verdict::Fault(fault) => Verdict::Fault(format!(
                            "{fault}; {} bytes read, {:?}, opened {:?}, ended {}, said {:?}",
                            reading.bytes.len(),
                            reading.ended,
                            reading.opened.map(|(from, to)| (from / 1000, to / 1000)),
                            reading.ended_at / 1000,
                            reading.said,
                        )),
                        verdict => verdict,
                    }
                }
                Err(fault) => Verdict::Fault(fault),
            };
            seen.verdicts.push((name, verdict));
        }
        if unmounted {
            return Ok(());
        }
        let left = self.survey(&directory)?;
        let expected = self.expected(case.last());
        let may_differ = killed || record.killed.is_some() || self.setup.way() == "stream";
        if left != expected && !may_differ {
            seen.faults
                .push(format!("left is {left:?} and not {expected:?}"));
        }
        Ok(())
    }

    /// Waits for the readers, and stops those that may wait for ever. Returns each with the time by which it had ended.
    fn finish_readers(
        &self,
        mut readers: Vec<(usize, Process)>,
        case: &Case<'_>,
    ) -> Vec<(usize, End)> {
        let started = Instant::now();
        let may_wait = |number: usize| {
            let kind = self.trial.readers[number].kind;
            case.may_be_gone() || case.diverged || kind.is_next() || self.blow.is_some()
        };
        let waits_long =
            |(number, process): &mut (usize, Process)| process.is_running() && !may_wait(*number);
        while started.elapsed() < ENDS && readers.iter_mut().any(waits_long) {
            thread::sleep(Duration::from_millis(3));
        }
        let waits = |(_, process): &mut (usize, Process)| process.is_running();
        while started.elapsed() < IN_VAIN && readers.iter_mut().any(waits) {
            thread::sleep(Duration::from_millis(3));
        }
        let mut ends = Vec::new();
        for (number, mut process) in readers {
            let hangs = process.is_running();
            if hangs {
                process.signal(Signal::TERM);
            }
            let fault = hangs && !may_wait(number);
            let end = match process.try_finish(ENDS) {
                None => Err("HANGS: no signal ends it".to_owned()),
                Some(end) if fault => Err(format!(
                    "HANGS: it had not ended {ENDS:?} after the program; {} bytes, said {:?}",
                    end.stdout.len(),
                    end.stderr
                )),
                Some(end) => Ok((end, now())),
            };
            ends.push((number, end));
        }
        ends
    }

    pub(crate) fn in_run(&self) -> Seen {
        let mut seen = Seen::default();
        let verdict = self.check_model().and_then(|()| self.play_run(&mut seen));
        let name = format!("run, {:?}", self.trial.destination);
        match verdict {
            Ok(verdict) => seen.verdicts.push((name, verdict)),
            Err(error) => seen.faults.push(error),
        }
        if !seen.is_well() {
            seen.times = self.times(Stage::Run);
        }
        seen
    }

    fn play_run(&self, seen: &mut Seen) -> Result<Verdict, String> {
        let before = b"what was there before\n";
        let destination = self.trial.destination;
        let output = self.place.at("plain").join(format!("{}.out", self.number));
        if destination != Destination::Pipe {
            fs::write(&output, before).expect("what is there before");
        }
        let placeholder = format!("{{out:{}}}", self.program().watched());
        let actor = self.actor(Stage::Run, Path::new(&placeholder));
        let script = match destination {
            Destination::Pipe => "exec \"$@\"",
            // The process that is started must be the one to be killed.
            Destination::SlowPipe if self.blow.is_some() => "exec \"$@\"",
            // A reader of 64 KiB every 2 ms.
            Destination::SlowPipe => "\"$@\" | \"$CHAOS\" slow; exit ${PIPESTATUS[0]}",
            Destination::Output => "fifofs=$1; shift 2; exec $fifofs run -o \"$OUTPUT\" \"$@\"",
            Destination::Redirected => "exec \"$@\" > \"$OUTPUT\"",
            Destination::Appended => "exec \"$@\" >> \"$OUTPUT\"",
        };
        let mut command = Command::new("bash");
        command
            .env("CHAOS", env::current_exe().expect("this program"))
            .env("OUTPUT", &output)
            // So that all started processes, and leftovers, can be found.
            .env(MARKER, self.place.mount_point())
            .env("TMPDIR", self.place.at("tmp"))
            .env_remove("XDG_RUNTIME_DIR")
            .args(["-c", script, "run", FIFOFS, "run"])
            .args(self.setup.options())
            .arg("--spill")
            .arg(self.place.at("spill"))
            .arg("--")
            .arg(actor.get_program())
            .args(actor.get_args());
        let process = self.place.spawn(command);
        if let Some(blow) = self.blow {
            blow.strike_run(self.place, &process);
        }
        let finished = process.try_finish(ENDS);
        let finished = finished.ok_or("HANGS: fifofs run does not end")?;
        let record = Record::read(&self.ledger(Stage::Run));
        let wrong = self.differences(&record);
        let diverged = !wrong.is_empty();
        let harmed = self
            .blow
            .is_some_and(|blow| blow.victim != Victim::RunWatchdog);
        if self.setup.way() != "stream" && !harmed {
            seen.faults.extend(wrong);
        }
        let got = match destination {
            Destination::Pipe | Destination::SlowPipe => finished.stdout.clone(),
            _ => fs::read(&output).expect("the destination"),
        };
        let _ = fs::remove_file(&output);
        let case = Case::new(self.program(), self.setup, &record, diverged);
        if harmed && !finished.status.success() {
            let untouched = destination != Destination::Output || got == before;
            return match untouched {
                true => Ok(Verdict::Told),
                false => Err("it did not end well, and the file was replaced".to_owned()),
            };
        }
        let verdict = crate::oracle::judge_run(&case, destination, before, &finished, &got);
        Ok(match verdict {
            Verdict::Fault(fault) => {
                Verdict::Fault(format!("{fault}; it said {}", finished.stderr))
            }
            verdict => verdict,
        })
    }

    /// When each step was done, in microseconds of the monotonic clock.
    fn times(&self, stage: Stage) -> String {
        let path = self.ledger(stage);
        if !path.exists() {
            return String::new();
        }
        let record = Record::read(&path);
        let mut lines = String::new();
        for (number, step) in self.program().steps.iter().enumerate() {
            let Some(done) = record.steps[number] else {
                continue;
            };
            let end = done.end.map(|(at, outcome)| (at / 1000, outcome));
            lines += &format!(
                "{number:3}  {} to {end:?}: {:?}\n",
                done.begin / 1000,
                kind(step.op)
            );
        }
        if let Some(at) = record.killed {
            lines += &format!("all killed at {}\n", at / 1000);
        }
        lines
    }
}

/// The operation's name without its fields.
fn kind(op: Op) -> String {
    let text = format!("{op:?}");
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}
