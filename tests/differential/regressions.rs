//! Sequences in which a mount and an ordinary directory once differed, as they were printed, with the fault of each.

use super::agrees;
use super::operations::*;

/// The two may differ in this; the code that makes up for it must still work.
#[test]
fn the_time_of_a_file_truncated_to_its_own_length() {
    agrees(&[
        Open {
            slot: 0,
            path: "a",
            flags: RDWR | CREAT,
            mode: 0o644,
        },
        FileSetTimes {
            slot: 0,
            seconds: 413_691_352,
        },
        Truncate {
            path: "a",
            length: 0,
        },
    ]);
}

/// This process must not become a reader of a file that its child made, not even by reading it.
#[test]
fn a_file_that_a_child_made_and_did_not_write() {
    agrees(&[
        Fork {
            does: child(Open {
                slot: 0,
                path: "a",
                flags: RDONLY | CREAT | APPEND,
                mode: 0o644,
            }),
        },
        Open {
            slot: 0,
            path: "a",
            flags: RDONLY,
            mode: 0o644,
        },
        PositionedRead {
            slot: 0,
            offset: 0,
            length: 1,
        },
    ]);
}

/// The kernel looks a path up again only once in one call: for its attributes or for its new name.
#[test]
fn a_file_that_readers_saw_while_it_was_written_is_renamed_and_opened_once_it_is_closed() {
    agrees(&[
        Open {
            slot: 0,
            path: "a",
            flags: WRONLY | CREAT,
            mode: 0o644,
        },
        Rename {
            from: "a",
            to: "e",
            how: Renaming::Replace,
        },
        Open {
            slot: 2,
            path: "e",
            flags: RDWR | CREAT | EXCL,
            mode: 0o444,
        },
        Close { slot: 0 },
        Open {
            slot: 0,
            path: "e",
            flags: RDONLY,
            mode: 0o755,
        },
    ]);
}
