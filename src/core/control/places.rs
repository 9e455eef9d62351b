//! The places of the control directory that the kernel knows, by their numbers.

use std::collections::HashMap;
use std::ffi::OsString;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use rustc_hash::FxHasher;
use rustix::io::Errno;

use super::super::doors::{Door, Gives, Target, Which};
use super::super::ids::FifoId;
use super::super::namespace::Namespace;

/// Inodes of files have smaller numbers, which are given in sequence.
const NOT_OF_FILES: u64 = 1 << 63;

/// One place in the control directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::core) enum Place {
    Top,
    Status,
    Metrics,
    Events,
    /// Paths of inodes, by inode number.
    Inodes,
    /// The directory of the doors to this generation.
    Doors(Which),
    /// The directory `pid`, whose names are numbers of processes.
    Processes,
    /// A directory behind a door, standing for this path.
    Directory {
        door: Door,
        path: Vec<OsString>,
        /// The number of names between the door and it; one name may stand for several components.
        depth: usize,
    },
    /// A file that is waited for.
    File {
        door: Door,
        path: Vec<OsString>,
    },
    /// The reading end of a virtual FIFO, found by the FIFO's own name.
    ReadingEnd(FifoId),
    /// A path that leads out of the tree, or to no regular file: the kernel follows it.
    Link {
        target: PathBuf,
    },
}

impl Place {
    /// The door of this name.
    pub(in crate::core) fn door(name: &[u8], which: Which) -> Result<Self, Errno> {
        let gives = Gives::named(name).ok_or(Errno::NOENT)?;
        Ok(Place::Directory {
            door: Door { gives, which },
            path: Vec::new(),
            depth: 0,
        })
    }

