//! `fifofs mount`.

mod helper;
mod notify;

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use fifofs::{Error, Linger, Mount, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, Rlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

pub(super) use self::helper::translate;
use super::links;
use super::logging;
use super::options::{Delivery, LINGERS};
use super::text::say;

/// Mount a directory whose files go to waiting readers as they are written
///
/// To the programs that write them the files in DIR are regular files. A process that
/// opens one for reading while it is written gets its bytes as they come, and the end of the
/// file when it is finished; or it waits until then and gets all of it. --deliver says which.
///
/// `fifofs cat DIR/PATH` also waits for a file that is not there yet. For other programs
/// DIR/.fifofs/pipe/PATH does the same, and DIR/.fifofs/wait/PATH waits for the finished
/// file.
///
/// The mount is served until it is unmounted, or until INT, TERM or HUP.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  fifofs mount --daemon /tmp/cap\n  \
                  fifofs mount --deliver settled --deliver '*.log=follow' /tmp/cap\n  \
                  mount -t fuse.fifofs none /tmp/cap -o deliver=settled,allow_other")]
pub(crate) struct Arguments {
    /// Where to mount; created if it is missing
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    directory: PathBuf,
    /// Return when the mount is ready, and serve it in the background
    #[arg(short, long)]
    daemon: bool,
    #[command(flatten)]
    delivery: Delivery,
    /// When a closed file counts as finished; may also be a duration after its last close: 5s
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = LINGERS)]
    linger: Linger,
    /// Let other users in; file modes and owners count for them
    #[arg(long)]
    allow_other: bool,
    /// What mkfifo makes: kernel (a FIFO of the kernel), virtual (a FIFO for its readers, and a
    /// regular file for the program that writes it), or a glob of the names that are virtual
    #[arg(long, value_name = "KIND", default_value = "kernel")]
    fifos: String,
    /// Remove a file once a reader has read it to its end
    #[arg(long)]
    consume: bool,
    /// Refuse writers in pid namespaces that fifofs cannot see: it cannot tell a crash of
    /// such a writer from a normal end
    #[arg(long)]
    require_visible: bool,
    /// Append the log to this file [default: standard error; with --daemon syslog or
    /// the journal]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    log_file: Option<PathBuf>,
    /// What df and findmnt show as the source of the mount
    #[arg(long, value_name = "NAME", default_value = "fifofs")]
    source: String,
    /// Only look whether the options make sense
    #[arg(long, hide = true)]
    fake: bool,
    /// An option that the kernel heeds
    #[arg(long, hide = true)]
    kernel_option: Vec<String>,
    /// Options separated by commas, as in fstab: those of this command without --, and those of
    /// mount(8) for every file system
    ///
    /// A comma that belongs to a value has a backslash before it: deliver=*.{log\,txt}=follow.
    /// Called by mount(8), fifofs serves in the background, and exits with 1 for wrong options
    /// and 32 if the mount failed.
    // Translated to the others before this is parsed.
    #[arg(id = "options", short = 'o', value_name = "OPT[,OPT]...")]
    _options: Vec<OsString>,
}

/// How often to check whether a detached mount is still used.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Mounts, and serves until a signal or an unmount ends it.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    if arguments.fake {
        return Ok(());
    }
    if arguments.daemon {
        return run_in_background(arguments);
    }
    log_to_file(&arguments)?;
    let mount = mount(&arguments)?;
    let signals = watch_signals(&mount)?;
    say(&format!("serving {}", mount.path().display()));
    serve(mount, &signals)
}

fn mount(arguments: &Arguments) -> Result<Mount> {
    raise_descriptor_limit();
    let builder = arguments
        .delivery
        .apply(Mount::builder())?
        .linger(arguments.linger)
        .allow_other(arguments.allow_other)
        .consume(arguments.consume)
        .require_visible(arguments.require_visible)
        .fifos(&arguments.fifos)?;
    let mut builder = builder.source(&arguments.source);
    for option in &arguments.kernel_option {
        builder = builder.kernel_option(option)?;
    }
    let directory = links::followed(&arguments.directory)
        .map_err(|error| Error::io("mount on", &arguments.directory, error))?;
    builder.mount(directory)
}

fn log_to_file(arguments: &Arguments) -> Result<()> {
    arguments
        .log_file
        .as_deref()
        .map_or(Ok(()), logging::to_file)
}

/// A stream that is readable from the first signal on that asks for the end.
fn watch_signals(mount: &Mount) -> Result<UnixStream> {
    let failed = |error| Error::io("wait for signals for", mount.path(), error);
    let (signals, sender) = UnixStream::pair().map_err(failed)?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let sender = sender.try_clone().map_err(failed)?;
        signal_hook::low_level::pipe::register(signal, sender).map_err(failed)?;
    }
    Ok(signals)
}

