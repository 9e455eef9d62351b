//! Sequences in which a mount and an ordinary directory once differed, as they were printed: each says what was wrong.

use super::agrees;
use super::operations::*;

/// The two may differ in this; what makes up for it must go on doing so.
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
