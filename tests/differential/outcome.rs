//! The result of an operation, without details in which two filesystems may differ.
//!
//! Knows what is comparable; each detail that is left out has its reason here. Inode and device numbers, `st_blocks`,
//! `st_blksize` and the order of a listing differ between filesystems and are never compared, nor is the access time,
//! which depends on mount options (fifofs: noatime). The change time cannot be set, and so would always be now.

use std::collections::BTreeSet;
use std::fmt;

use rustix::fs::Stat;
use rustix::io::Errno;

/// The result of a call, or its error.
pub(crate) type Outcome = Result<Value, Errno>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// The operation needs an open file and there is none, or the result cannot be compared.
    LeftOut,
    Done,
    Number(u64),
    Content(Content),
    Status(Status),
    Names(BTreeSet<String>),
    Text(String),
    /// The place of data or a hole, which filesystems return with different granularity: it fits the content.
    Fits,
    /// It does not fit: it would make a program skip data.
    Misfit {
        answer: Result<u64, Errno>,
        size: usize,
    },
}

/// Bytes that were read.
#[derive(Clone, PartialEq)]
pub(crate) struct Content(pub(crate) Vec<u8>);

impl fmt::Debug for Content {
    /// Enough to distinguish two contents.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // FNV-1a.
        let sum = self.0.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        let start = &self.0[..self.0.len().min(8)];
        write!(formatter, "{} bytes, {start:?}…, sum {sum:x}", self.0.len())
    }
}

/// The result of stat(2).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    mode: String,
    links: String,
    owner: (u32, u32),
    /// None for a directory: filesystems count its entries in units of their own.
    size: Option<i64>,
    modified: Modified,
}

#[derive(Clone, Debug, PartialEq)]
enum Modified {
    /// As the sequence set it.
    At(i64, u64),
    /// Set by the filesystem: the two do it at different moments.
    Lately,
}

/// Sequences set times before this, September 2001; no clock of a machine that runs this shows one.
const LATELY_SECONDS: i64 = 1_000_000_000;

impl Status {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            mode: format!("{:o}", stat.st_mode),
            links: stat.st_nlink.to_string(),
            owner: (stat.st_uid, stat.st_gid),
            size: (stat.st_mode & libc::S_IFMT != libc::S_IFDIR).then_some(stat.st_size),
            modified: if stat.st_mtime < LATELY_SECONDS {
                Modified::At(stat.st_mtime, stat.st_mtime_nsec)
            } else {
                Modified::Lately
            },
        }
    }
}

/// Whether `answer` to "where is data (or a hole) at or after `offset`" is allowed for a file with this content.
pub(crate) fn fits(content: &[u8], data: bool, offset: usize, answer: Result<u64, Errno>) -> bool {
    let zeros = |range: &[u8]| range.iter().all(|byte| *byte == 0);
    match (answer, data) {
        // Beyond the end both must be refused.
        _ if offset >= content.len() => false,
        (Ok(found), true) => {
            let found = found as usize;
            (offset..content.len()).contains(&found) && zeros(&content[offset..found])
        }
        (Ok(found), false) => {
            let found = found as usize;
            found == content.len()
                || (offset..content.len()).contains(&found) && content[found] == 0
        }
        (Err(Errno::NXIO), true) => zeros(&content[offset..]),
        (Err(_), _) => false,
    }
}
