//! Requests that wait no longer: their callers have a signal to see to, or the mount goes away.

use rustix::io::Errno;

use super::effects::{Effects, Reply, Unique};
use super::{Core, Env, Waiting};

impl Core {
    /// Gives up a request that waits.
    pub(super) fn give_up(
        &mut self,
        env: Env<'_>,
        unique: Unique,
        errno: Errno,
        effects: &mut Effects,
    ) {
        let Some((kept, _)) = self.waiting.remove(&unique) else {
            return;
        };
        let mut reply = Reply::Refused(errno);
        match kept {
            Waiting::Open(id) => self.drop_reader(env, id, effects),
            Waiting::Read(id) => {
                if let Some(reader) = self.readers.get_mut(id) {
                    reader.give_up_read(unique);
                }
            }
            Waiting::Write(ino) => {
                let file = self.files.get_mut(&ino);
                if let Some(written) = file.and_then(|file| file.flow().give_up(unique)) {
                    reply = written;
                }
            }
            Waiting::Events(id) => self.events.cancel(id, unique),
            Waiting::FifoOpen(id) => self.leaves_queue(id, unique),
        }
        effects.reply(unique, reply);
    }

    /// The mount is going away: who waits is answered with an error, now and from now on.
    pub(super) fn shut_down(&mut self, env: Env<'_>, effects: &mut Effects) {
        if !std::mem::replace(&mut self.is_shut_down, true) {
            self.refuse_all(env, effects);
            self.notify_all_pollers(env, effects);
        }
    }

    pub(super) fn refuse_all(&mut self, env: Env<'_>, effects: &mut Effects) {
        let waiting: Vec<Unique> = self.waiting.keys().copied().collect();
        for unique in waiting {
            self.give_up(env, unique, Errno::NOTCONN, effects);
        }
    }
}
