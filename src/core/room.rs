//! Room in memory for what cannot be spilled: names, attributes, open files, readers.
//!
//! What takes it holds a [`Kept`](super::spool::Kept), which counts it for whoever had it made; here is
//! said what happens where there is none. The invariant: after each operation contents have been
//! spilled until all is within the limit, or nothing more can be spilled at that moment.

use rustix::io::Errno;

use super::Core;
use super::spool::Pool;

/// The most memory that a reader takes which waits, beside its path; other open files take less.
pub(super) const OPEN_BYTES: u64 = 1024;

impl Core {
    /// The store as this user may have of it; no user is this process itself.
    pub(super) fn pool_of(&self, user: Option<u32>) -> Pool {
        user.map_or_else(|| self.pool.clone(), |user| self.pool.of(user))
    }

    /// Whether there is memory for one more open file of a user's.
    pub(super) fn check_room_to_open(&self, user: Option<u32>) -> Result<(), Errno> {
        match self.pool_of(user).has_room(OPEN_BYTES) {
            true => Ok(()),
            false => Err(Errno::NOMEM),
        }
    }

    /// Spills contents until there is room for what cannot be spilled, which has come already.
    ///
    /// Only a spill file that takes nothing more is a reason to refuse what needs room from now on. What a
    /// reader has in hand cannot be spilled either, but for a moment; it is tried again after each operation.
    pub(super) fn make_room(&mut self) {
        match (self.pool.is_over(), self.pool.is_stuck()) {
            (false, false) | (true, true) => return,
            (false, true) => return self.pool.set_stuck(false),
            (true, false) => {}
        }
        for file in self.files.values_mut() {
            while self.pool.is_over() {
                match file.spill_one() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(_) => return self.pool.set_stuck(true),
                }
            }
        }
    }
}
