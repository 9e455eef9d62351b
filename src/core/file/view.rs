//! What a reader can get of a file now.

use super::super::clock::Monotonic;
use super::super::rules::FailOn;
use super::File;
use super::generation::{Phase, Way};

/// What a waiting reader can get of a file.
#[derive(Clone, Copy, Debug)]
pub(in crate::core) struct View {
    /// Bytes below this offset may be delivered.
    pub(in crate::core) limit: u64,
    /// Whether that is all there will be.
    pub(in crate::core) end: bool,
    /// Whether no writer is left that might put another file in its place.
    pub(in crate::core) abandoned: bool,
    /// Whether a writer came to a bad end.
    pub(in crate::core) failed: bool,
    /// How it is delivered, once chosen.
    pub(in crate::core) way: Option<Way>,
}

/// The reader that a view is for.
#[derive(Clone, Copy, Debug)]
pub(in crate::core) struct Viewer {
    /// Whether the file at its path is held: a process may still write it again or replace it.
    pub(in crate::core) is_held: bool,
    /// Whether it reads by position.
    pub(in crate::core) by_position: bool,
    /// Whether the process that it named may do so.
    pub(in crate::core) may_get_more: bool,
    /// Its process group, if it may be a step of the script that writes the file.
    pub(in crate::core) group: Option<i32>,
    /// Whether the file may be the work of several steps of a script.
    pub(in crate::core) lingers: bool,
    /// Which ends of a writer fail the file.
    pub(in crate::core) fail_on: FailOn,
}

impl View {
    /// The view of a file that is gone.
    pub(in crate::core) const GONE: View = View {
        limit: 0,
        end: true,
        abandoned: true,
        failed: false,
        way: None,
    };

    /// Whether reading is refused: it has failed, and is delivered only whole.
    pub(in crate::core) fn is_refused(&self) -> bool {
        self.failed && self.end && matches!(self.way, None | Some(Way::Settled))
    }
}

impl File {
    /// What a reader can get now; and when to look again, if time alone will change it.
    pub(in crate::core) fn view(
        &mut self,
        viewer: Viewer,
        now: Monotonic,
    ) -> (View, Option<Monotonic>) {
        let frontier = self.spool.frontier();
        let is_step = self.generation.is_step(viewer.group);
        let nothing_yet = View {
            limit: 0,
            end: false,
            abandoned: false,
            failed: false,
            way: self.way(),
        };
        let whole = View {
            limit: self.spool.len(),
            end: true,
            ..nothing_yet
        };
        let (zeros_from, format) = (self.zeros_from, self.format);
        if !self.is_active() {
            let view = if viewer.is_held || self.is_empty_fifo() {
                nothing_yet
            } else if viewer.may_get_more {
                View {
                    limit: match nothing_yet.way {
                        Some(Way::Follow | Way::Stream) => frontier,
                        None | Some(Way::Settled) => 0,
                    },
                    ..nothing_yet
                }
            } else {
                View {
                    abandoned: self.generation.is_abandoned(),
                    failed: self.phase() == Phase::Failed || self.generation.is_lost(),
                    ..whole
                }
            };
            return (view, None);
        }
        let generation = &mut self.generation;
        if generation.is_lost() && generation.goes(Way::Stream) {
            // No reader gets more of a stream that lost bytes.
            let view = View {
                end: true,
                failed: true,
                ..nothing_yet
            };
            return (view, None);
        }
        if generation.admits_steps() && is_step {
            let view = View {
                failed: generation.has_failed(viewer.fail_on),
                ..whole
            };
            return (view, None);
        }
        if self.fifo.is_some() && !generation.is_open() {
            // As by any FIFO: a reader of a single line may leave before the next one is written.
            generation.release();
        }
        let mut again = None;
        let limit = match nothing_yet.way {
            _ if viewer.by_position => frontier,
            None | Some(Way::Settled) => 0,
            Some(Way::Stream) => frontier,
            Some(Way::Follow) => match generation.may_hand_out(frontier, now, viewer.lingers) {
                // tar's blocks: what may be its end mark may also be written over.
                Ok(()) if format.is_some_and(|f| f.trailing_zeros) => {
                    zeros_from.next_multiple_of(512).min(frontier)
                }
                Ok(()) => frontier,
                Err(at) => {
                    again = at;
                    0
                }
            },
        };
        let view = View {
            limit,
            ..nothing_yet
        };
        (view, again)
    }
}
