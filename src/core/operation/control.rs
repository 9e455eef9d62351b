//! Requests for the control directory: its places are looked up and opened ([`crate::core::control`]).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;

use super::Operation;
use crate::core::Handle;
use crate::core::attributes::Found;
use crate::core::doors::{Gives, Which};
use crate::core::effects::{Outcome, Reply, Transport};
use crate::core::generation::Phase;
use crate::core::namespace::{CONTROL, Leads, NAME_MAX, ROOT};
use crate::core::request::{Caller, Opener};

use crate::core::control::{Place, decode, is_splicer};

impl Operation<'_> {
    /// Looks up the control directory, or a name in it.
    pub(super) fn look_up_place(
        &mut self,
        caller: Caller,
        (parent, name): (u64, &OsStr),
    ) -> Result<Found, Errno> {
        let Caller {
            thread, internal, ..
        } = caller;
        let Some(place) = self.control.place(parent) else {
            return Ok(Found {
                attributes: self.attributes(self.control.top)?,
                incarnation: 0,
                cacheable: true,
            });
        };
        if matches!(name.as_bytes(), b"." | b"..") {
            // Asked for to open a file handle; a place that is made for one reader has none that lasts.
            return Err(Errno::NOENT);
        }
        let place = match place {
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
            // Only a process id as it is usually written.
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
                return self.found_by(thread, ino, false);
            }
            Place::Directory { door, path, depth } => {
                let (door, depth) = (*door, *depth);
                let components = decode(name);
                // No file can have such a name.
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
                        return self.found_place(thread, Place::Link { target });
                    }
                };
                let has_waited_for = self.sent_back.has_waited_for(self.now, thread);
                let has_waited = found.is_some() && found == has_waited_for;
                let is_wanted =
                    door.gives == Gives::File && (door.which == Which::Present || has_waited);
                let is_back = is_wanted && self.core.sent_back.is_back(self.now, thread, found);
                let inode = found.and_then(|ino| self.names.get(ino).ok());
                match inode.map(|inode| inode.st_mode() & libc::S_IFMT) {
                    Some(libc::S_IFDIR) => Place::Directory {
                        door,
                        path,
                        depth: depth + 1,
                    },
                    Some(libc::S_IFREG)
                        if is_wanted
                            && (self.is_settled(found)
                                // Where files are consumed only a thread that asks for attributes is sent back.
                                || is_back && (self.settings.consume || self.may_settle(found))) =>
                    {
                        // There is nothing to wait for, so the place is the file itself.
                        let ino = found.ok_or(Errno::NOENT)?;
                        self.sent_back.has_found_file(thread, ino);
                        return self.found_by(thread, ino, false);
                    }
                    Some(libc::S_IFREG) | None => Place::File { door, path },
                    // A FIFO, socket or device has no end to wait for.
                    Some(_) => Place::Link {
                        target: path.iter().fold(to_root, |target, name| target.join(name)),
                    },
                }
            }
            _ => return Err(Errno::NOTDIR),
        };
        self.found_place(thread, place)
    }

    /// Answers a lookup of a place: the kernel holds a reference to it from now on.
    pub(super) fn found_place(&mut self, thread: i32, place: Place) -> Result<Found, Errno> {
        let cacheable = place.is_cacheable();
        let fresh = self.names.reserve_number();
        let is_spliced = self.is_spliced(thread, &place);
        // The text must have the size that the kernel is told now.
        let text = match &place {
            Place::Status => Some(self.status_text()),
            Place::Metrics => Some(self.metrics_text()),
            _ => None,
        };
        let ino = self.control.number_of(place, is_spliced, text, fresh);
        Ok(Found {
            attributes: self.attributes(ino)?,
            incarnation: 0,
            cacheable,
        })
    }

    /// Whether a file is being written and all its bytes are still kept.
    fn may_settle(&self, ino: Option<u64>) -> bool {
        let file = ino.and_then(|ino| self.files.get(&ino));
        file.is_some_and(|file| file.is_active() && file.spool().dropped_bytes() == 0)
    }

    /// Whether a file is done and whole, so that an ordinary read of it gives what a waiting reader
    /// would get.
    fn is_settled(&self, ino: Option<u64>) -> bool {
        let Some(file) = ino.and_then(|ino| self.files.get(&ino)) else {
            return false;
        };
        let failed = file.phase() == Phase::Failed;
        // A FIFO's name leads to another file once a reader has taken the message.
        !file.is_active()
            && !failed
            && file.spool().dropped_bytes() == 0
            && !self.settings.consume
            && file.fifo().is_none()
    }

    /// Refuses to make, move or remove a name in the control directory, or its own name.
    pub(super) fn refuse_control(&self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        match self.control_is_at(parent, name) {
            true => Err(Errno::PERM),
            false => Ok(()),
        }
    }

    /// Whether a name is the control directory's, or in it.
    pub(super) fn control_is_at(&self, parent: u64, name: &OsStr) -> bool {
        self.control.has(parent) || (parent == ROOT && name == CONTROL)
    }

    /// An OPEN of a place.
    pub(super) fn open_control(
        &mut self,
        caller: Caller,
        (ino, place): (u64, Place),
        (flags, opener): (i32, &Opener),
    ) -> Outcome {
        let (handle, transport) = match place {
            Place::Status | Place::Metrics => {
                let text = self.control.text(ino).unwrap_or_default();
                (Handle::Text(text), Transport::Direct)
            }
            Place::Events => {
                let events = self.events.subscribe(None, false);
                (Handle::Events(events), Transport::Sequential)
            }
            Place::File { door, path } => {
                let at = (ino, door, path);
                return self.wait_at_door(caller, at, (Some(flags), opener));
            }
            Place::Link { .. } => return Err(Errno::LOOP),
            Place::ReadingEnd(id) => {
                return self.open_reading_end(caller, id, (flags, opener));
            }
            _ => return Err(Errno::ISDIR),
        };
        let handle = self.add_handle(handle);
        Ok(Some(Reply::Opened { handle, transport }))
    }

    /// Whether a LOOKUP of this place by this thread must show a size that the place has not.
    fn is_spliced(&self, thread: i32, place: &Place) -> bool {
        let program = || self.processes.name_of(thread);
        self.settings.splice_ends_at_size
            && place.has_no_size()
            && program().is_some_and(|name| is_splicer(&name))
    }
}
