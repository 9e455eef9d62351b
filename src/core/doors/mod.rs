//! The doors: names in the control directory through which a path is waited for.
//!
//! ```text
//! wait/PATH             the finished file: stat(2) and open(2) wait, then it is the file itself
//! pipe/PATH             its bytes from the first on, as they are written; no size, no positions
//! next/wait/PATH        the same of the next generation
//! next/pipe/PATH
//! pid/PID/wait/PATH     the same of a generation that began after process PID did; nothing
//! pid/PID/pipe/PATH     (ENOENT) if that has ended and there is none
//! ```
//!
//! Knows the kinds of doors and the process that one names; the names are `control`'s, and readers of the
//! callers that wait are made by `operation::doors`.
//! Invariant: a LOOKUP never waits, since it would block its whole directory.

mod process;

pub(crate) use process::Target;

/// One door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Door {
    pub(crate) gives: Gives,
    pub(crate) which: Which,
}

/// What is behind a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Gives {
    /// The file, once it is done.
    File,
    /// Its bytes, as they are written.
    Pipe,
}

/// Which generation of a file is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Which {
    /// The present or last one; if there is none yet, the first.
    Present,
    /// The one after that.
    Next,
    /// One that began after this process did; the number is that of the reader's pid namespace.
    Of(i32),
}

impl Door {
    /// Number of directories from a name right behind this door up to the root of the mount.
    pub(super) fn depth(self) -> usize {
        match self.which {
            Which::Present => 2,
            Which::Next => 3,
            Which::Of(_) => 4,
        }
    }

    /// Whether it exists as long as the mount.
    pub(super) fn is_cacheable(self) -> bool {
        !matches!(self.which, Which::Of(_))
    }
}

impl Gives {
    /// By the name of the door's directory.
    pub(super) fn named(name: &[u8]) -> Option<Gives> {
        match name {
            b"wait" => Some(Gives::File),
            b"pipe" => Some(Gives::Pipe),
            _ => None,
        }
    }
}
