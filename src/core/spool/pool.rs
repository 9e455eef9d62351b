//! Shared by all spools of a mount: memory for chunks, and the limits on memory and disk.
//!
//! Knows buffers, the spill file ([`super::spill`]) and counts of both; knows nothing about files or offsets
//! in them. The invariant: each count is at every moment the sum over the buffers, `Kept`s and places that
//! exist.
//!
//! - `used`: capacity of the chunk buffers in use, by spools and by reads handed out. Idle buffers kept for
//!   reuse are not in it, but `used` + idle never exceeds the memory limit because of an idle one.
//! - `kept`: bytes of memory that cannot be spilled ([`super::kept`]). With `used` it is within the
//!   memory limit, but for the moment until contents are spilled to make room for it.
//! - `charged`: whole pages that files hold (written or reserved), in memory or on disk. The maximum size
//!   bounds this count and statfs shows it, so that neither depends on how chunks are rounded or shared.
//!
//! The last two are counted for each user, too: see [`Pool::of`].
//!
//! Buffers give themselves back when dropped, maybe on a reader's thread; hence the mutex around the idle
//! ones. It is a leaf of the lock order: it is held for a push or a pop, and nothing is locked, written or
//! waited for meanwhile.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use rustix::io::Errno;

use super::memory::{CHUNK_BYTES, Memory};
use super::spill::Spill;
use crate::sync::lock;

/// Idle buffers kept for reuse, at most: several dozen requests' worth, and little beside the
/// gigabyte that a mount may keep by default.
const IDLE_BYTES_MAX: u64 = 64 << 20;

/// The smallest buffer: below this the bookkeeping around it costs more than the bytes.
const BUFFER_BYTES_MIN: usize = 512;

/// Memory that cannot be spilled may take at least this many bytes, whatever the limit: with less no file
/// could be made.
const KEPT_BYTES_MIN: u64 = 1 << 20;

/// Bounds on what all files of a pool may hold together.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Bytes of chunk buffers in memory; past it chunks go to disk.
    pub(crate) memory: u64,
    /// Bytes in memory and on disk; past it writes get ENOSPC. `None`: `memory` and 95 % of what
    /// is free in the spill directory, measured when first needed and again when exceeded.
    pub(crate) max_size: Option<u64>,
    /// Where unlinked spill files are made.
    pub(crate) spill_directory: PathBuf,
}

/// The memory and disk that the spools of one mount share, with one user's share of them. A clone is another
/// handle on the same.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    /// The counts of a user with no more than half; none for the owner of the mount.
    user: Option<Arc<Counts>>,
}

/// What an amount is counted as.
#[derive(Clone, Copy, Debug)]
pub(super) enum Account {
    /// Whole pages that files hold.
    Charged,
    /// Bytes of memory that cannot be spilled.
    Kept,
}

/// The amounts taken by all users, or by one.
#[derive(Debug, Default)]
struct Counts {
    /// Whole pages that files hold.
    charged: AtomicU64,
    /// Bytes of memory that cannot be spilled.
    kept: AtomicU64,
}

impl Counts {
    fn of(&self, account: Account) -> &AtomicU64 {
        match account {
            Account::Charged => &self.charged,
            Account::Kept => &self.kept,
        }
    }
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    used: AtomicU64,
    spill: Arc<Spill>,
    counts: Counts,
    /// Whether `kept` has outgrown its room and the spill file takes nothing more.
    stuck: AtomicBool,
    owner: OnceLock<u32>,
    /// The counts of users other than the owner. Leaf lock.
    users: Mutex<HashMap<u32, Weak<Counts>>>,
    /// The measured maximum size, if `limits` names none. Any measured value will do, so it needs no lock. 0:
    /// not measured yet.
    measured: AtomicU64,
    /// Chunks of memory for reuse. Leaf lock.
    idle: Mutex<Vec<Memory>>,
}

