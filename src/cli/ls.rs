//! `fifofs ls`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use fifofs::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use serde::{Deserialize, Serialize};

use super::{Ended, print, status};

/// Show every file of a mount: its state, how it is delivered and why, who
/// writes, who reads, and who waits for whom
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// A mount, or a directory in one [default: all mounts]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// As JSON, one document for each mount
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Show events of the mount of DIR as they happen, as JSON lines, until
    /// interrupted
    #[arg(long, requires = "directory")]
    watch: bool,
}

#[derive(Deserialize)]
struct Status {
    memory: Memory,
    files: Vec<File>,
    waiting: Vec<Reader>,
}

#[derive(Deserialize)]
struct Memory {
    used: u64,
    spilled: u64,
    available: u64,
}

#[derive(Deserialize)]
struct File {
    path: String,
    state: String,
    way: Option<String>,
    reason: Option<String>,
    size: u64,
    delivered: u64,
    writers: Vec<Writer>,
    readers: Vec<Reader>,
    warning: Option<String>,
}

#[derive(Deserialize)]
struct Writer {
    pid: i32,
    name: String,
    running: bool,
    failure: Option<String>,
}

#[derive(Deserialize)]
struct Reader {
    pid: i32,
    name: String,
    path: String,
    position: u64,
    waits_for: Option<String>,
}

/// What `--json` prints: the status document, and which mount it is of.
#[derive(Serialize)]
struct Document {
    mount: String,
    #[serde(flatten)]
    status: serde_json::Map<String, serde_json::Value>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ended> {
    let mounts = match &arguments.directory {
        None => fifofs::mounts()?,
        Some(directory) => {
            let inside = directory.join("x");
            let mount = fifofs::mount_of(&inside)?.ok_or_else(|| {
                let reason = io::Error::other("no fifofs is mounted there");
                Error::io("list", directory, reason).with_remedy("`fifofs ls` lists all mounts")
            })?;
            vec![mount]
        }
    };
    if arguments.watch {
        mounts.iter().try_for_each(|mount| watch(mount))?;
        return Ok(Ended::default());
    }
    let mut ended = Ended::default();
    if mounts.is_empty() {
        let message = "nothing is mounted; start a mount with `fifofs mount DIR`";
        ended.messages.push(message.into());
    }
    for mount in mounts {
        // Somebody else's, or one without a daemon, must not hide the others.
        if let Err(error) = list(&mount, arguments.json) {
            ended.status = status::FAILED;
            ended.messages.push(error.to_string());
        }
    }
    Ok(ended)
}

fn watch(mount: &Path) -> Result<()> {
    let path = mount.join(".fifofs/events");
    let failed = |error| unreadable(mount, &path, error);
    let mut events = BufReader::new(fs::File::open(&path).map_err(failed)?);
    let mut line = String::new();
    while !events.buffer().is_empty() || is_there_more(events.get_ref()).map_err(failed)? {
        line.clear();
        let length = events.read_line(&mut line).map_err(failed)?;
        if length == 0 || !print(&line)? {
            break;
        }
    }
    Ok(())
}

/// Waits for something to read; says whether somebody still wants it.
fn is_there_more(events: &fs::File) -> io::Result<bool> {
    let output = io::stdout();
    let mut polled = [
        PollFd::new(events, PollFlags::IN),
        PollFd::new(&output, PollFlags::empty()),
    ];
    retry_on_intr(|| poll(&mut polled, None))?;
    Ok(!polled[1].revents().contains(PollFlags::ERR))
}

fn list(mount: &Path, json: bool) -> Result<()> {
    let path = mount.join(".fifofs/status");
    let failed = |error: io::Error| unreadable(mount, &path, error);
    let text = fs::read_to_string(&path).map_err(failed)?;
    let misread = |error: serde_json::Error| failed(error.into());
    if json {
        let status = serde_json::from_str(&text).map_err(misread)?;
        let mount = mount.display().to_string();
        let document = serde_json::to_string(&Document { mount, status }).map_err(misread)?;
        return print(format!("{document}\n")).map(drop);
    }
    let status: Status = serde_json::from_str(&text).map_err(misread)?;
    print(describe(mount, &status)).map(drop)
}

/// Why a file of the control directory cannot be read, and what to do about it.
fn unreadable(mount: &Path, path: &Path, error: io::Error) -> Error {
    let remedy = match error.raw_os_error() {
        Some(libc::ENOTCONN | libc::ECONNABORTED) => super::dead_mount(mount),
        Some(libc::EACCES) => "do it as the user who mounted; nobody else may look there".into(),
        _ => "try again; if that does not help, unmount it and mount it again".into(),
    };
    Error::io("read", path, error).with_remedy(remedy)
}

fn describe(mount: &Path, status: &Status) -> String {
    let mut text = format!(
        "{}: {} bytes in memory, {} spilled, {} available\n",
        mount.display(),
        status.memory.used,
        status.memory.spilled,
        status.memory.available
    );
    for file in &status.files {
        describe_file(&mut text, file);
    }
    for reader in &status.waiting {
        let _ = writeln!(text, "  {}  (nothing there)", reader.path);
        describe_reader(&mut text, reader);
    }
    text
}

fn describe_file(text: &mut String, file: &File) {
    // Writing to a string cannot fail.
    let _ = write!(text, "  {}  {}  {} bytes", file.path, file.state, file.size);
    if file.delivered > 0 {
        let _ = write!(text, ", {} delivered", file.delivered);
    }
    if let (Some(way), Some(reason)) = (&file.way, &file.reason) {
        let _ = write!(text, "  {way}: {reason}");
    }
    text.push('\n');
    for writer in &file.writers {
        let state = match (&writer.failure, writer.running) {
            (Some(failure), _) => format!(", {failure}"),
            (None, true) => String::new(),
            (None, false) => ", exited".to_owned(),
        };
        let _ = writeln!(text, "    writer {} ({}{state})", writer.name, writer.pid);
    }
    for reader in &file.readers {
        describe_reader(text, reader);
    }
    if let Some(warning) = &file.warning {
        let _ = writeln!(text, "    warning: {warning}");
    }
}

fn describe_reader(text: &mut String, reader: &Reader) {
    let _ = write!(
        text,
        "    reader {} ({}) at {}",
        reader.name, reader.pid, reader.position
    );
    if let Some(what) = &reader.waits_for {
        let _ = write!(text, ", waits for {what}");
    }
    text.push('\n');
}
