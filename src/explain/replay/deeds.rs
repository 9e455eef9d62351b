//! Single operations of a recording, done again on another core.
//!
//! Knows that core's numbers for what was recorded by others. What cannot be done
//! there as it was recorded was refused to the program.

use std::ffi::OsStr;
use std::ops::Range;

use rustix::io::Errno;

use super::{Answer, CREATOR, Replay};
use crate::core::effects::{Bytes, Effects, Kin, Opening, Wanted};
use crate::core::generation::{Way, Writer};
use crate::core::recording::{At, Deed};
use crate::core::spool::Load;
use crate::core::{Attributes, Changes, Core, Env};
use crate::explain::outcome::Refused;

/// In which the kernel writes back what programs write.
const PAGE_BYTES: u64 = 4096;

impl Replay<'_> {
    /// Does one operation. What concerns a file that is not known here is about
    /// none that anybody can see.
    pub(super) fn apply(&mut self, deed: &Deed) -> Result<(), Errno> {
        match deed {
            Deed::Create {
                at,
                ino,
                handle,
                flags,
                writer,
            } => {
                let (mut opened, flags, writer) = (None, *flags, writer.clone());
                self.make(at, *ino, |core, env, at, effects| {
                    let made = core.create(env, at, CREATOR, flags, writer, effects);
                    let (attributes, handle, _) = made?;
                    opened = Some(handle);
                    Ok(attributes)
                });
                if let Some(opened) = opened {
                    self.handles.insert(*handle, opened);
                }
            }
            Deed::MakeNode { at, ino, kind } => {
                self.make(at, *ino, |core, env, at, effects| {
                    core.make_node(env, at, CREATOR, *kind, 0, effects)
                });
            }
            Deed::MakeDirectory { at, ino } => {
                self.make(at, *ino, |core, env, at, _| {
                    // Captures have made those above them.
                    match core.names().find(at.0, at.1) {
                        Ok(there) => core.attributes(there),
                        Err(_) => core.make_directory(env, at, CREATOR),
                    }
                });
            }
            Deed::MakeSymlink { at, ino, target } => {
                self.make(at, *ino, |core, env, at, _| {
                    core.make_symlink(env, at, CREATOR, target)
                });
            }
            Deed::Link { at, ino } => {
                if let Some(&known) = self.inos.get(ino) {
                    self.make(at, *ino, |core, env, at, effects| {
                        core.link(env, known, at, CREATOR.uid, effects)
                    });
                }
            }
            Deed::Unlink { at } => {
                self.named(at, |core, env, at, effects| core.unlink(env, at, effects));
            }
            Deed::RemoveDirectory { at } => {
                self.named(at, |core, env, at, _| core.remove_directory(env, at));
            }
            Deed::Rename { from, to, how } => {
                if let Some(&parent) = self.inos.get(&to.0) {
                    self.named(from, |core, env, from, effects| {
                        core.rename(env, from, (parent, &to.1), *how, effects)
                    });
                }
            }
            Deed::Close { handle } => {
                if let Some(known) = self.handles.remove(handle) {
                    self.run(|core, env, effects| core.release(env, known, effects));
                }
            }
            Deed::Read {
                ino,
                handle,
                offset,
                ..
            } => {
                if let (Some(&known), Some(&ino)) = (self.handles.get(handle), self.inos.get(ino)) {
                    self.read_back(ino, known, *offset);
                }
            }
            Deed::Ended { pid, ending } => {
                self.people.0.insert(*pid, *ending);
                self.run(|core, env, _| core.process_ended(env, *pid));
            }
            Deed::Look { .. } => {}
            Deed::Open { ino, .. }
            | Deed::WroteToo { ino, .. }
            | Deed::Write { ino, .. }
            | Deed::Resize { ino, .. }
            | Deed::Allocate { ino, .. } => {
                if let Some(&known) = self.inos.get(ino) {
                    return self.apply_to_file(known, deed);
                }
            }
        }
        Ok(())
    }

    fn apply_to_file(&mut self, ino: u64, deed: &Deed) -> Result<(), Errno> {
        match deed {
            Deed::Open {
                handle,
                flags,
                opener,
                writes,
                ..
            } => {
                let writer = writes.then_some(opener);
                self.open(ino, *handle, *flags, writer);
                Ok(())
            }
            Deed::WroteToo { writer, .. } => {
                self.run(|core, env, _| core.wrote_too(env, ino, writer.clone()));
                Ok(())
            }
            Deed::Write {
                offset,
                length,
                start,
                mapped,
                ..
            } => self.write(ino, *offset, (*start, *length), *mapped),
            Deed::Resize { length, .. } => {
                let changes = Changes {
                    size: Some(*length),
                    ..Changes::default()
                };
                let (done, _) =
                    self.run(|core, env, effects| core.change(env, ino, changes, effects));
                if done.as_ref().err() == Some(&Errno::SPIPE) {
                    self.refused(ino, Refused::Write, *length);
                    return Ok(());
                }
                done.map(drop)
            }
            Deed::Allocate {
                offset,
                length,
                mode,
                ..
            } => {
                let (done, _) = self.run(|core, env, effects| {
                    core.allocate(env, ino, *offset, *length, *mode, effects)
                });
                if done == Err(Errno::SPIPE) {
                    self.refused(ino, Refused::Write, *offset);
                    return Ok(());
                }
                done
            }
            _ => Ok(()),
        }
    }

    /// Does something to a name.
    fn named<R>(
        &mut self,
        (parent, name): &At,
        act: impl FnOnce(&mut Core, Env<'_>, (u64, &OsStr), &mut Effects) -> Result<R, Errno>,
    ) -> Option<R> {
        let parent = *self.inos.get(parent)?;
        let (done, _) = self.run(|core, env, effects| act(core, env, (parent, name), effects));
        done.ok()
    }

    /// The same if that makes what was recorded by this number.
    fn make(
        &mut self,
        at: &At,
        recorded: u64,
        act: impl FnOnce(&mut Core, Env<'_>, (u64, &OsStr), &mut Effects) -> Result<Attributes, Errno>,
    ) {
        if let Some(made) = self.named(at, act) {
            self.inos.insert(recorded, made.ino);
        }
    }

    fn open(&mut self, ino: u64, recorded: u64, flags: i32, writer: Option<&Writer>) {
        let answer = self.ask(|core, env, caller, effects| {
            let opening = Opening {
                flags,
                writer: writer.cloned(),
                kin: &Kin::default(),
            };
            core.open(env, caller, ino, opening, effects);
        });
        match answer {
            Some(Answer::Opened(handle)) => {
                self.handles.insert(recorded, handle);
            }
            // Only what empties it is refused then.
            _ if writer.is_some() => self.refused(ino, Refused::Write, 0),
            _ => self.refused(ino, Refused::Open, 0),
        }
    }

    fn write(
        &mut self,
        ino: u64,
        offset: u64,
        (start, length): (u64, u64),
        mapped: bool,
    ) -> Result<(), Errno> {
        let mut data = std::mem::take(&mut self.buffer);
        data.clear();
        let is_stream = matches!(self.core.way_of(ino), Some((Way::Stream, _)));
        let in_pages = self.in_pages && !is_stream;
        let mut from = offset;
        if in_pages {
            // What else is in the page comes along.
            from = offset / PAGE_BYTES * PAGE_BYTES;
            self.copy(ino, from..offset, &mut data)?;
            data.resize((offset - from) as usize, 0);
        }
        let bytes = self.recording.bytes(start, length as usize);
        bytes.copy_to(&mut data).map_err(|_| Errno::IO)?;
        let end = offset + length;
        if in_pages {
            self.copy(ino, end..end.next_multiple_of(PAGE_BYTES), &mut data)?;
        }
        let answer = self.ask(|core, env, caller, effects| {
            let bytes = Bytes {
                offset: from,
                data: Load::from(&data),
                from_cache: mapped || !is_stream,
                kills_set_id: false,
            };
            core.write(env, caller, ino, bytes, effects);
        });
        self.buffer = data;
        match answer {
            Some(Answer::Refused(Errno::NOSPC)) => Err(Errno::NOSPC),
            Some(Answer::Refused(_)) => {
                self.refused(ino, Refused::Write, offset);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn copy(&self, ino: u64, range: Range<u64>, to: &mut Vec<u8>) -> Result<(), Errno> {
        let length = (range.end - range.start) as usize;
        match self.core.content(ino, range.start, length) {
            Some(bytes) => bytes.copy_to(to).map_err(|_| Errno::IO),
            None => Ok(()),
        }
    }

    fn read_back(&mut self, ino: u64, handle: u64, offset: u64) {
        let wanted = Wanted {
            offset,
            length: 1,
            nonblocking: true,
        };
        let answer = self.ask(|core, env, caller, effects| {
            core.read(env, caller, handle, wanted, effects);
        });
        if let Some(Answer::Refused(_)) = answer {
            self.refused(ino, Refused::Read, offset);
        }
    }
}