fn serve(mount: Mount, mut signals: &UnixStream) -> Result<()> {
    let failed = |error| Error::io("wait for signals for", mount.path(), error);
    notify::ready(mount.path());
    let mut polled = [
        PollFd::new(signals, PollFlags::IN),
        PollFd::new(&mount, PollFlags::IN),
    ];
    // A signal interrupts poll(2) itself, too.
    while poll(&mut polled, None).is_err() {}
    if polled[0].revents().is_empty() {
        // A lazy unmount detached it; it is served as long as processes use it.
        signals
            .set_read_timeout(Some(LOOK_INTERVAL))
            .map_err(failed)?;
        while mount.is_in_use() && signals.read(&mut [0]).is_err() {}
    }
    notify::stopping();
    mount.unmount()
}

/// Raises the limit: each writing process takes a descriptor.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        log::warn!("cannot raise the limit of open files: {error}");
    }
}

/// Forks before any thread or descriptor exists: the child serves; the parent waits until the child is
/// ready, or passes its failure on.
fn run_in_background(arguments: Arguments) -> Result<()> {
    let failed = |errno: rustix::io::Errno| {
        Error::io("start a daemon for", &arguments.directory, errno.into())
    };
    let (ready, sender) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed)?;
    // SAFETY: this process has one thread, so the child may call anything.
    let child = unsafe { libc::fork() };
    match child {
        -1 => Err(Error::io(
            "start a daemon for",
            &arguments.directory,
            std::io::Error::last_os_error(),
        )),
        0 => {
            drop(ready);
            close_all_but(sender.as_fd());
            serve_in_background(&arguments, sender)
        }
        _ => {
            drop(sender);
            let mut answer = String::new();
            let read = File::from(ready).read_to_string(&mut answer);
            match (read, answer.as_str()) {
                (Ok(_), READY) => Ok(()),
                (Ok(_), "") | (Err(_), _) => Err(Error::usage(
                    "the daemon ended before it was ready; start it without --daemon to see why",
                )),
                (Ok(_), message) => Err(Error::usage(message)),
            }
        }
    }
}

/// Closes everything except the standard descriptors and `kept`: the daemon must not keep inherited locks
/// or pipe ends open.
fn close_all_but(kept: BorrowedFd<'_>) {
    let names = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let numbers = names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // Collected first: the directory itself is open while it is read.
    let numbers: Vec<i32> = numbers.collect();
    for number in numbers {
        if number > libc::STDERR_FILENO && number != kept.as_raw_fd() {
            // SAFETY: this process was just forked from one with one thread, and owns no open descriptor
            // but `kept`.
            unsafe { libc::close(number) };
        }
    }
}

/// The daemon sends this when the mount can be used.
const READY: &str = "ready";

fn serve_in_background(arguments: &Arguments, sender: OwnedFd) -> Result<()> {
    let mut sender = File::from(sender);
    let prepared = log_to_file(arguments)
        .and_then(|()| mount(arguments))
        .and_then(|mount| Ok((watch_signals(&mount)?, mount)));
    let (signals, mount) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            // The parent prints it.
            let _ = write!(sender, "{error}");
            std::process::exit(i32::from(super::status::FAILED));
        }
    };
    let detached = detach_from_terminal(&mount);
    // A parent that has gone needs no answer.
    let _ = match &detached {
        Ok(()) => sender.write_all(READY.as_bytes()),
        Err(error) => write!(sender, "{error}"),
    };
    drop(sender);
    detached?;
    serve(mount, &signals)
}

/// Leaves the caller's session, terminal and working directory. Called only after mounting: an automount
/// makes every process wait that is not in the process group of those that mount (linux,
/// Documentation/filesystems/autofs.rst, "Communicating with autofs: detecting the daemon").
fn detach_from_terminal(mount: &Mount) -> Result<()> {
    let failed = |error: std::io::Error| Error::io("start a daemon for", mount.path(), error);
    rustix::process::setsid().map_err(|errno| failed(errno.into()))?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(failed)?;
    let null = null.as_fd();
    rustix::stdio::dup2_stdin(null).map_err(|errno| failed(errno.into()))?;
    rustix::stdio::dup2_stdout(null).map_err(|errno| failed(errno.into()))?;
    rustix::stdio::dup2_stderr(null).map_err(|errno| failed(errno.into()))?;
    logging::detach();
    std::env::set_current_dir("/").map_err(failed)
}
