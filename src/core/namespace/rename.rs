//! Moving names: over others, beside them, or in exchange for them.

use std::ffi::OsStr;

use rustix::io::Errno;

use super::Namespace;
use crate::core::clock::Timestamp;

/// What a rename does with a file at its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rename {
    /// Replace it.
    Replace,
    /// Refuse (`RENAME_NOREPLACE`).
    KeepTarget,
    /// Swap the two (`RENAME_EXCHANGE`).
    Exchange,
}

impl Namespace {
    /// Moves a name; returns the inode that was replaced at the target.
    pub(crate) fn rename(
        &mut self,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        how: Rename,
        now: Timestamp,
    ) -> Result<Option<u64>, Errno> {
        let ino = self.find(from.0, from.1)?;
        let is_directory = self.get(ino)?.is_directory();
        let target = match self.find(to.0, to.1) {
            Ok(target) => Some(target),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error),
        };
        match (how, target) {
            (Rename::KeepTarget, Some(_)) => return Err(Errno::EXIST),
            (Rename::Exchange, None) => return Err(Errno::NOENT),
            (Rename::Exchange, Some(target)) => {
                self.exchange((from.0, from.1, ino), (to.0, to.1, target), now)?;
                return Ok(None);
            }
            _ => {}
        }
        if target.is_none() {
            self.check_new(to.0, to.1)?;
        }
        if target == Some(ino) {
            return Ok(None);
        }
        // A listing under way has every name and every file that exists all the time, whatever is renamed
        // meanwhile.
        let cookie = match target {
            Some(_) => self.cookie(to.0, to.1),
            None if from.0 == to.0 => self.cookie(from.0, from.1),
            None => None,
        };
        if let Some(target) = target {
            match (is_directory, self.get(target)?.is_directory()) {
                (true, true) => {
                    self.remove_directory(to.0, to.1, now)?;
                }
                (false, false) => {
                    self.unlink(to.0, to.1, now)?;
                }
                (true, false) => return Err(Errno::NOTDIR),
                (false, true) => return Err(Errno::ISDIR),
            }
        }
        let kept = self.detach(from.0, from.1, ino, now);
        self.attach_again(to, ino, cookie, now, kept);
        if is_directory {
            self.directory_mut(from.0)?.subdirectories -= 1;
            self.directory_mut(to.0)?.subdirectories += 1;
        }
        Ok(target)
    }

    fn exchange(
        &mut self,
        from: (u64, &OsStr, u64),
        to: (u64, &OsStr, u64),
        now: Timestamp,
    ) -> Result<(), Errno> {
        let moves_directory = self.get(from.2)?.is_directory();
        let gets_directory = self.get(to.2)?.is_directory();
        let cookies = [self.cookie(from.0, from.1), self.cookie(to.0, to.1)];
        let kept = [
            self.detach(from.0, from.1, from.2, now),
            self.detach(to.0, to.1, to.2, now),
        ];
        let [of_from, of_to] = kept;
        self.attach_again((to.0, to.1), from.2, cookies[1], now, of_from);
        self.attach_again((from.0, from.1), to.2, cookies[0], now, of_to);
        if moves_directory != gets_directory {
            let (loses, gains) = if moves_directory {
                (from.0, to.0)
            } else {
                (to.0, from.0)
            };
            self.directory_mut(loses)?.subdirectories -= 1;
            self.directory_mut(gains)?.subdirectories += 1;
        }
        Ok(())
    }
}
