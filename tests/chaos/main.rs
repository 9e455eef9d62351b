//! Random programs with random readers: **a reader gets what the program left in the file, or it gets an error.**
//!
//! Never stale, short or mixed bytes that look whole, never a wait that no signal ends, and never other files in the
//! directory than the same program leaves in a plain one. `oracle` says what is allowed, `generator` what is tried.
//!
//! As a test this runs a few programs of a fixed seed. `scripts/chaos` runs any number.

mod actor;
#[path = "../common/mod.rs"]
mod common;
mod forks;
mod generator;
mod kills;
mod ledger;
mod model;
mod oracle;
mod plan;
mod program;
mod reader;
mod trial;

use std::collections::BTreeMap;
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use actor::Stage;
use common::Place;
use kills::{Blow, Server, Victim};
use ledger::Ledger;
use oracle::Verdict;
use plan::{BATCH, Setup, Trial};
use trial::{Seen, Stand};

/// The name of this test, by which the test runner can select it.
const TEST: &str = "readers_get_what_random_programs_left_or_an_error";

/// What the test runs: it takes moments, and is the same each time.
const GATE: Plan = Plan {
    seed: 14,
    first: 0,
    trials: Some(48),
    seconds: None,
    jobs: 4,
    times: 1,
    victim: None,
};

/// Rounds of kills for each victim.
const ROUNDS: u64 = 200;

const USAGE: &str = "\
usage: scripts/chaos [--seed N] [--seconds S] [--programs N] [--jobs J]
       scripts/chaos --seed N --program N [--times N]    runs one program, again
       scripts/kills [--rounds N] [--victim NAME] [--seed N] [--jobs J]";

/// What to run.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seed: u64,
    first: u64,
    /// The number of trials, or the time.
    trials: Option<u64>,
    seconds: Option<u64>,
    jobs: usize,
    /// How often each trial is run.
    times: u64,
    /// The victim of rounds of kills; none in trials.
    victim: Option<Victim>,
}

impl Plan {
    /// The numbers of the programs that share one mount.
    fn batch(&self, turn: u64) -> Range<u64> {
        let Some(victim) = self.victim else {
            let batch = self.first / BATCH + turn;
            let last = self.trials.map_or(u64::MAX, |trials| self.first + trials);
            return self.first.max(batch * BATCH)..last.min(batch * BATCH + BATCH);
        };
        let fits = |batch: &u64| victim.fits(Setup::of_batch(self.seed, *batch));
        let batch = (self.first / BATCH..).filter(fits).nth(turn as usize);
        let first = batch.expect("one of many") * BATCH;
        let left = self.trials.unwrap_or(0).saturating_sub(turn * BATCH);
        first..first + left.min(BATCH)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["actor", seed, number, stage, ledger, at] => act(seed, number, stage, ledger, at),
        ["prepare", seed, number, directory] => {
            let trial = made(seed, number);
            actor::prepare(&trial.program, Path::new(directory));
            ExitCode::SUCCESS
        }
        ["survey", _, _, directory] => {
            actor::survey(Path::new(directory));
            ExitCode::SUCCESS
        }
        ["reader", seed, number, reader, mount, name] => {
            let reader: usize = reader.parse().expect("a reader");
            let plan = made(seed, number).readers[reader];
            status(reader::run(plan, Path::new(mount), name))
        }
        ["host", directory] => {
            kills::host(Path::new(directory));
            ExitCode::SUCCESS
        }
        ["slow"] => slow(),
        [mode @ ("run" | "kills"), ref options @ ..] => match plan(options) {
            Some(plan) if mode == "run" => run(plan),
            Some(plan) => kill_rounds(plan),
            None => {
                eprintln!("{USAGE}");
                ExitCode::from(2)
            }
        },
        _ => test(&words),
    }
}

