//! When the bytes of a generation that follows may first be handed out.
//!
//! Decides from the first byte, how long it is, and who may still change it; whoever asks has the way.

use super::super::super::clock::Monotonic;
use super::super::super::timers::{FIRST_BYTES_HELD, LINGER};
use super::{Generation, Phase};

/// Under auto, how much of it is held back at most.
const HOLD_BYTES: u64 = 4 << 20;

impl Generation {
    /// What is there may be handed out.
    pub(crate) fn release(&mut self) {
        self.released = true;
    }

    /// Whether the bytes of a generation that follows may be handed out; otherwise
    /// when to ask again, if the clock alone will decide it. One that lingers may be
    /// the work of several steps of a script.
    pub(crate) fn may_hand_out(
        &mut self,
        length: u64,
        now: Monotonic,
        lingers: bool,
    ) -> Result<(), Option<Monotonic>> {
        if self.released || !self.is_active() || !self.chosen_by_auto || length >= HOLD_BYTES {
            self.released = true;
            return Ok(());
        }
        let Some(first) = self.first_byte else {
            return Err(None);
        };
        let until = match self.phase {
            // What a short step of a script left is for the next one to change.
            Phase::Closed { .. } if lingers => {
                let left = self.steps.may_write_until(Some(first), 0);
                left.map_or(first + LINGER, |left| left.max(first + LINGER))
            }
            _ if lingers => {
                self.reopened.map_or(first, |at| at.min(first + LINGER)) + FIRST_BYTES_HELD
            }
            _ => first + FIRST_BYTES_HELD,
        };
        if now < until {
            return Err(Some(until));
        }
        self.released = true;
        Ok(())
    }
}
