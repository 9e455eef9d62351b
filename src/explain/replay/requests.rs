//! Replays single requests of a recording on another core.
//!
//! Translates recorded inodes and handles to those of that core. A request that this core cannot
//! repeat counts as refused to the program.

use std::ops::Range;

use rustix::io::Errno;

use super::Replay;
use crate::core::effects::Reply;
use crate::core::generation::Way;
use crate::core::recording::Entry;
use crate::core::request::{Bytes, Request, Wanted};
use crate::core::spool::Load;
use crate::explain::outcome::Refused;

impl Replay<'_> {
    /// Replays one request. A request about a file that is unknown here is skipped: no reader can
    /// see that file.
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<(), Errno> {
        match self.renumbered(&entry.request) {
            None | Some(Request::Lookup { .. }) => Ok(()),
            Some(Request::Write { ino, bytes }) => {
                self.write(ino, bytes.offset, bytes.from_cache, entry)
            }
            Some(Request::Read {
                ino,
                handle,
                wanted,
                ..
            }) => {
                self.read_back(ino, handle, wanted.offset);
                Ok(())
            }
            Some(request) => self.repeat(request, entry),
        }
    }

    /// The same request with this core's inodes and handles, if it has them.
    fn renumbered(&self, request: &Request) -> Option<Request> {
        let mut request = request.clone();
        for ino in request.inodes_mut().into_iter().flatten() {
            *ino = *self.inos.get(ino)?;
        }
        if let Some(handle) = request.handle_mut() {
            *handle = *self.handles.get(handle)?;
        }
        Some(request)
    }

    fn repeat(&mut self, request: Request, entry: &Entry) -> Result<(), Errno> {
        // The file that the request changes other than by writing, and what counts as refused if it
        // fails.
        let mut changed = None;
        match &request {
            // Making the captures has made their parent directories.
            Request::MakeDirectory { at, .. } => {
                let there = self.core.names().find(at.0, &at.1);
                if let (Ok(there), Some(recorded)) = (there, entry.made.0) {
                    self.inos.insert(recorded, there);
                    return Ok(());
                }
            }
            &Request::ProcessEnded { pid, ending } => drop(self.processes.0.insert(pid, ending)),
            Request::Change { ino, changes } => {
                changed = changes.size.map(|size| (*ino, Refused::Write, size));
            }
            Request::Allocate { ino, offset, .. } => {
                changed = Some((*ino, Refused::Write, *offset));
            }
            Request::Open { ino, writer, .. } => {
                // A writer can be refused only the truncation.
                let what = match writer {
                    Some(_) => Refused::Write,
                    None => Refused::Open,
                };
                changed = Some((*ino, what, 0));
            }
            _ => {}
        }
        let is_open = matches!(request, Request::Open { .. });
        let mut opened = None;
        let mut reply = self.ask(request.clone());
        if is_open && matches!(reply, Some(Reply::Refused(Errno::STALE))) {
            if entry.made.1.is_none() {
                // The recorded program got ESTALE, too, and the kernel looked the path up once
                // more.
                return Ok(());
            }
            reply = self.ask(request);
        }
        match reply {
            Some(Reply::Created { found, handle, .. }) => {
                self.inos
                    .extend(entry.made.0.map(|ino| (ino, found.attributes.ino)));
                opened = Some(handle);
            }
            Some(Reply::Found(found)) => {
                let made = found.attributes.ino;
                self.inos.extend(entry.made.0.map(|ino| (ino, made)));
            }
            Some(Reply::Opened { handle, .. }) => opened = Some(handle),
            Some(Reply::Refused(errno)) => match changed {
                Some((ino, what, at)) if is_open || errno == Errno::SPIPE => {
                    self.refused(ino, what, at);
                }
                Some(_) => return Err(errno),
                None => {}
            },
            _ => {}
        }
        self.handles.extend(entry.made.1.zip(opened));
        if let Request::Release { handle } = entry.request {
            self.handles.remove(&handle);
        }
        Ok(())
    }

    fn write(&mut self, ino: u64, offset: u64, mapped: bool, entry: &Entry) -> Result<(), Errno> {
        let mut data = Vec::new();
        let is_stream = matches!(self.core.way_of(ino), Some((Way::Stream, _)));
        let in_pages = self.in_pages && !is_stream;
        let page_bytes = rustix::param::page_size() as u64;
        let mut from = offset;
        if in_pages {
            // The kernel writes back whole pages: the bytes before it in its page come along.
            from = offset / page_bytes * page_bytes;
            data = self.copy(ino, from..offset)?;
            data.resize((offset - from) as usize, 0);
        }
        let bytes = self.recording.bytes(entry);
        data.extend(bytes.to_vec().map_err(|_| Errno::IO)?);
        let end = offset + entry.length;
        if in_pages {
            data.extend(self.copy(ino, end..end.next_multiple_of(page_bytes))?);
        }
        let bytes = Bytes {
            offset: from,
            from_cache: mapped || !is_stream,
            kills_set_id: false,
        };
        match self.ask(Request::Write { ino, bytes }.with(Load::from(&data))) {
            Some(Reply::Refused(Errno::NOSPC)) => Err(Errno::NOSPC),
            Some(Reply::Refused(_)) => {
                self.refused(ino, Refused::Write, offset);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn copy(&self, ino: u64, range: Range<u64>) -> Result<Vec<u8>, Errno> {
        let length = (range.end - range.start) as usize;
        let bytes = self
            .core
            .spool(ino)
            .map(|spool| spool.read(range.start, length));
        bytes.unwrap_or_default().to_vec().map_err(|_| Errno::IO)
    }

    fn read_back(&mut self, ino: u64, handle: u64, offset: u64) {
        let wanted = Wanted {
            offset,
            length: 1,
            nonblocking: true,
        };
        let reply = self.ask(Request::Read {
            ino,
            handle,
            wanted,
            fills_pages: false,
        });
        if let Some(Reply::Refused(_)) = reply {
            self.refused(ino, Refused::Read, offset);
        }
    }
}