/// The command line of a test binary: `--list`, and the words that select tests.
fn test(words: &[&str]) -> ExitCode {
    if words.contains(&"--list") {
        println!("{TEST}: test");
        return ExitCode::SUCCESS;
    }
    let mut filters = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--skip" if words.next().is_some_and(|word| TEST.contains(word)) => {
                return ExitCode::SUCCESS;
            }
            "--test-threads" | "--color" | "--format" | "--logfile" | "-Z" | "--skip" => {
                words.next();
            }
            "--ignored" => return ExitCode::SUCCESS,
            option if option.starts_with('-') => {}
            filter => filters.push(filter),
        }
    }
    if !filters.is_empty() && !filters.iter().any(|filter| TEST.contains(filter)) {
        return ExitCode::SUCCESS;
    }
    run(GATE)
}

fn plan(options: &[&str]) -> Option<Plan> {
    let mut plan = Plan {
        // Short enough to be typed.
        seed: RandomState::new().hash_one(0) % 1_000_000,
        trials: None,
        seconds: None,
        jobs: 8,
        ..GATE
    };
    for pair in options.chunks(2) {
        let [option, value] = pair else {
            return None;
        };
        if *option == "--victim" {
            plan.victim = Some(Victim::named(value)?);
            continue;
        }
        let value: u64 = value.parse().ok()?;
        match *option {
            "--seed" => plan.seed = value,
            "--seconds" => plan.seconds = Some(value),
            "--programs" | "--rounds" => plan.trials = Some(value),
            "--jobs" => plan.jobs = (value as usize).max(1),
            "--times" => plan.times = value.max(1),
            "--program" => {
                plan.first = value;
                plan.trials = Some(1);
            }
            _ => return None,
        }
    }
    if plan.trials.is_none() && plan.victim.is_none() {
        plan.seconds.get_or_insert(60);
    }
    Some(plan)
}

/// Runs so many rounds for each victim, one victim after the other.
fn kill_rounds(mut plan: Plan) -> ExitCode {
    plan.trials.get_or_insert(ROUNDS);
    plan.seconds = None;
    let victims = match plan.victim {
        Some(victim) => vec![victim],
        None => Victim::ALL.to_vec(),
    };
    let mut ended = ExitCode::SUCCESS;
    for victim in victims {
        println!("kills: {victim:?}");
        plan.victim = Some(victim);
        let end = run(plan);
        if end != ExitCode::SUCCESS {
            ended = end;
        }
    }
    ended
}

fn made(seed: &str, number: &str) -> Trial {
    let (seed, number) = (
        seed.parse().expect("a seed"),
        number.parse().expect("a number"),
    );
    generator::trial(seed, number, Setup::of_batch(seed, number / BATCH))
}

fn status(status: i32) -> ExitCode {
    ExitCode::from(status as u8)
}

fn act(seed: &str, number: &str, stage: &str, ledger: &str, at: &str) -> ExitCode {
    let trial = made(seed, number);
    let at = Path::new(at);
    let (stage, directory) = match stage {
        "Plain" => (Stage::Plain, at),
        "Mount" => (Stage::Mount, at),
        // fifofs gives the output's path.
        _ => (Stage::Run, at.parent().expect("a directory")),
    };
    let ledger = Ledger::open(Path::new(ledger));
    let ended = actor::run(&trial.program, directory, ledger, stage);
    status(if stage == Stage::Run { ended } else { 0 })
}

/// Copies standard input to standard output, as slowly as a network.
fn slow() -> ExitCode {
    let (mut from, mut to) = (io::stdin(), io::stdout());
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        to.write_all(&buffer[..length]).expect("standard output");
        thread::sleep(Duration::from_millis(2));
    }
    ExitCode::SUCCESS
}

/// The counts of all jobs.
#[derive(Default)]
struct Totals {
    programs: AtomicU64,
    verdicts: Mutex<BTreeMap<&'static str, u64>>,
    faults: AtomicU64,
}

