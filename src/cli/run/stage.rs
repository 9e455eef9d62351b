//! The mount or FIFOs that a program writes to.
//!
//! Knows the two backends; knows nothing of destinations. Invariant: everything here is removed
//! when it is dropped, so it is dropped last.

use std::fs;
use std::path::{Path, PathBuf};

use fifofs::{CaptureHold, Error, Linger, Mount, MountView, Result, TemporaryPipe};

use super::placeholders::Template;
use super::sink::Sink;
use super::source::{Source, Written};
use crate::cli::options::Delivery;

/// How many bytes are kept of output that cannot be written again at its destination, for programs
/// that go back a little. `explain::replay` uses the same number.
const KEPT_BYTES: u64 = 64 << 20;

/// Where a program writes.
pub(super) struct Stage {
    /// The paths of its outputs, in the order of the template's.
    pub(super) paths: Vec<PathBuf>,
    /// The directory of the outputs; FIFOs have none in common.
    mount: Option<Mount>,
    /// Keep the outputs from being done.
    holds: Vec<CaptureHold>,
}

impl Stage {
    /// Makes a mount, and the sources of all outputs; with `as_tar`, one source of all files. The
    /// sinks are theirs.
    pub(super) fn mount(
        template: &Template,
        delivery: &Delivery,
        as_tar: bool,
        sinks: &[Sink],
        advise: impl Fn(Error) -> Error,
    ) -> Result<(Self, Vec<Source>)> {
        let mut builder = delivery.apply(Mount::builder())?.readers_wait(false);
        if as_tar {
            // When files are packed, it must be known whether their writers were killed.
            builder = builder.linger(Linger::Exit);
        }
        let mount = builder.mount_temporary().map_err(advise)?;
        let path = |name: &PathBuf| mount.path().join(name);
        let paths: Vec<PathBuf> = template.outputs().iter().map(path).collect();
        let mut holds = Vec::new();
        let sources = if as_tar {
            for name in template.outputs() {
                // Makes the parent directory, which stays, without a request to the kernel.
                drop(mount.capture(name)?);
            }
            vec![Source::Directory(mount.view())]
        } else {
            let must_be_read = delivery.may_stream();
            let capture = |(name, sink): (&PathBuf, &Sink)| {
                let capture = mount.capture(name)?;
                holds.push(capture.hold());
                if !sink.can_be_rewritten() {
                    capture.keep_at_most(KEPT_BYTES);
                }
                Ok(source(name, Written::Capture(capture), must_be_read))
            };
            let outputs = template.outputs().iter().zip(sinks);
            outputs.map(capture).collect::<Result<_>>()?
        };
        let mount = Some(mount);
        let stage = Stage {
            paths,
            mount,
            holds,
        };
        Ok((stage, sources))
    }

    /// Makes a FIFO for each output.
    pub(super) fn fifos(template: &Template) -> Result<(Self, Vec<Source>)> {
        let mut paths = Vec::new();
        let mut sources = Vec::new();
        for name in template.outputs() {
            // Each is in a directory of its own.
            let pipe = TemporaryPipe::named(name.file_name().unwrap_or_default())?;
            paths.push(pipe.path().to_owned());
            // Opening a FIFO waits for a reader.
            sources.push(source(name, Written::Fifo(pipe), true));
        }
        let (mount, holds) = (None, Vec::new());
        let stage = Stage {
            paths,
            mount,
            holds,
        };
        Ok((stage, sources))
    }

    /// The directory of all outputs.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.mount.as_ref().map(Mount::path)
    }

    /// The files in that directory.
    pub(super) fn view(&self) -> Option<MountView> {
        self.mount.as_ref().map(Mount::view)
    }

    /// Ends the outputs: no file can be written any more, and existing ones are done. Returns
    /// false, and does nothing, while a process has a file open for writing.
    pub(super) fn close(&mut self) -> bool {
        if self.mount.as_ref().is_some_and(|mount| !mount.freeze()) {
            return false;
        }
        self.holds.clear();
        true
    }

    /// Unmounts. The sources must have been dropped.
    pub(super) fn end(self) {
        if let Some(mount) = self.mount
            && let Err(error) = mount.unmount()
        {
            log::warn!("{error}");
        }
    }
}

fn source(name: &Path, target: Written, must_be_read: bool) -> Source {
    Source::Target {
        name: name.to_owned(),
        target,
        must_be_read,
    }
}

/// Makes the parent directory of a path.
pub(super) fn make_directory_of(path: &Path) -> Result<()> {
    let Some(directory) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(directory).map_err(|error| Error::io("make", directory, error))
}

/// Adds the advice to use a FIFO if there can be no mount.
pub(super) fn or_a_fifo(error: Error) -> Error {
    const ADVICE: &str =
        "use --backend fifo, for programs that write from the first byte to the last";
    match &error {
        // A FIFO needs that directory, too.
        Error::Io { operation, .. } if operation.contains("temporary directory") => error,
        Error::Io { remedy: None, .. } => error.with_remedy(ADVICE),
        Error::Io {
            remedy: Some(remedy),
            ..
        } if !remedy.contains("--backend fifo") => {
            let advice = format!("{remedy}, or {ADVICE}");
            error.with_remedy(advice)
        }
        _ => error,
    }
}
