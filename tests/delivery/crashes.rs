//! A crash is not an end: a reader that waits for the output of a killed program gets an error, on any kernel and
//! however quickly the program's parent reaps it.

use crate::common::{Mount, SOON};

/// How programs are started: each of these parents reaps them at once.
const PARENTS: [&str; 3] = [
    r#"bash -c '"$@"; true' bash"#,
    "timeout 60",
    r#"$PYTHON -c 'import subprocess, sys; subprocess.run(sys.argv[1:])'"#,
];

/// Writers of `$1` that are killed while they have it open.
const KILLED: [&str; 6] = [
    r#"exec sh -c 'exec > "$1"; echo one; kill -KILL $$' sh "$1""#,
    r#"exec sh -c 'exec > "$1"; echo one; kill -TERM $$' sh "$1""#,
    r#"ulimit -c 0; exec sh -c 'exec > "$1"; echo one; kill -SEGV $$' sh "$1""#,
    // By a grandchild that inherited it.
    r#"exec > "$1"; echo one; sh -c 'kill -INT $$'; true"#,
    // By another thread than the one that opened it.
    r#"exec $PYTHON -c 'import os, signal, sys, threading, time
out = open(sys.argv[1], "w"); out.write("one\n"); out.flush()
threads = [threading.Thread(target=time.sleep, args=[60], daemon=True) for _ in range(4)]
for thread in threads: thread.start()
killer = threading.Thread(target=os.kill, args=[os.getpid(), signal.SIGTERM])
killer.start(); time.sleep(60)' "$1""#,
    // By a child that opened nothing itself, and whose parent is gone.
    r#"exec $PYTHON -c 'import os, signal, sys
out = open(sys.argv[1], "w"); out.write("one\n"); out.flush()
ready, go = os.pipe()
if os.fork() == 0:
    os.close(go); os.read(ready, 1); os.kill(os.getpid(), signal.SIGKILL)
os._exit(0)' "$1""#,
];

/// Writers of `$1` that end well, though not all of their processes do.
const WELL: [&str; 6] = [
    r#"exec > "$1"; echo one; exit 3"#,
    // Another thread ends the process, with the file open.
    r#"exec $PYTHON -c 'import os, sys, threading, time
out = open(sys.argv[1], "w"); out.write("one\n"); out.flush()
threading.Thread(target=os._exit, args=[0]).start(); time.sleep(60)' "$1""#,
    // Its descriptor is closed by an exec.
    r#"exec $PYTHON -c 'import os, sys
out = open(sys.argv[1], "w"); out.write("one\n"); out.flush()
os.execvp("true", ["true"])' "$1""#,
    // Closed, and then killed by TERM.
    r#"echo one > "$1"; kill -TERM $$"#,
    // Workers that are dismissed, one of which wrote it.
    r#"exec $PYTHON -c 'import multiprocessing, sys
def work(path):
    with open(path, "w") as out: out.write("one\n")
with multiprocessing.get_context("fork").Pool(3) as pool: pool.map(work, [sys.argv[1]])' "$1""#,
    // Workers that have it open only because their parent has.
    r#"exec $PYTHON -c 'import multiprocessing, sys
with open(sys.argv[1], "w") as out, multiprocessing.get_context("fork").Pool(3) as pool:
    out.writelines(pool.map(str.lower, ["ONE\n"]))' "$1""#,
];

/// Checks the ends of readers that waited for the output of each of these writers, with each parent, in so many
/// rounds.
fn check(mount: &Mount, writers: &[&str], rounds: usize, is_well: bool) {
    for round in 0..rounds {
        let all = (0..writers.len()).flat_map(|at| (0..PARENTS.len()).map(move |by| (at, by)));
        let running: Vec<_> = all
            .map(|(at, by)| {
                let name = format!("{is_well}-{at}-{by}-{round}.txt");
                let reader = mount.waiting_reader(&name);
                let quoted = writers[at].replace('\'', r"'\''");
                let parent = PARENTS[by];
                let program = format!("{parent} sh -c '{quoted}' sh $D/{name}");
                (writers[at], reader, mount.shell(&program))
            })
            .collect();
        for (writer, reader, program) in running {
            program.finish(SOON);
            let told = reader.finish(SOON);
            assert_eq!(told.status.success(), is_well, "{writer}\n{}", told.stderr);
            told.printed("one\n");
        }
    }
}

#[test]
fn a_writer_that_is_killed_with_the_file_open_is_no_end() {
    let mount = Mount::start(&[]);
    check(&mount, &KILLED, 1, false);
    check(&mount, &WELL, 1, true);
    mount.unmount();
}

#[test]
fn a_kill_is_no_end_on_kernels_that_do_not_report_how_a_reaped_process_ended() {
    let mount = Mount::start_without_pidfd_info(&[]);
    check(&mount, &KILLED, 4, false);
    check(&mount, &WELL, 1, true);
    mount.unmount();
}

#[test]
fn a_kill_is_no_end_of_streams_and_settled_files_either() {
    for way in ["stream", "settled"] {
        let mount = Mount::start_without_pidfd_info(&["--deliver", way]);
        for (round, parent) in PARENTS.iter().enumerate() {
            let reader = mount.waiting_reader(&format!("{round}.zip"));
            let writer = KILLED[0].replace('\'', r"'\''");
            let script = format!("{parent} sh -c '{writer}' sh $D/{round}.zip");
            mount.shell(&script).finish(SOON);
            reader.finish(SOON).failed_saying("not whole");
        }
        mount.unmount();
    }
}

#[test]
fn with_fail_on_signal_a_loop_that_is_cut_short_between_two_openings_has_failed() {
    for (options, is_well) in [(&["--fail-on", "signal"][..], false), (&[], true)] {
        let mount = Mount::start(options);
        let reader = mount.waiting_reader("loop.txt");
        let program = mount.shell(
            r#"sh -c 'echo x >> "$1"; : > "$F/closed"; while sleep .1; do :; done' sh $D/loop.txt &
            await kill; kill -TERM $!; wait"#,
        );
        mount.wait_flag("closed");
        mount.wait_for("the loop to have closed it", || {
            mount.ls().contains("closed")
        });
        mount.raise("kill");
        program.finish(SOON);
        assert_eq!(reader.finish(SOON).status.success(), is_well);
        mount.unmount();
    }
}