impl Totals {
    fn count(&self, seen: &Seen) {
        let mut verdicts = self.verdicts.lock().expect("not poisoned");
        for (_, verdict) in &seen.verdicts {
            let word = match verdict {
                Verdict::Whole => "whole",
                Verdict::Told => "told",
                Verdict::Late => "late, not judged",
                Verdict::InVain => "in vain",
                Verdict::Fault(_) => "faulty",
            };
            *verdicts.entry(word).or_default() += 1;
        }
        self.programs.fetch_add(1, Ordering::Relaxed);
        if !seen.is_well() {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn run(plan: Plan) -> ExitCode {
    println!("chaos: seed {}, {} jobs", plan.seed, plan.jobs);
    let started = Instant::now();
    let totals = Totals::default();
    let next = AtomicU64::new(0);
    // An interrupt lets each job finish its program, so that nothing is left.
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stopped)).expect("a handler");
    }
    let broken = AtomicBool::new(false);
    let job = || {
        loop {
            // A batch of one mount, or the rest of it; each program as often as wanted, at the same time.
            let turn = next.fetch_add(1, Ordering::Relaxed) / plan.times;
            let numbers = plan.batch(turn);
            let time_is_up = || {
                let limit = plan.seconds.map(Duration::from_secs);
                let is_up = limit.is_some_and(|limit| started.elapsed() >= limit);
                is_up || stopped.load(Ordering::Relaxed)
            };
            if numbers.is_empty() || time_is_up() {
                return;
            }
            let batch = || run_batch(plan, numbers.clone(), &time_is_up, &totals);
            if panic::catch_unwind(AssertUnwindSafe(batch)).is_err() {
                eprintln!("programs {numbers:?} of seed {}: see above", plan.seed);
                broken.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..plan.jobs {
            scope.spawn(job);
        }
    });
    let verdicts = totals.verdicts.lock().expect("not poisoned");
    let readers: Vec<_> = verdicts
        .iter()
        .map(|(word, n)| format!("{n} {word}"))
        .collect();
    let faults = totals.faults.load(Ordering::Relaxed);
    println!(
        "chaos: seed {}, {} programs in {} s; readers: {}; {faults} programs with faults",
        plan.seed,
        totals.programs.load(Ordering::Relaxed),
        started.elapsed().as_secs(),
        readers.join(", "),
    );
    match faults == 0 && !broken.load(Ordering::Relaxed) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn run_batch(plan: Plan, numbers: Range<u64>, time_is_up: &dyn Fn() -> bool, totals: &Totals) {
    let setup = Setup::of_batch(plan.seed, numbers.start / BATCH);
    let place = Place::new();
    let mut server = Server::start(&place, setup, plan.victim);
    let descriptors = server.descriptors();
    for number in numbers {
        if time_is_up() {
            break;
        }
        let trial = generator::trial(plan.seed, number, setup);
        let stand = Stand {
            place: &place,
            seed: plan.seed,
            number,
            setup,
            trial: &trial,
            blow: plan
                .victim
                .map(|victim| Blow::random(victim, plan.seed, number)),
        };
        let seen = match server.pid() {
            Some(pid) => stand.in_mount(pid),
            None => stand.in_run(),
        };
        totals.count(&seen);
        if !seen.is_well() {
            let done = totals.programs.load(Ordering::Relaxed);
            eprintln!("\nafter {done} programs:");
            explain(plan.seed, number, setup, &trial, &seen);
        }
        if let Some(victim) = plan.victim {
            server = server.after(&place, setup, victim, descriptors);
        }
    }
    server.end(&place);
}

fn explain(seed: u64, number: u64, setup: Setup, trial: &Trial, seen: &Seen) {
    let mut text = format!("=== FAULT: seed {seed}, program {number}, {setup:?}\n");
    text += &trial.program.to_string();
    match setup {
        Setup::Mount { .. } => {
            for (number, reader) in trial.readers.iter().enumerate() {
                text += &format!("reader {number}: {reader:?}\n");
            }
        }
        Setup::Run { .. } => text += &format!("into {:?}\n", trial.destination),
    }
    text += "--- seen\n";
    for (reader, verdict) in &seen.verdicts {
        text += &format!("{reader}: {verdict:?}\n");
    }
    for fault in &seen.faults {
        text += &format!("{fault}\n");
    }
    text += &format!("--- when, in microseconds\n{}{}", seen.times, seen.world);
    text += &format!("=== again: scripts/chaos --seed {seed} --program {number} --times 10\n");
    eprintln!("{text}");
}
