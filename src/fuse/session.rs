//! One mount from beginning to end, and the order in which its parts come and
//! go.
//!
//! ```text
//! watchdog (forked first: it must not inherit the device; forks the flusher when asked)
//!   └ mount ─ router ─ front ─ event loop
//! ```
//!
//! Threads: `fifofs-front` (the device), `fifofs-events` (the clock), and from when they are first needed
//! `fifofs-fuser` and fuser's own (rare requests), `fifofs-inspect` (inspects openers), `fifofs-forget` (has
//! the kernel forget names and pages), `fifofs-mounts` (watches for an unmount). The kernel reports that a
//! mount is gone only when no process uses it any more, so an unmount by another process, which may be a lazy
//! one, is seen in the list of mounts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, OnceLock};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::helpers::{Flusher, Watchdog};
use super::mounting::{self, FUSE_DEVICE, MountOptions, MountPoint, Mounted};
use super::wire::{Front, Kernel, Numbers};
use crate::bell::Bell;
use crate::core::spool::Pool;
use crate::core::{Core, Settings};
use crate::error::{Error, Result};
use crate::fuse::timers::TEARDOWN;
use crate::router::Router;
use crate::sync::lock;

/// Number of times that a directory may vanish just when it is mounted on.
const VANISHED_AT_MOST: usize = 3;

/// A served mount.
pub(crate) struct Session {
    directory: PathBuf,
    made_directory: bool,
    router: Arc<Router>,
    flusher: Arc<Flusher>,
    watchdog: Option<Watchdog>,
    /// Keeps the watchdog from the unmount to the end of the front loop, which shares this.
    last_watch: Arc<OnceLock<Watchdog>>,
    /// Disconnected when the front loop has ended.
    served: Receiver<()>,
    /// Readable when the mount is served no more, or (once [`Session::ended`] was called) gone from the list
    /// of mounts.
    gone: Arc<Bell>,
    /// Whether that list is watched.
    watches_list: Once,
    /// Ends the watch over that list.
    stop: Arc<Bell>,
    device: Arc<OwnedFd>,
    device_number: u64,
    /// Guards the threads that end with the mount.
    threads: Mutex<Vec<JoinHandle<()>>>,
    unmounted: bool,
}

/// A mount that is not served yet, and its helpers.
struct Attached {
    watchdog: Watchdog,
    flusher: Arc<Flusher>,
    mounted: Mounted,
}

impl Session {
    /// Mounts at `directory` and serves it.
    pub(crate) fn start(
        directory: &Path,
        options: &MountOptions,
        settings: Settings,
        pool: Pool,
    ) -> Result<Session> {
        mounting::check_kernel()?;
        // The daemon of a mount that was there a moment ago may be just removing
        // the directory that it had made.
        for _ in 0..VANISHED_AT_MOST {
            match Session::attach(directory, options, &pool) {
                Err(Error::Io { source, path, .. })
                    if source.kind() == io::ErrorKind::NotFound
                        && path != Path::new(FUSE_DEVICE) => {}
                attached => return Session::serve(attached?, settings, pool),
            }
        }
        Session::serve(Session::attach(directory, options, &pool)?, settings, pool)
    }

    fn attach(directory: &Path, options: &MountOptions, pool: &Pool) -> Result<Attached> {
        let failed = |error: io::Error| Error::io("mount", directory, error);
        let point = match options.remove_directory {
            true => MountPoint::fresh(directory)?,
            false => MountPoint::prepare(directory)?,
        };
        if pool.spill_directory().starts_with(point.directory()) {
            return Err(Error::usage(format!(
                "cannot spill to {}: it is where the mount is to be; give another spill directory",
                point.directory().display()
            )));
        }
        let (watchdog, flusher) =
            Watchdog::start(point.directory(), point.made_directory()).map_err(failed)?;
        let mounted = point.mount(options)?;
        // From here on, dropping the watchdog unmounts.
        let armed = watchdog.ready().and_then(|()| watchdog.arm(&mounted));
        if let Err(error) = armed {
            // It was killed.
            if let Err(error) = mounting::detach_from(&mounted.directory) {
                log::error!("{error}");
            }
            return Err(failed(error));
        }
        Ok(Attached {
            watchdog,
            flusher: Arc::new(flusher),
            mounted,
        })
    }

