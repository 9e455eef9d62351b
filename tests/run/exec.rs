//! `fifofs exec`: scripts that know nothing of fifofs, their FIFOs, and how they end.

use rustix::process::Signal;

use crate::common::{self, needs, needs_root};
use crate::{Ended, LIMIT, Runs, run};

/// Runs `examples/helper.py`, called `helper`, with programs that cannot write to a FIFO of the kernel.
const CAPTURES: &str = r#"
    ffmpeg -v error -nostdin -f lavfi -i testsrc=d=1:s=64x64 -f lavfi -i sine=d=1 -y av.avi
    mp4() { ffmpeg -v error -nostdin -y -i av.avi -fflags +bitexact -flags +bitexact "$1"; }
    mp4 plain.mp4
    helper out.mp4 ffmpeg -v error -nostdin -y -i av.avi -fflags +bitexact -flags +bitexact {} | cmp - plain.mp4
    helper x.db sqlite3 {} 'create table t (a); insert into t values (7)' > x.db
    sqlite3 x.db 'select a from t; pragma integrity_check'
    echo 'int main(void) { return 5; }' > five.c
    helper a.out gcc -o {} five.c > five; chmod +x five; ./five || echo $?
    seq 100000 | shuf > lines
    helper sorted sort -n -S 200k -o {} lines | cmp - <(seq 100000)
    helper x sh -c 'echo half > "$1"; exit 9' sh {} || echo $?
"#;

const CAPTURED: &str = "7\nok\n5\nhalf\n9\n";

fn needs_programs() {
    needs(&[("ffmpeg", "ffmpeg"), ("sqlite3", "sqlite3"), ("gcc", "gcc")]);
}

