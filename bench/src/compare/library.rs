//! Into this process: the library's reader, and a reader of a FIFO in the same place.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufRead, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use aligned_vec::avec;
use fifofs::{Deliver, Mount};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use super::paths::{KIB, LARGE_FIFO, MIB, complete, same};
use super::report::{Goal, Row};
use super::{Plan, Trouble, rate, size, tmpfs};
use crate::Outcome;
use crate::PAGE_BYTES;
use crate::hands::{Seen, read_all};
use crate::processes::{DEADLINE, MOST_BYTES, Running, hand};
use crate::world::{Place, Site, remove};

pub(crate) fn plans() -> Vec<Plan> {
    vec![
        // Small writes to a stream go one by one, so fewer bytes take as long.
        against_a_fifo(Deliver::Stream, 4 * KIB, 16 * MIB, 0.08),
        against_a_fifo(Deliver::Stream, 64 * KIB, 256 * MIB, 1.0),
        against_a_fifo(Deliver::Stream, MIB, 512 * MIB, 1.3),
        against_a_fifo(Deliver::Follow, 4 * KIB, 128 * MIB, 0.3),
        against_a_file(MIB, 256 * MIB, 1.0),
    ]
}

fn name(way: Deliver, block: u64) -> String {
    let way = match way {
        Deliver::Stream => "stream",
        Deliver::Follow => "follow",
        _ => "settled",
    };
    format!("{way}, library reader, {} writes", size(block))
}

/// What the writer writes, and how its bytes are used.
#[derive(Clone, Copy)]
struct Load {
    block: u64,
    total: u64,
    /// Whether all bytes are hashed, and are the same each time; otherwise they are timed.
    checked: bool,
}

impl Load {
    fn timed(block: u64, total: u64) -> Load {
        Load {
            block,
            total,
            checked: false,
        }
    }

    fn checked(block: u64) -> Load {
        Load {
            block,
            total: 8 * MIB,
            checked: true,
        }
    }

    /// The writer, in a group of its own: no other process keeps a file of the mount from being done.
    fn writer(self, path: &Path) -> Outcome<Command> {
        let what = match self.checked {
            true => "write-same",
            false => "write",
        };
        let path = path.to_string_lossy();
        let mut command = hand(&[
            what,
            &path,
            &self.block.to_string(),
            &self.total.to_string(),
        ])?;
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Ok(command)
    }
}

/// The bytes that came: timed, and hashed if they are to be checked.
#[derive(Default)]
struct Came {
    seen: Seen,
    hash: DefaultHasher,
}

impl Came {
    fn add(&mut self, load: Load, bytes: &[u8]) {
        self.seen.add(bytes);
        if load.checked {
            self.hash.write(bytes);
        }
    }

    fn rate(&self, load: Load) -> Outcome<f64> {
        complete(self.seen.bytes, load.total)?;
        let taken = self.seen.last.saturating_sub(self.seen.first);
        Ok(rate(load.total, taken))
    }

    fn contents(&self) -> String {
        format!("{:016x} {}", self.hash.finish(), self.seen.bytes)
    }
}

fn captured(mount: &Mount, index: usize, load: Load) -> Outcome<Came> {
    let failed = |error: fifofs::Error| error.to_string();
    let capture = mount.capture(format!("{index}")).map_err(failed)?;
    let mut command = load.writer(capture.path())?;
    let mut running = capture.spawn(&mut command).map_err(failed)?;
    running.reader.set_timeout(Some(DEADLINE));
    let mut came = Came::default();
    let end = loop {
        match running.reader.fill_buf() {
            Ok([]) => break Ok(()),
            Ok(bytes) => {
                let length = bytes.len();
                came.add(load, bytes);
                running.reader.consume(length);
            }
            Err(error) => break Err(error.to_string()),
        }
    };
    if end.is_err() {
        let _ = running.child.kill();
    }
    let _ = running.child.wait();
    end.map(|()| came)
}

/// A FIFO as fast as it can be made: a large pipe, large reads into a reused buffer, and nothing else.
fn piped(place: &Place, buffer: &mut [u8], load: Load) -> Outcome<Came> {
    let failed = |errno: rustix::io::Errno| format!("cannot read {}: {errno}", place.reader());
    // Without waiting, so that it does not hang if the writer never comes.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fifo = rustix::fs::open(&place.path, flags, Mode::empty()).map_err(failed)?;
    rustix::pipe::fcntl_setpipe_size(&fifo, MOST_BYTES).map_err(failed)?;
    let writer = Running::program(load.writer(&place.path)?)?;
    let limit = Timespec::try_from(DEADLINE).map_err(|error| error.to_string())?;
    if poll(&mut [PollFd::new(&fifo, PollFlags::IN)], Some(&limit)).map_err(failed)? == 0 {
        return Err(format!("nobody wrote to {}", place.reader()));
    }
    rustix::fs::fcntl_setfl(&fifo, OFlags::empty()).map_err(failed)?;
    let mut fifo = File::from(fifo);
    let mut came = Came::default();
    loop {
        match fifo.read(buffer) {
            Ok(0) => break,
            Ok(length) => came.add(load, &buffer[..length]),
            Err(error) => return Err(format!("cannot read {}: {error}", place.reader())),
        }
    }
    writer.finish()?;
    Ok(came)
}

fn mounted(site: &Site, way: Deliver) -> Result<Mount, Trouble> {
    Mount::builder()
        .deliver_all(way)
        .mount(site.at("mount"))
        .map_err(|error| Trouble::Lacks(error.to_string()))
}

fn against_a_fifo(way: Deliver, block: u64, total: u64, goal: f64) -> Plan {
    let what = name(way, block);
    Plan::new(what.clone(), move |effort| {
        let site = Site::new()?;
        let mount = mounted(&site, way)?;
        let mut buffer = avec![[PAGE_BYTES]| 0; MOST_BYTES];
        let load = Load::checked(block);
        let theirs = piped(&site.fifo("")?, &mut buffer, load)?.contents();
        same(&captured(&mount, 0, load)?.contents(), &theirs)?;
        let load = Load::timed(block, total / effort.less);
        let mut turns = Vec::new();
        for turn in effort.turns() {
            let theirs = piped(&site.fifo("")?, &mut buffer, load)?.rate(load)?;
            turns.push((captured(&mount, turn, load)?.rate(load)?, theirs));
        }
        let goal = Goal::AtLeast(goal);
        Ok(vec![Row::ratio(&what, LARGE_FIFO, "MB/s", &turns, goal)])
    })
}

/// Compares with a temporary file in memory that is read after it was written.
fn against_a_file(block: u64, total: u64, goal: f64) -> Plan {
    let what = name(Deliver::Follow, block);
    Plan::new(what.clone(), move |effort| {
        let site = Site::new()?;
        let mount = mounted(&site, Deliver::Follow)?;
        let memory = tmpfs()?;
        let mut buffer = avec![[PAGE_BYTES]| 0; MOST_BYTES];
        let load = Load::timed(block, total / effort.less);
        let mut turns = Vec::new();
        for turn in effort.turns() {
            let path = memory.at("file");
            Running::program(load.writer(&path)?)?.finish()?;
            let seen = File::open(&path)
                .and_then(|mut file| read_all(&mut file, &mut buffer))
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            remove(&path)?;
            let theirs = rate(seen.bytes, seen.last.saturating_sub(seen.first));
            turns.push((captured(&mount, turn, load)?.rate(load)?, theirs));
        }
        let goal = Goal::AtLeast(goal);
        Ok(vec![Row::ratio(&what, "tmpfs", "MB/s", &turns, goal)])
    })
}
