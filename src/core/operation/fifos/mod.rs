//! Virtual FIFOs ([`crate::core::fifos`]): how they are made and found, and how one message follows the other.

mod making;
mod reading;
mod writing;

use std::ffi::OsStr;

use rustix::io::Errno;

use super::Operation;
use crate::core::File;
use crate::core::attributes::Found;
use crate::core::control::Place;
use crate::core::effects::Reply;
use crate::core::fifos::{Fifo, HeldOpen, Queued};
use crate::core::ids::FifoId;
use crate::core::namespace::Creator;
use crate::core::request::At;
use crate::core::sent_back::Why;
use crate::core::timers::QUEUED_WRITER_COMES;

impl Operation<'_> {
    /// A file that is a FIFO's message, and the FIFO.
    fn message(&self, ino: u64) -> Option<(&File, &Fifo)> {
        let file = self.files.get(&ino)?;
        Some((file, self.fifos.by_id.get(&file.fifo()?)?))
    }

    /// Whether a FIFO of this name is to be a virtual one.
    pub(super) fn makes_virtual(&self, parent: u64, name: &OsStr) -> bool {
        let path = self.names.path_of(parent, name).unwrap_or_default();
        let path: std::path::PathBuf = path.iter().collect();
        self.settings.fifos.choose(&path).is_some()
    }

    /// Makes a virtual FIFO. The kernel accepts only a FIFO in the answer to MKNOD: it gets one that cannot
    /// be reached, as each later open looks the name up again.
    pub(super) fn make_fifo(&mut self, at: &At, creator: Creator) -> Result<Reply, Errno> {
        let ino = self.make_file(at, creator)?;
        let id = FifoId(ino);
        let fifo = Fifo {
            current: ino,
            taken: false,
            queue: Vec::new(),
        };
        self.fifos.by_id.insert(id, fifo);
        self.file_mut(ino)?.becomes_message(id);
        self.names.get_mut(ino)?.fifo = Some(id);
        self.touched.names.add(at.1.clone());
        let mut attributes = self.attributes(ino)?;
        attributes.ino = self.names.reserve_number();
        attributes.mode = libc::S_IFIFO | attributes.mode & 0o7777;
        attributes.cacheable = false;
        Ok(Reply::Found(Found {
            attributes,
            incarnation: 0,
            cacheable: false,
        }))
    }

    /// What a LOOKUP of this name of a FIFO finds; `None` if it is no FIFO.
    pub(super) fn find_fifo(
        &mut self,
        thread: i32,
        (name, ino): (&OsStr, u64),
    ) -> Option<Result<Found, Errno>> {
        let id = self.files.get(&ino)?.fifo()?;
        if self.is_to_make(thread, name, ino) {
            return Some(Err(Errno::NOENT));
        }
        let found = match self.sent_back.comes_back_to(self.now, thread, id) {
            Some(Why::ReadingEnd(_)) => {
                return Some(self.found_place(thread, Place::ReadingEnd(id)));
            }
            Some(Why::Turn(_)) => match self.own_message(id, thread) {
                Ok(own) => own,
                Err(errno) => return Some(Err(errno)),
            },
            _ => ino,
        };
        Some(self.found_by(thread, found, true))
    }

    /// The FIFO that this inode is a message of, or was: its name may just have led here.
    pub(super) fn fifo_of(&self, ino: u64) -> Option<FifoId> {
        self.names.get(ino).ok()?.fifo
    }

    /// If a FIFO's present message is over, puts the next in its place.
    pub(super) fn renew_fifo(&mut self, id: FifoId) {
        let Some(fifo) = self.fifos.by_id.get(&id) else {
            return;
        };
        let (old, taken) = (fifo.current, fifo.taken);
        let Some(file) = self.files.get(&old) else {
            self.forget_fifo(id);
            return;
        };
        let is_unused = !file.generation().has_begun();
        let is_over = taken && !file.is_active() && !is_unused;
        if !(is_over || is_unused && fifo.has_next_writer()) {
            return;
        }
        if self.names.names_of(old).is_empty() {
            // A removed FIFO cannot be opened any more.
            return self.refuse_queue(id);
        }
        self.replace_message(id);
    }

    /// Puts the next message in the place of the present one; false if none could be made.
    fn replace_message(&mut self, id: FifoId) -> bool {
        let Some(old) = self.fifos.present(id) else {
            return false;
        };
        self.drop_unclaimed(id);
        let Some((next, open)) = self.next_message(id, old) else {
            return false;
        };
        self.core.names.put_in_place(old, next, self.wall);
        let Some(fifo) = self.fifos.by_id.get_mut(&id) else {
            return false;
        };
        (fifo.current, fifo.taken) = (next, false);
        self.move_waiting_readers(id, (old, next));
        self.names.pin(old);
        if let Some(HeldOpen {
            caller,
            flags,
            writer,
        }) = open
        {
            let reply = self.write_to(caller, next, flags, writer);
            self.reply(caller.unique, reply);
            self.unpin(next);
        }
        self.unpin(old);
        true
    }

    /// Drops messages that their writers looked up, but did not open in time.
    fn drop_unclaimed(&mut self, id: FifoId) {
        let now = self.now;
        let is_unclaimed = |queued: &mut Queued| {
            queued.open.is_none() && now.saturating_sub(queued.found) > QUEUED_WRITER_COMES
        };
        let fifo = self.fifos.by_id.get_mut(&id).into_iter();
        let dropped = fifo.flat_map(|fifo| fifo.queue.extract_if(.., is_unclaimed));
        for queued in dropped.collect::<Vec<Queued>>() {
            self.unpin(queued.ino);
        }
    }

    /// The message after this one, and the OPEN that waits to write it.
    fn next_message(&mut self, id: FifoId, old: u64) -> Option<(u64, Option<HeldOpen>)> {
        let queue = &mut self.fifos.by_id.get_mut(&id)?.queue;
        if let Some(at) = queue.iter().position(|queued| queued.open.is_some()) {
            let queued = queue.remove(at);
            return Some((queued.ino, queued.open));
        }
        match self.make_message(id, old) {
            Ok(ino) => Some((ino, None)),
            Err(errno) => {
                log::error!("a FIFO is not emptied for its next writer: {errno}");
                None
            }
        }
    }

    /// Makes a message of a FIFO, without a name; owner and mode are those of an earlier one.
    fn make_message(&mut self, id: FifoId, like: u64) -> Result<u64, Errno> {
        let inode = self.names.get(like)?;
        let creator = Creator {
            uid: inode.uid,
            gid: inode.gid,
            mode: inode.mode,
        };
        let ino = self.core.names.make_nameless(creator, self.wall)?;
        let mut file = File::new(&self.pool.of(creator.uid));
        file.becomes_message(id);
        self.files.insert(ino, file);
        self.names.get_mut(ino)?.fifo = Some(id);
        Ok(ino)
    }

    /// The file behind a FIFO is gone.
    fn forget_fifo(&mut self, id: FifoId) {
        self.refuse_queue(id);
        self.fifos.by_id.remove(&id);
    }

    fn refuse_queue(&mut self, id: FifoId) {
        let fifo = self.fifos.by_id.get_mut(&id);
        let queue = fifo.map(|fifo| std::mem::take(&mut fifo.queue));
        for queued in queue.into_iter().flatten() {
            if let Some(open) = queued.open {
                self.reply(open.caller.unique, Err(Errno::STALE));
            }
            self.unpin(queued.ino);
        }
    }
}
