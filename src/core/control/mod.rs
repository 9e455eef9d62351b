//! The control directory, `.fifofs`: reachable by name, shown in no listing.
//!
//! ```text
//! .fifofs/status       the state of the mount, as JSON
//! .fifofs/metrics      the same in numbers, as OpenMetrics
//! .fifofs/events       events, as JSON lines
//! .fifofs/wait/PATH    a door; there are others: see `doors`
//! .fifofs/inode/N      a file by its inode number: for the flusher alone
//! ```
//!
//! A place behind a door is made by its lookup and lives until the kernel forgets it.

mod decoding;
mod places;
mod splicing;

pub(super) use decoding::decode;
pub(super) use places::{Control, Place};
pub(super) use splicing::{SHOWN_BYTES, is_splicer};
