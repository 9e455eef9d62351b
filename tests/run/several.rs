//! Several outputs: each to a destination of its own, or all files that a program leaves as tar.

use crate::common::assert_same;
use crate::{Ended, INPUTS, Runs, run};

#[test]
fn a_slow_destination_does_not_make_others_wait() {
    let runs = Runs::new();
    // More than any pipe holds, to a reader that does not read before the others are done.
    let script = r#"
        mkfifo slow quick
        { await read; cat > slow-got; } < slow &
        { head -c 3000000 > quick-got; raise quick-done; cat > quick-rest; } < quick &
        run --to a=slow --to b=quick --to c=- --deliver '*=follow' -- bash -c '
            for name; do head -c 3000000 /dev/zero > "$name"; done
            until [ -e "$F/quick-done" ]; do sleep 0.01; done
            touch "$F/read"' sh {out:a} {out:b} {out:c} | wc -c
        wait
        stat -c %s slow-got quick-got quick-rest"#;
    runs.run(script)
        .succeeded()
        .printed("3000000\n3000000\n3000000\n0\n");
}

#[test]
fn outputs_go_to_files_descriptors_and_standard_output() {
    let runs = Runs::new();
    runs.run(r#"run --to a.txt=A --to sub/b=- --to c=fd:3 -- sh -c 'for name; do echo "$(basename "$name")" > "$name"; done; echo own >&2' sh {out:a.txt} {out:sub/b} {out:c} 3> C"#)
        .succeeded()
        .printed("b\n");
    assert_same(&runs.read("A"), b"a.txt\n");
    assert_same(&runs.read("C"), b"c\n");
}

#[test]
fn the_missing_one_of_several_outputs_is_named() {
    let runs = Runs::new();
    runs.run(
        r#"run --to a=A --to b=B -- sh -c 'echo x > "$1"; echo y > "$2.bak"' sh {out:a} {out:b}"#,
    )
    .with_status(74)
    .saying("did not make 'b': it left 'b.bak'; use {out:b.bak}");
    assert!(runs.exists("A") && !runs.exists("B"));
}

#[test]
fn all_files_that_a_program_leaves_come_as_tar() {
    let runs = Runs::new();
    runs.run(&format!(
        "{INPUTS} mkdir plain-parts tar-parts; split -b 50000 lines plain-parts/part-
        run --tar -- split -b 50000 lines {{dir}}/part- | tar -x -C tar-parts
        diff -r plain-parts tar-parts
        run -o x.tar --tar -- split -b 50000 lines {{dir}}/part-; tar -tf x.tar | sed -n 1,2p"
    ))
    .succeeded()
    .printed("part-aa\npart-ab\n");
}

#[test]
fn tar_keeps_links_and_modes_and_reads_nothing_outside() {
    let listed = run(
        r#"run --tar -- bash -c 'cd "$1"; echo x > a; ln a b; ln -s /etc/passwd c; mkdir d; chmod 4711 a; chmod 700 d
        exec 3> d/late; (sleep 0.3; echo late >&3) &' sh {dir} > x.tar; tar -tvf x.tar | awk '{ print $1, $6, $7, $8 }'
        tar -xOf x.tar d/late"#,
    );
    listed.succeeded().printed(
        "-rws--x--x a  \nhrws--x--x b link to\nlrwxrwxrwx c -> /etc/passwd\ndrwx------ d  \n-rw-r--r-- d/late  \nlate\n",
    );
}

#[test]
fn tar_of_nothing_and_of_a_program_that_fails() {
    run("run --tar -- true {dir}")
        .with_status(74)
        .saying("true left no file in {dir}; check that it writes");
    run("run --tar -- true {out:x/y} > /dev/null")
        .with_status(74)
        .saying("did not make 'x/y': it left no file at all");
    run(r#"run --tar -- sh -c 'echo x > "$1/x"; exit 4' sh {dir}"#)
        .with_status(4)
        .saying("'{dir}' is not passed on: sh ended with status 4")
        .printed("");
}
