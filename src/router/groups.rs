//! Process groups of which only zombies are left.
//!
//! The kernel counts zombies as members, but they write no more: who reads before it reaps its child
//! would wait for itself. To tell them from others every process is looked at, which nobody does who
//! holds the core's lock or answers the kernel. So a group that is asked about there is noted, and
//! the reactor looks, and tells the core.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustc_hash::{FxHashMap, FxHashSet};

use super::process::{self, Member};
use super::{Router, lock};
use crate::core::request::Request;

/// How many groups a member is remembered of.
const REMEMBERED: usize = 1024;

/// Groups that are to be looked at.
#[derive(Default)]
pub(super) struct Groups {
    /// Guards which. After the core in the lock order.
    asked: Mutex<FxHashSet<i32>>,
    /// Whether there are any.
    is_asked: AtomicBool,
    /// Guards a member of each that ran when it was last looked at. Never held with another lock.
    running: Mutex<FxHashMap<i32, i32>>,
}

impl Groups {
    /// This one is not empty, but may be of zombies.
    pub(super) fn ask(&self, group: i32) {
        lock(&self.asked).insert(group);
        self.is_asked.store(true, Ordering::Release);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Acquire)
    }

    fn take(&self) -> FxHashSet<i32> {
        self.is_asked.store(false, Ordering::Release);
        std::mem::take(&mut *lock(&self.asked))
    }

    /// Whether all of its members have exited.
    fn is_of_zombies(&self, group: i32) -> bool {
        // Mostly the leader runs: a shell.
        let known = lock(&self.running).get(&group).copied();
        let found = process::running_member(group, known.or(Some(group)));
        let mut running = lock(&self.running);
        match found {
            Member::Running(pid) => {
                if running.len() >= REMEMBERED {
                    running.clear();
                }
                running.insert(group, pid);
            }
            Member::None | Member::Unknown => {
                running.remove(&group);
            }
        }
        found == Member::None
    }
}

impl Router {
    /// Looks at the groups that were asked about. For the reactor.
    pub(super) fn look_at_groups(&self) {
        for group in self.groups.take() {
            if self.groups.is_of_zombies(group) {
                self.tell(Request::GroupEnded { group });
            }
        }
    }
}
