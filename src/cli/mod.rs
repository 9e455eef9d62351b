//! The command line: turns words into calls of the public library, and errors
//! into messages and exit statuses.

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

/// What memory begins with that much is read into or written from, as that of `dd` and `cat` does.
///
/// Where memory begins decides how fast the kernel copies: on AMD's Zen 3, `rep movsb` takes 40 µs
/// instead of 2 for 64 KiB if the place in its page that is copied to is 1 to 31 bytes behind the one that
/// is copied from. What malloc(3) gives for a large buffer lies 16 bytes behind a page's beginning, and
/// the kernel's bytes at it.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Exit statuses, a stable interface. Those of `run` for the program's own ends,
/// and what it has in common with shells and `env`, are in POSIX (2.8.2, env).
pub(crate) mod status {
    /// Wrong usage, or a failure of fifofs itself.
    pub(crate) const FAILED: u8 = 125;
    /// What was read is not what the file holds; of `run` also: there is no such
    /// file, or it did not get to its destination (`EX_IOERR` of sysexits.h).
    pub(crate) const NOT_WHOLE: u8 = 74;
    /// Nothing came in the time that was given, as of timeout(1).
    pub(crate) const TIMED_OUT: u8 = 124;
    /// `run`: the program could not be executed.
    pub(crate) const NOT_EXECUTABLE: u8 = 126;
    /// `run`: there is no such program.
    pub(crate) const NOT_FOUND: u8 = 127;
    /// `run`: a signal killed the program; its number is to be added.
    pub(crate) const SIGNAL: u8 = 128;
}

/// How a command ended: its status, and what there is to say about it.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) status: u8,
    pub(crate) messages: Vec<String>,
}

impl Ended {
    /// With nothing to say about it.
    fn with_status(status: u8) -> Self {
        let messages = Vec::new();
        Ended { status, messages }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        let (status, option) = match error {
            // What `run` was given, it judges by itself: this is a file of a mount.
            Error::Rewritten { .. } => (status::NOT_WHOLE, " (`fifofs mount --deliver settled`)"),
            Error::TimedOut { .. } => (status::TIMED_OUT, ""),
            _ => (status::FAILED, ""),
        };
        let messages = vec![format!("{error}{option}")];
        Ended { status, messages }
    }
}

/// Prints to standard output; says whether anybody reads on. Whoever does not has read enough.
fn print(text: impl AsRef<[u8]>) -> Result<bool> {
    check_standard_output()?;
    match standard::write(text.as_ref()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::io("write to", "standard output", error)),
    }
}

/// That there is a standard output.
fn check_standard_output() -> Result<()> {
    standard::check_open(libc::STDOUT_FILENO)
        .map_err(|error| Error::io("write to", "standard output", error))
}

/// Closes a descriptor once more: some file systems (NFS, FUSE) say only then that they could not
/// write what they had taken.
fn close_again(descriptor: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let again = rustix::io::fcntl_dupfd_cloexec(descriptor, 0)?;
    // SAFETY: it is our own, and is closed here only.
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

/// How signals are to be taken, whatever this process was started with: children are waited for,
/// and a file that may not grow is an error like a full disk (setrlimit(2)).
const DISPOSITIONS: [(libc::c_int, libc::sighandler_t); 2] = [
    (libc::SIGCHLD, libc::SIG_DFL),
    (libc::SIGXFSZ, libc::SIG_IGN),
];

/// How they were taken before.
static OLD_DISPOSITIONS: OnceLock<[libc::sighandler_t; 2]> = OnceLock::new();

fn set_signals() {
    // SAFETY: there is one thread yet, and neither disposition has a handler.
    let set = |(signal, disposition)| unsafe { libc::signal(signal, disposition) };
    let _ = OLD_DISPOSITIONS.set(DISPOSITIONS.map(set));
    standard::look_at_pipe_again();
}

/// As they were, for a program that is started. Async-signal-safe.
fn restore_signals() {
    let old = OLD_DISPOSITIONS.get().into_iter().flatten();
    for ((signal, _), old) in DISPOSITIONS.iter().zip(old) {
        // SAFETY: a process that was just started has no handlers, so that this is none.
        unsafe { libc::signal(*signal, *old) };
    }
    standard::restore_pipe();
}

/// Shows what is wrong with the command line, or the help that was asked for. Words that were given
/// may be names that a glob of the shell found.
fn show_parse_error(error: &clap::Error) {
    let is_safe = |word: &OsString| !word.to_string_lossy().contains(text::is_obeyed);
    if given_words().iter().all(is_safe) {
        // In colour, where there is.
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
    /// What starts it once more, in a process of its own: a program and its first arguments.
    program: Vec<OsString>,
    /// The words of the command line, of which the first is the command's name.
    words: Vec<OsString>,
}

static CALLED: OnceLock<Called> = OnceLock::new();

/// The words of the command line, as they were given.
fn given_words() -> &'static [OsString] {
    CALLED.get().map_or(&[], |called| &called.words)
}

/// This command once more.
fn this_command() -> std::process::Command {
    let program = CALLED.get().map_or(&[][..], |called| &called.program);
    let (program, arguments) = program.split_first().unzip();
    let mut command = std::process::Command::new(program.map_or(OsStr::new("fifofs"), |p| p));
    command.args(arguments.unwrap_or_default());
    command
}

/// Runs a command line and gives the exit status. `program` starts the same command once more; the first of
/// `words` is what it was called as.
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
    // Without certificates the request that needs them fails, and says so.
    let level = match arguments.command {
        // What becomes of its files, it says itself.
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

/// Says what there is to say at the end, and gives the exit status.
fn conclude(ended: &Ended) -> u8 {
    for message in &ended.messages {
        say(message);
    }
    ended.status
}
