//! Publishing what happens to files: events for subscribers, warnings for users.
//!
//! Knows the paths that files have at that moment; the subscribers are in [`crate::core::events`].

use std::path::Path;

use rustix::io::Errno;

use super::Operation;
use crate::core::File;
use crate::core::event::Event;

impl Operation<'_> {
    /// Gives subscribers an event of a file.
    pub(super) fn publish(&mut self, ino: u64, event: impl FnOnce() -> Event) {
        if self.events.wanted() {
            let path = self.path_of(ino);
            self.publish_as(&path, event);
        }
    }

    /// The same, with a path that may be gone already.
    pub(super) fn publish_as(&mut self, path: &Path, event: impl FnOnce() -> Event) {
        if !self.events.wanted() {
            return;
        }
        let (events, effects) = (&mut self.core.events, &mut self.effects);
        for (unique, reply) in events.publish(self.now, path.to_owned(), event(), effects) {
            self.reply(unique, Ok(reply));
        }
    }

    /// The end of a process that writes a file will not be seen. Warns once, though this may come with each
    /// write.
    pub(super) fn warn_of_unwatched(&mut self, ino: u64, errno: Errno) {
        let message = format!(
            "a process writes it that cannot be watched; should it be killed, readers will not be \
             told: {errno}"
        );
        let is_known = |file: &File| file.warning() == Some(&message);
        if !self.files.get(&ino).is_some_and(is_known) {
            self.warn(ino, message);
        }
    }

    /// Warns users of something about a file: in the log, in the events, in `ls`.
    pub(super) fn warn(&mut self, ino: u64, message: String) {
        // `fifofs run` reports on its files itself, and turns these off by the target.
        log::warn!(target: "fifofs::files", "{}: {message}", self.path_of(ino).display());
        self.publish(ino, || Event::Warning {
            message: message.clone(),
        });
        if let Some(file) = self.files.get_mut(&ino) {
            file.warn(message);
        }
    }
}
