//! The control directory, `.fifofs`: reachable by name, shown in no listing.
//!
//! ```text
//! .fifofs/status       the state of everything, as JSON
//! .fifofs/metrics      the same in numbers, as OpenMetrics
//! .fifofs/events       what happens, as JSON lines
//! .fifofs/wait/PATH    and other doors: see `doors`
//! .fifofs/inode/N      a file by its number: for the flusher alone
//! ```
//!
//! What stands behind a door is made as it is looked up and lives until the
//! kernel forgets it.

mod decoding;
mod places;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;

use super::attributes::Attributes;
use super::doors::{Asked, Gives, Which};
use super::effects::{Effects, Reply, Transport};
use super::generation::{Generation, Phase, Writer};
use super::namespace::{CONTROL, Inode, Leads, NAME_MAX, ROOT};
use super::readers::reader::Seen;
use super::request::{At, Caller, Needed, Opener};
use super::{Core, Env, Handle};
use decoding::decode;
pub(super) use places::{Control, Place};

/// The name of the control directory in the root.
pub(crate) const NAME: &str = CONTROL;

/// What a name was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What it is.
    pub(crate) attributes: Attributes,
    /// Whether the kernel may remember it: not where the same name may be
    /// another thing a moment later.
    pub(crate) lasting: bool,
}

impl Core {
    /// Looks a name up for the kernel, which holds a reference from then on.
    pub(super) fn lookup(&mut self, env: Env<'_>, caller: Caller, at: &At) -> Result<Found, Errno> {
        let (parent, name) = (at.0, &*at.1);
        let Caller {
            thread, internal, ..
        } = caller;
        if parent == ROOT && name == NAME {
            return Ok(Found {
                attributes: self.attributes(self.control.top)?,
                lasting: true,
            });
        }
        let Some(node) = self.control.nodes.get(&parent) else {
            let ino = match name.as_bytes() {
                // Only asked for to open a file handle of what the kernel no
                // longer remembers.
                b"." => parent,
                b".." => self.names.parent(parent)?,
                _ => {
                    let ino = self.names.find(parent, name)?;
                    self.names.used_name(ino, parent, name);
                    self.sent_back.has_found(thread, parent, name, ino);
                    if !internal && let Some(found) = self.find_fifo(env, thread, (name, ino)) {
                        return found;
                    }
                    ino
                }
            };
            self.names.looked_up(ino);
            return Ok(Found {
                attributes: self.attributes(ino)?,
                lasting: true,
            });
        };
        if matches!(name.as_bytes(), b"." | b"..") {
            // There are no lasting handles of what is made for one reader.
            return Err(Errno::NOENT);
        }
        let place = match &node.place {
            Place::Top => match name.as_bytes() {
                b"status" => Place::Status,
                b"metrics" => Place::Metrics,
                b"events" => Place::Events,
                b"inode" if internal => Place::Inodes,
                b"next" => Place::Doors(Which::Next),
                b"pid" => Place::Processes,
                name => Place::door(name, Which::Present)?,
            },
            Place::Doors(which) => Place::door(name.as_bytes(), *which)?,
            // A number as those of processes are written.
            Place::Processes => match name.to_str().map(|text| (text, text.parse::<i32>())) {
                Some((text, Ok(number @ 1..))) if text == number.to_string() => {
                    Place::Doors(Which::Of(number))
                }
                _ => return Err(Errno::NOENT),
            },
            Place::Inodes if internal => {
                let number = name.to_str().and_then(|text| text.parse().ok());
                let ino = number.ok_or(Errno::NOENT)?;
                self.file(ino)?;
                self.names.looked_up(ino);
                return Ok(Found {
                    attributes: self.attributes(ino)?,
                    lasting: false,
                });
            }
            Place::Directory { door, path, depth } => {
                let (door, depth) = (*door, *depth);
                let components = decode(name);
                // Nothing of such a name can come.
                if components.iter().any(|name| name.len() > NAME_MAX) {
                    return Err(Errno::NAMETOOLONG);
                }
                let path = [path.clone(), components].concat();
                let to_root: PathBuf = std::iter::repeat_n("..", depth + door.depth()).collect();
                let found = match self.names.leads(&path) {
                    Leads::To(ino) => Some(ino),
                    Leads::ToNothing => None,
                    Leads::Nowhere(errno) => return Err(errno),
                    Leads::Out(target) => {
                        let target = to_root.join(target);
                        return self.found_place(Place::Link { target });
                    }
                };
                let has_waited_for = self.sent_back.has_waited_for(env, thread);
                let has_waited = found.is_some() && found == has_waited_for;
                let is_wanted =
                    door.gives == Gives::File && (door.which == Which::Present || has_waited);
                let is_back = is_wanted && self.sent_back.is_back(env, thread, found);
                let inode = found.and_then(|ino| self.names.get(ino).ok());
                match inode.map(|inode| inode.st_mode() & libc::S_IFMT) {
                    Some(libc::S_IFDIR) => Place::Directory {
                        door,
                        path,
                        depth: depth + 1,
                    },
                    Some(libc::S_IFREG)
                        if is_wanted
                            && (self.is_settled(found) || is_back && self.may_settle(found)) =>
                    {
                        // Nothing to wait for: it is the file itself.
                        let ino = found.ok_or(Errno::NOENT)?;
                        self.names.looked_up(ino);
                        return Ok(Found {
                            attributes: self.attributes(ino)?,
                            lasting: false,
                        });
                    }
                    Some(libc::S_IFREG) | None => Place::File { door, path },
                    // A FIFO, socket or device: nothing is written there that could be waited for.
                    Some(_) => Place::Link {
                        target: path.iter().fold(to_root, |target, name| target.join(name)),
                    },
                }
            }
            _ => return Err(Errno::NOTDIR),
        };
        self.found_place(place)
    }

