//! When the bytes of a generation that follows may first be handed out.
//!
//! Decides from the time of the first byte, the length, and the writers and steps that may still change it;
//! callers know the way.

use super::super::super::clock::Monotonic;
use super::super::super::timers::{FIRST_BYTES_HELD, LINGER};
use super::{Generation, Phase};

/// Under auto, most bytes that are held back.
const HOLD_BYTES: u64 = 4 << 20;

impl Generation {
    /// Lets its bytes be handed out from now on.
    pub(crate) fn release(&mut self) {
        self.released = true;
    }

    /// Whether the bytes of a generation that follows may be handed out; otherwise when to ask again, if time
    /// alone will decide it. One that lingers may be written by several steps of a script.
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
            // The next step of a script may change what a short step wrote.
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
