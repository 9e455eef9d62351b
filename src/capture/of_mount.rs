//! Captures and events of a mount that this process serves.
//!
//! A mount knows nothing of captures; they know mounts.

use std::path::Path;
use std::sync::Arc;

use super::{Capture, Events, inside};
use crate::error::Result;
use crate::mount::{Mount, MountView};

impl Mount {
    /// Captures the file at `path`, relative to the mount: this process reads what programs write
    /// there. Missing parent directories are made. There may be any number of captures at once.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) of kind `AlreadyExists` if the path exists or is captured
    /// already; if a parent is no directory (`ENOTDIR`), a name is longer than 255 bytes
    /// (`ENAMETOOLONG`), or the path is in `.fifofs` (`EPERM`); [`Error::Usage`](crate::Error::Usage)
    /// if `path` is absolute, empty, or leads out of the mount.
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use fifofs::{Mount, Target};
    ///
    /// let mount = Mount::builder().mount_temporary()?;
    /// let capture = mount.capture("run-17/out.log")?;
    /// let output = capture.run(Command::new("cp").arg("Cargo.toml").arg(capture.path()))?;
    /// assert!(output.bytes.starts_with(b"[package]"));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn capture(&self, path: impl AsRef<Path>) -> Result<Capture> {
        let inside = inside(path.as_ref())?;
        self.owner().check("capture a file of", self.path())?;
        // An earlier capture of the path may have been dropped a moment ago.
        self.router().settle_names();
        Capture::of(Arc::clone(self.router()), self.path(), &inside)
    }

    /// The events of all its files, from now on.
    ///
    /// ```
    /// use fifofs::{Event, Mount};
    ///
    /// let mount = Mount::builder().mount_temporary()?;
    /// let events = mount.events();
    /// std::fs::write(mount.path().join("a.txt"), "hello\n")?;
    /// for event in events {
    ///     let event = event?;
    ///     println!("{}: {:?}", event.path.display(), event.event);
    ///     if matches!(event.event, Event::Done { .. }) {
    ///         break;
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn events(&self) -> Events {
        Events::new(self.router(), None)
    }
}

impl MountView {
    /// See [`Mount::events`](crate::Mount::events).
    pub fn events(&self) -> Events {
        Events::new(self.router(), None)
    }
}
