//! What a file has for a reader at a moment, and whether that goes with what the
//! reader was given before.

use rustix::io::Errno;

use super::capturing::Hold;
use super::effects::Effects;
use super::generation::{Generation, Phase, Way};
use super::ids::ReaderId;
use super::reader::Reader;
use super::reading::Available;
use super::{Alarm, Core, Env};

/// How much is compared at once when a reader moves to another inode.
const COMPARE_BYTES: u64 = 1 << 20;

/// What a file has for readers who wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// Bytes below are gone.
    pub(super) base: u64,
    /// Bytes below may be given.
    pub(super) limit: u64,
    /// Whether that is all there will be.
    pub(super) end: bool,
    /// Whether nobody who wrote is left, who might put something in its place.
    pub(super) abandoned: bool,
    /// Whether a writer came to a bad end.
    pub(super) failed: bool,
    /// How it is delivered, once chosen.
    pub(super) way: Option<Way>,
}

impl View {
    /// Whether nobody is to get what there is of it: a part of what should have come all at once.
    pub(super) fn is_refused(&self) -> bool {
        self.failed && self.end && matches!(self.way, None | Some(Way::Settled))
    }
}

impl Core {
    /// Sees whether the file a reader was moved to begins with what it was
    /// given. An error is what there is for it meanwhile.
    pub(super) fn compare_prior(
        &mut self,
        env: Env<'_>,
        id: ReaderId,
        source: u64,
        view: View,
        effects: &mut Effects,
    ) -> Result<(), Available> {
        let (Some(reader), Some(file)) = (self.readers.get_mut(&id), self.files.get_mut(&source))
        else {
            return Err(Available::Nothing);
        };
        let Some(prior) = &reader.prior else {
            return Ok(());
        };
        let common = reader.position.min(view.limit);
        if common < reader.position && !view.end {
            return Err(Available::Nothing);
        }
        let mut differs = (common < reader.position).then_some(common);
        let mut at = 0;
        while at < common {
            let length = COMPARE_BYTES.min(common - at) as usize;
            let old = prior.read(at, length);
            match old.differs_from(&file.spool.read(at, length)) {
                Ok(None) => at += length as u64,
                Ok(Some(offset)) => {
                    differs = Some(at + offset as u64);
                    break;
                }
                Err(_) => return Err(Available::Error(Errno::IO)),
            }
        }
        reader.prior = None;
        match differs {
            Some(offset) => {
                let range = offset..reader.position;
                self.mark_rewritten(env, id, range, effects);
            }
            None => {
                if let Some(generation) = file.generation.as_mut() {
                    generation.delivered = generation.delivered.max(reader.position);
                }
            }
        }
        Ok(())
    }

    /// What a file has for a reader just now; arranges to be called again where
    /// the clock alone will change it.
    pub(super) fn view(&mut self, env: Env<'_>, id: ReaderId, ino: u64) -> View {
        let mut again = None;
        let reader = self.readers.get(&id);
        let capture = reader.and_then(|reader| reader.capture);
        let may_get_more = reader.is_some_and(Reader::may_get_more);
        let accompanies = self.is_companion(id, ino);
        let lingers = !self.is_captured(ino);
        let fail_on = self.settings.fail_on;
        let held = capture.is_some_and(|capture| self.captures.hold(capture) == Hold::Held);
        let Some(file) = self.files.get_mut(&ino) else {
            return View {
                base: 0,
                limit: 0,
                end: true,
                abandoned: true,
                failed: false,
                way: None,
            };
        };
        let frontier = file.spool.frontier();
        let nothing_yet = View {
            base: file.spool.base(),
            limit: 0,
            end: false,
            abandoned: false,
            failed: false,
            way: file.way(),
        };
        let whole = View {
            limit: file.spool.len(),
            end: true,
            ..nothing_yet
        };
        let is_empty_fifo = file.fifo.is_some() && file.generation.is_none();
        let (phase, generation) = (file.phase(), file.generation.as_mut());
        let view = match generation.filter(|g| g.is_active()) {
            // What stands there was there before, and may be written again
            // or replaced.
            None if held => nothing_yet,
            // A FIFO to which nobody has written.
            None if is_empty_fifo => nothing_yet,
            // The process that its reader named may do that, too.
            None if may_get_more => View {
                limit: match file.way() {
                    Some(Way::Follow | Way::Stream) => frontier,
                    None | Some(Way::Settled) => 0,
                },
                ..nothing_yet
            },
            None => View {
                abandoned: file
                    .generation
                    .as_ref()
                    .is_none_or(Generation::is_abandoned),
                failed: phase == Some(Phase::Failed)
                    || file.generation.as_ref().is_some_and(|g| g.lost),
                ..whole
            },
            // Nobody gets any more of it.
            Some(generation) if generation.lost && generation.way == Some(Way::Stream) => View {
                end: true,
                failed: true,
                ..nothing_yet
            },
            Some(generation) if generation.rests.is_some() && accompanies => View {
                failed: generation.has_failed(fail_on),
                ..whole
            },
            Some(generation) => {
                let limit = match generation.way {
                    None | Some(Way::Settled) => 0,
                    Some(Way::Stream) => frontier,
                    Some(Way::Follow) => {
                        match generation.may_hand_out(frontier, env.now.monotonic, lingers) {
                            Ok(()) if file.format.is_some_and(|f| f.trailing_zeros) => {
                                // tar's blocks: what may be its end mark may also be
                                // written over.
                                file.zeros_from.next_multiple_of(512).min(frontier)
                            }
                            Ok(()) => frontier,
                            Err(at) => {
                                again = at;
                                0
                            }
                        }
                    }
                };
                View {
                    limit,
                    ..nothing_yet
                }
            }
        };
        if let Some(at) = again {
            self.wake_at(at, Alarm::Reader(id));
        }
        view
    }
}
