//! What a reader was given by another file than it reads now: kept, and compared with what takes its
//! place.
//!
//! Invariant: a reader who has such a thing gets nothing until the file is seen to begin with the same.

use rustix::io::Errno;

use super::super::effects::Effects;
use super::super::file::View;
use super::super::ids::ReaderId;
use super::super::reading::Available;
use super::super::{Core, Env};

/// How much is compared at once.
const COMPARE_BYTES: u64 = 1 << 20;

impl Core {
    /// Keeps what a reader was given, to be compared with what it gets next.
    pub(in crate::core) fn keep_prior(
        &mut self,
        env: Env<'_>,
        id: ReaderId,
        effects: &mut Effects,
    ) {
        let Some(reader) = self.readers.get_mut(id) else {
            return;
        };
        let Some(file) = reader.source().and_then(|ino| self.files.get(&ino)) else {
            return;
        };
        if reader.prior().is_some() {
            return;
        }
        if file.spool().base() > 0 || file.is_stream() || reader.reads_by_position() {
            let all = 0..reader.position();
            self.mark_rewritten(env, id, all, effects);
        } else {
            reader.set_prior(Some(file.snapshot(reader.position())));
        }
    }

    /// Sees whether the file a reader was moved to begins with what it was
    /// given. An error is what there is for it meanwhile.
    pub(in crate::core) fn compare_prior(
        &mut self,
        env: Env<'_>,
        id: ReaderId,
        source: u64,
        view: View,
        effects: &mut Effects,
    ) -> Result<(), Available> {
        let (Some(reader), Some(file)) = (self.readers.get_mut(id), self.files.get_mut(&source))
        else {
            return Err(Available::Nothing);
        };
        let Some(prior) = reader.prior() else {
            return Ok(());
        };
        let position = reader.position();
        let common = position.min(view.limit);
        if common < position && !view.end {
            return Err(Available::Nothing);
        }
        let mut differs = (common < position).then_some(common);
        let mut at = 0;
        while at < common {
            let length = COMPARE_BYTES.min(common - at) as usize;
            let old = prior.read(at, length);
            match old.differs_from(&file.spool().read(at, length)) {
                Ok(None) => at += length as u64,
                Ok(Some(offset)) => {
                    differs = Some(at + offset as u64);
                    break;
                }
                Err(_) => return Err(Available::Error(Errno::IO)),
            }
        }
        reader.set_prior(None);
        match differs {
            Some(offset) => {
                let range = offset..position;
                self.mark_rewritten(env, id, range, effects);
            }
            None => file.note_delivered(position),
        }
        Ok(())
    }
}
