//! The private part of a target: making a reader for the program that will write to it.

use super::{ProcessRef, Reader};
use crate::error::Result;
use crate::fifo::PipeReader;

/// Made before the program is started: for a FIFO, the reading end.
pub struct Prepared(pub(crate) Option<PipeReader>);

/// Implemented by all targets.
pub trait Sealed {
    /// Call this before starting the program that writes to it.
    fn prepare(&self) -> Result<Prepared>;

    /// The reader of that program's output.
    fn read_of(&self, prepared: Prepared, process: ProcessRef<'_>) -> Result<Reader>;
}
