//! The options of a capture.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::Capture;
use super::shared::{Lease, Options};
use crate::core::rules::{Deliver, FailOn, Linger};
use crate::error::{Error, Result};

/// Options of a capture; see [`Capture::builder`].
///
/// Captures of the process whose options are the same share a mount. For bounds on memory and disk,
/// and for paths that other processes wait for, make a [`Mount`](crate::Mount) and capture there.
///
/// ```
/// use fifofs::{Capture, Deliver, FailOn};
///
/// let builder = Capture::builder("out.csv").deliver(Deliver::Stream).fail_on(FailOn::Status);
/// let capture = builder.window(256 << 10).capture()?;
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is captured until `capture` is called"]
pub struct CaptureBuilder {
    name: OsString,
    options: Options,
    keep_at_most: Option<u64>,
}

impl CaptureBuilder {
    pub(super) fn new(name: &OsStr) -> CaptureBuilder {
        CaptureBuilder {
            name: name.to_owned(),
            options: Options::default(),
            keep_at_most: None,
        }
    }

    /// How the program's output reaches its readers. [`Deliver::Auto`] unless set.
    ///
    /// ```
    /// use fifofs::{Capture, Deliver, Way};
    ///
    /// let capture = Capture::builder("out.txt").deliver(Deliver::Settled).capture()?;
    /// let mut reader = capture.reader()?;
    /// std::fs::write(capture.path(), "hello\n")?;
    /// reader.read_all()?;
    /// assert_eq!(reader.way(), Some(Way::Settled));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deliver(mut self, way: Deliver) -> Self {
        self.options.deliver = way;
        self
    }

    /// Which ends of a writer give its readers an error instead of the end of the output. The default
    /// of [`MountBuilder::fail_on`](crate::MountBuilder::fail_on) unless set.
    ///
    /// ```
    /// use fifofs::{Capture, Error, FailOn};
    ///
    /// let capture = Capture::builder("out.txt").fail_on(FailOn::Status).capture()?;
    /// let mut command = std::process::Command::new("sh");
    /// command.args(["-c", "echo half > $1; exit 3", "sh"]).arg(capture.path());
    /// let mut running = capture.spawn(&mut command)?;
    /// assert!(matches!(running.reader.read_all(), Err(Error::Failed { .. })));
    /// running.child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fail_on(mut self, fail_on: FailOn) -> Self {
        self.options.fail_on = Some(fail_on);
        self
    }

    /// When a closed file is done, for readers whose end does not depend on a process:
    /// [`Capture::reader`]. [`Linger::Auto`] unless set.
    ///
    /// ```
    /// use fifofs::{Capture, Linger};
    ///
    /// let capture = Capture::builder("out.txt").linger(Linger::After(Default::default())).capture()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn linger(mut self, linger: Linger) -> Self {
        self.options.linger = linger;
        self
    }

    /// With [`Deliver::Stream`], how many bytes the program may be ahead of its slowest reader; after
    /// that it waits. 1 MiB unless set.
    ///
    /// ```
    /// use fifofs::{Capture, Deliver};
    ///
    /// let builder = Capture::builder("out.bin").deliver(Deliver::Stream).window(64 << 10);
    /// # let capture = builder.capture()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn window(mut self, bytes: u64) -> Self {
        self.options.window = Some(bytes);
        self
    }

    /// See [`Capture::keep_at_most`].
    ///
    /// ```
    /// let capture = fifofs::Capture::builder("lines.txt").keep_at_most(64 << 20).capture()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn keep_at_most(mut self, bytes: u64) -> Self {
        self.keep_at_most = Some(bytes);
        self
    }

    /// Makes the capture, as [`Capture::new`] does, with these options.
    ///
    /// # Errors
    ///
    /// Those of [`Capture::new`].
    ///
    /// ```
    /// let capture = fifofs::Capture::builder("report.zip").capture()?;
    /// assert!(capture.path().ends_with("report.zip"));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn capture(self) -> Result<Capture> {
        let name = &*self.name;
        let is_plain = Path::new(name).file_name() == Some(name);
        if !is_plain || name.as_encoded_bytes().contains(&0) {
            return Err(Error::usage(format!(
                "{name:?} cannot be captured: give a plain file name, such as report.zip"
            )));
        }
        let capture = Capture::on(Lease::get(&self.options)?, name)?;
        if let Some(bytes) = self.keep_at_most {
            capture.keep_at_most(bytes);
        }
        Ok(capture)
    }
}
