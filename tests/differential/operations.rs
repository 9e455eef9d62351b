//! The operations of a sequence.
//!
//! Knows the calls and their arguments, in a form whose `{:?}` is Rust source: a sequence that failed is pasted into
//! `regressions.rs` as it was printed. Does not know how they are run.

use std::fmt;
use std::ops::BitOr;

pub(crate) use Operation::*;

/// Where a sequence keeps its open files: a number below [`SLOTS`].
pub(crate) type Slot = usize;

/// Few, so that several are the same file.
pub(crate) const SLOTS: usize = 3;

/// A path below the directory that the sequence has to itself.
pub(crate) type Path = &'static str;

/// One call. It is left out if its slot is empty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    Open {
        slot: Slot,
        path: Path,
        flags: Flags,
        mode: u32,
    },
    Close {
        slot: Slot,
    },
    Dup {
        from: Slot,
        to: Slot,
    },
    /// Writes at the file offset. The bytes of this and the others are `fill`, `fill + 1` and so on.
    Write {
        slot: Slot,
        length: usize,
        fill: u8,
    },
    PositionedWrite {
        slot: Slot,
        offset: i64,
        length: usize,
        fill: u8,
    },
    Read {
        slot: Slot,
        length: usize,
    },
    PositionedRead {
        slot: Slot,
        offset: i64,
        length: usize,
    },
    /// Maps the whole file shared, writes within its size, unmaps.
    MapWrite {
        slot: Slot,
        offset: usize,
        length: usize,
        fill: u8,
        synchronize: bool,
    },
    MapRead {
        slot: Slot,
        offset: usize,
        length: usize,
    },
    Seek {
        slot: Slot,
        whence: Whence,
        offset: i64,
    },
    FileTruncate {
        slot: Slot,
        length: i64,
    },
    Truncate {
        path: Path,
        length: i64,
    },
    Allocate {
        slot: Slot,
        how: Allocation,
        offset: u64,
        length: u64,
    },
    CopyRange {
        from: Slot,
        from_offset: Option<u64>,
        to: Slot,
        to_offset: Option<u64>,
        length: usize,
    },
    Synchronize {
        slot: Slot,
        data_only: bool,
    },
    FileStat {
        slot: Slot,
    },
    Stat {
        path: Path,
        follow: bool,
    },
    List {
        path: Path,
    },
    Rename {
        from: Path,
        to: Path,
        how: Renaming,
    },
    Link {
        from: Path,
        to: Path,
        follow: bool,
    },
    SymbolicLink {
        target: &'static str,
        path: Path,
    },
    ReadLink {
        path: Path,
    },
    Unlink {
        path: Path,
    },
    MakeDirectory {
        path: Path,
        mode: u32,
    },
    RemoveDirectory {
        path: Path,
    },
    /// `mknod` of a regular file.
    MakeFile {
        path: Path,
        mode: u32,
    },
    ChangeMode {
        path: Path,
        mode: u32,
    },
    FileChangeMode {
        slot: Slot,
        mode: u32,
    },
    /// Sets the modification and access time to so many seconds after 1970.
    SetTimes {
        path: Path,
        seconds: i64,
        follow: bool,
    },
    FileSetTimes {
        slot: Slot,
        seconds: i64,
    },
    SetAttribute {
        path: Path,
        name: &'static str,
        length: usize,
        how: Setting,
    },
    GetAttribute {
        path: Path,
        name: &'static str,
        room: usize,
    },
    ListAttributes {
        path: Path,
    },
    RemoveAttribute {
        path: Path,
        name: &'static str,
    },
    /// A child does it with the inherited open files, and ends.
    Fork {
        does: Child,
    },
}

/// The operation of a child.
#[derive(Clone, PartialEq)]
pub(crate) struct Child(pub(crate) Box<Operation>);

/// For [`Operation::Fork`].
pub(crate) fn child(operation: Operation) -> Child {
    Child(Box::new(operation))
}

impl fmt::Debug for Child {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "child({:?})", self.0)
    }
}

/// An enum whose `{:?}` is its path and not only the variant.
macro_rules! choice {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $variant:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq)]
        pub(crate) enum $name { $($(#[$what])* $variant,)* }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(match self {
                    $($name::$variant => concat!(stringify!($name), "::", stringify!($variant)),)*
                })
            }
        }
    };
}

choice! {
    Whence {
        Start,
        Current,
        End,
        Data,
        Hole,
    }
}

choice! {
    /// Modes of fallocate. Collapsing and inserting are left out: fifofs refuses them with EOPNOTSUPP, as tmpfs does.
    Allocation {
        Extend,
        KeepSize,
        PunchHole,
        ZeroRange,
        ZeroRangeKeepSize,
        /// EOPNOTSUPP: a hole must keep the size.
        PunchHoleAlone,
    }
}

choice! {
    Renaming {
        Replace,
        NoReplace,
        Exchange,
    }
}

choice! {
    Setting {
        Any,
        Create,
        Replace,
    }
}

/// Flags of open(2).
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Flags(pub(crate) i32);

pub(crate) const RDONLY: Flags = Flags(libc::O_RDONLY);
pub(crate) const WRONLY: Flags = Flags(libc::O_WRONLY);
pub(crate) const RDWR: Flags = Flags(libc::O_RDWR);
pub(crate) const CREAT: Flags = Flags(libc::O_CREAT);
pub(crate) const EXCL: Flags = Flags(libc::O_EXCL);
pub(crate) const TRUNC: Flags = Flags(libc::O_TRUNC);
pub(crate) const APPEND: Flags = Flags(libc::O_APPEND);
pub(crate) const NOFOLLOW: Flags = Flags(libc::O_NOFOLLOW);
pub(crate) const DIRECTORY: Flags = Flags(libc::O_DIRECTORY);
pub(crate) const SYNC: Flags = Flags(libc::O_SYNC);

/// What may be added to the access mode.
pub(crate) const MODIFIERS: [(Flags, &str); 7] = [
    (CREAT, "CREAT"),
    (EXCL, "EXCL"),
    (TRUNC, "TRUNC"),
    (APPEND, "APPEND"),
    (NOFOLLOW, "NOFOLLOW"),
    (DIRECTORY, "DIRECTORY"),
    (SYNC, "SYNC"),
];

impl Flags {
    pub(crate) fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn writes(self) -> bool {
        self.0 & libc::O_ACCMODE != libc::O_RDONLY
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 & libc::O_ACCMODE {
            libc::O_RDONLY => "RDONLY",
            libc::O_WRONLY => "WRONLY",
            _ => "RDWR",
        })?;
        for (flag, name) in MODIFIERS {
            if self.has(flag) {
                write!(formatter, " | {name}")?;
            }
        }
        Ok(())
    }
}
