//! Attributes: what `stat` shows and `chmod`, `chown`, `truncate`, `touch` change; extended attributes.

use std::ffi::OsStr;

use rustix::io::Errno;

use super::Operation;
use crate::core::attributes::{Attributes, Change, Changes};
use crate::core::control::{Place, SHOWN_BYTES};
use crate::core::doors::Gives;
use crate::core::effects::{Effect, Reply};
use crate::core::ids::FifoId;
use crate::core::namespace::{Inode, ROOT};
use crate::core::readers::reader::Reader;
use crate::core::request::{Caller, User};
use crate::core::{Core, File};

/// The unit of `st_blocks`, fixed by POSIX practice.
const BLOCK_BYTES: u64 = 512;

/// Memory of an extended attribute beside its name and value (measured: 600 bytes for the first of a file, less
/// for the others).
const XATTR_BYTES: u64 = 300;

impl Core {
    /// Whether a reader may take the file for sparse while it is written: the kernel knows the new length
    /// before we get the bytes, and `cp` looks for holes in a file with fewer blocks than its length, which does
    /// not work while it grows. So the bytes that the kernel may still hold are counted as preallocated.
    /// Readers without a descriptor yet, and those in this process, do not look for holes.
    fn is_read_while_written(&self, file: &File) -> bool {
        let looks = |reader: &Reader| reader.origin().capture.is_none() && reader.open().is_none();
        let mut readers = self.readers.of(file);
        file.writeback().may_hold_more() && file.is_active() && readers.any(looks)
    }

    /// What `stat` shows of an inode.
    pub(crate) fn attributes(&self, ino: u64) -> Result<Attributes, Errno> {
        if let Some(place) = self.control.place(ino) {
            return self.attributes_of_place(ino, place);
        }
        let mut attributes = Attributes::of(ino, self.names.get(ino)?);
        if let Some(file) = self.files.get(&ino) {
            let ahead = match self.is_read_while_written(file) {
                true => self.settings.unseen_bytes,
                false => 0,
            };
            let allocated = file.spool().allocated_bytes() + ahead;
            attributes.size = file.spool().len();
            attributes.blocks = allocated.div_ceil(BLOCK_BYTES);
        }
        attributes.cacheable = !self.has_hung_up(ino);
        Ok(attributes)
    }

    /// What `stat` shows of a place in the control directory.
    fn attributes_of_place(&self, ino: u64, place: &Place) -> Result<Attributes, Errno> {
        let shown = match self.control.is_spliced(ino) {
            true => SHOWN_BYTES,
            false => 0,
        };
        if let Place::ReadingEnd(id) = place
            && let Some(mut attributes) = self.attributes_of_reading_end(ino, *id)
        {
            attributes.size = shown;
            return Ok(attributes);
        }
        let (mode, size) = match place {
            Place::Status | Place::Metrics => {
                let text = self.control.text(ino).unwrap_or_default();
                (libc::S_IFREG | 0o400, text.len() as u64)
            }
            Place::Events => (libc::S_IFREG | 0o400, shown),
            // The size so far: a program that waits here asks again when the file is done.
            Place::File { door, path } if door.gives == Gives::File => {
                let source = self.names.resolve(path).and_then(|i| self.files.get(&i));
                let size = source.map_or(0, |file| file.spool().len());
                (libc::S_IFREG | 0o600, size)
            }
            Place::File { .. } => (libc::S_IFREG | 0o400, shown),
            // Its FIFO is gone; the file that stands at the name now is read through it.
            Place::ReadingEnd(_) => (libc::S_IFREG | 0o600, shown),
            Place::Link { target } => (libc::S_IFLNK | 0o777, target.as_os_str().len() as u64),
            _ => (libc::S_IFDIR | 0o500, 0),
        };
        Ok(Attributes {
            st_ino: place.st_ino(ino),
            size,
            mode,
            nlink: 1,
            uid: self.settings.owner.uid,
            gid: self.settings.owner.gid,
            cacheable: self.control.waits_for(ino).is_none(),
            ..Attributes::of(ino, self.names.get(ROOT)?)
        })
    }

    /// What `stat` shows of the reading end of a FIFO: the FIFO's attributes, without a size.
    fn attributes_of_reading_end(&self, ino: u64, id: FifoId) -> Option<Attributes> {
        let present = self.fifos.present(id);
        let like = present.or_else(|| {
            // It was removed, but readers still have it open.
            let mut readers = self.readers.iter();
            readers
                .find(|reader| reader.origin().fifo == Some(id))?
                .source()
        });
        let named = present.and_then(|ino| self.names.get(ino).ok());
        Some(Attributes {
            st_ino: id.st_ino(),
            nlink: named.map_or(0, Inode::nlink),
            ..Attributes::of(ino, self.names.get(like?).ok()?)
        })
    }
}

