//! Events of files, as iterators that wait.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::shared::Lease;
use crate::bell::Polled;
use crate::core::event::{Event, FileEvent};
use crate::error::{Error, Result};
use crate::forked::{Owned, Owner};
use crate::router::{Failure, Given, LocalReader, Router};

/// The events of a [`Mount`](crate::Mount) from now on, as an iterator that waits for the next. `Send`.
///
/// At most 4096 events are queued; after that the oldest are lost, and [`Event::Lagged`] says so. The
/// iterator ends with the mount. An error is [`Error::TimedOut`]; after it `next` may be called again.
///
/// ```
/// use fifofs::{Event, Mount};
///
/// let mount = Mount::builder().mount_temporary()?;
/// let mut events = mount.events();
/// std::fs::write(mount.path().join("a.txt"), "hello\n")?;
/// let first = events.next().expect("the mount is there")?;
/// assert_eq!(first.path, std::path::Path::new("a.txt"));
/// assert!(matches!(first.event, Event::Opened { generation: 1, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Events {
    /// None in a process that is a fork of the mount's.
    local: Option<Owned<LocalReader>>,
    owner: Owner,
    /// The only path whose events it gets; all if none.
    path: Option<PathBuf>,
    timeout: Option<Duration>,
    have: VecDeque<Arc<FileEvent>>,
    polled: Polled,
}

impl Events {
    pub(crate) fn new(router: &Arc<Router>, path: Option<PathBuf>) -> Self {
        let owner = router.owner();
        Events {
            local: owner
                .is_this()
                .then(|| router.read_events(path.clone()).ok().map(Owned::new))
                .flatten(),
            owner,
            path,
            timeout: None,
            have: VecDeque::new(),
            polled: Polled::default(),
        }
    }

    /// How long to wait for the next event before giving [`Error::TimedOut`]; for ever unless set.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use fifofs::{Error, Mount};
    ///
    /// let mount = Mount::builder().mount_temporary()?;
    /// let mut events = mount.events();
    /// events.set_timeout(Some(Duration::from_millis(10)));
    /// assert!(matches!(events.next(), Some(Err(Error::TimedOut { .. }))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// The next event if there is one, without waiting; otherwise [`Error::TimedOut`]. None at the end.
    /// Poll [`Events::poll_fd`] to learn when to try again.
    ///
    /// ```
    /// use fifofs::{Error, Mount};
    ///
    /// let mount = Mount::builder().mount_temporary()?;
    /// let mut events = mount.events();
    /// assert!(matches!(events.try_next(), Some(Err(Error::TimedOut { .. }))));
    /// mount.unmount()?;
    /// assert!(events.try_next().is_none());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn try_next(&mut self) -> Option<Result<FileEvent>> {
        let waker = self.polled.waker();
        let mut next = self.poll_event(&waker);
        if next.is_pending() {
            self.polled.silence();
            next = self.poll_event(&waker);
        }
        match next {
            Poll::Ready(next) => next,
            Poll::Pending => Some(Err(Error::timed_out(
                self.path.as_deref().unwrap_or(Path::new("")),
            ))),
        }
    }

    /// A descriptor to poll, together with others: readable when it is worth calling [`Events::try_next`]
    /// again after that has given [`Error::TimedOut`]. Ask for it before that call, and do not read from
    /// it. It stays the same.
    ///
    /// # Errors
    ///
    /// If this process may have no more descriptors.
    ///
    /// ```
    /// use fifofs::{Error, Event, Mount};
    /// use rustix::event::{PollFd, PollFlags, poll};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mount = Mount::builder().mount_temporary()?;
    /// let mut events = mount.events();
    /// let descriptor = events.poll_fd()?.try_clone_to_owned()?;
    /// let path = mount.path().join("a.txt");
    /// let writer = std::thread::spawn(move || std::fs::write(path, "hello\n"));
    /// let first = loop {
    ///     match events.try_next().expect("the mount is there") {
    ///         Err(Error::TimedOut { .. }) => {
    ///             poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], None)?;
    ///         }
    ///         event => break event?,
    ///     }
    /// };
    /// assert!(matches!(first.event, Event::Opened { .. }));
    /// writer.join().unwrap()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn poll_fd(&mut self) -> io::Result<BorrowedFd<'_>> {
        let path = self.path.as_deref().unwrap_or(Path::new("all files"));
        self.owner.check("poll the events of", path)?;
        self.polled.descriptor()
    }
}

