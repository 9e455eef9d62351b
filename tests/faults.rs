//! Faults under load: whichever process is killed at whichever moment, nothing hangs, and no reader takes a part for
//! the whole; and the resources for a thousand files or hundreds of writers are freed.

#![cfg(feature = "cli")]

mod common;

use std::env;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::{
    Dice, FIFOFS, Finished, Mount, Process, SOON, assert_same, connection_of, parked_in_group,
};
use rustix::process::Signal;

/// Each takes about a second.
const ROUNDS: usize = 12;

/// How a writer writes: from the first byte to the last; closing and opening again to append; as a shell whose children
/// write to its standard output; renaming the whole file over a first part of it, or over another file; or changing the
/// first word at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    Plain,
    Append,
    Shell,
    Grow,
    Replace,
    Patch,
}

/// Writes the plain file `$NAME.first` up to its end or, depending on the habit, `$NAME.whole`, a piece before the flag
/// `go` and the rest after it. Opens everything before the flag: later the mount may have ended.
const WRITER: &str = r#"
first, whole = (open(f"{NAME}.{version}", "rb").read() for version in ("first", "whole"))
path = f"{D}/{NAME}"
fd = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if HABIT == "Append" else 0), 0o644)
renames = HABIT in ("Grow", "Replace")
new = os.open(path + ".new", os.O_WRONLY | os.O_CREAT, 0o644) if renames else -1
step = max(1, len(first) // 16)
write_all(fd, first[:step])
wait_flag("go")
for at in range(step, len(first), step):
    if HABIT == "Append":
        os.close(fd)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    write_all(fd, first[at:at + step])
    time.sleep(0.015)
if renames:
    write_all(new, whole)
    os.rename(path + ".new", path)
elif HABIT == "Patch":
    os.pwrite(fd, whole[:8], 0)
os.close(fd)
"#;

/// The same for [`Habit::Shell`].
const SHELL_WRITER: &str = r#"
exec > $D/$NAME
step=$(( $(stat -c %s $NAME.whole) / 16 + 1 ))
dd if=$NAME.whole bs=$step count=1 status=none
await go
for at in $(seq 15); do dd if=$NAME.whole bs=$step skip=$at count=1 status=none; sleep 0.01; done
"#;

/// A file of a round: what its writer writes, and what it may contain meanwhile.
struct Written {
    name: String,
    habit: Habit,
    whole: Vec<u8>,
    first: Vec<u8>,
}

/// Words of eight bytes: each contains its offset, and in the two highest bytes the file's mark.
fn words(mark: usize, count: usize) -> Vec<u8> {
    let word = |number| (mark << 48) + number * 8;
    (0..count)
        .flat_map(|number| word(number).to_le_bytes())
        .collect()
}

impl Written {
    fn random(dice: &mut Dice, index: usize, way: &str) -> Self {
        use Habit::{Append, Grow, Patch, Plain, Replace, Shell};
        // Another test covers what a stream refuses.
        let among = [Plain, Append, Shell, Grow, Replace, Patch];
        let habit = dice.pick(&among[..if way == "stream" { 3 } else { 6 }]);
        let count = 1 + dice.below(if index == 2 { 600 } else { 100_000 });
        let whole = words(index + 1, count);
        let first = match habit {
            Plain | Append | Shell => whole.clone(),
            Grow => whole[..whole.len() / 2].to_vec(),
            Replace => words(index + 100, count),
            Patch => [&[0xff; 8], &whole[8..]].concat(),
        };
        Self {
            name: format!("f{index}.{}", dice.pick(&["txt", "zip", "bin", "gz"])),
            habit,
            whole,
            first,
        }
    }

    fn start(&self, mount: &Mount) -> Process {
        for (version, bytes) in [("whole", &self.whole), ("first", &self.first)] {
            let path = format!("plain/{}.{version}", self.name);
            fs::write(mount.place().at(&path), bytes).expect("written");
        }
        if self.habit == Habit::Shell {
            return mount.shell(&format!("NAME={}; {SHELL_WRITER}", self.name));
        }
        let settings = format!("NAME, HABIT = {:?}, '{:?}'", self.name, self.habit);
        mount.python(&format!("{settings}\n{WRITER}"))
    }
}

/// `cat` or `fifofs cat` of a file, which may not exist yet if it is `early`.
fn start_reader(dice: &mut Dice, mount: &Mount, name: &str, early: bool) -> Process {
    let own = dice.below(2) == 0;
    let mut command = Command::new(if own { FIFOFS } else { "cat" });
    match (own, early) {
        (true, _) => command.arg("cat").arg(mount.file(name)),
        (false, true) => command.arg(mount.file(".fifofs/pipe").join(name)),
        (false, false) => command.arg(mount.file(name)),
    };
    mount.place().spawn(command)
}

/// Waits until a reader waits in the mount, or has been refused.
fn wait_parked_or_ended(mount: &Mount, reader: &mut Process) {
    let mut samples = 0;
    mount.wait_for("a reader to wait", || {
        let parked = parked_in_group(reader.pid()) > 0;
        samples = if parked { samples + 1 } else { 0 };
        samples >= 5 || !reader.is_running()
    });
}

/// The victim of a round: a reader or a writer by its number, or a process of the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Reader(usize),
    Writer(usize),
    Daemon,
    Flusher,
}

