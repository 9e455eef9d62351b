//! Bytes, names and rules: what every request does, decided in one place.
//!
//! A request goes in by [`Core::handle`], with the moment it happens and a way to ask about
//! processes; effects come out. Nothing in here waits, locks, reads a clock or
//! knows of FUSE: a request that cannot be answered yet is kept by its number
//! and answered by a later effect.
//!
//! ```text
//! namespace   the tree of names          file        one file: bytes, writing, what there is to read
//! spool       the bytes of a file        rules       what the user ordered
//! readers     who waits, for what, and what they were given
//! captures    the paths that this process reads
//! events      who is told what happens
//! control     what the kernel knows of `.fifofs`
//!
//! request, effects, operation, handling, settling: what comes in, what comes out, and the way between
//!
//! and the handlers, each on the `Operation` that has hold of all of the above:
//! writing, resizing, rewriting, ending, backpressure: what writers do
//! opening, looking_again, reading: what readers get
//! capturing: what this process itself reads
//! paths, metadata, control, doors, fifos, status, metrics
//! queries: what may be looked at without a request
//! ```

mod attributes;
mod backpressure;
mod captures;
mod capturing;
pub(crate) mod clock;
mod control;
pub(crate) mod doors;
pub(crate) mod effects;
mod ending;
pub(crate) mod event;
mod events;
pub(crate) mod fifos;
mod file;
mod handling;
mod ids;
mod looking_again;
mod metadata;
mod metrics;
pub(crate) mod namespace;
mod notices;
mod opening;
mod operation;
pub(crate) mod patching;
mod paths;
mod publishing;
mod queries;
mod readers;
mod reading;
pub(crate) mod recording;
mod releasing;
pub(crate) mod request;
mod resizing;
mod rewriting;
pub(crate) mod rules;
mod settling;
pub(crate) mod spool;
pub(crate) mod status;
mod timers;
mod writing;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use rustix::io::Errno;

use captures::Captures;
use clock::{Moment, Monotonic};
use control::Control;
use events::Events;
use fifos::Fifos;
use file::{File, OpenStep};
use generation::{Generation, Processes};
use ids::{FifoId, ReaderId, Unique};
use looking_again::SentBack;
use metrics::Tally;
use namespace::{Creator, Namespace};
use notices::Notices;
use operation::Operation;
use readers::Readers;
use recording::Recording;
use rules::{FailOn, Linger, Rules};
use settling::Touched;
use spool::{Kept, Pool};

pub(crate) use attributes::{Attributes, Change, Changes, Found};
pub(crate) use control::NAME as CONTROL_NAME;
pub(crate) use file::generation;
pub(crate) use generation::unseen_writer;
pub(crate) use ids::CaptureId;
pub(crate) use timers::LEFT_BEHIND;

/// What is fixed when a mount is made.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Which way for which files.
    pub(crate) rules: Rules,
    /// When a closed file is done.
    pub(crate) linger: Linger,
    /// Which ends of a writer fail its generation.
    pub(crate) fail_on: FailOn,
    /// With stream, how many bytes a writer may be ahead of the slowest reader.
    pub(crate) window_bytes: u64,
    /// With stream, how long a write waits at most.
    pub(crate) patience: Duration,
    /// How much the kernel may hold of a file that was not written back yet.
    pub(crate) unseen_bytes: u64,
    /// Whether processes that read a file while it is written wait for it; those
    /// who open it by `wait` or `next` do in any case.
    pub(crate) readers_wait: bool,
    /// Whether those who write must be visible from here.
    pub(crate) require_visible: bool,
    /// Whether a file is removed once a reader has read it to its end.
    pub(crate) consume: bool,
    /// Whether the kernel ends splice(2) at the size that it has of a file.
    pub(crate) splice_ends_at_size: bool,
    /// The paths at which mkfifo(3) makes a virtual FIFO.
    pub(crate) fifos: Rules,
    /// Whether every operation is recorded.
    pub(crate) records: bool,
    /// Who owns the root and the control directory.
    pub(crate) owner: Creator,
    /// Where the tree is mounted, if it is.
    pub(crate) place: Option<PathBuf>,
}

/// A moment, and whom to ask about processes.
#[derive(Clone, Copy)]
pub(crate) struct Env<'a> {
    /// When it happens.
    pub(crate) now: Moment,
    /// What other processes are doing.
    pub(crate) processes: &'a dyn Processes,
}

/// What an open file is to us.
#[derive(Debug)]
enum Handle {
    /// It may write.
    Writer { ino: u64, cached: bool, _kept: Kept },
    /// It reads the file as it is, maybe as a step of the script that writes it.
    Plain {
        ino: u64,
        incarnation: Option<u32>,
        step: Option<OpenStep>,
        _kept: Kept,
    },
    /// It reads what it has waited for.
    Reader(ReaderId),
    /// Text made when it was opened.
    Text(Arc<[u8]>),
    /// The event stream.
    Events(u64),
}

