//! Invariants that hold after every operation: [`World::check`].
//!
//! Most of them are about effects that are no replies, so that no answer shows when one is missing: the flusher
//! works on a file exactly while a reader waits for bytes that the kernel may hold; the kernel drops the
//! attributes of a file that is done if it had readers, the pages of a file that is gone, and each name that
//! fifofs removed. And nothing is left undone: another settle pass with all objects marked, at the same moment,
//! has no effects.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;

use super::super::effects::{Effect, Flush, Forget};
use super::super::file::Flushing;
use super::super::generation::Way;
use super::super::ids::{ReaderId, Unique};
use super::super::namespace::{DOTS, ROOT};
use super::super::operation::Operation;
use super::super::{Core, Env};
use super::World;

/// The state that the operations so far imply.
#[derive(Default)]
pub(super) struct Oracle {
    /// The files that the flusher was ordered to write back.
    flushed: HashSet<u64>,
    /// The requests that were made and not answered yet.
    open_requests: HashSet<Unique>,
}

/// The state before an operation.
pub(super) struct Before {
    names: BTreeSet<OsString>,
    files: HashSet<u64>,
    /// Files that are not done and have had a reader.
    read: Vec<u64>,
}

impl Before {
    pub(super) fn look(core: &Core) -> Before {
        let is_read = |ino: &u64| {
            let generation = core.generation(*ino);
            generation.is_some_and(|g| g.is_active() && g.had_reader())
        };
        Before {
            names: names(core),
            files: core.files.keys().copied().collect(),
            read: core.files.keys().copied().filter(is_read).collect(),
        }
    }
}

fn names(core: &Core) -> BTreeSet<OsString> {
    let listed = core.names.list(ROOT, DOTS, u64::MAX).unwrap();
    listed.map(|(_, _, name)| name.to_owned()).collect()
}

impl World {
    /// Notes that a request is made.
    pub(super) fn note_request(&mut self, unique: Unique) {
        self.oracle.open_requests.insert(unique);
    }

    /// Notes that a request is answered.
    pub(super) fn note_answer(&mut self, unique: Unique) {
        self.oracle.open_requests.remove(&unique);
    }

    /// Checks the invariants after an operation; `effects` are those that are no replies, and `removes` is
    /// whether the kernel itself asked to remove names.
    pub(super) fn check(&mut self, before: &Before, effects: &[Effect], removes: bool) {
        self.check_flusher();
        self.check_memory_of_the_kernel(before, effects, removes);
        self.check_requests();
        // An alarm that is not in the future would be due again at once, for ever.
        let alarm = self.core.next_alarm();
        assert!(
            alarm.is_none_or(|at| at > self.now),
            "{alarm:?}, now {:?}",
            self.now
        );
        self.check_that_nothing_is_left_undone();
    }

    fn check_flusher(&mut self) {
        for Flush { ino, on } in &self.flushes {
            match on {
                true => assert!(self.oracle.flushed.insert(*ino), "{ino} is flushed already"),
                false => assert!(self.oracle.flushed.remove(ino), "{ino} is not flushed"),
            }
        }
        for (ino, file) in &self.core.files {
            let waits = |id: &ReaderId| {
                let reader = self.core.readers.get(*id).unwrap();
                let come_early = file.way() != Some(Way::Settled) || reader.reads_by_position();
                come_early && !reader.is_finished() && !reader.waits_for_whole()
            };
            let wanted = file.writeback().may_hold_more()
                && file.is_active()
                && file.readers().iter().any(waits);
            let is_flushed = self.oracle.flushed.contains(ino);
            let is_right = match file.writeback().flushing() {
                Flushing::No => !wanted && !is_flushed,
                Flushing::Now => wanted && is_flushed,
                // The next alarm starts the flusher.
                Flushing::From(at) => {
                    let alarm = self.core.next_alarm();
                    wanted && !is_flushed && alarm.is_some_and(|next| next <= at)
                }
            };
            assert!(
                is_right,
                "wanted: {wanted}, {:?}, flushed: {is_flushed}, next alarm {:?}: {file:?}",
                file.writeback().flushing(),
                self.core.next_alarm()
            );
        }
        let gone = |ino: &&u64| !self.core.files.contains_key(ino);
        let left = self.oracle.flushed.iter().find(gone);
        assert_eq!(left, None, "a file that is gone is flushed");
    }

    fn check_memory_of_the_kernel(&mut self, before: &Before, effects: &[Effect], removes: bool) {
        let mut attributes: HashMap<u64, usize> = HashMap::new();
        let (mut pages, mut forgotten) = (HashSet::new(), BTreeSet::new());
        for effect in effects {
            match effect {
                Effect::ForgetAttributes { ino, .. } => *attributes.entry(*ino).or_default() += 1,
                Effect::Forget(Forget::Pages { ino, .. }) => {
                    assert!(pages.insert(*ino), "{ino}: forgotten twice")
                }
                Effect::Forget(Forget::Name { parent, name }) => {
                    let is_gone = self.core.names.find(*parent, name).is_err();
                    assert!(is_gone, "{name:?} is still there");
                    if *parent == ROOT {
                        assert!(forgotten.insert(name.clone()), "{name:?}: forgotten twice");
                    }
                }
                _ => {}
            }
        }
        for ino in &before.read {
            let generation = self.core.generation(*ino);
            let over = generation.is_some_and(|g| !g.is_active());
            let forgotten = attributes.get(ino).copied().unwrap_or(0);
            assert!(
                !over || forgotten > 0,
                "{ino}: the kernel believes its old size"
            );
        }
        let files: HashSet<u64> = self.core.files.keys().copied().collect();
        let gone: HashSet<u64> = before.files.difference(&files).copied().collect();
        assert_eq!(pages, gone, "pages of files that are gone");
        if !removes {
            let after = names(&self.core);
            let gone: BTreeSet<OsString> = before.names.difference(&after).cloned().collect();
            assert_eq!(forgotten, gone, "names that went by themselves");
        }
    }

    fn check_requests(&self) {
        let waiting: HashSet<Unique> = self.core.waiting.keys().copied().collect();
        let lost: Vec<_> = self.oracle.open_requests.difference(&waiting).collect();
        assert!(lost.is_empty(), "neither answered nor waiting: {lost:?}");
        let answered: Vec<_> = waiting.difference(&self.oracle.open_requests).collect();
        assert!(answered.is_empty(), "answered, and waiting: {answered:?}");
    }

    /// Every change must have marked all objects that it concerns.
    fn check_that_nothing_is_left_undone(&mut self) {
        let env = Env {
            now: super::moment(self.now),
            processes: &self.processes,
        };
        let core = &mut self.core;
        for id in core.readers.ids() {
            core.touched.readers.add(id);
        }
        for ino in core.files.keys() {
            core.touched.generations.add(*ino);
            core.touched.room.add(*ino);
            core.touched.writeback.add(*ino);
        }
        let mut operation = Operation::new(core, env);
        operation.settle();
        let left: Vec<Effect> = operation.effects.into_iter().collect();
        assert!(
            left.is_empty(),
            "left undone, without a later event that would do it: {left:?}"
        );
    }
}
