//! Captures, events and writers of a mount that this process serves.
//!
//! A mount knows nothing of captures; they know mounts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Capture, Events, Process, inside};
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

    /// The processes that have a file of the mount open for writing, each with the path of the file,
    /// relative to the mount; in the order of the paths. Also those that inherited the descriptor.
    /// Empty in a child that was forked from the process that made the mount, and before Linux 5.14.
    ///
    /// It looks at the descriptors of every process that it may look at, and so takes a moment.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// let file = std::fs::File::create(mount.path().join("a.txt"))?;
    /// let (path, process) = &mount.view().writers()[0];
    /// assert_eq!(path, Path::new("a.txt"));
    /// assert_eq!(process.pid, std::process::id());
    /// drop(file);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn writers(&self) -> Vec<(PathBuf, Process)> {
        if !self.router().owner().is_this() {
            return Vec::new();
        }
        let writers = self.router().writers_of_all().into_iter();
        let named = writers.map(|(path, pid, name)| {
            let pid = pid.cast_unsigned();
            (path, Process { pid, name })
        });
        named.collect()
    }
}
