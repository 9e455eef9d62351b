//! The core: bytes, names and rules. It decides what every request does.
//!
//! A request goes in by [`Core::handle`], with its time and a way to ask about processes; effects come out.
//! Nothing in here waits, locks, reads a clock or knows of FUSE: a request that cannot be answered yet is
//! kept by its number and answered by a later effect.
//!
//! ```text
//! namespace   the tree of names          file        one file: content, generation, format, held writes
//! spool       the bytes of a file        rules       the user's options
//! readers     the waiting readers, what they wait for, and what they were given
//! captures    the paths that this process reads
//! events      the subscribers to events
//! control     the places in `.fifofs` that the kernel knows; doors: those that wait for a path
//! fifos       the messages of virtual FIFOs
//!
//! request, effects: input and output
//! operation: a request under way, which has access to all of the above, and its handlers
//! queries, status: what can be looked up without a request
//! ```
//!
//! No part of the state uses `operation`, and none uses another part that uses it.

mod attributes;
mod captures;
pub(crate) mod clock;
mod control;
pub(crate) mod doors;
pub(crate) mod effects;
pub(crate) mod event;
mod events;
pub(crate) mod fifos;
mod file;
mod ids;
pub(crate) mod namespace;
mod notices;
mod operation;
pub(crate) mod patching;
mod queries;
mod readers;
pub(crate) mod recording;
pub(crate) mod request;
pub(crate) mod rules;
mod sent_back;
pub(crate) mod spool;
pub(crate) mod status;
mod tally;
mod timers;
mod touched;

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
use namespace::{Creator, Namespace};
use notices::Notices;
use readers::Readers;
use recording::Recording;
use rules::{FailOn, Linger, Rules};
use sent_back::SentBack;
use spool::{Kept, Pool};
use tally::Tally;
use touched::Touched;

pub(crate) use attributes::{Attributes, Change, Changes, Found};
pub(crate) use file::generation;
pub(crate) use generation::unseen_writer;
pub(crate) use ids::CaptureId;
pub(crate) use namespace::CONTROL as CONTROL_NAME;
pub(crate) use timers::LEFT_BEHIND;

/// The settings of a mount, which never change.
#[derive(Debug)]
pub(crate) struct Settings {
    /// How files are delivered, by their path.
    pub(crate) rules: Rules,
    /// When a closed file is done.
    pub(crate) linger: Linger,
    /// Which ends of a writer fail its generation.
    pub(crate) fail_on: FailOn,
    /// With stream, how many bytes a writer may be ahead of the slowest reader.
    pub(crate) window_bytes: u64,
    /// With stream, how long a write waits at most.
    pub(crate) patience: Duration,
    /// How many bytes of a file the kernel may hold that it has not written back yet.
    pub(crate) unseen_bytes: u64,
    /// Whether a process that opens a file while it is written waits for it; by a door (`wait/`, `pipe/`) it
    /// does in any case.
    pub(crate) readers_wait: bool,
    /// Whether writers that cannot be seen from here are refused.
    pub(crate) require_visible: bool,
    /// Whether a file is removed once a reader has read it to its end.
    pub(crate) consume: bool,
    /// Whether the kernel ends splice(2) at the size that it knows for a file.
    pub(crate) splice_ends_at_size: bool,
    /// The paths at which mkfifo(3) makes a virtual FIFO.
    pub(crate) fifos: Rules,
    /// Whether requests are recorded.
    pub(crate) records: bool,
    /// The owner and the mode of the root, and the owner of the control directory.
    pub(crate) owner: Creator,
    /// Where the tree is mounted, if it is.
    pub(crate) place: Option<PathBuf>,
}

/// The time of a request, and access to facts about processes.
#[derive(Clone, Copy)]
pub(crate) struct Env<'a> {
    pub(crate) now: Moment,
    /// Facts about other processes.
    pub(crate) processes: &'a dyn Processes,
}

/// What an open file is used for.
#[derive(Debug)]
enum Handle {
    /// To write, and maybe to read.
    Writer { ino: u64, cached: bool, _kept: Kept },
    /// To read the file as it is, maybe as a step of the script that writes it.
    Plain {
        ino: u64,
        incarnation: Option<u32>,
        step: Option<OpenStep>,
        _kept: Kept,
    },
    /// To read as a waiting reader.
    Reader(ReaderId),
    /// To read a text.
    Text(Arc<[u8]>),
    /// To read events, as this subscriber.
    Events(u64),
}

/// What is looked at when an alarm is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    File(u64),
    Flush(u64),
    Reader(ReaderId),
    LetGo(CaptureId),
}

/// Which part of the core keeps a request that waits.
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
    tally: Tally,
    sent_back: SentBack,
    /// Whether it was logged that the flusher does not take every file.
    warned_of_refusal: bool,
    notices: Notices,
    /// Removed files, each with its incarnation, whose pages the kernel may still cache.
    removed: Vec<(u64, u32)>,
    /// When spilling is tried again after the spill file took nothing more.
    spills_again: Monotonic,
    /// What the settle pass of the present operation must look at.
    touched: Touched,
    /// If requests are recorded.
    recording: Option<Recording>,
    /// Whether no file may be changed any more.
    is_frozen: bool,
    /// Whether the mount is going away, so that no request may wait any more.
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
            warned_of_refusal: false,
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

    /// The same, to note what its writers and the steps of its script do.
    fn generation_mut(&mut self, ino: u64) -> Option<&mut Generation> {
        Some(self.files.get_mut(&ino)?.generation_mut())
    }

    fn add_handle(&mut self, handle: Handle) -> u64 {
        let number = self.next_handle;
        self.next_handle += 1;
        self.handles.insert(number, handle);
        number
    }

    fn wake_at(&mut self, at: Monotonic, alarm: Alarm) {
        self.alarms.insert((at, alarm));
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

    /// Frees an inode that cannot be reached any more. A file's content is freed with its last name and last
    /// handle: the kernel may remember the inode for long after that, as one to which a name in `wait/` led.
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