fn round(number: usize, dice: &mut Dice) {
    use Victim::{Daemon, Flusher, Reader, Writer};
    let way = dice.pick(&["auto", "stream", "follow", "settled"]);
    let readers = 1 + dice.below(4);
    // Without a reader each write to a stream waits for 300 ms.
    let writers = 1 + dice.below(if way == "stream" { readers } else { 4 });
    let (reader, writer) = (Reader(dice.below(readers)), Writer(dice.below(writers)));
    let victim = dice.pick(&[reader, writer, Daemon, Flusher]);
    let random = |index| Written::random(dice, index, way);
    let files: Vec<_> = (0..writers).map(random).collect();
    let habits: Vec<_> = files.iter().map(|file| (&file.name, file.habit)).collect();
    println!("round {number}: {way}, {readers} readers of {habits:?}, kills {victim:?}");

    let options = ["--deliver", way, "--window", "64K"];
    let mut mount = Mount::start(&options);
    let place = mount.place().clone();
    let mut join = |early: bool, index: usize| {
        let file = index % writers;
        let mut process = start_reader(dice, &mount, &files[file].name, early);
        wait_parked_or_ended(&mount, &mut process);
        (file, early, process)
    };
    // Each stream has a reader that comes before its writer.
    let least = if way == "stream" { writers } else { 0 };
    let early = least + number % (readers - least + 1);
    let mut reading: Vec<_> = (0..early).map(|index| join(true, index)).collect();
    let writing: Vec<_> = files.iter().map(|file| file.start(&mount)).collect();
    files.iter().for_each(|file| mount.wait_exists(&file.name));
    reading.extend((early..readers).map(|index| join(false, index)));
    mount.raise("go");
    // Not a wait for a condition: the moment of the fault.
    thread::sleep(Duration::from_millis(dice.below(350) as u64));
    match victim {
        Reader(chosen) => reading[chosen].2.signal(Signal::KILL),
        Writer(chosen) => writing[chosen].signal(Signal::KILL),
        Daemon => mount.kill_daemon(),
        // A round in which no reader waited for dirty pages has no flusher.
        Flusher => drop(mount.kill_flusher()),
    }

    if victim == Daemon {
        let gone = || connection_of(&place.mount_point()).is_none();
        place.wait_for("the mount to be gone", SOON, gone);
    }
    let finish = |process: Process| process.finish(SOON);
    let ended = |(file, early, reader)| (file, early, finish(reader));
    let read: Vec<_> = reading.into_iter().map(ended).collect();
    let written: Vec<_> = writing.into_iter().map(finish).collect();
    judge(way, victim, &files, &read, &written);

    // Dropping the killed daemon's mount unmounts it: not before the end.
    let mount = match victim {
        Daemon => Mount::start_in(&place, &options),
        _ => mount,
    };
    let again = mount.shell("/bin/echo again > $D/again; cat $D/again");
    again.finish(SOON).succeeded().printed("again\n");
    mount.unmount();
}

/// Checks the ends of readers and writers. For each reader: the number of its file, whether it came before the writer,
/// and how it ended.
fn judge(
    way: &str,
    victim: Victim,
    files: &[Written],
    read: &[(usize, bool, Finished)],
    written: &[Finished],
) {
    for (number, (index, early, end)) in read.iter().enumerate() {
        let (writer, file) = (&written[*index], &files[*index]);
        let (status, said, length) = (end.status, &end.stderr, end.stdout.len());
        let (name, whole, ended) = (&file.name, file.whole.len(), writer.status);
        let what = format!(
            "reader {number} of {name}, early: {early}: {status}, {said:?} after {length} of {whole} bytes; its writer: {ended}"
        );
        println!("  {what}");
        let is_prefix = file.whole.starts_with(&end.stdout) || file.first.starts_with(&end.stdout);
        assert!(is_prefix, "other bytes than were written: {what}");
        if end.status.success() {
            assert!(end.stdout == file.whole, "not the whole: {what}");
            assert!(
                writer.status.signal().is_none(),
                "its writer was killed: {what}"
            );
        }
        let cause = [Victim::Reader(number), Victim::Writer(*index)].contains(&victim);
        let disturbed = cause || victim == Victim::Daemon;
        // A stream keeps nothing for late readers; delivered bytes may have been rewritten.
        let reaches = match way {
            "stream" => *early,
            "settled" => true,
            _ => !matches!(file.habit, Habit::Replace | Habit::Patch),
        };
        if !disturbed && reaches {
            assert!(end.status.success(), "nobody disturbed it: {what}");
        }
    }
    for (index, writer) in written.iter().enumerate() {
        // The last reader of a stream ends its writer.
        let disturbed = [Victim::Writer(index), Victim::Daemon].contains(&victim)
            || matches!(victim, Victim::Reader(chosen) if way == "stream" && read[chosen].0 == index);
        let what = format!(
            "{}: {}, {}",
            files[index].name, writer.status, writer.stderr
        );
        assert!(
            disturbed || writer.status.success(),
            "nobody disturbed the writer of {what}"
        );
    }
}

