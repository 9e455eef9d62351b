//! Requests by names.

use super::kernel::{Kernel, PLACES, pick};
use super::{Step, What};
use crate::core::attributes::{Change, Changes};
use crate::core::clock::Timestamp;
use crate::core::namespace::{ROOT, Rename};
use crate::core::request::{Request, at};
use crate::core::tests::{Answer, OWNER};

impl Kernel {
    pub(super) fn change_names(&mut self, thread: i32, step: &Step) {
        let [_, second, third, fourth] = step.numbers;
        let Some((parent, name)) = self.name(thread, second) else {
            return;
        };
        let here = at(parent, &*name);
        let creator = OWNER;
        match step.what {
            What::MakeNode => {
                let kinds = [libc::S_IFIFO, libc::S_IFIFO, libc::S_IFREG, libc::S_IFSOCK];
                let make = Request::MakeNode {
                    at: here,
                    creator,
                    kind: kinds[fourth % kinds.len()],
                    rdev: 0,
                };
                self.make(thread, make);
            }
            What::MakeDirectory => {
                let at = at(ROOT, "d");
                self.make(thread, Request::MakeDirectory { at, creator });
            }
            What::MakeSymlink => {
                let names = [
                    ("l", "d"),
                    ("l", "l"),
                    ("g", "f.log"),
                    ("p", "d/p"),
                    ("h.zip", "/nowhere/x"),
                ];
                let (name, target) = names[fourth % names.len()];
                let make = Request::MakeSymlink {
                    at: at(parent, name),
                    creator,
                    target: target.into(),
                };
                self.make(thread, make);
            }
            What::Unlink => {
                if let Ok(found) = self.look_up(thread, parent, &name.to_string_lossy())
                    && found.attributes.mode & libc::S_IFMT != libc::S_IFDIR
                {
                    self.ask(thread, Request::Unlink { at: here });
                }
            }
            What::RemoveDirectory => {
                let at = at(ROOT, "d");
                self.ask(thread, Request::RemoveDirectory { at });
            }
            What::Rename => {
                let hows = [Rename::Replace, Rename::KeepTarget, Rename::Exchange];
                let from = match fourth % 9 {
                    0 => at(ROOT, "d"),
                    _ => here,
                };
                let Some((parent, name)) = self.name(thread, third) else {
                    return;
                };
                let to = at(parent, name);
                // The kernel moves no directory into itself.
                if from.1 == "d" && to.0 != ROOT {
                    return;
                }
                let how = hows[fourth % hows.len()];
                self.ask(thread, Request::Rename { from, to, how });
            }
            _ => {
                let Ok(found) = self.look_up(thread, parent, &name.to_string_lossy()) else {
                    return;
                };
                self.change_found(thread, found.attributes.ino, step);
            }
        }
    }

    pub(super) fn change_found(&mut self, thread: i32, ino: u64, step: &Step) {
        let [_, _, third, fourth] = step.numbers;
        match step.what {
            What::Link => {
                if let Some((parent, name)) = self.name(thread, third) {
                    self.make(
                        thread,
                        Request::Link {
                            ino,
                            at: at(parent, name),
                        },
                    );
                }
            }
            What::Change => {
                let time = Timestamp {
                    seconds: third as i64,
                    nanoseconds: 0,
                };
                let changes = Changes {
                    mode: (fourth.is_multiple_of(3)).then_some(0o644),
                    uid: (fourth.is_multiple_of(5)).then_some(1),
                    gid: (fourth.is_multiple_of(7)).then_some(1),
                    size: (fourth.is_multiple_of(2)).then_some(third as u64 % 40),
                    atime: (fourth.is_multiple_of(4)).then_some(Change::Now),
                    mtime: (fourth % 4 == 1).then_some(Change::To(time)),
                    ctime: (fourth % 4 == 2).then_some(time),
                    drops_privileges: fourth.is_multiple_of(6),
                };
                self.ask(thread, Request::Change { ino, changes });
            }
            What::SetXattr => {
                let set = Request::SetXattr {
                    ino,
                    name: format!("user.{}", third % 2).into(),
                    value: vec![b'x'; fourth],
                    flags: [0, libc::XATTR_CREATE, libc::XATTR_REPLACE][fourth % 3],
                };
                self.ask(thread, set);
            }
            What::RemoveXattr => {
                let name = format!("user.{}", third % 2).into();
                self.ask(thread, Request::RemoveXattr { ino, name });
            }
            _ => {}
        }
    }

    pub(super) fn list(&mut self, thread: i32, number: usize) {
        let place = pick(&PLACES, number).unwrap_or_default();
        let Some(ino) = self.parent(thread, place) else {
            return;
        };
        let unique = self.call(thread, Request::OpenDirectory { ino });
        let handle = match self.answer(unique) {
            Some(Answer::Handle(handle, _)) => handle,
            Some(Answer::Error(_)) => return,
            other => panic!("a directory was opened with {other:?}"),
        };
        let list = Request::List {
            ino,
            handle,
            after: 0,
            room: 100,
            entry_bytes: |name| name + 24,
        };
        self.ask(thread, list);
        self.tell(Request::CloseDirectory { handle });
    }
}