impl Events {
    /// The next event, or none if the mount is gone; wakes `waker` when it is worth asking again.
    pub(crate) fn poll_event(&mut self, waker: &Waker) -> Poll<Option<Result<FileEvent>>> {
        loop {
            if let Some(event) = self.have.pop_front() {
                return Poll::Ready(Some(Ok(Arc::unwrap_or_clone(event))));
            }
            let path = self.path.as_deref().unwrap_or(Path::new("all files"));
            if let Err(error) = self.owner.check("tell of the events of", path) {
                return Poll::Ready(Some(Err(error)));
            }
            let Some(local) = &mut self.local else {
                return Poll::Ready(None);
            };
            match local.value_mut().poll_read(0, 0, waker) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Given::Events(events))) => self.have.extend(events),
                Poll::Ready(Ok(Given::Bytes(_) | Given::End) | Err(_)) => return Poll::Ready(None),
            }
        }
    }
}

impl Iterator for Events {
    type Item = Result<FileEvent>;

    fn next(&mut self) -> Option<Result<FileEvent>> {
        let deadline = self.timeout.and_then(|t| Instant::now().checked_add(t));
        loop {
            if let Some(event) = self.have.pop_front() {
                return Some(Ok(Arc::unwrap_or_clone(event)));
            }
            let path = self.path.as_deref().unwrap_or(Path::new("all files"));
            if let Err(error) = self.owner.check("tell of the events of", path) {
                return Some(Err(error));
            }
            match self.local.as_mut()?.value_mut().read(0, 0, deadline) {
                Ok(Given::Events(events)) => self.have.extend(events),
                // The mount is gone, and with it all files.
                Ok(Given::Bytes(_) | Given::End) | Err(Failure::Cancelled | Failure::Errno(_)) => {
                    return None;
                }
                Err(Failure::TimedOut) => {
                    let path = self.path.clone().unwrap_or_default();
                    return Some(Err(Error::TimedOut { path }));
                }
            }
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The events of one captured file, as an iterator that waits for the next. `Send`.
///
/// At most 4096 events are queued; after that the oldest are lost, and [`Event::Lagged`] says so. The
/// iterator ends with the mount. An error is [`Error::TimedOut`]; after it `next` may be called again. A
/// file that is renamed away is [`Event::Removed`].
///
/// ```
/// use fifofs::{Capture, Event};
///
/// let capture = Capture::new("out.txt")?;
/// let mut events = capture.events();
/// std::fs::write(capture.path(), "hello\n")?;
/// let first = events.next().expect("the mount is there")?;
/// assert!(matches!(first, Event::Opened { generation: 1, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CaptureEvents {
    events: Events,
    /// The path by which events name the file.
    path: PathBuf,
    _mount: Option<Lease>,
}

impl CaptureEvents {
    pub(super) fn new(router: &Arc<Router>, path: PathBuf, mount: Option<Lease>) -> Self {
        CaptureEvents {
            events: Events::new(router, Some(path.clone())),
            path,
            _mount: mount,
        }
    }

    /// How long to wait for the next event before giving
    /// [`Error::TimedOut`]; for ever unless set.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use fifofs::{Capture, Error};
    ///
    /// let capture = Capture::new("never-written")?;
    /// let mut events = capture.events();
    /// events.set_timeout(Some(Duration::from_millis(10)));
    /// assert!(matches!(events.next(), Some(Err(Error::TimedOut { .. }))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.events.set_timeout(timeout);
    }
}

impl CaptureEvents {
    /// See [`Events::try_next`].
    ///
    /// ```
    /// use fifofs::{Capture, Error, Event};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let capture = Capture::new("out.txt")?;
    /// let mut events = capture.events();
    /// assert!(matches!(events.try_next(), Some(Err(Error::TimedOut { .. }))));
    /// std::fs::write(capture.path(), "hello\n")?;
    /// assert!(matches!(events.try_next(), Some(Ok(Event::Opened { .. }))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_next(&mut self) -> Option<Result<Event>> {
        let next = self.events.try_next()?;
        Some(next.map(|event| self.of_file(event)))
    }

    /// See [`Events::poll_fd`].
    ///
    /// # Errors
    ///
    /// Those of [`Events::poll_fd`].
    ///
    /// ```
    /// let capture = fifofs::Capture::new("out.txt")?;
    /// let mut events = capture.events();
    /// let descriptor = events.poll_fd()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_fd(&mut self) -> io::Result<BorrowedFd<'_>> {
        self.events.poll_fd()
    }
}

impl CaptureEvents {
    /// See [`Events::poll_event`].
    #[cfg(feature = "tokio")]
    pub(crate) fn poll_event(&mut self, waker: &Waker) -> Poll<Option<Result<Event>>> {
        let next = self.events.poll_event(waker);
        next.map(|next| Some(next?.map(|event| self.of_file(event))))
    }

    fn of_file(&self, FileEvent { path, event, .. }: FileEvent) -> Event {
        match event {
            Event::Renamed { .. } if path != self.path => Event::Removed,
            event => event,
        }
    }
}

impl Iterator for CaptureEvents {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        let next = self.events.next()?;
        Some(next.map(|event| self.of_file(event)))
    }
}
