//! What makes a target one: a reader can be had of what a program will write to it.

use super::{ProcessRef, Reader};
use crate::error::Result;
use crate::fifo::PipeReader;

/// What is there before a program is started: of a FIFO the reading end.
pub struct Prepared(pub(crate) Option<PipeReader>);

/// Implemented by what is a target already.
pub trait Sealed {
    /// To be called before a program is started that writes to it.
    fn prepare(&self) -> Result<Prepared>;

    /// The reader of what that program writes.
    fn read_of(&self, prepared: Prepared, process: ProcessRef<'_>) -> Result<Reader>;
}