#[test]
fn whichever_process_is_killed_nothing_hangs_and_no_part_is_taken_for_the_whole() {
    let given = env::var("FIFOFS_TEST_SEED").map(|text| text.parse().expect("FIFOFS_TEST_SEED"));
    let seed = given.unwrap_or_else(|_| RandomState::new().hash_one(ROUNDS));
    println!("FIFOFS_TEST_SEED={seed} repeats this");
    let mut dice = Dice::new(seed);
    (0..ROUNDS).for_each(|number| round(number, &mut dice));
}

#[test]
fn a_thousand_files_of_20_writers_at_a_time_reach_their_readers_and_leave_nothing_in_the_daemon() {
    let mount = Mount::start(&[]);
    let batch = |numbers: std::ops::Range<usize>| {
        let (start, end) = (numbers.start, numbers.end - 1);
        let readers = mount.shell(&format!(
            "for i in $(seq {start} {end}); do $FIFOFS cat $D/f$i.txt > got$i & done
            for job in $(jobs -p); do wait $job || exit 1; done"
        ));
        let all_wait = || parked_in_group(readers.pid()) >= numbers.len();
        mount.wait_for("all readers to wait", all_wait);
        let writers = mount.shell(&format!(
            "for w in $(seq {start} $(({start} + 19))); do
                (for i in $(seq $w 20 {end}); do seq $i 3 3000 > $D/f$i.txt; done) &
            done; wait"
        ));
        writers.finish(SOON).succeeded();
        readers.finish(SOON).succeeded();
        for number in numbers {
            let lines = (number..=3000).step_by(3);
            let expected: String = lines.map(|line| format!("{line}\n")).collect();
            let got = fs::read(mount.place().at(&format!("plain/got{number}")));
            assert_same(&got.expect("what a reader got"), expected.as_bytes());
        }
        mount.shell("rm $D/*.txt").finish(SOON).succeeded();
    };
    batch(2000..2020);
    // A reader that comes a moment late starts the thread that finds out which process opens a file being written.
    let late = "exec 3> $D/late.txt; echo x >&3; cat $D/late.txt > late; exec 3>&-; rm $D/late.txt";
    mount.shell(late).finish(SOON).succeeded();
    let (descriptors, threads, memory) = (mount.descriptors(), mount.threads(), mount.memory_rss());
    for start in (0..1000).step_by(200) {
        batch(start..start + 200);
    }
    let before = format!("no more than {descriptors} descriptors and {threads} threads, as before");
    mount.wait_for(&before, || {
        mount.descriptors() <= descriptors && mount.threads() <= threads
    });
    let now = mount.memory_rss();
    assert!(now <= memory + (6 << 20), "{memory} bytes became {now}");
    mount.unmount();
}

#[test]
fn a_follower_gets_300_whole_lines_of_300_writers_that_append() {
    let mount = Mount::start(&["--deliver", "follow"]);
    let reader = mount.waiting_reader("all");
    // The shell keeps it open, so that a pause between two writers is no end.
    let script = "exec 3>> $D/all; for i in $(seq 300); do (printf '%04d of many\n' $i >> $D/all) & done; wait";
    mount.shell(script).finish(SOON).succeeded();
    let got = reader.finish(SOON).succeeded().text();
    let mut lines: Vec<_> = got.lines().collect();
    lines.sort_unstable();
    let numbers = 1..=300;
    let expected: Vec<_> = numbers
        .map(|number| format!("{number:04} of many"))
        .collect();
    assert_eq!(lines, expected);
    mount.unmount();
}

#[test]
fn after_the_flusher_was_killed_followers_get_everything_when_the_file_is_closed() {
    let mount = Mount::start(&["--deliver", "follow"]);
    let early = mount.waiting_reader("x");
    let writer = mount.shell("exec > $D/x; echo one; await killed; echo two; await end; seq 50000");
    early.wait_output(b"one\n");
    // The reader's bytes may have come without it, when a process closed the file that the shell has open.
    mount.wait_for("a flusher", || mount.flusher().is_some());
    mount.kill_flusher().expect("a flusher");
    mount.raise("killed");
    let late = mount.reader("x");
    mount.wait_parked(&late);
    mount.raise("end");
    writer.finish(SOON).succeeded();
    let numbers: String = (1..=50_000).map(|number| format!("{number}\n")).collect();
    for reader in [early, late] {
        let expected = format!("one\ntwo\n{numbers}");
        reader.finish(SOON).succeeded().printed(expected);
    }
    mount.unmount();
}
