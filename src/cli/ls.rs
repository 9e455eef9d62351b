//! `fifofs ls`.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use fifofs::{Error, FileStatus, ReaderStatus, Result, Status};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use serde::Serialize;

use super::text::Page;
use super::{Ended, print, status};

/// Show every file of a mount: its state, how it is delivered and why, who
/// writes, who reads, and who waits for whom
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  fifofs ls\n  fifofs ls --json /tmp/cap | jq '.files[].state'\n  \
                  fifofs ls --watch /tmp/cap"
)]
pub(crate) struct Arguments {
    /// A mount, or what is below a directory or file in one [default: all mounts that you may read]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    directory: Option<PathBuf>,
    /// As JSON, one document for each mount
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Show events of the mount of DIR as they happen, as JSON lines, until
    /// interrupted
    #[arg(long, requires = "directory")]
    watch: bool,
}

/// What `--json` prints: the status document, and which mount it is of.
#[derive(Serialize)]
struct Document {
    mount: String,
    #[serde(flatten)]
    status: Status,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ended> {
    let Some(directory) = &arguments.directory else {
        return list_all(arguments.json);
    };
    let mount = fifofs::mount_of(directory.join("x"))?.ok_or_else(|| {
        let reason = io::Error::other("no fifofs is mounted there");
        Error::io("list", directory, reason).with_remedy("`fifofs ls` lists all mounts")
    })?;
    if arguments.watch {
        watch(&mount)?;
    } else {
        let listed = fs::canonicalize(directory).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::io("list", directory, error)
                .with_remedy(format!("`fifofs ls {}` lists the mount", mount.display())),
            _ => unreadable(&mount, directory, error),
        })?;
        // Elsewhere there is nothing of the mount.
        let inside = listed.strip_prefix(&mount).unwrap_or(Path::new(""));
        list(&mount, inside, arguments.json)?;
    }
    Ok(Ended::default())
}

fn list_all(json: bool) -> Result<Ended> {
    let mut ended = Ended::default();
    let mut is_any = false;
    for mount in fifofs::mounts()? {
        match list(&mount, Path::new(""), json) {
            Ok(()) => is_any = true,
            // Somebody else's.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {}
            // One without a daemon must not hide the others.
            Err(error) => {
                is_any = true;
                ended.status = status::FAILED;
                ended.messages.push(error.to_string());
            }
        }
    }
    if !is_any {
        let message = "nothing of yours is mounted; start a mount with `fifofs mount DIR`";
        ended.messages.push(message.into());
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

/// Lists what is at `inside`, a path in the mount, and below it.
fn list(mount: &Path, inside: &Path, json: bool) -> Result<()> {
    let path = mount.join(".fifofs/status");
    let failed = |error: io::Error| unreadable(mount, &path, error);
    let text = fs::read_to_string(&path).map_err(failed)?;
    let misread = |error: serde_json::Error| failed(error.into());
    let mut status: Status = serde_json::from_str(&text).map_err(misread)?;
    // In a status, names that are not UTF-8 are written in this way.
    let inside = PathBuf::from(inside.to_string_lossy().into_owned());
    status.files.retain(|file| file.path.starts_with(&inside));
    status
        .waiting
        .retain(|reader| reader.path.starts_with(&inside));
    if json {
        let mount = mount.display().to_string();
        let document = serde_json::to_string(&Document { mount, status }).map_err(misread)?;
        return print(format!("{document}\n")).map(drop);
    }
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
    let mut page = Page::default();
    page.line(format_args!(
        "{}: {} bytes in memory, {} for names, {} spilled, {} available",
        mount.display(),
        status.memory.used,
        status.memory.kept,
        status.memory.spilled,
        status.memory.available
    ));
    for warning in &status.warnings {
        page.line(format_args!("  warning: {warning}"));
    }
    for file in &status.files {
        describe_file(&mut page, file);
    }
    for reader in &status.waiting {
        page.line(format_args!("  {}  (nothing there)", reader.path.display()));
        describe_reader(&mut page, reader);
    }
    page.into_text()
}

fn describe_file(page: &mut Page, file: &FileStatus) {
    let mut line = format!(
        "  {}  {}  {} bytes",
        file.path.display(),
        file.state,
        file.size
    );
    if file.delivered > 0 {
        line += &format!(", {} delivered", file.delivered);
    }
    if let (Some(way), Some(reason)) = (&file.way, &file.reason) {
        line += &format!("  {way}: {reason}");
    }
    page.line(line);
    for writer in &file.writers {
        let state = match (&writer.failure, writer.running) {
            (Some(failure), _) => format!(", {failure}"),
            (None, true) => String::new(),
            (None, false) => ", exited".to_owned(),
        };
        page.line(format_args!(
            "    writer {} ({}{state})",
            writer.name, writer.pid
        ));
    }
    for reader in &file.readers {
        describe_reader(page, reader);
    }
    if let Some(warning) = &file.warning {
        page.line(format_args!("    warning: {warning}"));
    }
}

fn describe_reader(page: &mut Page, reader: &ReaderStatus) {
    let mut line = format!(
        "    reader {} ({}) at {}",
        reader.name, reader.pid, reader.position
    );
    if let Some(what) = &reader.waits_for {
        line += &format!(", waits for {what}");
    }
    page.line(line);
}
