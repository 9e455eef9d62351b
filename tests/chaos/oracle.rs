//! The allowed results of readers.
//!
//! **A reader that ends well has what the program left in the file; otherwise it got an error.** What the program left
//! follows from observations: its processes record when each step began and ended, and the model knows which file was
//! at each name after each step. No verdict depends on how fast anything was. All times are of one clock, so no
//! tolerance is needed: fifofs cannot learn of a step before it began, nor answer a reader after the reader recorded
//! that it had the answer.
//!
//! Exceptions, and why they are necessary:
//!
//! 1. *A file that was closed for the linger is done.* If no process has a file open for writing or mapped, and the
//!    last one closed it at least a second ago (not less: the program's process group lives until its end), its content
//!    at that moment is a right end for readers that were waiting then ([`Epoch::done_from`]). docs/delivery.md, "When
//!    a file is done".
//! 2. *A file that is done is an ordinary file.* A reader that opened it, or got its end, while 1 held, and reads on
//!    while the program changes it once more, reads what any filesystem would give: counted as *late*, not judged.
//! 3. *Another name.* An OPEN contains the file, not the name. If a reader opens a file by its own path, and the file
//!    gets another name or has one before open(2) returns, the reader may follow that one: docs/delivery.md, "Hard
//!    links" ([`Case::names`]).
//! 4. *A stream stays with its file*, as a pipe does, even if that has no name or another one ([`Case::of_stream`]).
//! 5. *A failed file that is opened by its own path later* is an ordinary file; through the doors it is not.
//! 6. *A dismissed worker*: a mere fork that only inherited a descriptor, and that is ended by TERM while its parent
//!    still has the file open, may count as one that closed it ([`crate::forks`]): docs/delivery.md, "When a writer
//!    fails".
//!
//! And each error must have a reason ([`Case::reason`]): ESTALE only if the program did more than append, EIO only if a
//! process of it was killed, ENOENT only if there was no file at the path for a moment meanwhile. With stream other
//! reasons are an operation that a pipe does not allow, and coming after bytes were dropped.

mod replay;

use std::sync::Arc;

use crate::common::Finished;
use crate::ledger::Record;
use crate::model::World;
use crate::plan::{Destination, Kind, Setup};
use crate::program::{NAMES, Name, Op, Program, Step, WATCHED};
use crate::reader::{Ended, Reading, Told};

use replay::Epoch;

/// A program that was run, with the files at each name over time.
pub(crate) struct Case<'a> {
    program: &'a Program,
    setup: Setup,
    epochs: [Vec<Epoch>; NAMES],
    /// The files left in the end, and whether a process was killed that had them open for writing.
    last: World,
    failed: Vec<bool>,
    /// When the first bytes may have been written.
    first_write: u64,
    /// When all processes were killed.
    killed: Option<u64>,
    /// Whether a step had another result than in a plain directory, which is allowed with stream.
    pub(crate) diverged: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It ended well, with what was left.
    Whole,
    /// It got an error, for a reason.
    Told,
    /// Not judged: see 2.
    Late,
    /// It waited for what did not come, and a signal ended it.
    InVain,
    Fault(String),
}

impl<'a> Case<'a> {
    pub(crate) fn new(program: &'a Program, setup: Setup, record: &Record, diverged: bool) -> Self {
        let mut case = Self {
            program,
            setup,
            epochs: Default::default(),
            last: World::new(program),
            failed: Vec::new(),
            first_write: u64::MAX,
            killed: None,
            diverged,
        };
        case.replay(record);
        case
    }

    /// See 4: the final contents of the files that were at the watched name within this time, and whether they failed.
    fn of_stream(&self, from: u64, until: u64) -> Vec<(Arc<Vec<u8>>, bool)> {
        let epochs = self.epochs[usize::from(WATCHED)].iter();
        epochs
            .filter(|epoch| self.is_stream() && epoch.overlaps(from, until))
            .filter_map(|epoch| Some(epoch.standing.as_ref()?.inode))
            .map(|inode| (self.last.content(inode), self.failed[inode]))
            .collect()
    }

    /// See 4: the epochs of those files at any name, before and after.
    fn of_stream_anywhere(&self, from: u64, until: u64) -> impl Iterator<Item = &Epoch> {
        let inode = |epoch: &Epoch| Some(epoch.standing.as_ref()?.inode);
        let watched = self.epochs[usize::from(WATCHED)].iter();
        let watched: Vec<usize> = watched
            .filter(|epoch| self.is_stream() && epoch.overlaps(from, until))
            .filter_map(inode)
            .collect();
        let epochs = self.epochs.iter().flatten();
        epochs.filter(move |epoch| inode(epoch).is_some_and(|inode| watched.contains(&inode)))
    }

