//! `fifofs ls`.

mod order;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use fifofs::{Error, FifoState, FileState, FileStatus, ReaderStatus, Result, Status, WriterStatus};
use indicatif::BinaryBytes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use serde::Serialize;

use super::text::{OneLine, Page};
use super::{Ended, print, status};
use order::Key;

/// Show every file of a mount: its state, how it is delivered and why, its
/// writers and readers, and what each reader waits for
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  fifofs ls\n  fifofs ls --json /tmp/cap | jq '.files[].state'\n  \
                  fifofs ls --watch /tmp/cap"
)]
pub(crate) struct Arguments {
    /// A mount, or a directory or file in one [default: all mounts that you may read]
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

/// The document of `--json`: the status, with the path of the mount.
#[derive(Serialize)]
struct Document {
    mount: String,
    #[serde(flatten)]
    status: Status,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Ended> {
    let Some(directory) = &arguments.directory else {
        return list_all(fifofs::mounts()?, arguments.json);
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
        // A directory outside of the mount, whose whole mount is listed.
        let inside = listed.strip_prefix(&mount).unwrap_or(Path::new(""));
        list(&mount, inside, arguments.json)?;
    }
    Ok(Ended::default())
}

fn list_all(mounts: Vec<PathBuf>, json: bool) -> Result<Ended> {
    let mut ended = Ended::default();
    let mut is_any = false;
    for mount in mounts {
        match list(&mount, Path::new(""), json) {
            Ok(()) => is_any = true,
            // Another user's mount.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {}
            // Unmounted since the list was made.
            Err(_) if !fifofs::mounts()?.contains(&mount) => {}
            // A mount without a daemon must not hide the others.
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

/// Waits for events; returns false if standard output has no reader any more.
fn is_there_more(events: &fs::File) -> io::Result<bool> {
    let output = io::stdout();
    let mut polled = [
        PollFd::new(events, PollFlags::IN),
        PollFd::new(&output, PollFlags::empty()),
    ];
    retry_on_intr(|| poll(&mut polled, None))?;
    Ok(!polled[1].revents().contains(PollFlags::ERR))
}

/// Lists the files at `inside`, a path in the mount, and below it.
fn list(mount: &Path, inside: &Path, json: bool) -> Result<()> {
    let path = mount.join(".fifofs/status");
    let failed = |error: io::Error| unreadable(mount, &path, error);
    let text = fs::read_to_string(&path).map_err(failed)?;
    let misread = |error: serde_json::Error| failed(error.into());
    let mut status: Status = serde_json::from_str(&text).map_err(misread)?;
    // The status document replaces bytes that are not UTF-8 in the same way.
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
    print(describe(mount, status)).map(drop)
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

fn describe(mount: &Path, mut status: Status) -> String {
    status.files.sort_by_cached_key(|file| Key::of(&file.path));
    let waiting = &mut status.waiting;
    waiting.sort_by_cached_key(|reader| Key::of(&reader.path));
    let mut page = Page::default();
    page.line(format_args!(
        "{}: {} in memory, {} for names, {} spilled, {} available",
        mount.display(),
        BinaryBytes(status.memory.used),
        BinaryBytes(status.memory.kept),
        BinaryBytes(status.memory.spilled),
        BinaryBytes(status.memory.available)
    ));
    for warning in &status.warnings {
        page.line(format_args!("  warning: {warning}"));
    }
    let rows: Vec<Row> = status.files.iter().map(Row::of_file).collect();
    let nothing = status.waiting.iter().map(Row::of_nothing);
    let nothing: Vec<Row> = nothing.collect();
    let widths = Row::widths(rows.iter().chain(&nothing));
    for (row, file) in rows.iter().zip(&status.files) {
        page.line(row.aligned(widths));
        describe_processes(&mut page, file);
    }
    for (row, reader) in nothing.iter().zip(&status.waiting) {
        page.line(row.aligned(widths));
        describe_reader(&mut page, reader);
    }
    page.into_text()
}

/// A longer path widens its own line only, not the column.
const PATH_WIDTH_MAX: usize = 40;

/// One line of the table: path, state, size and delivered bytes; and the rest.
struct Row {
    columns: [String; 4],
    rest: String,
}

impl Row {
    fn of_file(file: &FileStatus) -> Row {
        let delivered = match file.delivered {
            0 => String::new(),
            bytes => format!("{} delivered", BinaryBytes(bytes)),
        };
        let mut rest = match file.fifo {
            Some(fifo) => format!("virtual FIFO, {fifo}"),
            None => String::new(),
        };
        if let (Some(way), Some(reason)) = (&file.way, &file.reason) {
            let space = if rest.is_empty() { "" } else { "; " };
            rest += &format!("{space}{way}: {reason}");
        }
        if let Some(writer) = past_writer(file) {
            let space = if rest.is_empty() { "" } else { "; " };
            rest += &format!("{space}written by {} ({})", writer.name, writer.pid);
        }
        let size = BinaryBytes(file.size).to_string();
        Row {
            columns: [
                // As wide as it will be displayed.
                OneLine(file.path.display()).to_string(),
                match file.fifo {
                    // Without a message; the file's state would be `done`.
                    Some(FifoState::Empty) => "empty".to_owned(),
                    _ => file.state.to_string(),
                },
                size,
                delivered,
            ],
            rest,
        }
    }

    /// A path without a file that a reader waits for.
    fn of_nothing(reader: &ReaderStatus) -> Row {
        Row {
            columns: [
                OneLine(reader.path.display()).to_string(),
                String::new(),
                String::new(),
                String::new(),
            ],
            rest: "(nothing there)".into(),
        }
    }

    fn widths<'a>(rows: impl Iterator<Item = &'a Row>) -> [usize; 4] {
        let mut widths = [0; 4];
        for row in rows {
            let columns = row.columns.iter().zip(&mut widths);
            for (at, (text, width)) in columns.enumerate() {
                let length = text.chars().count();
                if at > 0 || length <= PATH_WIDTH_MAX {
                    *width = length.max(*width);
                }
            }
        }
        widths
    }

    fn aligned(&self, widths: [usize; 4]) -> String {
        let [path, state, size, delivered] = &self.columns;
        let [of_path, of_state, of_size, of_delivered] = widths;
        let mut line = format!("  {path:of_path$}");
        if self.columns[1..].iter().any(|column| !column.is_empty()) {
            line += &format!("  {state:of_state$}  {size:>of_size$}");
            if of_delivered > 0 {
                line += &format!("  {delivered:>of_delivered$}");
            }
        }
        line += &format!("  {}", self.rest);
        line.trim_end().to_owned()
    }
}

/// The only writer of a file, if no other process needs a line: then it needs none either.
fn past_writer(file: &FileStatus) -> Option<&WriterStatus> {
    let [writer] = &file.writers[..] else {
        return None;
    };
    let is_past = file.state == FileState::Done && !writer.running && writer.failure.is_none();
    (is_past && file.readers.is_empty()).then_some(writer)
}

fn describe_processes(page: &mut Page, file: &FileStatus) {
    let writers = match past_writer(file) {
        Some(_) => &[],
        None => &file.writers[..],
    };
    for writer in writers {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_unmounted_since_the_list_was_made_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let ended = list_all(vec![directory.path().to_owned()], false).unwrap();
        assert_eq!(ended.status, 0);
        assert!(ended.messages[0].starts_with("nothing of yours is mounted"));
    }
}
