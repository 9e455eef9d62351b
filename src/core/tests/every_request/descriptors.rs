//! Requests by descriptors, and requests of this process itself.

use std::ffi::OsString;

use super::kernel::{Kernel, NAMES, pick, process};
use super::{Step, What};
use crate::core::patching::Reading;
use crate::core::request::{Bytes, Request, User, Wanted};
use crate::core::tests::Answer;

/// Modes of `fallocate(2)`.
const MODES: [i32; 5] = [
    0,
    libc::FALLOC_FL_KEEP_SIZE,
    libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE,
    libc::FALLOC_FL_ZERO_RANGE,
    libc::FALLOC_FL_COLLAPSE_RANGE,
];

impl Kernel {
    pub(super) fn use_descriptor(&mut self, thread: i32, step: &Step) {
        let [_, second, third, fourth] = step.numbers;
        let Some(at) = second.checked_rem(self.open.len()) else {
            return;
        };
        let open = self.open[at];
        let (ino, handle) = (open.ino, open.handle);
        let (offset, length) = (third as u64 % 40, fourth as u64 % 40 + 1);
        let by = User { uid: 0, gid: 0 };
        match step.what {
            What::Write if open.writes => {
                let data = vec![third as u8 % 3; length as usize];
                let bytes = Bytes {
                    offset,
                    from_cache: fourth.is_multiple_of(3),
                    kills_set_id: false,
                };
                self.ask(
                    thread,
                    Request::Write { ino, bytes }.with((&data[..]).into()),
                );
            }
            What::Read | What::FillPages if !open.writes => {
                let wanted = Wanted {
                    offset: if fourth.is_multiple_of(2) {
                        offset
                    } else {
                        self.position(handle)
                    },
                    length: length as u32,
                    nonblocking: fourth.is_multiple_of(5),
                };
                self.read(thread, open, wanted, matches!(step.what, What::FillPages));
            }
            What::Close => self.close(at),
            What::Poll => {
                let kernel_handle = (third.is_multiple_of(2)).then_some(handle);
                let poll = Request::Poll {
                    handle,
                    kernel_handle,
                };
                self.ask(thread, poll);
            }
            What::Seek => {
                let data = fourth.is_multiple_of(2);
                let seek = Request::Seek {
                    ino,
                    handle,
                    offset,
                    data,
                };
                self.ask(thread, seek);
            }
            What::Allocate if open.writes => {
                let allocate = Request::Allocate {
                    ino,
                    offset,
                    length,
                    mode: MODES[fourth % MODES.len()],
                    by,
                };
                self.ask(thread, allocate);
            }
            What::Copy => {
                let others: Vec<u64> = self
                    .open
                    .iter()
                    .filter(|o| o.writes)
                    .map(|o| o.ino)
                    .collect();
                let Some(to) = pick(&others, fourth) else {
                    return;
                };
                let copy = Request::Copy {
                    from: (ino, handle, offset),
                    to: (to, third as u64 % 7),
                    length,
                    by,
                };
                self.ask(thread, copy);
            }
            What::AlsoWrites if open.writes => {
                let writer = process(thread);
                self.tell(Request::AlsoWrites { ino, writer });
            }
            What::ReleaseBytes => {
                let (handle, start) = (open.handle, third as u64 % 40);
                let range = start..start + 1 + second as u64 % 40;
                self.tell(Request::ReleaseBytes { handle, range });
            }
            What::Closes if open.writes => self.tell(Request::Closes { ino, pid: open.pid }),
            _ => {}
        }
    }

    /// Makes requests of this process itself.
    pub(super) fn capture(&mut self, step: &Step) {
        let [first, second, third, fourth] = step.numbers;
        if let What::Capture = step.what {
            let above = [&[][..], &["own"], &["d"]][second % 3];
            let mut path: Vec<OsString> = above.iter().map(OsString::from).collect();
            path.extend(pick(&NAMES, third).map(OsString::from));
            let unique = self.call(0, Request::Capture { path });
            match self.answer(unique) {
                Some(Answer::Captured(id)) => self.captures.push(id),
                Some(Answer::Error(_)) => {}
                other => panic!("not captured: {other:?}"),
            }
            return;
        }
        let id = pick(&self.captures, first);
        match (step.what, id) {
            (What::OpenCaptured, Some(id)) => {
                let reading = Reading {
                    of_holders: second.is_multiple_of(2),
                    by_position: third.is_multiple_of(3),
                };
                let opener = Default::default();
                let open = Request::OpenCaptured {
                    id,
                    reading,
                    opener,
                };
                self.open_own(open);
            }
            (What::OpenEvents, _) => {
                let path = (second.is_multiple_of(2)).then(|| NAMES[third % NAMES.len()].into());
                self.open_own(Request::OpenEvents { path });
            }
            (What::Hold, Some(id)) => {
                self.holds.push(id);
                let again = first.is_multiple_of(3);
                self.tell(Request::Hold { id, again });
                if third.is_multiple_of(2) {
                    // Another holder, which is not waited for.
                    self.tell(Request::Hold { id, again: false });
                    self.tell(Request::Abandon { id });
                }
            }
            (What::LetGo, _) => {
                if let Some(at) = second.checked_rem(self.holds.len()) {
                    let id = self.holds.swap_remove(at);
                    self.tell(match third.is_multiple_of(2) {
                        true => Request::LetGo {
                            id,
                            left_others: third.is_multiple_of(4),
                        },
                        false => Request::Abandon { id },
                    });
                }
            }
            (What::KeepAtMost, Some(id)) => {
                let bytes = third as u64 % 40;
                self.tell(Request::KeepAtMost { id, bytes });
            }
            (What::HangUp, Some(id)) => self.tell(Request::HangUp { id }),
            (What::EndCapture, Some(id)) => {
                self.captures.retain(|of| *of != id);
                let directory = (second.is_multiple_of(3)).then(|| "own".into());
                self.tell(Request::EndCapture { id, directory });
            }
            (What::MakeOwnDirectory, _) => {
                let name = "own".into();
                self.tell(Request::MakeOwnDirectory { name });
            }
            (What::RemoveTree, _) => {
                let name = ["own", "d", "p", "f.log"][fourth % 4].into();
                self.tell(Request::RemoveTree { name });
            }
            (What::Freeze, _) => self.ask(0, Request::Freeze),
            _ => {}
        }
    }
}
