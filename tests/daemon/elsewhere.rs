//! A mount that is not where it was made, or is visible in part: moved, bound elsewhere, covered.

use std::sync::Arc;

use crate::common::{Finished, Place, SOON, needs_root};

/// Runs a script in a namespace of its own, where moving and binding are allowed and affect no other process.
fn in_namespace(place: &Arc<Place>, script: &str) -> Finished {
    needs_root();
    let prelude = r#"
        cd "$P"
        mount -t tmpfs none "$P"
        cd "$P"
        mounted() { grep -c " $P/.* fuse.fifofs " /proc/self/mountinfo || :; }
        soon() { for ((i = 0; i < 1500; i++)); do "$@" && return; sleep .02; done; echo "not soon: $*"; exit 9; }
        serve() { "$FIFOFS" mount "$1" 2> log & daemon=$!; soon test -e "$1/.fifofs/status"; }
        none() { [ "$(mounted)" = 0 ]; }
    "#;
    let script = format!("cat > script <<'END'\n{prelude}\n{script}\nEND\nunshare -m bash script");
    let done = place.shell(&script).finish(SOON).succeeded();
    place.assert_nothing_left();
    done
}

/// The mount is found by its ids in the list of mounts; from Linux 6.8 on the watchdog can rely on them, too.
#[test]
fn a_mount_that_was_moved_is_gone_with_its_daemon() {
    in_namespace(
        &Place::new(),
        r#"
        signals=TERM
        [ "$(printf '%s\n' 6.8 "$(uname -r)" | sort -V | head -1)" = 6.8 ] && signals="TERM KILL"
        for signal in $signals; do
            for move in 'mv a a\b' 'mount --move a/m b'; do
                mkdir -p a/m b
                serve a/m
                $move
                [ "$(mounted)" = 1 ] || exit
                kill -$signal $daemon
                soon none
                wait $daemon
                rm -rf a 'a\b' b
            done
        done
        "#,
    )
    .printed("");
}

#[test]
fn bind_mounts_end_with_the_daemon_and_a_covering_mount_is_reported() {
    in_namespace(
        &Place::new(),
        r#"
        mkdir m whole part
        serve m
        mkdir m/sub
        mount --bind m whole
        mount --bind m/sub part
        mounted
        kill $daemon; wait $daemon; echo $?
        mounted
        serve m
        mount -t tmpfs none m
        kill $daemon; wait $daemon; echo $?
        grep -o 'm: another file system is mounted over it; unmount that, and then' log
        umount m
        "$FIFOFS" unmount m; mounted
        "#,
    )
    .printed(
        "3\n0\n0\n125\nm: another file system is mounted over it; unmount that, and then\n0\n",
    );
}

/// A bind mount of a part has no `.fifofs`, which is in the mount of the whole.
#[test]
fn files_in_a_bind_mount_of_a_part_are_waited_for_in_the_whole() {
    in_namespace(
        &Place::new(),
        r#"
        mkdir m part
        serve m
        mkdir m/sub
        echo file > m/sub/file
        touch bound
        mount --bind m/sub part
        mount --bind m/sub/file bound
        "$FIFOFS" cat part/late > late & waiting=$!
        soon grep -q late m/.fifofs/status
        echo late > part/late; wait $waiting; cat late
        "$FIFOFS" cat bound
        "$FIFOFS" ls part | grep -o sub/late
        "$FIFOFS" ls > all 2>&1; echo $?
        mount -t tmpfs none m
        "$FIFOFS" cat part/file 2>&1 | grep -o 'only /sub of a fifofs mount is at .*' | sed "s,$P/,,"
        umount m bound part
        kill $daemon; wait $daemon
        "#,
    )
    .printed(
        "late\nfile\nsub/late\n0\nonly /sub of a fifofs mount is at part, without its directory .fifofs; bind all of \
         the mount there (`mount --bind`), not a directory of it\n",
    );
}
