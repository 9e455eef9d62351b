//! Where the log goes, and the format of its lines.
//!
//! It goes to standard error first, if that is read. A daemon that detaches from its terminal logs to the file
//! given on the command line, else to syslog, which may be systemd's journal, or without syslog to a file of
//! its user. Invariant: a line goes to some place, and logging never waits for a reader.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, PoisonError, RwLock};

use env_logger::fmt::Formatter;
use fifofs::{Error, Result};
use log::{Level, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::text::{OneLine, line_start};

/// The socket of syslog: syslog(3).
const SYSLOG_SOCKET: &str = "/dev/log";

/// `LOG_DAEMON` of `syslog.h`.
const FACILITY: u8 = 3 << 3;

/// The log file of root's daemons without syslog.
const ROOTS_FILE: &str = "/var/log/fifofs.log";

/// Where a line is written.
enum Target {
    StandardError,
    /// Standard error, read by systemd: sd-daemon(3).
    Journal,
    File(File),
    Syslog,
}

/// Where lines go. The lock guards switching the target.
static TARGET: RwLock<Target> = RwLock::new(Target::StandardError);

/// Starts logging to standard error; the level is from `$RUST_LOG`, if that is set.
pub(super) fn start(level: &str) {
    if is_journal() {
        switch(Target::Journal);
    }
    let level = env_logger::Env::default().default_filter_or(level);
    env_logger::Builder::from_env(level)
        .format(format)
        .target(env_logger::Target::Pipe(Box::new(Lines)))
        .init();
}

/// Whether standard error is a stream of systemd's journal, as systemd.exec(5) describes.
fn is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(status) = rustix::fs::fstat(io::stderr()) else {
        return false;
    };
    stream.to_str() == Some(&format!("{}:{}", status.st_dev, status.st_ino))
}

/// Logs to a file, appending.
///
/// # Errors
///
/// If it cannot be written.
pub(super) fn to_file(path: &Path) -> Result<()> {
    let file = open(path).map_err(|error| {
        Error::io("log to", path, error).with_remedy("give a file that you may write")
    })?;
    switch(Target::File(file));
    Ok(())
}

/// Logs to syslog, unless it logs to a file already: standard error is about to be closed. Panics are logged
/// there, too.
pub(super) fn detach() {
    let target = TARGET.read().unwrap_or_else(PoisonError::into_inner);
    let is_file = matches!(*target, Target::File(_));
    drop(target);
    if !is_file {
        switch(Target::Syslog);
    }
    std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
}

fn switch(target: Target) {
    *TARGET.write().unwrap_or_else(PoisonError::into_inner) = target;
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// Writes one line, with what its reader does not add itself.
fn format(line: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let target = TARGET.read().unwrap_or_else(PoisonError::into_inner);
    let (level, place, message) = (record.level(), record.target(), OneLine(record.args()));
    match *target {
        Target::StandardError | Target::File(_) => {
            let start = match *target {
                Target::StandardError => line_start(),
                _ => String::new(),
            };
            let time = line.timestamp_millis();
            writeln!(line, "{start}[{time} {level:<5} {place}] {message}")
        }
        Target::Journal => writeln!(line, "<{}>{place}: {message}", severity(level)),
        Target::Syslog => {
            let priority = FACILITY | severity(level);
            let pid = std::process::id();
            write!(line, "<{priority}>fifofs[{pid}]: {place}: {message}")
        }
    }
}

/// Severities as `syslog.h` numbers them.
fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Takes one line at a time, and never waits for its reader: otherwise the mount would stop, with every process
/// in it. If there is no room, the line is lost.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let target = TARGET.read().unwrap_or_else(PoisonError::into_inner);
        match &*target {
            Target::StandardError | Target::Journal => write_if_taken(line),
            Target::File(file) => (&*file).write_all(line).map(|()| line.len()),
            Target::Syslog => send(line).or_else(|_| write_to_own_file(line)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_if_taken(line: &[u8]) -> io::Result<usize> {
    let stderr = io::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    // A writable pipe takes 4096 bytes at once (PIPE_BUF), more than a line has.
    match poll(&mut polled, Some(&Timespec::default())) {
        Ok(1) if polled[0].revents().contains(PollFlags::OUT) => stderr.lock().write(line),
        _ => Ok(line.len()),
    }
}

/// Connects for each line, as the process that listens may be restarted.
fn send(line: &[u8]) -> io::Result<usize> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match socket.send_to(line, SYSLOG_SOCKET) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(line.len()),
        sent => sent,
    }
}

/// Used if there is no syslog.
fn write_to_own_file(line: &[u8]) -> io::Result<usize> {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let path = own_file()?;
        std::fs::create_dir_all(path.parent()?).ok()?;
        open(&path).ok()
    });
    if let Some(mut file) = file.as_ref() {
        file.write_all(&[line, b"\n"].concat())?;
    }
    Ok(line.len())
}

/// The log file: the XDG Base Directory Specification says where logs belong.
fn own_file() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(ROOTS_FILE.into());
    }
    let given = |name: &str| -> Option<OsString> { std::env::var_os(name) };
    let state = given("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(Path::new(&given("HOME")?).join(".local/state")));
    Some(state?.join("fifofs.log"))
}