    fn serve(
        Attached {
            watchdog,
            flusher,
            mounted,
        }: Attached,
        settings: Settings,
        pool: Pool,
    ) -> Result<Session> {
        let directory = mounted.directory.clone();
        let failed = |error: io::Error| Error::io("mount", &directory, error);
        let numbers = Numbers::of_device(mounted.device_number);
        let device = Arc::new(mounted.device);
        let kernel = Arc::new(Kernel::new(
            Arc::clone(&device),
            Arc::clone(&flusher),
            numbers,
        ));
        let settings = Settings {
            place: Some(directory.clone()),
            ..settings
        };
        let router = Router::new(
            settings,
            pool,
            numbers.first(),
            kernel.clone(),
            flusher.clone(),
        )
        .map_err(failed)?;
        let front = Front {
            kernel,
            router: Arc::clone(&router),
        };
        let init = front.handshake().map_err(|error| {
            if is_disconnected(&device) {
                // Unmounted already; another mount may be there now.
                watchdog.unmounted();
                if mounted.made_directory {
                    let _ = std::fs::remove_dir(&mounted.directory);
                }
            }
            failed(error)
        })?;
        let event_loop = router.start_event_loop().map_err(failed)?;
        let (alive, served) = crossbeam_channel::bounded(0);
        let bell = || Bell::new().map(Arc::new).map_err(failed);
        let (stop, gone) = (bell()?, bell()?);
        let last_watch = Arc::default();
        let end = EndOfService {
            router: Arc::clone(&router),
            stop: Arc::clone(&stop),
            gone: Arc::clone(&gone),
            _last_watch: Arc::clone(&last_watch),
            _alive: alive,
        };
        let own_use = watchdog.own_use(mounted.device_number);
        let serve = move || {
            let _end: EndOfService = end;
            if let Err(error) = front.serve(init, own_use) {
                log::error!("the mount ends: {error}");
            }
        };
        let thread = std::thread::Builder::new().name("fifofs-front".into());
        thread.spawn(serve).map_err(failed)?;
        Ok(Session {
            directory: mounted.directory,
            made_directory: mounted.made_directory,
            router,
            flusher,
            watchdog: Some(watchdog),
            last_watch,
            served,
            gone,
            watches_list: Once::new(),
            stop,
            device,
            device_number: mounted.device_number,
            threads: Mutex::new(vec![event_loop]),
            unmounted: false,
        })
    }

    /// The router, for code in this process that uses it without the kernel.
    pub(crate) fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// Where it is mounted, absolute.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Readable when the mount is gone, whichever process unmounted it.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.watches_list.call_once(|| self.watch_list());
        self.gone.as_fd()
    }

    /// Whether it is served and in use: something in it is open or waited for.
    pub(crate) fn is_in_use(&self) -> bool {
        let is_served = self.served.try_recv() != Err(TryRecvError::Disconnected);
        is_served && self.router.look(Core::is_in_use)
    }

    /// Starts the thread that watches the list of mounts.
    fn watch_list(&self) {
        let (number, stop) = (self.device_number, Arc::clone(&self.stop));
        let gone = Arc::clone(&self.gone);
        let watch = move || {
            mounting::wait_until_gone(number, &*stop);
            gone.ring();
        };
        let thread = std::thread::Builder::new().name("fifofs-mounts".into());
        match thread.spawn(watch) {
            Ok(thread) => lock(&self.threads).push(thread),
            Err(error) => log::error!(
                "cannot watch the list of mounts, so that a lazy unmount by others will be \
                 seen only when nobody uses the mount: {error}"
            ),
        }
    }

    /// Unmounts; requests that wait get an error.
    pub(crate) fn unmount(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.unmounted, true) {
            return Ok(());
        }
        self.router.stop();
        // Its open files would keep the mount busy.
        self.flusher.stop();
        self.stop.ring();
        let unmounted = self.detach();
        let mut watchdog = match &unmounted {
            Ok(()) => self.watchdog.take(),
            Err(_) => None,
        };
        if self.made_directory {
            // Only an empty directory is removed; otherwise it is in use.
            let _ = std::fs::remove_dir(&self.directory);
        }
        // After that, as it would remove the directory if this process ended now.
        if let Some(watchdog) = &watchdog {
            watchdog.unmounted();
        }
        if self.served.recv_timeout(TEARDOWN) == Err(RecvTimeoutError::Disconnected) {
            let threads = std::mem::take(&mut *lock(&self.threads));
            for thread in threads.into_iter().chain(self.router.take_inspector()) {
                // A thread that panicked has said so.
                let _ = thread.join();
            }
        } else if let Some(watchdog) = watchdog.take() {
            // This process may be one of its remaining users, and end before the others.
            let _ = self.last_watch.set(watchdog);
        }
        // Last, as it takes the watchdog a while to go.
        drop(watchdog);
        unmounted
    }

    fn detach(&self) -> Result<()> {
        // The number may be that of another mount by now, which the connection is
        // not.
        if is_disconnected(&self.device) {
            return Ok(());
        }
        let mut detached = Ok(());
        let at_home = mounting::device_number_at(&self.directory) == Some(self.device_number);
        if at_home && !(self.made_directory && mounting::remove_with_mount(&self.directory)) {
            detached = mounting::detach_from(&self.directory);
        }
        if is_disconnected(&self.device) {
            return Ok(());
        }
        // It is in use, or was moved (by itself or with a directory above it), or has bind mounts, which
        // would be dead.
        let is_over = || is_disconnected(&self.device);
        detached.and(mounting::detach_everywhere(self.device_number, is_over))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            log::error!("{error}");
        }
    }
}

/// Cleans up when the device is read no more, for whatever reason.
struct EndOfService {
    router: Arc<Router>,
    stop: Arc<Bell>,
    gone: Arc<Bell>,
    _last_watch: Arc<OnceLock<Watchdog>>,
    _alive: crossbeam_channel::Sender<()>,
}

impl Drop for EndOfService {
    fn drop(&mut self) {
        self.router.stop();
        self.stop.ring();
        self.gone.ring();
    }
}

/// Whether a device's mount is gone for good, or was aborted.
fn is_disconnected(device: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(device, PollFlags::IN)];
    let polls = rustix::event::poll(&mut polled, Some(&Timespec::default()));
    polls.is_ok() && polled[0].revents().contains(PollFlags::ERR)
}
