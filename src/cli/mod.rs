//! The command line: turns arguments into calls of the public library, and errors into messages and exit
//! statuses.

mod cat;
mod doctor;
mod failure;
mod generate;
mod kernel;
mod links;
mod logging;
mod ls;
mod mount;
mod options;
mod run;
mod shell;
mod standard;
mod text;
mod unmount;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, IntoRawFd};
use std::path::Path;
use std::sync::OnceLock;

use clap::{Parser, Subcommand};
use fifofs::{Error, Result};
use rustix::io::Errno;

use self::text::{Page, say};

/// The alignment of buffers that are read into or written from, as `dd` and `cat` use.
///
/// Alignment decides how fast the kernel copies: on AMD's Zen 3, `rep movsb` takes 40 µs instead of 2 for
/// 64 KiB if the target's offset in its page is 1 to 31 bytes greater than the source's. Large buffers of
/// malloc(3) begin 16 bytes after a page's start, and the kernel's at the start.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Exit statuses, a stable interface. POSIX (2.8.2, env) defines those that `run` gives for the program's
/// ends, and shares with shells and `env`.
pub(crate) mod status {
    /// Wrong usage, or a failure of fifofs itself.
    pub(crate) const FAILED: u8 = 125;
    /// The bytes read are not the file's; with `run` also: there is no such file, or it did not reach its
    /// destination (`EX_IOERR` of sysexits.h).
    pub(crate) const NOT_WHOLE: u8 = 74;
    /// The timeout passed, as with timeout(1).
    pub(crate) const TIMED_OUT: u8 = 124;
    /// `run`: the program could not be executed.
    pub(crate) const NOT_EXECUTABLE: u8 = 126;
    /// `run`: the program does not exist.
    pub(crate) const NOT_FOUND: u8 = 127;
    /// `run`: a signal killed the program; its number is added.
    pub(crate) const SIGNAL: u8 = 128;
}

/// How a command ended: its status, and the messages to print.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) status: u8,
    pub(crate) messages: Vec<String>,
}

impl Ended {
    /// An end without messages.
    fn with_status(status: u8) -> Self {
        let messages = Vec::new();
        Ended { status, messages }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        let (status, option) = match error {
            // `run` handles its own outputs: this is a file of a mount.
            Error::Rewritten { .. } => (status::NOT_WHOLE, " (`fifofs mount --deliver settled`)"),
            Error::TimedOut { .. } => (status::TIMED_OUT, ""),
            _ => (status::FAILED, ""),
        };
        let messages = vec![format!("{error}{option}")];
        Ended { status, messages }
    }
}

/// Prints to standard output; returns false if its reader has gone, which is no error: it has read enough.
fn print(text: impl AsRef<[u8]>) -> Result<bool> {
    check_standard_output()?;
    match standard::write(text.as_ref()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::io("write to", "standard output", error)),
    }
}

/// Fails if standard output is closed.
fn check_standard_output() -> Result<()> {
    standard::check_open(libc::STDOUT_FILENO)
        .map_err(|error| Error::io("write to", "standard output", error))
}

/// Closes a copy of a descriptor: some filesystems (NFS, FUSE) report only at close that they could not
/// write what they had accepted.
fn close_again(descriptor: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let again = rustix::io::fcntl_dupfd_cloexec(descriptor, 0)?;
    // SAFETY: the copy belongs to this function, and is closed only here.
    match unsafe { libc::close(again.into_raw_fd()) } {
        0 => Ok(()),
        _ => match Errno::from_io_error(&io::Error::last_os_error()) {
            // It is closed all the same, see close(2).
            None | Some(Errno::INTR) => Ok(()),
            Some(errno) => Err(errno),
        },
    }
}

/// What to do about a mount whose daemon is gone.
fn dead_mount(mount: &Path) -> String {
    let mount = mount.display();
    format!("its daemon is gone: `fifofs unmount {mount}`, or mount there again")
}

/// Capture what programs write to files: a FUSE filesystem that delivers it to waiting readers
#[derive(Parser)]
#[command(
    name = "fifofs",
    version,
    about,
    max_term_width = 100,
    after_help = "Examples:\n  fifofs run -- zip -r {out:x.zip} photos | ssh host 'cat > x.zip'\n  \
                  fifofs mount --daemon /tmp/cap; fifofs cat /tmp/cap/a.log"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    Exec(run::exec::Arguments),
    Explain(run::explain::Arguments),
    Mount(mount::Arguments),
    Cat(cat::Arguments),
    Ls(ls::Arguments),
    #[command(visible_alias = "umount")]
    Unmount(unmount::Arguments),
    Receive(run::receive::Arguments),
    Doctor(doctor::Arguments),
    Completions(generate::Completions),
    Man(generate::Man),
}