impl Operation<'_> {
    /// Has the kernel drop its cached attributes of a file.
    pub(super) fn forget_attributes(&mut self, ino: u64) {
        let incarnation = self.names.incarnation(ino);
        self.effects
            .push(Effect::ForgetAttributes { ino, incarnation });
    }

    /// Changes attributes; on an error, none of them but maybe the size.
    pub(super) fn change(&mut self, ino: u64, changes: Changes) -> Result<Attributes, Errno> {
        if self.is_control(ino) {
            return Err(Errno::PERM);
        }
        let now = self.wall;
        if let Some(size) = changes.size {
            if !self.names.get(ino)?.is_file() {
                return Err(Errno::INVAL);
            }
            self.refuse_frozen()?;
            self.truncate(ino, size)?;
            if let Some(generation) = self.core.generation_mut(ino) {
                generation.changed(self.now);
            }
            self.touched.generations.add(ino);
        }
        let inode = self.names.get_mut(ino)?;
        if changes.drops_privileges {
            inode.drop_privileges(false);
        }
        let time = |change: Change| match change {
            Change::To(time) => time,
            Change::Now => now,
        };
        if changes.size.is_some() {
            inode.mtime = now;
        }
        inode.mode = changes.mode.map_or(inode.mode, |mode| mode & 0o7777);
        inode.uid = changes.uid.unwrap_or(inode.uid);
        inode.gid = changes.gid.unwrap_or(inode.gid);
        inode.atime = changes.atime.map_or(inode.atime, time);
        inode.mtime = changes.mtime.map_or(inode.mtime, time);
        inode.ctime = changes.ctime.unwrap_or(now);
        self.attributes(ino)
    }

    /// [`Self::drop_privileges`] after `fallocate` and `copy_file_range`: the kernel does not say whether the
    /// caller may keep the set-id bits. Only root may.
    pub(super) fn changed_by(&mut self, ino: u64, User { uid, gid }: User) {
        if uid != 0 {
            let outsider = self.names.get(ino).is_ok_and(|inode| inode.gid != gid);
            self.drop_privileges(ino, outsider);
        }
    }

    /// An unprivileged process changed a file: clears its set-id bits and capabilities. `outsider` says that the
    /// process is not in the file's group.
    pub(super) fn drop_privileges(&mut self, ino: u64, outsider: bool) {
        if let Ok(inode) = self.core.names.get_mut(ino)
            && inode.drop_privileges(outsider)
        {
            inode.ctime = self.wall;
            self.forget_attributes(ino);
        }
    }

    /// Sets an extended attribute; `flags` as in `setxattr(2)`.
    pub(super) fn set_xattr(
        &mut self,
        caller: Caller,
        ino: u64,
        (name, value): (&OsStr, Vec<u8>),
        flags: i32,
    ) -> Result<Reply, Errno> {
        // The kernel would not honour these access lists: it does not ask us for them.
        if name.as_encoded_bytes().starts_with(b"system.posix_acl_") {
            return Err(Errno::OPNOTSUPP);
        }
        let pool = self.pool.for_user(caller.user);
        let inode = self.core.names.get_mut(ino)?;
        let exists = inode.xattrs.contains_key(name);
        if flags & libc::XATTR_CREATE != 0 && exists {
            return Err(Errno::EXIST);
        }
        if flags & libc::XATTR_REPLACE != 0 && !exists {
            return Err(Errno::NODATA);
        }
        let bytes = XATTR_BYTES + (name.len() + value.len()) as u64;
        let kept = pool.keep(bytes)?;
        let attribute = (value, kept);
        inode.xattrs.insert(name.to_owned(), attribute);
        inode.ctime = self.wall;
        self.changed_by_name(ino);
        Ok(Reply::Done)
    }

    /// Removes an extended attribute.
    pub(super) fn remove_xattr(&mut self, ino: u64, name: &OsStr) -> Result<Reply, Errno> {
        let inode = self.core.names.get_mut(ino)?;
        inode.xattrs.remove(name).ok_or(Errno::NODATA)?;
        inode.ctime = self.wall;
        self.changed_by_name(ino);
        Ok(Reply::Done)
    }
}
