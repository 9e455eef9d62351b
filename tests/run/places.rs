//! Where it runs: for root and for other users, privately and shared, in a chroot, without /dev/fuse.

use std::fs;

use crate::common::{FIFOFS, Finished, needs, needs_root};
use crate::{Ended, INPUTS, LIMIT, Runs, run};

#[test]
fn the_mount_is_private_for_root_and_shared_on_demand() {
    needs_root();
    let runs = Runs::new();
    let script = |options: &str| {
        format!(
            r#"run {options} -- bash -c 'echo "$2" > "$F/path"; grep -c "$2" /proc/$PPID/mountinfo > "$1"; until [ -e "$F/go" ]; do sleep 0.01; done' sh {{out}} {{dir}}; rm "$F/path""#
        )
    };
    for (options, seen) in [("", false), ("--shared", true)] {
        let process = runs.start(&script(options));
        let path = runs.flag("path");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert_eq!(mounts.contains(&path), seen, "with '{options}'");
        runs.place.raise("go");
        process.finish(LIMIT).succeeded().printed("1\n");
        fs::remove_file(runs.place.at("flags/go")).expect("the flag");
    }
}

#[test]
fn another_process_can_write_a_shared_output() {
    let runs = Runs::new();
    let script = r#"
        { await path; echo by another > "$(cat "$F/path")"; raise go; } &
        run --shared -- bash -c 'echo "$1" > "$F/p"; mv "$F/p" "$F/path"; until [ -e "$F/go" ]; do sleep 0.01; done' sh {out}
        wait"#;
    runs.run(script).succeeded().printed("by another\n");
}

/// Its root is no mount point, so its mounts cannot be kept private.
#[test]
fn in_a_chroot_it_works_though_not_privately() {
    needs_root();
    needs(&[("unshare", "util-linux")]);
    let script = r#"
        cat > script <<'END'
        set -e
        mkdir root; cd root
        for directory in bin lib lib64 usr dev proc tmp "$(dirname "$FIFOFS")"; do
            [ ! -e "/$directory" ] || { mkdir -p "./$directory"; mount --rbind "/$directory" "./$directory"; }
        done
        TMPDIR=/tmp exec chroot . "$FIFOFS" run -- sh -c 'echo x > "$1"' sh {out}
END
        unshare -m bash script; status=$?; rm -r root; exit $status"#;
    run(script).succeeded().printed("x\n");
}

/// Runs it as a user without rights, in a mount namespace where all users may open /dev/fuse.
fn as_nobody(setup: &str) -> Finished {
    needs_root();
    needs(&[
        ("setpriv", "util-linux"),
        ("unshare", "util-linux"),
        ("zip", "zip"),
    ]);
    let runs = Runs::new();
    // The build directory may be closed to other users.
    fs::copy(FIFOFS, runs.place.at("fifofs")).expect("a copy that others may run");
    runs.run(&format!(
        r#"{INPUTS}
        mkdir devices; chmod 777 . "$TMPDIR"
        cat > script <<'END'
        set -e -o pipefail
        {setup}
        mount -t tmpfs none devices; mknod -m 666 devices/fuse c 10 229; mount --bind devices/fuse /dev/fuse
        exec setpriv --reuid 65534 --regid 65534 --clear-groups bash -c '
            set -o pipefail
            "$F/../fifofs" run -- zip -qrX {{out:x.zip}} src | cat > by-pipe && cmp by-pipe expected || exit 1
            "$F/../fifofs" run -o by-option -- zip -qrX {{out:x.zip}} src && cmp by-option expected || exit 1
            "$F/../fifofs" run -o "|cat > by-command" -- zip -qrX {{out:x.zip}} src && cmp by-command expected || exit 1
            "$F/../fifofs" run -- sh -c "id -u > \"\$1\"" sh {{out}}
            "$F/../fifofs" run -- true {{out}}; echo $?'
END
        zip -qrX expected src; mv expected.zip expected
        unshare -m bash script
        rm -f by-option by-command"#
    ))
}

#[test]
fn an_ordinary_user_with_fusermount3_gets_the_same() {
    needs(&[("fusermount3", "fuse3")]);
    as_nobody("").succeeded().printed("65534\n74\n");
}

#[test]
fn an_ordinary_user_without_fusermount3_gets_the_same() {
    as_nobody("mount --bind /dev/null \"$(command -v fusermount3)\"")
        .succeeded()
        .printed("65534\n74\n");
}

#[test]
fn without_dev_fuse_the_message_says_what_to_do_and_a_fifo_works() {
    needs_root();
    needs(&[("unshare", "util-linux")]);
    let without = |script: &str| {
        run(&format!(
            "unshare -m bash -c 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && {script}'"
        ))
    };
    without("exec $FIFOFS run -- touch {out}")
        .with_status(125)
        .saying("/dev/fuse")
        .saying("--backend fifo");
    without(r#"exec $FIFOFS run --backend fifo -- sh -c "echo fine > \$1" sh {out}"#)
        .succeeded()
        .printed("fine\n");
}

/// If it were killed while it waited for its own mount, and its helpers with it, it would stay for
/// ever.
#[test]
fn it_never_asks_the_kernel_about_its_own_mount() {
    let make = r#"-- bash -c 'mkdir "$1"/d; seq 100000 > "$1"/d/x; ln -s x "$1"/l; ln "$1"/d/x "$1"/y; mkfifo "$1"/f; truncate -s 1M "$1"/h'"#;
    let runs = Runs::new();
    for words in [
        &format!("--tar {make} sh {{dir}}"),
        &format!("--tar --deliver settled --memory 1M {make} sh {{dir}}"),
        r#"-o x --progress=always -- sh -c 'seq 100000 > "$1"; sleep 0.3; printf x | dd of="$1" conv=notrunc' sh {out}"#,
        r#"--to a=x -- sh -c 'echo x > "$1"; (sleep 0.05; echo more >> "$1") &' sh {out:a}"#,
        r#"-- sh -c 'mkdir "$1"; echo x > "$1"/x; ln -s x "$1.zip"' sh {out}"#,
        r#"--deliver stream -- sh -c 'echo x > "$1"; exit 3' sh {out:a.log}"#,
    ] {
        let script = format!("RUST_LOG=debug run {words} | cat > /dev/null");
        let done = runs.run(&script);
        assert!(
            !done.stderr.contains("the mount that it serves"),
            "{words}: {}",
            done.stderr
        );
    }
}