impl Pool {
    /// An empty pool. Touches no disk.
    pub(crate) fn new(limits: Limits) -> Pool {
        let spill = Spill::new(limits.spill_directory.clone());
        Pool {
            shared: Arc::new(Shared {
                limits,
                used: AtomicU64::new(0),
                spill,
                counts: Counts::default(),
                stuck: AtomicBool::new(false),
                owner: OnceLock::new(),
                users: Mutex::default(),
                measured: AtomicU64::new(0),
                idle: Mutex::new(Vec::new()),
            }),
            user: None,
        }
    }

    /// Sets the owner, which may take all of it; other users get half at most. Called once, at the beginning.
    pub(crate) fn belongs_to(&self, owner: u32) {
        let _ = self.shared.owner.set(owner);
    }

    /// The same pool with this user's share; without a user that of the daemon's own process.
    pub(crate) fn for_user(&self, user: Option<u32>) -> Pool {
        user.map_or_else(|| self.clone(), |user| self.of(user))
    }

    /// The same pool with this user's share.
    pub(crate) fn of(&self, user: u32) -> Pool {
        let shared = Arc::clone(&self.shared);
        if self.shared.owner.get().is_none_or(|owner| *owner == user) {
            return Pool { shared, user: None };
        }
        let mut users = lock(&self.shared.users);
        let known = users.get(&user).and_then(Weak::upgrade);
        let counts = known.unwrap_or_else(|| {
            users.retain(|_, counts| counts.strong_count() > 0);
            let fresh = Arc::default();
            users.insert(user, Arc::downgrade(&fresh));
            fresh
        });
        drop(users);
        Pool {
            shared,
            user: Some(counts),
        }
    }

    /// Bytes of chunk buffers in use.
    pub(crate) fn memory_used(&self) -> u64 {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// Bytes of memory, past which chunks go to disk.
    pub(crate) fn memory_limit(&self) -> u64 {
        self.shared.limits.memory
    }

    /// Bytes of content on disk.
    pub(crate) fn spilled(&self) -> u64 {
        self.shared.spill.used()
    }

    /// The spill file, for chunks that memory has no room for.
    pub(super) fn spill(&self) -> &Arc<Spill> {
        &self.shared.spill
    }

    /// Makes the spill file, which is otherwise made when it is first needed.
    ///
    /// # Errors
    /// Of making it.
    pub(crate) fn open_spill_file(&self) -> io::Result<()> {
        self.shared.spill.open().map(drop)
    }

    /// The most bytes that all files may hold together.
    pub(crate) fn max_size(&self) -> u64 {
        match (
            self.shared.limits.max_size,
            self.shared.measured.load(Ordering::Relaxed),
        ) {
            (Some(bytes), _) => bytes,
            (None, 0) => self.measure(),
            (None, bytes) => bytes,
        }
    }

    /// The bytes that may still be written before ENOSPC.
    pub(crate) fn available(&self) -> u64 {
        self.left(Account::Charged, self.max_size())
    }

    /// Bytes that files hold beyond the maximum size.
    pub(crate) fn excess(&self) -> u64 {
        let charged = self.shared.counts.charged.load(Ordering::Relaxed);
        charged.saturating_sub(self.max_size())
    }

    /// Bytes of memory that cannot be spilled.
    pub(crate) fn kept(&self) -> u64 {
        self.shared.counts.kept.load(Ordering::Relaxed)
    }

    /// Bytes that can still be taken that cannot be spilled.
    pub(crate) fn room(&self) -> u64 {
        self.left(Account::Kept, self.kept_max())
    }

    /// Whether `bytes` more can be kept.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        bytes <= self.room() && !(self.is_over() && self.shared.stuck.load(Ordering::Relaxed))
    }

    /// Whether contents must be spilled, as memory that cannot be spilled needs the room.
    pub(crate) fn is_over(&self) -> bool {
        self.memory_used().saturating_add(self.kept()) > self.shared.limits.memory
            && self.memory_used() > 0
    }

