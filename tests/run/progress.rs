//! `--progress`: what is shown of a program that runs, and when nothing is.

use crate::{Ended, run};

#[test]
fn progress_is_shown_only_if_asked_for() {
    let ended = run(
        "run --progress -- sh -c 'head -c 3000000 /dev/zero > \"$1\"; sleep 1.2' sh {out} | wc -c",
    );
    ended
        .succeeded()
        .saying("2.86 MiB written")
        .saying("/s, running")
        .saying("2.86 MiB delivered")
        .printed("3000000\n");
    let silent = run("run --progress=auto -- sh -c 'echo x > \"$1\"' sh {out}").succeeded();
    assert_eq!(silent.stderr, "");
}