/// Signal dispositions of this process, whatever it inherited: children must be waited for, and exceeding a
/// file size limit must be an error like a full disk (setrlimit(2)).
const DISPOSITIONS: [(libc::c_int, libc::sighandler_t); 2] = [
    (libc::SIGCHLD, libc::SIG_DFL),
    (libc::SIGXFSZ, libc::SIG_IGN),
];

/// The inherited dispositions.
static OLD_DISPOSITIONS: OnceLock<[libc::sighandler_t; 2]> = OnceLock::new();

fn set_signals() {
    // SAFETY: the process has one thread so far, and neither disposition has a handler.
    let set = |(signal, disposition)| unsafe { libc::signal(signal, disposition) };
    let _ = OLD_DISPOSITIONS.set(DISPOSITIONS.map(set));
    standard::look_at_pipe_again();
}

/// Restores the inherited dispositions for a program that is started. Async-signal-safe.
fn restore_signals() {
    let old = OLD_DISPOSITIONS.get().into_iter().flatten();
    for ((signal, _), old) in DISPOSITIONS.iter().zip(old) {
        // SAFETY: a process that was just started has no handlers, so the old disposition is none either.
        unsafe { libc::signal(*signal, *old) };
    }
    standard::restore_pipe();
}

/// Prints an error of the command line, or the requested help. Words of the command line may be file names
/// that the shell's glob found, with control characters.
fn show_parse_error(error: &clap::Error) {
    let is_safe = |word: &OsString| !word.to_string_lossy().contains(text::is_control);
    if given_words().iter().all(is_safe) {
        // In colour, if that is on.
        let _ = error.print();
        return;
    }
    let mut page = Page::default();
    let text = error.render().to_string();
    text.lines().for_each(|line| page.line(line));
    let _ = io::stderr().write_all(page.into_text().as_bytes());
}

/// How this command was called.
struct Called {
    /// Starts it again, in a process of its own: a program and its first arguments.
    program: Vec<OsString>,
    /// The command line; the first word is the command's name.
    words: Vec<OsString>,
}

static CALLED: OnceLock<Called> = OnceLock::new();

/// The command line as it was given.
fn given_words() -> &'static [OsString] {
    CALLED.get().map_or(&[], |called| &called.words)
}

/// This command, to be started again.
fn this_command() -> std::process::Command {
    let program = CALLED.get().map_or(&[][..], |called| &called.program);
    let (program, arguments) = program.split_first().unzip();
    let mut command = std::process::Command::new(program.map_or(OsStr::new("fifofs"), |p| p));
    command.args(arguments.unwrap_or_default());
    command
}

/// Runs a command line and returns the exit status. `program` starts the same command again; the first of
/// `words` is the name that it was called by.
pub(crate) fn main(program: Vec<OsString>, words: Vec<OsString>) -> u8 {
    let called = Called {
        program,
        words: words.clone(),
    };
    let _ = CALLED.set(called);
    set_signals();
    let (caller, words) = mount::translate::<Arguments>(words);
    let words = match words {
        Ok(words) => run::progress_with_equals::<Arguments>(words),
        Err(error) => {
            say(&error.to_string());
            return caller.status(status::FAILED, true);
        }
    };
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no failures.
            let status = if error.use_stderr() {
                status::FAILED
            } else {
                0
            };
            show_parse_error(&error);
            return caller.status(status, true);
        }
    };
    // Without certificates the request that needs them fails with an error of its own.
    let level = match arguments.command {
        // It reports the ends of its files itself.
        Command::Run(_) | Command::Explain(_) => {
            "warn,rustls_platform_verifier=off,fifofs::files=error"
        }
        _ => "warn,rustls_platform_verifier=off",
    };
    logging::start(level);
    let nothing_to_say = |()| Ended::default();
    let done = match arguments.command {
        Command::Mount(arguments) => mount::run(arguments).map(nothing_to_say),
        Command::Run(arguments) => run::run(&arguments),
        Command::Exec(arguments) => run::exec::run(&arguments),
        Command::Explain(arguments) => run::explain::run(&arguments),
        Command::Receive(arguments) => run::receive::run(&arguments),
        Command::Cat(arguments) => cat::run(&arguments).map(nothing_to_say),
        Command::Ls(arguments) => ls::run(&arguments),
        Command::Unmount(arguments) => unmount::run(&arguments).map(nothing_to_say),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Completions(arguments) => {
            generate::completions::<Arguments>(&arguments).map(nothing_to_say)
        }
        Command::Man(arguments) => generate::man::<Arguments>(&arguments).map(nothing_to_say),
    };
    let status = conclude(&done.unwrap_or_else(Ended::from));
    caller.status(status, false)
}

/// Prints the messages at the end, and returns the exit status.
fn conclude(ended: &Ended) -> u8 {
    for message in &ended.messages {
        say(message);
    }
    ended.status
}