    /// The final contents of the watched file, and whether its last writing failed.
    pub(crate) fn left(&self) -> Option<(Arc<Vec<u8>>, bool)> {
        let last = self.epochs[usize::from(WATCHED)].last()?;
        let content = last.standing.as_ref()?.content.as_ref()?;
        Some((Arc::clone(content), last.killed_at.is_some()))
    }

    /// Whether there may be no file at the watched name, also if all was killed in the middle of a step.
    pub(crate) fn may_be_gone(&self) -> bool {
        let last = |epoch: &&Epoch| epoch.until == u64::MAX;
        let mut last = self.epochs[usize::from(WATCHED)].iter().filter(last);
        last.any(|epoch| epoch.content().is_none())
    }

    pub(crate) fn last(&self) -> &World {
        &self.last
    }

    fn is_stream(&self) -> bool {
        self.setup.way() == "stream"
    }

    /// The names at which a reader's file may be: see 3.
    fn names(&self, kind: Kind, opened: (u64, u64)) -> Vec<Name> {
        let inodes = |name: Name| {
            self.epochs[usize::from(name)]
                .iter()
                .filter(|epoch| epoch.overlaps(opened.0, opened.1))
                .filter_map(|epoch| Some(epoch.standing.as_ref()?.inode))
                .collect::<Vec<_>>()
        };
        let watched = inodes(WATCHED);
        let is_another = |name: &Name| {
            let other = inodes(*name);
            kind.is_own_path() && watched.iter().any(|inode| other.contains(inode))
        };
        let mut names = vec![WATCHED];
        names.extend((WATCHED + 1..NAMES as Name).filter(is_another));
        names
    }

    pub(crate) fn judge(&self, kind: Kind, reading: &Reading) -> Verdict {
        let Some(opened) = reading.opened else {
            // It was stopped while it waited for the file, or was refused before its first try.
            return match reading.ended {
                Ended::Stopped => Verdict::InVain,
                _ => Verdict::Fault(format!("it opened nothing: {}", reading.said)),
            };
        };
        match reading.ended {
            Ended::Stopped => Verdict::InVain,
            Ended::Told(told) => match self.reason(kind, told, opened, reading.ended_at) {
                true => Verdict::Told,
                false => Verdict::Fault(format!("it was told {told:?} without a reason")),
            },
            Ended::Well => self.judge_end(kind, reading, opened),
        }
    }

    fn judge_end(&self, kind: Kind, reading: &Reading, opened: (u64, u64)) -> Verdict {
        let mut failed = false;
        let names = self.names(kind, opened);
        let epochs = names
            .iter()
            .flat_map(|name| &self.epochs[usize::from(*name)]);
        for epoch in epochs.chain(self.of_stream_anywhere(opened.0, reading.ended_at)) {
            let is_it = epoch
                .content()
                .is_some_and(|content| **content == reading.bytes);
            if !is_it || !epoch.may_be_done(opened.0, reading.ended_at) {
                continue;
            }
            match epoch.killed_at {
                Some(at) if !kind.is_own_path() || opened.1 <= at => failed = true,
                _ => return Verdict::Whole,
            }
        }
        for (content, has_failed) in self.of_stream(opened.0, reading.ended_at) {
            if *content != reading.bytes {
                continue;
            }
            if !has_failed {
                return Verdict::Whole;
            }
            failed = true;
        }
        // How much was written when all was killed is not known.
        let ordinary = kind.is_own_path() && self.killed.is_some_and(|at| at < opened.1);
        if ordinary || self.is_late(&names, opened.0, reading.ended_at) {
            return Verdict::Late;
        }
        if failed {
            return Verdict::Fault("a clean end, though a writer was killed".to_owned());
        }
        Verdict::Fault(format!(
            "a clean end of {} bytes; {}",
            reading.bytes.len(),
            self.nearest(&names, reading)
        ))
    }

    /// See 2.
    fn is_late(&self, names: &[Name], opened: u64, ended: u64) -> bool {
        names.iter().any(|name| {
            let epochs = &self.epochs[usize::from(*name)];
            epochs.iter().enumerate().any(|(number, epoch)| {
                let differs = |later: &Epoch| later.from <= ended && !later.is_same(epoch);
                epoch.standing.is_some()
                    && epoch.may_be_done(opened, ended)
                    && epochs[number + 1..].iter().any(differs)
            })
        })
    }