    /// The kernel holds a reference to this place from now on.
    pub(super) fn found_place(&mut self, place: Place) -> Result<Found, Errno> {
        let lasting = place.is_lasting();
        let fresh = self.names.reserve_number();
        let ino = self.control.number_of(place, fresh);
        Ok(Found {
            attributes: self.attributes(ino)?,
            lasting,
        })
    }

    /// Whether a file is being written, and nothing of it is lost yet.
    fn may_settle(&self, ino: Option<u64>) -> bool {
        let file = ino.and_then(|ino| self.files.get(&ino));
        file.is_some_and(|file| file.is_active() && file.spool().base() == 0)
            && !self.settings.consume
    }

    /// Whether a file is whole, so that nobody needs to wait for it and an
    /// ordinary read of it tells the truth.
    fn is_settled(&self, ino: Option<u64>) -> bool {
        let Some(file) = ino.and_then(|ino| self.files.get(&ino)) else {
            return false;
        };
        let failed = file.phase() == Some(Phase::Failed);
        // A FIFO's name leads elsewhere once somebody has taken what was written.
        !file.is_active()
            && !failed
            && file.spool().base() == 0
            && !self.settings.consume
            && file.fifo().is_none()
    }

    /// Nothing can be made, moved or removed in the control directory, nor can
    /// its own name be taken.
    pub(super) fn refuse_control(&self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        if self.control.nodes.contains_key(&parent) || (parent == ROOT && name == NAME) {
            return Err(Errno::PERM);
        }
        Ok(())
    }

    pub(super) fn control_attributes(&self, ino: u64) -> Option<Attributes> {
        let node = self.control.nodes.get(&ino)?;
        if let Place::ReadingEnd(id) = node.place
            && let Some(attributes) = self.reading_end_attributes(ino, id)
        {
            return Some(attributes);
        }
        let (mode, size) = match &node.place {
            Place::Status | Place::Metrics | Place::Events => (libc::S_IFREG | 0o400, 0),
            // A pipe has no size; who waits asks again when there is one.
            Place::File { door, path } if door.gives == Gives::File => {
                let source = self.names.resolve(path).and_then(|i| self.files.get(&i));
                let size = source.map_or(0, |file| file.spool().len());
                (libc::S_IFREG | 0o600, size)
            }
            Place::File { .. } => (libc::S_IFREG | 0o400, 0),
            // Its FIFO is gone, and what stands there now is read through it.
            Place::ReadingEnd(_) => (libc::S_IFREG | 0o600, 0),
            Place::Link { target } => (libc::S_IFLNK | 0o777, target.as_os_str().len() as u64),
            _ => (libc::S_IFDIR | 0o500, 0),
        };
        let root = self.names.get(ROOT).ok()?;
        Some(Attributes {
            ino,
            st_ino: node.st_ino(ino),
            size,
            blocks: 0,
            mode,
            nlink: 1,
            uid: self.settings.owner.uid,
            gid: self.settings.owner.gid,
            rdev: 0,
            atime: root.atime,
            mtime: root.mtime,
            ctime: root.ctime,
            lasting: self.control.waits_for(ino).is_none(),
        })
    }

    /// Where a link in the control directory points.
    pub(super) fn control_link(&self, ino: u64) -> Option<PathBuf> {
        match &self.control.nodes.get(&ino)?.place {
            Place::Link { target } => Some(target.clone()),
            _ => None,
        }
    }

    /// Why nothing can come at a path, if nothing can.
    pub(super) fn cannot_come(&self, path: &[OsString]) -> Option<Errno> {
        match self.names.leads(path) {
            Leads::Nowhere(errno) => Some(errno),
            // Looked up again, it is a link to there.
            Leads::Out(_) => Some(Errno::STALE),
            Leads::To(ino) => match self.names.get(ino).ok()?.st_mode() & libc::S_IFMT {
                libc::S_IFREG => None,
                libc::S_IFDIR => Some(Errno::ISDIR),
                _ => Some(Errno::STALE),
            },
            Leads::ToNothing => None,
        }
    }