    /// Whether the spill file takes nothing more while memory is short.
    pub(crate) fn is_stuck(&self) -> bool {
        self.shared.stuck.load(Ordering::Relaxed)
    }

    /// Sets that.
    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.shared.stuck.store(stuck, Ordering::Relaxed);
    }

    fn kept_max(&self) -> u64 {
        self.shared.limits.memory.max(KEPT_BYTES_MIN)
    }

    /// The rest of `max`, of which a user may take half.
    fn left(&self, account: Account, max: u64) -> u64 {
        let left = |counts: &Counts, max: u64| {
            max.saturating_sub(counts.of(account).load(Ordering::Relaxed))
        };
        let of_all = left(&self.shared.counts, max);
        let of_user = self.user.as_ref().map(|user| left(user, max / 2));
        of_user.map_or(of_all, |of_user| of_user.min(of_all))
    }

    /// Counts `bytes` more.
    ///
    /// # Errors
    /// ENOSPC if there is no room for them; then nothing is counted.
    pub(super) fn add(&self, account: Account, bytes: u64) -> Result<(), Errno> {
        let fits = |max: u64| self.fits(account, bytes, max);
        let measured = self.shared.limits.max_size.is_none();
        let added = match account {
            Account::Kept => self.has_room(bytes) && fits(self.kept_max()),
            Account::Charged => fits(self.max_size()) || (measured && fits(self.measure())),
        };
        match added {
            true => Ok(()),
            false => Err(Errno::NOSPC),
        }
    }

    /// Adds to a count unless that would exceed `max`, or its half for a user; returns whether it did.
    fn fits(&self, account: Account, bytes: u64, max: u64) -> bool {
        if let Some(user) = &self.user
            && !add_within(user.of(account), bytes, max / 2)
        {
            return false;
        }
        let fits = add_within(self.shared.counts.of(account), bytes, max);
        if let (false, Some(user)) = (fits, &self.user) {
            user.of(account).fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Adds to a count, whatever the limit; what wraps around is subtracted.
    pub(super) fn add_anyway(&self, account: Account, bytes: u64) {
        for counts in [Some(&self.shared.counts), self.user.as_deref()]
            .into_iter()
            .flatten()
        {
            counts.of(account).fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Computes the maximum size from the space that is free on disk now. If statvfs(3) fails, the directory
    /// cannot be spilled to either and counts as full.
    fn measure(&self) -> u64 {
        let free = rustix::fs::statvfs(self.spill_directory())
            .map_or(0, |status| status.f_bavail.saturating_mul(status.f_frsize));
        let bytes = self
            .shared
            .limits
            .memory
            .saturating_add(self.spilled())
            // Space kept for reuse does not count as free on the disk.
            .saturating_add(self.shared.spill.idle())
            .saturating_add(free / 20 * 19)
            .max(1);
        self.shared.measured.store(bytes, Ordering::Relaxed);
        bytes
    }

    /// Where spill files are made.
    pub(crate) fn spill_directory(&self) -> &Path {
        self.shared.spill.directory()
    }

    /// Memory of at least `bytes` (at most a chunk), or `None` if the memory
    /// limit does not allow it. Sizes are powers of two, so that a buffer that grows is copied a
    /// constant number of times per byte.
    pub(super) fn try_memory(&self, bytes: usize) -> Option<Memory> {
        let capacity = capacity_for(bytes);
        let memory = self.shared.limits.memory.saturating_sub(self.kept());
        add_within(&self.shared.used, capacity as u64, memory).then(|| self.counted(capacity))
    }

    /// As [`Pool::try_memory`], whatever the limit.
    #[cfg(test)]
    pub(super) fn memory(&self, bytes: usize) -> Memory {
        let capacity = capacity_for(bytes);
        self.shared
            .used
            .fetch_add(capacity as u64, Ordering::Relaxed);
        self.counted(capacity)
    }

    /// Memory that `used` counts already.
    fn counted(&self, capacity: usize) -> Memory {
        let recycled = if capacity == CHUNK_BYTES {
            self.idle().pop()
        } else {
            None
        };
        recycled.unwrap_or_else(|| {
            self.trim_idle();
            Memory::new(capacity)
        })
    }

    /// The same pool, counted for no user.
    pub(super) fn for_no_user(&self) -> Pool {
        Pool {
            shared: Arc::clone(&self.shared),
            user: None,
        }
    }

    /// Takes back the memory of a buffer, which counts no more.
    pub(super) fn give_back(&self, memory: Memory) {
        self.shared
            .used
            .fetch_sub(memory.len() as u64, Ordering::Relaxed);
        if memory.len() == CHUNK_BYTES {
            let mut idle = self.idle();
            if self.idle_fits(idle.len() + 1) {
                idle.push(memory);
            }
        }
    }

    /// Frees an idle buffer if memory in use has grown into its share.
    fn trim_idle(&self) {
        let mut idle = self.idle();
        if !idle.is_empty() && !self.idle_fits(idle.len()) {
            let surplus = idle.pop();
            drop(idle);
            drop(surplus);
        }
    }

    /// Whether `count` idle buffers may be kept beside those in use.
    fn idle_fits(&self, count: usize) -> bool {
        let memory = self.shared.limits.memory;
        let bytes = (count * CHUNK_BYTES) as u64;
        bytes <= IDLE_BYTES_MAX.min(memory / 4)
            && [self.memory_used(), self.kept(), bytes].iter().sum::<u64>() <= memory
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Memory>> {
        lock(&self.shared.idle)
    }
}

/// Adds `bytes` to `counter` unless the sum would exceed `max`; returns whether it did.
fn add_within(counter: &AtomicU64, bytes: u64, max: u64) -> bool {
    let sum = |now: u64| now.checked_add(bytes).filter(|&sum| sum <= max);
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum)
        .is_ok()
}

/// The capacity of the buffer to take for `bytes`.
fn capacity_for(bytes: usize) -> usize {
    bytes
        .next_power_of_two()
        .clamp(BUFFER_BYTES_MIN, CHUNK_BYTES)
}

#[cfg(test)]
impl Pool {
    /// A pool with these limits that spills to the directory for temporary files.
    pub(crate) fn for_tests(memory: u64, max_size: Option<u64>) -> Pool {
        Pool::new(Limits {
            memory,
            max_size,
            spill_directory: std::env::temp_dir(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, Limits, Pool};

    fn pool(memory: usize) -> Pool {
        let spill_directory = std::env::temp_dir();
        Pool::new(Limits {
            memory: memory as u64,
            max_size: None,
            spill_directory,
        })
    }

    #[test]
    fn a_freed_full_buffer_is_used_again_and_not_counted_meanwhile() {
        let pool = pool(8 * CHUNK_BYTES);
        let mut buffer = pool.try_take(CHUNK_BYTES).expect("within the limit");
        buffer.put(0, b"old");
        let address = buffer.bytes().as_ptr();
        drop(buffer);
        assert_eq!(pool.memory_used(), 0);
        let again = pool.try_take(CHUNK_BYTES).expect("within the limit");
        assert_eq!((again.bytes(), again.bytes().as_ptr()), (&b""[..], address));
    }

    #[test]
    fn the_limit_is_kept_and_idle_buffers_yield_to_it() {
        let pool = pool(4 * CHUNK_BYTES);
        let all: Vec<_> = (0..4).map(|_| pool.try_take(CHUNK_BYTES)).collect();
        assert!(all.iter().all(Option::is_some) && pool.try_take(1).is_none());
        drop(all);
        assert_eq!(pool.idle().len(), 1, "a quarter of the memory may idle");
        let small: Vec<_> = (0..7).map(|_| pool.try_take(CHUNK_BYTES / 2)).collect();
        assert!(small.iter().all(Option::is_some));
        assert_eq!(pool.idle().len(), 0);
    }
}
