//! Answers to POLL, and notifications afterwards ([`crate::core::readers::pollers`]).

use super::Operation;
use super::reading::Available;
use crate::core::Handle;
use crate::core::effects::Reply;
use crate::core::ids::ReaderId;
use crate::core::readers::pollers::Readiness;

const READABLE: u32 = (libc::POLLIN | libc::POLLRDNORM) as u32;
const WRITABLE: u32 = (libc::POLLOUT | libc::POLLWRNORM) as u32;

impl Operation<'_> {
    /// Answers a POLL with what holds now, and keeps the kernel handle to notify when it changes.
    pub(super) fn poll(&mut self, handle: u64, kernel_handle: Option<u64>) -> Reply {
        let events = match self.handles.get(&handle) {
            Some(&Handle::Reader(id)) => {
                self.look_at_writers(id);
                let readiness = self.readiness(id);
                if let Some(reader) = self.readers.get_mut(id) {
                    reader.pollers().asked(kernel_handle, readiness);
                }
                readable_if(readiness.ready)
            }
            Some(&Handle::Events(id)) => readable_if(self.events.poll(id, kernel_handle).ready),
            // Never waits.
            _ => READABLE | WRITABLE,
        };
        Reply::Polled(events)
    }

    /// Checks whether a FIFO's writers have ended: a poller may have reaped the writer already, and must then
    /// see the end.
    fn look_at_writers(&mut self, id: ReaderId) {
        let reader = self
            .readers
            .get(id)
            .filter(|reader| reader.origin().fifo.is_some());
        if let Some(ino) = reader.and_then(|reader| reader.source()) {
            self.evaluate(ino);
        }
    }

    /// Notifies a reader's pollers if there is something new for it.
    pub(super) fn notify_pollers(&mut self, id: ReaderId) {
        let reader = self.readers.get_mut(id);
        if reader.is_none_or(|reader| reader.pollers().are_none()) {
            return;
        }
        let readiness = self.readiness(id);
        if let Some(reader) = self.core.readers.get_mut(id) {
            reader.pollers().notify(readiness, &mut self.effects);
        }
    }

    /// Notifies the pollers of every open file.
    pub(super) fn notify_all_pollers(&mut self) {
        let readers: Vec<ReaderId> = self.readers.ids().collect();
        for id in readers {
            self.notify_pollers(id);
        }
        self.core.events.shut_down(&mut self.effects);
    }

    fn readiness(&mut self, id: ReaderId) -> Readiness {
        let Some(reader) = self.readers.get(id).filter(|reader| !reader.is_finished()) else {
            return Readiness::OVER;
        };
        match self.available(id, reader.position()) {
            Available::Nothing => Readiness::default(),
            Available::Bytes(view) => Readiness {
                ready: true,
                limit: view.limit,
                over: view.end,
            },
            Available::NoBytes | Available::End | Available::Error(_) => Readiness::OVER,
        }
    }
}

fn readable_if(ready: bool) -> u32 {
    if ready { READABLE } else { 0 }
}