    /// What an OPEN for reading must know of who asks.
    pub(crate) fn needs_of_opener(&self, ino: u64) -> Needed {
        // Of one without a name it may be what stands there instead that is written.
        let is_nameless = |inode: &Inode| inode.is_file() && inode.nlink() == 0;
        let has_lost_name = |inode: &Inode| inode.lost_name.is_some();
        if self.control.is_reading_end(ino)
            || self.files.get(&ino).is_some_and(super::File::is_active)
            || self.names.get(ino).is_ok_and(is_nameless)
        {
            Needed::Relations
        } else if self.settings.consume
            || self.settings.records
            || self.is_control(ino)
            || self.names.get(ino).is_ok_and(has_lost_name)
        {
            Needed::Name
        } else {
            Needed::Nothing
        }
    }

    /// An OPEN, of whatever it is; by a writer, if there is one, else by an opener.
    pub(super) fn open(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        (ino, flags): (u64, i32),
        writer: Option<Writer>,
        opener: &Opener,
        effects: &mut Effects,
    ) {
        let unique = caller.unique;
        if let Some(node) = self.control.nodes.get(&ino) {
            let place = node.place.clone();
            // The file itself is opened once it is there, for whatever.
            let waits = matches!(&place, Place::File { door, .. } if door.gives == Gives::File);
            if writer.is_some() && !waits {
                return effects.refuse(unique, Errno::ACCESS);
            }
            let at = (ino, place, Asked::Open);
            let opener = writer.map_or_else(|| opener.clone(), Opener::from);
            return self.open_control(env, caller, at, (flags, &opener), effects);
        }
        // The flusher must get at what is written whatever there is.
        if let (false, Err(errno)) = (caller.internal, self.check_room_to_open(caller.user)) {
            return effects.refuse(unique, errno);
        }
        if writer.is_none() && self.was_misled(env, caller, ino, flags, opener, effects) {
            return;
        }
        if let Some(id) = self.fifo_of(ino) {
            let is_done = match &writer {
                Some(writer) => self.opens_later(env, caller, (ino, id), (flags, writer), effects),
                None => self.opens_reading_end(env, caller, (ino, id), (flags, opener), effects),
            };
            if is_done {
                return;
            }
        }
        // Its content went with its last name, but the kernel still believes in
        // that one: it is to look again.
        if self.names.get(ino).is_ok_and(Inode::is_file) && !self.files.contains_key(&ino) {
            return effects.refuse(unique, Errno::STALE);
        }
        let Some(writer) = writer else {
            return self.open_for_reading(env, caller, ino, flags, opener, effects);
        };
        self.write_to(env, caller, ino, flags, writer, effects);
    }

    /// Opens a file for writing.
    pub(super) fn write_to(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        ino: u64,
        flags: i32,
        writer: Writer,
        effects: &mut Effects,
    ) {
        let unique = caller.unique;
        match self.open_for_writing(env, ino, flags, (writer, caller.user), effects) {
            Ok((handle, transport)) => {
                effects.reply(unique, Reply::Opened { handle, transport });
            }
            Err(errno) => effects.refuse(unique, errno),
        }
    }

    fn open_control(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        (ino, place, asked): (u64, Place, Asked),
        (flags, opener): (i32, &Opener),
        effects: &mut Effects,
    ) {
        let handle = match place {
            Place::Status => Handle::Text(self.status_text()),
            Place::Metrics => Handle::Text(self.metrics_text(env)),
            Place::Events => Handle::Events(self.events.subscribe(None, false)),
            Place::File { door, path } => {
                let at = (ino, door, path);
                return self.wait_at_door(env, caller, at, (flags, asked, opener), effects);
            }
            Place::Link { .. } => return effects.refuse(caller.unique, Errno::LOOP),
            Place::ReadingEnd(id) => {
                return self.open_reading_end(env, caller, id, (flags, opener), effects);
            }
            _ => return effects.refuse(caller.unique, Errno::ISDIR),
        };
        let handle = self.add_handle(handle);
        effects.reply(
            caller.unique,
            Reply::Opened {
                handle,
                transport: Transport::Sequential,
            },
        );
    }

    /// What stands at a path, for somebody who wants what comes after it.
    pub(super) fn seen(&self, path: &[OsString]) -> Option<Seen> {
        let ino = self.names.resolve(path)?;
        self.files.get(&ino)?;
        Some(self.seen_file(ino))
    }

    /// The present or last generation of a file.
    pub(super) fn seen_file(&self, ino: u64) -> Seen {
        let generation = self.generation(ino);
        Seen {
            ino,
            number: generation.map_or(0, Generation::number),
            openings: generation
                .filter(|generation| !generation.is_open())
                .map(Generation::openings),
        }
    }

    /// Whether a number belongs to the control directory.
    pub(crate) fn is_control(&self, ino: u64) -> bool {
        self.control.nodes.contains_key(&ino)
    }
}