/// Whom a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    File(u64),
    Flush(u64),
    Reader(ReaderId),
    LetGo(CaptureId),
}

/// Where a request that waits is kept.
#[derive(Clone, Copy, Debug)]
enum Waiting {
    Open(ReaderId),
    Read(ReaderId),
    Write(u64),
    Events(u64),
    FifoOpen(FifoId),
}

/// All state of one mount.
pub(crate) struct Core {
    settings: Settings,
    pool: Pool,
    names: Namespace,
    files: FxHashMap<u64, File>,
    handles: FxHashMap<u64, Handle>,
    next_handle: u64,
    readers: Readers,
    waiting: FxHashMap<Unique, (Waiting, i32)>,
    alarms: BTreeSet<(Monotonic, Alarm)>,
    control: Control,
    captures: Captures,
    fifos: Fifos,
    events: Events,
    /// What has happened, in numbers.
    tally: Tally,
    /// Threads that were sent back to look the path up again: the kernel does
    /// so once only.
    sent_back: SentBack,
    /// Whether it was said that the flusher does not take every file.
    told_of_refusal: bool,
    /// What was said of the mount as a whole.
    notices: Notices,
    /// Files whose content is gone, and whose pages the kernel may still have.
    removed: Vec<(u64, u32)>,
    /// When it is tried again to spill, if the spill file took nothing more.
    spills_again: Monotonic,
    /// What is to be looked at before the present operation is over.
    touched: Touched,
    /// What was done, if that is to be known afterwards.
    recording: Option<Recording>,
    /// Whether what is there stays as it is.
    is_frozen: bool,
    /// Whether the mount is going away, so that nobody may wait any more.
    is_shut_down: bool,
}

impl Core {
    /// An empty tree, whose inodes but the root are numbered from `first_ino`.
    pub(crate) fn new(settings: Settings, pool: Pool, first_ino: u64, now: Moment) -> Self {
        pool.belongs_to(settings.owner.uid);
        let mut names = Namespace::new(settings.owner, first_ino, now.wall, &pool);
        if let Some(place) = &settings.place {
            names.set_place(place);
        }
        let control = Control::new(&mut names);
        let recording = settings.records.then(|| Recording::new(&pool));
        Core {
            settings,
            pool,
            names,
            files: FxHashMap::default(),
            handles: FxHashMap::default(),
            next_handle: 1,
            readers: Readers::default(),
            waiting: FxHashMap::default(),
            alarms: BTreeSet::new(),
            control,
            captures: Captures::default(),
            fifos: Fifos::default(),
            events: Events::new(now.monotonic),
            tally: Tally::default(),
            sent_back: SentBack::default(),
            told_of_refusal: false,
            notices: Notices::default(),
            removed: Vec::new(),
            spills_again: Monotonic::ZERO,
            touched: Touched::default(),
            recording,
            is_frozen: false,
            is_shut_down: false,
        }
    }

    fn file(&self, ino: u64) -> Result<&File, Errno> {
        self.files.get(&ino).ok_or(Errno::NOENT)
    }

    fn file_mut(&mut self, ino: u64) -> Result<&mut File, Errno> {
        self.files.get_mut(&ino).ok_or(Errno::NOENT)
    }

    /// The present or the last generation of a file.
    fn generation(&self, ino: u64) -> Option<&Generation> {
        Some(self.files.get(&ino)?.generation())
    }

    /// The same, for what its writers and the steps of its script do.
    fn generation_mut(&mut self, ino: u64) -> Option<&mut Generation> {
        Some(self.files.get_mut(&ino)?.generation_mut())
    }

    fn add_handle(&mut self, handle: Handle) -> u64 {
        let number = self.next_handle;
        self.next_handle += 1;
        self.handles.insert(number, handle);
        number
    }

    fn wake_at(&mut self, at: Monotonic, whom: Alarm) {
        self.alarms.insert((at, whom));
    }

    /// The kernel gives back references to an inode.
    fn forget(&mut self, ino: u64, lookups: u64) {
        if self.control.forget(ino, lookups) {
            return;
        }
        self.names.forget(ino, lookups);
        self.reap(ino);
    }

    fn unpin(&mut self, ino: u64) {
        self.names.unpin(ino);
        self.reap(ino);
    }

    /// Lets go of what nobody can reach any more. The content of a file goes
    /// with its last name and its last handle: the kernel may remember the inode
    /// for long after that, as what `wait/` led to for one.
    fn reap(&mut self, ino: u64) {
        if self.names.is_unreachable(ino)
            && let Some(file) = self.files.remove(&ino)
        {
            self.removed.push((ino, self.names.incarnation(ino)));
            if let Some(fifo) = file.fifo() {
                self.touched.fifos.add(fifo);
            }
        }
        self.names.reap(ino);
    }
}
