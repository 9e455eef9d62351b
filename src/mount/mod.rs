//! Mounts: makes and finds them, and computes the paths of doors.

mod builder;
mod finding;
mod view;

pub(crate) use builder::DEFAULT_WINDOW_BYTES;
pub use builder::MountBuilder;
pub use finding::{
    clear_dead, mount_of, mounts, pipe_path, pipe_path_until_exit, unmount, unmount_if, wait_path,
};
pub use view::{Entry, EntryKind, MountView};

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::core::Core;
use crate::core::status::Status;
use crate::error::Result;
use crate::forked::{Owned, Owner};
use crate::fuse::Session;
use crate::router::Router;
use crate::temporary;

/// A mount served by this process. Dropping it unmounts; processes that wait in it then get an error.
///
/// `Send` and `Sync`.
///
/// ```
/// use fifofs::{Deliver, Mount};
///
/// # let place = tempfile::tempdir()?;
/// # let directory = place.path().join("cap");
/// let mount = Mount::builder()
///     .deliver("*.log", Deliver::Stream)
///     .memory(256 << 20)
///     .mount(&directory)?;
/// std::fs::write(mount.path().join("out.txt"), "hello\n")?;
/// mount.unmount()?;
/// assert!(!directory.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mount {
    session: Owned<Session>,
    /// Held until the session has ended.
    directory: Option<temporary::Lock>,
}

impl Mount {
    /// A mount with every option at its default.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn builder() -> MountBuilder {
        MountBuilder::new()
    }

    /// Where it is mounted, as an absolute path.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// assert!(mount.path().is_absolute());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn path(&self) -> &Path {
        self.session.directory()
    }

    /// Waits until it is unmounted.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// let directory = mount.path().to_owned();
    /// let other = std::thread::spawn(move || fifofs::unmount(directory));
    /// mount.wait();
    /// other.join().unwrap()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// The same, but for no longer than `timeout`. Returns whether it was unmounted. To wait for other
    /// things as well, poll the mount's descriptor ([`AsFd`]), which is readable then.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// assert!(!mount.wait_timeout(Duration::from_millis(10)));
    /// fifofs::unmount(mount.path())?;
    /// assert!(mount.wait_timeout(Duration::from_secs(60)));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// Whether it was unmounted before the deadline.
    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        if !self.session.owner().is_this() {
            // A forked child has no mount.
            return true;
        }
        loop {
            let mut polled = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
            // The kernel does not take a time so far away: wait for ever.
            let left = deadline.and_then(|deadline| {
                Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok()
            });
            match poll(&mut polled, left.as_ref()) {
                Ok(ready) => return ready > 0,
                Err(Errno::INTR) => {}
                // ENOMEM: poll(2) cannot wait now.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Whether a process has a file of it open or waits for one. This can still be so after a lazy
    /// unmount, which only detaches it.
    ///
    /// ```
    /// use fifofs::IfBusy;
    ///
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// let file = std::fs::File::create(mount.path().join("x"))?;
    /// fifofs::unmount_if(mount.path(), IfBusy::Detach)?;
    /// mount.wait();
    /// assert!(mount.is_in_use());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_in_use(&self) -> bool {
        self.session.is_in_use()
    }

    /// Makes the mount read-only: opening a file for writing, and making, renaming or removing one, fails
    /// with `EROFS` from now on. Returns false, and does nothing, if a file is open for writing.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// let file = std::fs::File::create(mount.path().join("x"))?;
    /// assert!(!mount.freeze());
    /// drop(file);
    /// // The kernel reports the close a moment later.
    /// while !mount.freeze() {}
    /// let error = std::fs::File::create(mount.path().join("x")).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn freeze(&self) -> bool {
        self.session.router().freeze()
    }

    /// Its state now: every file, its writers and readers, and which process each reader waits for.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// std::fs::write(mount.path().join("a.txt"), "hello\n")?;
    /// let status = mount.status();
    /// assert_eq!(status.files[0].path, std::path::Path::new("a.txt"));
    /// assert_eq!(status.files[0].size, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn status(&self) -> Status {
        match self.session.owner().is_this() {
            true => self.router().look(Core::status),
            // A forked child has no mount.
            false => Status::default(),
        }
    }

    /// The files in it, for threads of this process, which should not ask the kernel for what their own
    /// process serves.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// assert!(mount.view().entries().is_empty());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn view(&self) -> MountView {
        MountView::new(self.router(), self.path())
    }

    /// The process that serves it.
    pub(crate) fn owner(&self) -> Owner {
        self.session.owner()
    }

    pub(crate) fn router(&self) -> &Arc<Router> {
        self.session.router()
    }

    /// Unmounts. Dropping does the same, and logs errors.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// mount.unmount()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn unmount(mut self) -> Result<()> {
        let path = self.path().to_owned();
        self.session.get_mut("unmount", &path)?.unmount()
    }
}

/// Readable once the mount is gone, whichever process unmounted it, as [`Mount::wait`] waits for that. Do
/// not read from it. In a forked child it means nothing.
impl AsFd for Mount {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.session.ended()
    }
}

impl std::fmt::Debug for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mount").field("path", &self.path()).finish()
    }
}
