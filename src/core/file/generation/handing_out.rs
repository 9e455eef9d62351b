//! When the bytes of a generation that follows may first be handed out.
//!
//! Decides from the first byte, how long it is, and who may still change it; whoever asks has the way.

use std::time::Duration;

use super::super::super::clock::Monotonic;
use super::done::LINGER;
use super::{Generation, Phase};

/// Under auto, how long the first byte of a generation that follows is held
/// back, so that a short run that patches its output is never handed out early.
const HOLD: Duration = Duration::from_millis(100);
/// Under auto, how much of it is held back at most.
const HOLD_BYTES: u64 = 4 << 20;

impl Generation {
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
            _ if lingers => self.reopened.map_or(first, |at| at.min(first + LINGER)) + HOLD,
            _ => first + HOLD,
        };
        if now < until {
            return Err(Some(until));
        }
        self.released = true;
        Ok(())
    }
}