    fn nearest(&self, names: &[Name], reading: &Reading) -> String {
        let mut lines = String::from("it might have been");
        for name in names {
            for epoch in &self.epochs[usize::from(*name)] {
                let Some(content) = epoch.content() else {
                    continue;
                };
                let opened = reading.opened.map_or(0, |opened| opened.0);
                let may = epoch.may_be_done(opened, reading.ended_at);
                let same = **content == reading.bytes;
                if may || same {
                    let at = content.iter().zip(&reading.bytes).position(|(a, b)| a != b);
                    let when = if may { "" } else { ", but not then" };
                    lines += &format!(
                        "\n      {} bytes of {}{when}, the first other one at {at:?}",
                        content.len(),
                        self.program.names[usize::from(*name)],
                    );
                }
            }
        }
        lines
    }

    /// Whether a reader's error has a reason in what the program did.
    fn reason(&self, kind: Kind, told: Told, opened: (u64, u64), ended: u64) -> bool {
        let rewrites = self.program.rewrites();
        if self.is_stream() {
            let asks_for_what_is_gone = |step: &Step| {
                matches!(
                    step.op,
                    Op::ReadBack { .. } | Op::ReadName { .. } | Op::Map { .. }
                )
            };
            let cannot = rewrites || self.program.steps.iter().any(asks_for_what_is_gone);
            // A stream that another reader has read is not kept for a late reader, or one of the finished file. The
            // file's earlier content is dropped, too, so a reader of that may find it gone.
            let late = matches!(kind, Kind::Pipe | Kind::Wait | Kind::Exact | Kind::Mapped)
                || opened.1 > self.first_write
                || self.program.initial.is_some();
            if self.diverged || cannot || (late && told != Told::Gone) {
                return true;
            }
        }
        match told {
            Told::Rewritten => rewrites,
            Told::Failed => self.program.kills(),
            Told::Gone => {
                let absent =
                    |epoch: &Epoch| epoch.standing.is_none() && epoch.overlaps(opened.0, ended);
                let names = self.names(kind, opened);
                let mut epochs = names
                    .iter()
                    .flat_map(|name| &self.epochs[usize::from(*name)]);
                epochs.any(absent)
            }
            // A mapping of a file that was shortened since.
            Told::Other(libc::EFAULT) => rewrites,
            Told::Other(_) => false,
        }
    }
}

/// The allowed results of `fifofs run`: 0 only with everything that was left, in the right form at the destination; and
/// another status only with a reason.
pub(crate) fn judge_run(
    case: &Case<'_>,
    destination: Destination,
    before: &[u8],
    finished: &Finished,
    got: &[u8],
) -> Verdict {
    let program = case.program;
    let Some(status) = finished.status.code() else {
        return Verdict::Fault(format!("fifofs run ended by {}", finished.status));
    };
    let untouched = destination == Destination::Output && got == before;
    if destination == Destination::Output && status != 0 && !untouched {
        return Verdict::Fault(format!("status {status}, and the file was replaced"));
    }
    let left = case.left();
    // The program ends as its first process does: a signal that killed that is its end.
    let first_killed = program.steps.iter().find_map(|step| match step.op {
        Op::Kill { signal } if step.process == 0 => Some(128 + signal),
        _ => None,
    });
    let own = match case.killed {
        Some(_) => None,
        None => first_killed,
    };
    if status != 0 {
        let kills = program.kills();
        let into_pipe = matches!(
            destination,
            Destination::Pipe | Destination::SlowPipe | Destination::Appended
        );
        let reason = match status {
            // The program got an error, in one way or another, for what a stream does not allow.
            _ if case.is_stream() && case.diverged => true,
            74 => case.is_stream() || kills || left.is_none() || (into_pipe && program.rewrites()),
            128.. => kills,
            _ => false,
        };
        return match reason {
            true => Verdict::Told,
            false => Verdict::Fault(format!("status {status} without a reason")),
        };
    }
    if let Some(own) = own {
        return Verdict::Fault(format!("status 0, and the program's is {own}"));
    }
    let removed = || case.of_stream(0, u64::MAX).pop();
    let Some((content, failed)) = left.or_else(removed) else {
        return Verdict::Fault("status 0, and there is no output".to_owned());
    };
    if failed {
        return Verdict::Fault("status 0, though a writer was killed".to_owned());
    }
    let expected = match destination {
        Destination::Appended => [before, &content].concat(),
        _ => content.to_vec(),
    };
    if got != expected {
        let at = got.iter().zip(&expected).position(|(a, b)| a != b);
        return Verdict::Fault(format!(
            "status 0 with {} bytes, and not {}; the first other one at {at:?}",
            got.len(),
            expected.len()
        ));
    }
    Verdict::Whole
}
