//! Real programs, to every kind of standard output.

use crate::common::{assert_same, needs};
use crate::{INPUTS, LIMIT, Runs, run};

/// Runs `command`, in which `@` is its output, into a plain file and with every way to redirect the output of
/// `fifofs run`: the bytes must be the same.
#[track_caller]
fn is_right_every_way(output: &str, command: &str) {
    let runs = Runs::new();
    let plain = command.replace('@', &format!("plain-{output}"));
    let captured = command.replace('@', &format!("{{out:{output}}}"));
    let script = format!(
        r#"{INPUTS}
        {plain}
        captured() {{ run "$@" -- {captured}; }}
        captured | cat > by-pipe
        captured > by-redirection
        echo header > by-appending; captured >> by-appending
        {{ echo header; captured; echo trailer; }} > by-group
        captured -o by-option
        captured --to {output}=fd:7 7> by-descriptor
        captured --deliver settled | cat > by-settled
        "#
    );
    runs.run(&script).succeeded();
    let plain = runs.read(&format!("plain-{output}"));
    for name in [
        "by-pipe",
        "by-redirection",
        "by-option",
        "by-descriptor",
        "by-settled",
    ] {
        assert_same(&runs.read(name), &plain);
    }
    let headed = [b"header\n", &plain[..]].concat();
    assert_same(&runs.read("by-appending"), &headed);
    assert_same(
        &runs.read("by-group"),
        &[&headed[..], b"trailer\n"].concat(),
    );
}

#[test]
fn zip_is_right_every_way() {
    needs(&[("zip", "zip")]);
    is_right_every_way("x.zip", "zip -qrX @ src");
}

#[test]
fn ffmpeg_is_right_every_way() {
    needs(&[("ffmpeg", "ffmpeg")]);
    is_right_every_way(
        "x.mp4",
        "ffmpeg -v error -nostdin -f lavfi -i testsrc=d=1:s=64x64 -fflags +bitexact -flags +bitexact -y @",
    );
}

#[test]
fn gcc_is_right_every_way() {
    needs(&[("gcc", "gcc")]);
    is_right_every_way("hello", "gcc -o @ hello.c");
}

#[test]
fn sort_is_right_every_way() {
    is_right_every_way("sorted.txt", "sort -n -o @ lines");
}

#[test]
fn a_script_that_writes_appends_and_edits_in_place_is_right_and_into_a_pipe_right_or_refused() {
    let script =
        r#"sh -c 'seq 1 9 > "$1"; seq 10 19 >> "$1"; sed -i s/1/one/ "$1"; grep -q one9 "$1"' sh"#;
    let runs = Runs::new();
    runs.run(&format!(
        r#"
        {script} plain
        captured() {{ run "$@" -- {script} {{out:x.txt}}; }}
        captured > by-redirection
        captured -o by-option
        captured --deliver settled | cat > by-settled
        # It depends on the machine whether sed comes within the 100 ms in which nothing is delivered.
        {{ captured && echo 0 > status || echo $? > status; }} | cat > by-pipe
        "#
    ))
    .succeeded();
    let plain = runs.read("plain");
    for name in ["by-redirection", "by-option", "by-settled"] {
        assert_same(&runs.read(name), &plain);
    }
    match &runs.read("status")[..] {
        b"0\n" => assert_same(&runs.read("by-pipe"), &plain),
        status => assert_same(status, b"74\n"),
    }
}

#[test]
fn a_program_that_writes_from_start_to_end_can_be_streamed() {
    let runs = Runs::new();
    runs.run(&format!("{INPUTS} sort -n -o plain lines; run --deliver stream -- sort -n -o {{out}} lines | cat > got"))
        .succeeded();
    assert_same(&runs.read("got"), &runs.read("plain"));
}

#[test]
fn a_stream_may_be_written_to_another_file_and_renamed() {
    run(r#"run --deliver stream -- sh -c 'head -c 3000000 /dev/zero > "$1.tmp"; mv "$1.tmp" "$1"' sh {out} | wc -c"#)
        .succeeded()
        .printed("3000000\n");
}

#[test]
fn a_zip_goes_through_a_pipe_to_a_consumer() {
    needs(&[("zip", "zip"), ("unzip", "unzip")]);
    run(&format!(
        "{INPUTS} run -- zip -qr {{out:x.zip}} src | $PYTHON -c '
import io, sys, zipfile
archive = zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read()))
print(archive.testzip(), archive.read(\"src/deep/hello\"))'"
    ))
    .succeeded()
    .printed("None b'hello\\n'\n");
}

#[test]
fn lines_arrive_while_the_program_runs() {
    let runs = Runs::new();
    let writer = runs.start(r#"run --deliver follow -- bash -c 'echo one > "$1"; until [ -e "$F/go" ]; do sleep 0.01; done; echo two >> "$1"' sh {out}"#);
    writer.wait_output(b"one\n");
    runs.place.raise("go");
    writer.finish(LIMIT).succeeded().printed("one\ntwo\n");
}

#[test]
fn stat_counts_the_blocks_that_an_output_has() {
    run("run -- sh -c 'exec > \"$1\"; sleep 0.1; stat -c %b,%s \"$1\" >&2; echo x; du -k \"$1\" >&2' sh {out} 2>&1 | cut -c 1-3")
        .succeeded()
        .printed("0,0\n4\t/\nx\n");
}