fn helper() -> String {
    format!("{}/examples/helper.py", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_helper_that_knows_nothing_of_fifofs_captures_them_all() {
    needs_programs();
    run(&format!(
        r#"set -e -o pipefail
        helper() {{ "$FIFOFS" exec -- "$PYTHON" {} "$@"; }}
        {CAPTURES}"#,
        helper()
    ))
    .succeeded()
    .printed(CAPTURED);
}

#[test]
fn the_helper_captures_them_with_its_temporary_files_in_a_mount() {
    needs_programs();
    run(&format!(
        r#"set -e -o pipefail
        "$FIFOFS" mount --daemon --fifos virtual "$TMPDIR/mount"; trap '"$FIFOFS" unmount "$TMPDIR/mount"' EXIT
        helper() {{ TMPDIR="$TMPDIR/mount" "$PYTHON" {} "$@"; }}
        {CAPTURES}
        ls -A "$TMPDIR/mount""#,
        helper()
    ))
    .succeeded()
    .printed(CAPTURED);
}

#[test]
fn the_status_is_the_commands_own() {
    run(r#"exec() { "$FIFOFS" exec "$@"; echo $?; }
        exec -- true; exec -- sh -c 'exit 3'; exec -- sh -c 'kill -KILL $$'
        exec -- nosuch; exec -- /; exec --fifos pipes -- true"#)
    .printed("0\n3\n137\n127\n126\n125\n")
    .saying("nosuch: command not found");
}

#[test]
fn signals_are_passed_on_and_the_command_decides() {
    for (trap, status) in [("trap 'exit 4' TERM", 4), ("true", 143)] {
        let runs = Runs::new();
        let program = runs.start(&format!(
            r#"exec "$FIFOFS" exec -- bash -c "{trap}"'; echo > $F/ready; while :; do sleep 0.01; done'"#
        ));
        runs.flag("ready");
        common::signal(program.pid(), Signal::TERM);
        program.finish(LIMIT).with_status(status);
    }
}

#[test]
fn the_terminal_and_the_streams_are_its_own_and_processes_that_it_leaves_may_write() {
    run(
        r#"echo in | "$FIFOFS" exec -- sh -c 'cat; echo err >&2; echo $FIFOFS_OUT$FIFOFS_DIR
            (exec > $TMPDIR/late; sleep 2.5; echo late && echo > $F/late) &
            (sleep 1000 & echo $! > $F/sleeper)'
        await late; kill "$(cat "$F/sleeper")""#,
    )
    .succeeded()
    .printed("in\n\n")
    .saying("'$TMPDIR/late' open: waiting for its end");
}

#[test]
fn kernel_fifos_are_made_if_that_is_asked_for() {
    let script = r#"mkfifo $TMPDIR/a.pipe $TMPDIR/b; stat -c %F $TMPDIR/a.pipe $TMPDIR/b'"#;
    run(&format!(
        r#"for kind in kernel '*.pipe'; do "$FIFOFS" exec --fifos "$kind" -- sh -c '{script}; done"#
    ))
    .succeeded()
    .printed("fifo\nfifo\nregular empty file\nfifo\n");
}

#[test]
fn a_directory_that_the_script_names_itself_is_covered_for_the_command_alone() {
    run(r#"mkdir -m 1750 out; echo old > out/old
        "$FIFOFS" exec --over out --over "$F" -- bash -c '
            ls -A out; stat -c %a out; mkfifo out/p $F/q; sort -n -o out/p <(seq 9 | tac) & tr -d "\n" < out/p; echo
            seq 3 > $F/q & tr -d "\n" < $F/q; echo
            "$FIFOFS" cat out/late & seq 2 > out/late; wait; rm out/late
            : > $TMPDIR/other; ls -A out; ls -A $F
            grep -c " $PWD/out " /proc/self/mountinfo'
        echo $?; ls -A out; grep -c " $PWD/out " /proc/self/mountinfo
        # The working directory and $TMPDIR may be covered, too.
        cd out; "$FIFOFS" exec --over . -- sh -c 'echo new > new; ls -A'; ls -A
        mkdir tmp; TMPDIR=$PWD/tmp "$FIFOFS" exec --over tmp -- sh -c 'test $TMPDIR = $PWD/tmp; echo x > $(mktemp); ls -A tmp | wc -l'
        ls -A tmp"#)
    .printed("1750\n123456789\n123\n1\n2\np\nq\n1\n0\nold\n0\nnew\nold\n1\n");
}

/// In either order of the options.
#[test]
fn a_directory_in_one_that_is_covered_is_empty_too_and_is_there() {
    run(r#"mkdir -p out/a/in; chmod 750 out/a; echo old > out/a/in/old; cd out
        for order in "--over . --over a/in" "--over a/in --over . --over a/in"; do
            "$FIFOFS" exec $order -- bash -c 'find .; stat -c %a a; mkfifo a/in/p; seq 3 > a/in/p & cat a/in/p'
        done; find . -type f
        # The working directory may be in it, too.
        cd a/in; "$FIFOFS" exec --over ../.. -- bash -c 'pwd -P | grep -o out/.*; ls -A; mkfifo p; stat -c %F p; ls ../../a/in'; ls"#)
    .printed(
        ".\n./a\n./a/in\n750\n1\n2\n3\n".repeat(2)
            + "./a/in/old\nout/a/in\nregular empty file\np\nold\n",
    );
}

#[test]
fn a_directory_that_cannot_be_covered_is_refused() {
    run(r#"exec() { "$FIFOFS" exec "$@" -- true; echo $?; }
        exec --over /; exec --over nosuch; : > file; exec --over file
        "$FIFOFS" mount -d mount; mkdir mount/x; exec --over mount; exec --over mount/x; "$FIFOFS" unmount mount"#)
    .printed("125\n125\n125\n125\n125\n")
    .saying("cannot cover /: the command itself would be gone")
    .saying("cannot cover nosuch: No such file or directory")
    .saying("cannot cover file: not a directory")
    .saying("it is in a mount of fifofs, ");
}

#[test]
fn a_user_covers_a_directory_too() {
    needs_root();
    run(r#"chmod 755 . "$F"; mkdir -m 777 out tmp; cp "$FIFOFS" .
        export TMPDIR=$PWD/tmp XDG_RUNTIME_DIR=
        setpriv --reuid 65534 --regid 65534 --clear-groups ./fifofs exec --over out -- \
            sh -c 'id -u; mkfifo out/p; seq 3 > out/p & cat out/p'
        ls -A out"#)
    .succeeded()
    .printed("65534\n1\n2\n3\n");
}
