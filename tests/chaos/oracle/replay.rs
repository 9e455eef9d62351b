//! Which file was at which name, and when: replays the steps of a program in the model, at the times at which its
//! processes did them.

use std::sync::Arc;

use super::Case;
use crate::forks::Forks;
use crate::ledger::{NOT_DONE, Record};
use crate::model::{Standing, World};
use crate::program::{NAMES, Name, Op, Step};

/// `--linger auto` while the program's process group lives.
const LINGER: u64 = 1_000_000_000;

/// The file at a name from one step to the next.
pub(super) struct Epoch {
    /// When the step began that put it there, and when the one ended that changed it.
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) standing: Option<Standing>,
    /// When the file may have been done at the earliest, if no process had it open.
    pub(super) done_from: Option<u64>,
    /// When a process was killed that had it open for writing.
    pub(super) killed_at: Option<u64>,
}

impl Epoch {
    /// Whether it may have been done while a reader waited that opened it after `opened` and ended at `ended`.
    pub(super) fn may_be_done(&self, opened: u64, ended: u64) -> bool {
        let done = |from: u64| from <= self.until && from <= ended;
        self.until >= opened && self.done_from.is_some_and(done)
    }

    pub(super) fn content(&self) -> Option<&Arc<Vec<u8>>> {
        self.standing.as_ref()?.content.as_ref()
    }

    /// Whether it is the same file with the same bytes.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let what = |epoch: &Self| {
            let standing = epoch.standing.as_ref()?;
            Some((standing.inode, standing.version))
        };
        what(self) == what(other)
    }

    pub(super) fn overlaps(&self, from: u64, until: u64) -> bool {
        self.from <= until && self.until >= from
    }
}

impl Case<'_> {
    pub(super) fn replay(&mut self, record: &Record) {
        let mut world = World::new(self.program);
        let inodes = self.program.steps.len() + 1;
        // No process has earlier files open.
        let mut closed = vec![Some(0); inodes];
        let mut killed = vec![None; inodes];
        self.add(0, &world, &closed, &killed);
        let mut forks = Forks::default();
        let mut last = 0;
        let mut in_the_middle = None;
        for (number, step) in self.program.steps.iter().enumerate() {
            let Some(done) = record.steps[number] else {
                break;
            };
            let end = done.end.map_or(u64::MAX, |(end, _)| end);
            let not_done = matches!(done.end, Some((_, NOT_DONE)));
            last = done.end.map_or(done.begin, |(end, _)| end);
            if not_done && record.killed.is_some() {
                continue;
            }
            if let Op::Write { .. } | Op::Patch { .. } | Op::Store { .. } = step.op {
                self.first_write = self.first_write.min(done.begin);
            }
            // With stream a step may be refused, which changes nothing; its effect then differs from the plan.
            let step = match done.end {
                Some((_, NOT_DONE)) if world.is_alive(step.process) => &Step {
                    process: step.process,
                    op: Op::Kill {
                        signal: libc::SIGBUS,
                    },
                },
                Some((_, NOT_DONE)) => continue,
                // The result of a step without an effect may be any number, a digest.
                Some((_, outcome)) if outcome < 0 && step.op.may_be_refused() => continue,
                _ if !step.op.is_change() => continue,
                _ => step,
            };
            let before = world.clone();
            forks.note(&before, *step);
            world.apply(*step);
            for inode in 0..inodes {
                let (was, is) = (before.is_open(inode), world.is_open(inode));
                if was && !is {
                    closed[inode] = Some(done.begin);
                }
                if is {
                    let was_done = closed[inode].is_some_and(|at| at + LINGER <= end);
                    if !was && was_done {
                        // A new writing, of which no process was killed yet.
                        killed[inode] = None;
                    }
                    closed[inode] = None;
                }
                if let Op::Kill { signal } = step.op
                    && before.holds_for_writing(step.process, inode)
                    && !(signal == libc::SIGTERM && forks.is_idle(&before, step.process, inode))
                {
                    killed[inode].get_or_insert(done.begin);
                }
            }
            if done.end.is_none() {
                in_the_middle = Some((done.begin, before, step.op));
            }
            self.close_last(end);
            self.add(done.begin, &world, &closed, &killed);
        }
        if let Some(at) = record.killed {
            // Whether it had the file open then is not known.
            let uncertain = matches!(
                in_the_middle,
                Some((
                    _,
                    _,
                    Op::Open { .. }
                        | Op::Close { .. }
                        | Op::Dup { .. }
                        | Op::Exit
                        | Op::Kill { .. }
                ))
            );
            for (inode, killed) in killed.iter_mut().enumerate() {
                if !uncertain && world.is_open_for_writing(inode) {
                    killed.get_or_insert(at);
                }
            }
            last = last.max(at);
        }
        let open = (0..inodes).filter(|inode| world.is_open(*inode));
        for inode in open.collect::<Vec<_>>() {
            closed[inode] = Some(last);
        }
        world.end();
        self.close_last(u64::MAX);
        self.add(last, &world, &closed, &killed);
        for epochs in &mut self.epochs {
            let end = epochs.last_mut().expect("just added");
            // All processes have ended: no linger.
            end.done_from = end.standing.as_ref().map(|_| last);
        }
        if let Some((begin, before, _)) = in_the_middle {
            self.leave_before(begin, before, &killed);
        }
        self.killed = record.killed;
        self.failed = killed.iter().map(Option::is_some).collect();
        self.last = world;
    }

    fn add(&mut self, from: u64, world: &World, closed: &[Option<u64>], killed: &[Option<u64>]) {
        for name in 0..NAMES as Name {
            let standing = world.standing(name);
            let inode = standing.as_ref().map(|standing| standing.inode);
            let quiet = inode.and_then(|inode| closed[inode]);
            self.epochs[usize::from(name)].push(Epoch {
                from,
                until: u64::MAX,
                done_from: quiet.map(|at| from.max(if at == 0 { 0 } else { at + LINGER })),
                killed_at: inode.and_then(|inode| killed[inode]),
                standing,
            });
        }
    }

    fn close_last(&mut self, until: u64) {
        for epochs in &mut self.epochs {
            let last = epochs
                .last_mut()
                .expect("the first one is made with the case");
            last.until = last.until.min(until);
        }
    }

    /// If all was killed in the middle of a step, the file before that step may be the one that is left, too.
    fn leave_before(&mut self, from: u64, mut before: World, killed: &[Option<u64>]) {
        before.end();
        for (name, epochs) in self.epochs.iter_mut().enumerate() {
            let standing = before.standing(name as Name);
            epochs.push(Epoch {
                from,
                until: u64::MAX,
                done_from: standing.as_ref().map(|_| from),
                killed_at: standing
                    .as_ref()
                    .and_then(|standing| killed[standing.inode]),
                standing,
            });
        }
    }
}