    /// The inode number that stat(2) shows. Some places get another inode at each lookup, but a program that
    /// calls stat(2) and then opens the file must see the same number twice (else `cp` refuses the file).
    pub(in crate::core) fn st_ino(&self, ino: u64) -> u64 {
        match self {
            Place::File { .. } | Place::Status | Place::Metrics | Place::Events => {
                let mut hasher = FxHasher::default();
                self.hash(&mut hasher);
                hasher.finish() | NOT_OF_FILES
            }
            _ => ino,
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(
            self,
            Place::Top
                | Place::Inodes
                | Place::Doors(_)
                | Place::Processes
                | Place::Directory { .. }
        )
    }

    /// Whether all lookups find one inode as long as the kernel knows it. Where each lookup finds another,
    /// each of many processes that open the place at once makes all others look again.
    fn is_shared(&self) -> bool {
        match self {
            // A caller at `wait` goes on to another inode, and which process a number means depends on the
            // caller's pid namespace.
            Place::File { door, .. } => {
                door.gives != Gives::File && !matches!(door.which, Which::Of(_))
            }
            Place::Events | Place::ReadingEnd(_) => true,
            _ => self.is_directory(),
        }
    }

    /// Whether it is read like a pipe and has no size.
    pub(in crate::core) fn has_no_size(&self) -> bool {
        match self {
            Place::Events | Place::ReadingEnd(_) => true,
            Place::File { door, .. } => door.gives != Gives::File,
            _ => false,
        }
    }

    /// Whether its name always means the same: true of the doors themselves.
    pub(in crate::core) fn is_cacheable(&self) -> bool {
        match self {
            Place::Directory { door, path, .. } => path.is_empty() && door.is_cacheable(),
            Place::Doors(which) => *which == Which::Next,
            Place::Processes => true,
            _ => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    lookups: u64,
    /// Whether it is shown with a size that it has not: see `splicing`.
    is_spliced: bool,
    /// What is read there, if the lookup fixed it.
    text: Option<Arc<[u8]>>,
    /// Whether it was opened, which ended the wait.
    was_opened: bool,
    /// The process that its door names, once known, or why it cannot be known.
    target: Option<Result<Target, Errno>>,
}

impl Node {
    fn new(place: Place, is_spliced: bool, text: Option<Vec<u8>>) -> Self {
        Node {
            place,
            lookups: 1,
            is_spliced,
            text: text.map(Arc::from),
            was_opened: false,
            target: None,
        }
    }
}

/// The control directory.
#[derive(Debug)]
pub(in crate::core) struct Control {
    pub(super) nodes: HashMap<u64, Node>,
    /// The shared nodes ([`Place::is_shared`]), by place and whether they are spliced.
    shared: HashMap<(Place, bool), u64>,
    pub(in crate::core) top: u64,
}

impl Control {
    /// Takes its inode numbers from the tree's.
    pub(crate) fn new(names: &mut Namespace) -> Self {
        let top = names.reserve_number();
        Control {
            nodes: HashMap::from([(top, Node::new(Place::Top, false, None))]),
            shared: HashMap::new(),
            top,
        }
    }

    /// Gives back lookups; false if the inode is not in the control directory.
    pub(crate) fn forget(&mut self, ino: u64, lookups: u64) -> bool {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return false;
        };
        if ino != self.top {
            node.lookups = node.lookups.saturating_sub(lookups);
            if node.lookups == 0
                && let Some(node) = self.nodes.remove(&ino)
            {
                self.shared.remove(&(node.place, node.is_spliced));
            }
        }
        true
    }

    /// The inode of a place that was looked up: the shared one that it has already, or `fresh`. `text` is
    /// what is read there, if the lookup fixes it.
    pub(in crate::core) fn number_of(
        &mut self,
        place: Place,
        is_spliced: bool,
        text: Option<Vec<u8>>,
        fresh: u64,
    ) -> u64 {
        let key = (place, is_spliced);
        if let Some(&ino) = self.shared.get(&key)
            && let Some(node) = self.nodes.get_mut(&ino)
        {
            node.lookups += 1;
            return ino;
        }
        if key.0.is_shared() {
            self.shared.insert(key.clone(), fresh);
        }
        let node = Node::new(key.0, is_spliced, text);
        self.nodes.insert(fresh, node);
        fresh
    }

    /// What is read at a place, if its lookup fixed it.
    pub(in crate::core) fn text(&self, ino: u64) -> Option<Arc<[u8]>> {
        self.nodes.get(&ino)?.text.clone()
    }

    /// Whether this place is shown with a size that it has not.
    pub(in crate::core) fn is_spliced(&self, ino: u64) -> bool {
        self.nodes.get(&ino).is_some_and(|node| node.is_spliced)
    }

    /// Whether this inode is in the control directory.
    pub(in crate::core) fn has(&self, ino: u64) -> bool {
        self.nodes.contains_key(&ino)
    }

    /// The place of this inode, if it is in the control directory.
    pub(in crate::core) fn place(&self, ino: u64) -> Option<&Place> {
        Some(&self.nodes.get(&ino)?.place)
    }

    /// The file that a GETATTR of this place must wait for.
    pub(in crate::core) fn waits_for(&self, ino: u64) -> Option<(Door, Vec<OsString>)> {
        let node = self.nodes.get(&ino).filter(|node| !node.was_opened)?;
        match &node.place {
            Place::File { door, path } if door.gives == Gives::File => Some((*door, path.clone())),
            _ => None,
        }
    }

    /// The number of the process that this place's door names, if that process is still to be found.
    pub(in crate::core) fn unknown_process(&self, ino: u64) -> Option<i32> {
        let node = self.nodes.get(&ino).filter(|node| node.target.is_none())?;
        match &node.place {
            Place::File { door, .. } => match door.which {
                Which::Of(number) => Some(number),
                Which::Present | Which::Next => None,
            },
            _ => None,
        }
    }

    /// The process that a place's door names, if it was looked for.
    pub(in crate::core) fn target(&self, ino: u64) -> Option<Result<Target, Errno>> {
        self.nodes.get(&ino)?.target
    }

    /// Notes that a place was opened.
    pub(in crate::core) fn was_opened(&mut self, ino: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.was_opened = true;
        }
    }

    pub(in crate::core) fn know_process(&mut self, ino: u64, target: Result<Target, Errno>) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.target = Some(target);
        }
    }
}
