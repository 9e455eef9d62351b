//! Capture what programs write to files: a FUSE filesystem that delivers it to waiting readers.
//!
//! Many programs write their result only to a file whose name they are given. fifofs mounts a FUSE filesystem whose
//! files are regular files to such a program: it may seek back and patch, map, lock, truncate, rename, read back. What
//! it writes is routed to *waiting readers*: other processes that read the same path, or this one.
//!
//! Use it with `default-features = false`: see [Features](#features).
//!
//! # Five minutes
//!
//! A [`Capture`] is a path to give to a program, and what the program writes there:
//!
//! ```
//! use std::process::Command;
//!
//! use fifofs::Capture;
//!
//! let capture = Capture::new("list.txt")?;
//! let output = capture.run(Command::new("sort").args(["-o".as_ref(), capture.path(), "Cargo.toml".as_ref()]))?;
//! assert!(output.status.success());
//! assert_eq!(output.bytes.len() as u64, std::fs::metadata("Cargo.toml").unwrap().len());
//! # Ok::<(), fifofs::Error>(())
//! ```
//!
//! The extension matters, to the program and to fifofs: a `.zip` is delivered when it is done, since programs patch it;
//! lines of a `.log` as they are written. [`Capture::run_to`] passes bytes on to any [`Write`](std::io::Write), and
//! [`Capture::spawn`] gives a child and a [`Reader`], which is [`Read`](std::io::Read) and
//! [`BufRead`](std::io::BufRead), can time out and be cancelled, and never hangs if the child dies early:
//!
//! ```
//! use std::io::BufRead;
//! use std::process::Command;
//!
//! use fifofs::{Capture, Running};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let capture = Capture::new("progress.log")?;
//! let script = "for i in 1 2 3; do echo step $i >> $0; sleep 0.05; done";
//! let Running { mut child, reader, .. } =
//!     capture.spawn(Command::new("sh").arg("-c").arg(script).arg(capture.path()))?;
//! let lines = reader.lines().collect::<Result<Vec<String>, _>>()?;
//! assert_eq!(lines, ["step 1", "step 2", "step 3"]);
//! assert!(child.wait()?.success());
//! # Ok(())
//! # }
//! ```
//!
//! [`Capture::run_timeout`] ends a program that takes too long, and gives what it wrote before;
//! [`Capture::reader_until_exit`] reads the output of a process that was started by other means, by its process id or
//! pidfd; and for programs with many outputs there is [`CaptureDir`]:
//!
//! ```
//! use std::process::Command;
//! use std::time::Duration;
//!
//! use fifofs::{Capture, CaptureDir, Error};
//!
//! let capture = Capture::new("log.txt")?;
//! let mut command = Command::new("sh");
//! command.args(["-c", "echo started > $1; sleep 60", "sh"]).arg(capture.path());
//! let error = capture.run_timeout(&mut command, Duration::from_millis(500)).unwrap_err();
//! assert!(matches!(*error.source, Error::TimedOut { .. }) && error.bytes == b"started\n");
//!
//! let directory = CaptureDir::new()?;
//! let mut command = Command::new("split");
//! let output = directory.run(command.arg("-l20").arg("Cargo.toml").arg(directory.path().join("part-")))?;
//! assert!(output.files.len() > 1);
//! # Ok::<(), Error>(())
//! ```
//!
//! A reader's end of file means that the output is whole: if the program rewrote delivered bytes, was killed, or left
//! no file, the reader gets an [`Error`] instead ([`Reader`] lists them). [`Capture::events`] reports what the program
//! does to its file.
//!
//! Without FUSE, or to compare, [`TemporaryPipe`] does the same with a FIFO, as far as a FIFO can; [`Backend`] chooses
//! between the two at run time.
//!
//! Your own [`Mount`] is a directory in which any number of paths can be captured, with options, and which other
//! processes may read as well:
//!
//! ```
//! use std::process::Command;
//! use std::time::Duration;
//!
//! use fifofs::{Deliver, FailOn, Linger, Mount};
//!
//! let mount = Mount::builder()
//!     .deliver_all(Deliver::Settled)
//!     .deliver("*.log", Deliver::Follow)
//!     .linger(Linger::After(Duration::from_millis(50)))
//!     .fail_on(FailOn::Status)
//!     .memory(256 << 20)
//!     .max_size(4 << 30)
//!     .mount_temporary()?;
//! let capture = mount.capture("run-17/out.log")?;
//! let output = capture.run(Command::new("cp").arg("Cargo.toml").arg(capture.path()))?;
//! assert!(output.bytes.starts_with(b"[package]"));
//! mount.unmount()?;
//! # Ok::<(), fifofs::Error>(())
//! ```
//!
//! Other processes need nothing of this crate. One that opens a file of a mount while it is being written is a waiting
//! reader. One that opens `DIR/.fifofs/wait/report.zip`, the path that [`wait_path`] computes, need not even wait for
//! the file to exist: it gets the finished file; with [`pipe_path`], the bytes as they are written. With `true` as
//! their second argument both name what is written *next*, whatever file is there now. [`mounts`] and [`mount_of`] find
//! mounts of other processes, and [`unmount`] ends them; it also clears what a killed process left behind.
//!
//! # Requirements
//!
//! Linux with `/dev/fuse`, and root or `fusermount3` (package `fuse3`), or user namespaces and
//! [`enter_private_namespace`]. Tested on Linux 5.4 to 7.2; older ones are refused. Before 6.15 a writer that is no
//! child of this process may seem to have finished if it is killed after it has closed the file. `fifofs doctor` tests
//! all this on a machine. [`TemporaryPipe`] needs no FUSE.
//!
//! # Features
//!
//! - `cli`, by default: the command `fifofs`. `default-features = false` turns it off, for programs that need the
//!   library alone, and leaves out a third of the dependencies.
//! - `tokio`: the module `tokio`, with readers, runs and events for tasks.
//!
//! # Own files
//!
//! The process that serves a mount may use its files like any other process, in any of its threads, and dies like any
//! other with files of it open. The mount ends with the process, however that ends. A file that it keeps open after
//! dropping the [`Mount`], or the last [`Capture`] and its readers, still works. Unless fusectl is mounted on
//! `/sys/fs/fuse/connections` (usually it is) or the process is root, close such a file before the process ends:
//! otherwise the process would wait for itself.
//!
//! ```
//! use std::io::{Read, Write};
//!
//! use fifofs::Capture;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let capture = Capture::new("own.txt")?;
//! let mut reader = capture.reader()?;
//! let writes = std::thread::spawn({
//!     let mut file = std::fs::File::create(capture.path())?;
//!     move || file.write_all(b"by a thread of this process\n")
//! });
//! let mut text = String::new();
//! reader.read_to_string(&mut text)?;
//! assert_eq!(text, "by a thread of this process\n");
//! writes.join().unwrap()?;
//! # Ok(())
//! # }
//! ```
//!
//! A file that outlives its mount:
//!
//! ```
//! use std::io::{Read, Seek, Write};
//!
//! use fifofs::Mount;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mount = Mount::builder().mount_temporary()?;
//! let mut file = std::fs::File::create_new(mount.path().join("kept.txt"))?;
//! mount.unmount()?;
//! file.write_all(b"still there")?;
//! file.rewind()?;
//! let mut text = String::new();
//! file.read_to_string(&mut text)?;
//! assert_eq!(text, "still there");
//! # Ok(())
//! # }
//! ```
//!
//! But a run fails if this process keeps the program's output open for writing. A `Command` keeps the file that it was
//! given as the program's standard output:
//!
//! ```
//! use std::process::Command;
//!
//! use fifofs::Capture;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let capture = Capture::new("own.txt")?;
//! let mut command = Command::new("echo");
//! let error = capture.run(command.stdout(std::fs::File::create(capture.path())?)).unwrap_err();
//! assert!(error.to_string().contains("this process has the file open for writing"));
//! # Ok(())
//! # }
//! ```
//!
//! # Forking
//!
//! A child that is forked and does not call exec(2), as in Python's `multiprocessing` or a pre-forking server, can make
//! mounts and captures of its own at any time. What it inherited belongs to its parent: whether the child drops it or
//! exits with it changes nothing, and using it is an [`Error::Io`] that says so. (Functions without an error do nothing
//! there: a mount has ended, a capture has no writers.) While the child lives, the reader of a [`TemporaryPipe`] that
//! existed at the fork may not end: the child has the FIFO open, too.
//!
//! ```standalone_crate
//! use fifofs::Capture;
//!
//! let capture = Capture::new("parent.txt")?;
//! // SAFETY: the child does what the text above says, and exits.
//! let child = unsafe { libc::fork() };
//! if child == 0 {
//!     let is_refused = capture.reader().is_err();
//!     drop(capture);
//!     let has_its_own = Capture::new("child.txt").is_ok();
//!     unsafe { libc::_exit(if is_refused && has_its_own { 0 } else { 1 }) };
//! }
//! let mut status = -1;
//! unsafe { libc::waitpid(child, &mut status, 0) };
//! assert_eq!(status, 0);
//! assert!(capture.reader().is_ok());
//! # Ok::<(), fifofs::Error>(())
//! ```
//!
//! # Memory
//!
//! Contents of files and facts about them are kept in memory up to a bound ([`MountBuilder::memory`]: 1 GiB or an
//! eighth of the memory there is, unless set) and beyond it on disk; they are freed with the capture or the file.
//! [`Capture::keep_at_most`] keeps less of output that is passed on and never asked for again:
//!
//! ```
//! use fifofs::{Capture, Mount};
//!
//! let mount = Mount::builder().memory(64 << 20).max_size(1 << 30).mount_temporary()?;
//! let capture = mount.capture("lines.txt")?;
//! capture.keep_at_most(8 << 20);
//! let mut command = std::process::Command::new("sh");
//! command.args(["-c", "seq 1 2000000 > $1", "sh"]).arg(capture.path());
//! capture.run_to(&mut command, &mut std::io::sink())?;
//! assert!(mount.status().memory.used <= 64 << 20);
//! # Ok::<(), fifofs::Error>(())
//! ```
//!
//! A mount has one or two helper processes, which end with it; they keep none of this process's memory. They are forked
//! from it, though, and a fork copies page tables: if this process has much memory in small pages, the first mount or
//! capture takes some 30 ms for each GiB of it, and so does the next one some seconds after all were dropped. A program
//! that cannot afford that keeps one capture or mount.
//!
//! # Panics
//!
//! No function of this crate panics, except those of the module `tokio` outside of a runtime, like tokio's own. A panic
//! that unwinds drops values, as any end of a scope does:
//!
//! ```
//! use std::panic::{catch_unwind, resume_unwind};
//! use std::path::PathBuf;
//!
//! use fifofs::Capture;
//!
//! let panic = catch_unwind(|| {
//!     let capture = Capture::new("x.txt").unwrap();
//!     std::fs::write(capture.path(), "x").unwrap();
//!     resume_unwind(Box::new(capture.path().to_owned()));
//! });
//! let path = panic.unwrap_err().downcast::<PathBuf>().unwrap();
//! assert!(!path.exists());
//! ```
//!
//! # Terms
//!
//! - A *virtual file* is a regular file in the mount.
//! - A *generation* is one writing of it: from the first open for writing until it is *done*, which is when no process
//!   has it open for writing and [`Linger`] is satisfied. Opening it for writing after that begins another.
//! - A *writer* is a process that holds the file open for writing.
//! - A *waiting reader* is a process that reads a generation which is not done. It follows the path: at the end it has
//!   the file that is at the path then.
//! - The *frontier* is the length of the part written without a gap. Bytes beyond a gap wait until it closes; at the
//!   end, gaps are zeros.
//! - *Delivered* is the highest offset that any reader was given. If bytes below it change, the readers that have them
//!   get an error (`ESTALE`); they never get the old bytes and a clean end.
//!
//! A writer, its descendants, and a process that opens a file for reading *and*
//! writing never wait: they see the file as it is.
//!
//! # Threads and processes
//!
//! A mount is served by two threads of the process that made it, and some more once they are needed, eight in all:
//! their names begin with `fifofs` or `fuser`. The number does not grow with files, writers or readers. One or two
//! small helper processes end with it; waiting for any child does not find them, and they keep no descriptor of this
//! process open. No signal handler is installed, and nothing is printed (messages without a caller go to the `log`
//! crate).
//!
//! ```standalone_crate
//! use std::fs::read_to_string;
//! use std::io::Read;
//!
//! use fifofs::Capture;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let captures: Vec<_> = (0..100).map(|_| Capture::new("x.txt")).collect::<Result<_, _>>()?;
//! let readers: Vec<_> = captures.iter().map(Capture::reader).collect::<Result<_, _>>()?;
//! for (capture, mut reader) in captures.iter().zip(readers) {
//!     std::fs::write(capture.path(), "x")?;
//!     assert_eq!(reader.read(&mut [0])?, 1);
//! }
//! let threads = std::fs::read_dir("/proc/self/task")?.flatten();
//! let names = threads.filter_map(|thread| read_to_string(thread.path().join("comm")).ok());
//! let is_ours = |name: &String| name.starts_with("fifofs") || name.starts_with("fuser");
//! assert!((2..=8).contains(&names.filter(is_ours).count()));
//!
//! // Waiting for any child finds none.
//! let waited = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
//! assert_eq!(waited, -1);
//! # Ok(())
//! # }
//! ```
//!
//! Readers, runs and events can be sent to another thread; all other values can also be shared:
//!
//! ```
//! fn send<T: Send>() {}
//! fn send_and_sync<T: Send + Sync>() {}
//!
//! send::<fifofs::Reader>();
//! send::<fifofs::Running>();
//! send::<fifofs::CaptureEvents>();
//! send::<fifofs::Events>();
//! send_and_sync::<fifofs::Mount>();
//! send_and_sync::<fifofs::Capture>();
//! send_and_sync::<fifofs::CaptureDir>();
//! send_and_sync::<fifofs::RunError>();
//! send_and_sync::<fifofs::TemporaryPipe>();
//! send_and_sync::<fifofs::explain::Study>();
//! send_and_sync::<fifofs::explain::Findings>();
//! send_and_sync::<fifofs::Canceller>();
//! send_and_sync::<fifofs::MountBuilder>();
//! send_and_sync::<fifofs::Error>();
//! ```
//!
//! # What dropping does
//!
//! Dropping a [`Mount`] unmounts: requests that wait are answered with an error (`ENOTCONN`), the directory is
//! detached, removed if the mount had made it, and the threads are joined. That takes a second at most: if a process
//! still has a file of the mount open, the mount disappears at once and its threads end with that file.
//! [`Mount::unmount`] does the same and reports errors, which dropping only logs (through the `log` crate). The
//! contents of the files are gone with the mount.
//!
//! Dropping a [`Capture`] removes its file. Dropping a [`Reader`] or a [`Running`] neither waits for the program nor
//! kills it; the file may then be done before that program exits. The mount that captures share is kept for some
//! seconds after the last capture, reader or [`CaptureEvents`], so that a loop does not mount each time;
//! [`unmount_idle`] ends it at once.
//!
//! If the process is killed, or a [`Mount`] is leaked and the process exits, the
//! watchdog unmounts.
//!
//! # Errors
//!
//! Functions here return [`Error`], which says what was attempted on which path, why it failed, and what to do about
//! it; it converts into [`std::io::Error`]. Programs that read or write a virtual file get plain errors of the system:
//!
//! | error | given to | meaning |
//! |---|---|---|
//! | `ESTALE` | reader | bytes that it was given have changed since, or (stream) bytes that it needs were dropped |
//! | `EIO` | reader | a writer was killed or failed, see [`FailOn`], bytes were lost for lack of space, or a stream was used as no pipe can be; `open` fails so if the file is settled, else reading does after the last byte |
//! | `ENOENT` | reader | every writer is gone and there is no file at the path |
//! | `ENOTCONN`, `ECONNABORTED` | both | the mount is gone |
//! | `EINTR` | both | a signal ended the wait |
//! | `EAGAIN` | reader | opened with `O_NONBLOCK`, and there is nothing yet |
//! | `EPIPE` | writer | stream: every reader went away |
//! | `ESPIPE` | writer | stream: the operation would change, cut or read back delivered bytes, or replace the file that they came from |
//! | `ENOSPC` | writer | [`MountBuilder::max_size`] is reached; shows at `close` or `fsync` unless the mode is stream |
//!
//! `ESTALE` from *opening* a path under `wait` can also mean that the file was replaced at that very moment: open it
//! again.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bell;
mod capture;
mod core;
mod error;
pub mod explain;
mod fifo;
mod forked;
mod fuse;
mod json;
mod limits;
mod mount;
mod procfs;
mod router;
mod sync;
mod temporary;
#[cfg(test)]
mod testing;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use crate::core::event::{Event, FileEvent};
pub use crate::core::generation::Way;
pub use crate::core::rules::{Deliver, FailOn, Linger};
pub use crate::core::status::{
    FifoState, FileState, FileStatus, MemoryStatus, ReaderStatus, Status, WriterStatus,
};
pub use capture::{
    Backend, Canceller, Capture, CaptureBuilder, CaptureDir, CaptureEvents, CaptureHold, DirOutput,
    Events, PositionalReader, Process, ProcessRef, Reader, RunError, RunOutput, Running, Target,
    TemporaryPipe, unmount_idle,
};
pub use error::{Error, FailedWriter, Result};
pub use fuse::{IfBusy, Privacy, enter_private_namespace};
pub use mount::{
    Entry, EntryKind, Mount, MountBuilder, MountView, clear_dead, mount_of, mounts, pipe_path,
    pipe_path_until_exit, unmount, unmount_if, wait_path,
};
