//! Files that programs write and pipes that readers read.
//!
//! Many programs give their result only to a file whose name they are told.
//! fifofs mounts a FUSE filesystem whose files are regular files to such a
//! program: it may seek back and patch, map, lock, truncate, rename, read what
//! it wrote. What it writes is routed to *waiting readers*: other processes
//! that read the same path, or this one.
//!
//! # Five minutes
//!
//! Mount a directory, wait for a file in it, run the program:
//!
//! ```no_run
//! use std::process::Command;
//! use std::{fs, thread};
//!
//! use fifofs::{Mount, wait_path};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mount = Mount::builder().mount("/tmp/cap")?;
//! let report = mount.path().join("report.zip");
//!
//! // Opening this path waits until the file is there and done.
//! let waits = wait_path(&report, false)?;
//! let reader = thread::spawn(move || fs::read(waits));
//!
//! let status = Command::new("zip").arg(&report).arg("notes.txt").status()?;
//! if !status.success() {
//!     // Nothing may ever be written: unmounting ends the wait with an error.
//!     mount.unmount()?;
//!     return Err("zip failed".into());
//! }
//! let bytes = reader.join().expect("the reader does not panic")?;
//! assert!(bytes.starts_with(b"PK"));
//! mount.unmount()?;
//! # Ok(())
//! # }
//! ```
//!
//! A reader needs nothing of this crate. Any process that opens a file while it
//! is being written is a waiting reader, and [`wait_path`] only computes a name,
//! `DIR/.fifofs/wait/report.zip`, that can be opened before the file exists.
//! With `true` as its second argument it names what is written *next*, whatever
//! stands there now.
//!
//! [`Mount::builder`] has the options. The way a file is delivered can be left
//! to [`Deliver::Auto`] or be said, for all files or by glob:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use fifofs::{Deliver, FailOn, Linger, Mount};
//!
//! let mount = Mount::builder()
//!     .deliver_all(Deliver::Settled)
//!     .deliver("*.log", Deliver::Follow)
//!     .deliver("feeds/**", Deliver::Stream)
//!     .linger(Linger::After(Duration::from_millis(500)))
//!     .fail_on(FailOn::Status)
//!     .memory(256 << 20)
//!     .max_size(4 << 30)
//!     .mount("/tmp/cap")?;
//! mount.wait();
//! # Ok::<(), fifofs::Error>(())
//! ```
//!
//! Mounts of other processes are found with [`mounts`] and [`mount_of`] and
//! ended with [`unmount`], which also clears what a killed process left behind.
//!
//! # Terms
//!
//! - A *virtual file* is a regular file in the mount.
//! - A *generation* is one writing of it: from the first open for writing until
//!   it is *done*, which is when nobody has it open for writing and
//!   [`Linger`] is satisfied. Opened for writing after that, it begins another.
//! - A *writer* is a process that holds the file open for writing.
//! - A *waiting reader* is whoever reads a generation that is not done. It
//!   follows the path: at the end it has what stands at the path then.
//! - The *frontier* is the length of what was written without a gap. Bytes
//!   beyond a gap wait until it closes; at the end, gaps are zeros.
//! - *Delivered* is the highest offset that any reader was given. If bytes
//!   below it change, the readers that have them are told by an error
//!   (`ESTALE`); they never get the old bytes and a clean end.
//!
//! A writer, its descendants, and whoever opens a file for reading *and*
//! writing never wait: they see the file as it is.
//!
//! # Architecture
//!
//! Arrows mean "may use"; nothing points the other way.
//!
//! ```text
//!  command line ──► mount ──► fuse ──► router ──► core
//!                                                  ├ generation  one writing, as a state machine
//!                                                  ├ namespace   the tree of names
//!                                                  ├ spool       the bytes, in memory or on disk
//!                                                  └ rules, format, reader, events, status
//! ```
//!
//! - `core` knows bytes, names and rules. It has no clock, thread or lock and
//!   knows nothing of FUSE: an operation goes in with the time it happens, and
//!   effects come out: answer this request, keep that one, look again then.
//! - `router` holds the lock around the core and carries the effects out once
//!   it is dropped. Its reactor thread waits for the clock and for processes to
//!   exit.
//! - `fuse` turns requests of the kernel into operations and effects into
//!   replies. A request that has to wait is kept by its number and answered
//!   later; no thread waits with it.
//! - `mount` is what is public here. The command line is built on nothing else,
//!   and its dependencies come only with the feature `cli`.
//!
//! # Threads and processes
//!
//! A [`Mount`] is served by six threads of the process that made it:
//! `fifofs-front` reads requests from the kernel, `fifofs-fuser` and `fuser-0`
//! run the callbacks of the fuser crate, `fifofs-reactor` is described above,
//! `fifofs-forget` tells the kernel of names that went without its doing, and
//! `fifofs-mounts` notices when somebody else unmounts. The number does not grow
//! with files, writers or readers.
//!
//! Two small processes are forked at the start. `fifofs-watchdog` takes the
//! mount away if this process dies without doing so. `fifofs-flusher` has the
//! kernel pass on early what programs wrote to files that somebody waits for.
//! Neither is a child that has to be reaped, and neither keeps a descriptor of
//! this process open.
//!
//! [`Mount`] may be sent to another thread; the settings and [`Error`] may also
//! be shared:
//!
//! ```
//! fn send<T: Send>() {}
//! fn send_and_sync<T: Send + Sync>() {}
//!
//! send::<fifofs::Mount>();
//! send_and_sync::<fifofs::MountBuilder>();
//! send_and_sync::<fifofs::Rules>();
//! send_and_sync::<fifofs::Error>();
//! ```
//!
//! # What dropping does
//!
//! Dropping a [`Mount`] unmounts: requests that wait are answered with an error
//! (`ENOTCONN`), the directory is detached, removed if the mount had made it,
//! and the threads are joined. That takes a second at most: if a process still
//! has a file of the mount open, the mount goes from sight at once and its
//! threads end with that file. [`Mount::unmount`] does the same and reports
//! what went wrong, which dropping only logs (through the `log` crate). What
//! the files held is gone with the mount.
//!
//! If the process is killed, or a [`Mount`] is leaked and the process exits, the
//! watchdog unmounts.
//!
//! # Errors
//!
//! Functions here return [`Error`], which says what was attempted on which path,
//! why it failed, and what to do instead; it converts into [`std::io::Error`].
//! Whoever reads or writes a virtual file gets plain errors of the system:
//!
//! | error | who gets it | what it means |
//! |---|---|---|
//! | `ESTALE` | reader | bytes it was given have changed since, or (stream) bytes it would need are dropped |
//! | `EIO` | reader | it has every byte, but a writer was killed; see [`FailOn`] |
//! | `ENOENT` | reader | every writer is gone and nothing stands at the path |
//! | `ENOTCONN`, `ECONNABORTED` | both | the mount is gone |
//! | `EINTR` | both | a signal ended the wait |
//! | `EAGAIN` | reader | opened with `O_NONBLOCK`, and there is nothing yet |
//! | `EPIPE` | writer | stream: every reader went away |
//! | `ESPIPE` | writer | stream: it wrote to bytes that are dropped |
//! | `ENOSPC` | writer | [`MountBuilder::max_size`] is reached; shows at `close` or `fsync` unless the way is stream |
//!
//! `ESTALE` from *opening* a path under `wait` can also mean that the file was
//! replaced at that very moment: open it again.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod capture;
mod core;
mod error;
mod fifo;
mod fuse;
mod limits;
mod mount;
mod router;
mod temporary;
mod temporary_pipe;

pub use crate::core::rules::{Deliver, FailOn, Linger, Rules};
pub use capture::{
    Backend, Canceller, Capture, CaptureEvents, Event, Output, Process, Reader, Running, Target,
};
pub use error::{Error, Result};
pub use fuse::{Privacy, enter_private_namespace};
pub use mount::{Mount, MountBuilder, mount_of, mounts, unmount, wait_path};
pub use temporary_pipe::TemporaryPipe;
