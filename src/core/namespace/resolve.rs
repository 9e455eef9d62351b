//! Where a path leads, as the kernel would find it (path_resolution(7)).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{CONTROL, Kind, Namespace, ROOT};

/// How many symbolic links are followed in one path (`MAXSYMLINKS` of the kernel).
const LINKS_MAX: usize = 40;

/// Where a path from the root leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// To this inode.
    To(u64),
    /// To nothing, but a file may be made there.
    ToNothing,
    /// Out of the tree: to this path, which is an absolute one, or one from the root.
    Out(PathBuf),
    /// To nothing that could be made, with this error.
    Nowhere(Errno),
}

impl Namespace {
    /// Sets where the tree is mounted.
    pub(crate) fn set_place(&mut self, place: &Path) {
        self.place = Some(place.to_owned());
    }

    /// The inode at a path from the root, if it is in the tree.
    pub(crate) fn resolve(&self, path: &[OsString]) -> Option<u64> {
        match self.leads(path) {
            Leads::To(ino) => Some(ino),
            _ => None,
        }
    }

    /// Where a path from the root leads.
    pub(crate) fn leads(&self, path: &[OsString]) -> Leads {
        let mut at = ROOT;
        let mut rest: Vec<OsString> = path.iter().rev().cloned().collect();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            let out = |start: &Path| {
                let rest = rest.iter().rev();
                Leads::Out(rest.fold(start.to_owned(), |path, name| path.join(name)))
            };
            if at == ROOT && (name == ".." || name == CONTROL) {
                return out(Path::new(&name));
            }
            let found = match name.to_str() {
                Some(".") => self.directory(at).map(|_| at),
                Some("..") => self.parent(at),
                _ => self.find(at, &name),
            };
            let ino = match found {
                Ok(ino) => ino,
                // A final slash means a directory, for which no reader waits.
                Err(Errno::NOENT) if rest.first().is_none_or(|last| last != ".") => {
                    return Leads::ToNothing;
                }
                Err(errno) => return Leads::Nowhere(errno),
            };
            let Ok(Kind::Symlink(target)) = self.get(ino).map(|inode| &inode.kind) else {
                at = ino;
                continue;
            };
            if links == LINKS_MAX {
                return Leads::Nowhere(Errno::LOOP);
            }
            links += 1;
            let place = self.place.as_deref();
            let inside = place.and_then(|place| target.strip_prefix(place).ok());
            let target = match inside {
                _ if target.is_relative() => target,
                Some(inside) => {
                    at = ROOT;
                    inside
                }
                None => return out(target),
            };
            rest.extend(target.iter().rev().map(OsStr::to_owned));
        }
        Leads::To(at)
    }
}
