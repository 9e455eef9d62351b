//! `fifofs explain` with real programs: its report of what they did, its verdicts on ways to capture that, and that
//! the command line it suggests works.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use common::{Finished, MARKER, Place, assert_same, needs};
use serde_json::Value;

/// For whole programs on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Temporary files, including mount points, are where they can be found.
const PRELUDE: &str = r#"
export TMPDIR="$F/../tmp"; unset XDG_RUNTIME_DIR
mkdir -p "$TMPDIR"
explain() { "$FIFOFS" explain "$@"; }
fifofs() { "$FIFOFS" "$@"; }
"#;

struct Explained {
    place: Arc<Place>,
}

impl Explained {
    fn new() -> Self {
        let place = Place::new();
        Explained { place }
    }

    /// Runs a script to its end; nothing of it may be left then.
    #[track_caller]
    fn run(&self, script: &str) -> Finished {
        let mount = self.place.mount_point();
        let mark = format!("export {MARKER}='{}'", mount.display());
        let script = format!("{PRELUDE}\n{mark}\n{script}");
        let finished = self.place.shell(&script).finish(LIMIT);
        self.place.assert_nothing_left();
        let left = fs::read_dir(self.place.at("plain").join("../tmp"));
        let left: Vec<_> = left.expect("a directory").flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        finished
    }

    /// The explanation of a command, as JSON.
    #[track_caller]
    fn json(&self, command: &str) -> Value {
        let text = self
            .run(&format!("explain --json -- {command}"))
            .succeeded()
            .text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let path = self.place.at("plain").join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// The chances of one output, in the order auto, settled, follow, stream, fifo.
fn chances(output: &Value) -> Vec<&str> {
    ["auto", "settled", "follow", "stream", "fifo"]
        .map(|way| {
            output["verdicts"][way]["chance"]
                .as_str()
                .expect("a chance")
        })
        .to_vec()
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "'{word}' is not in\n{text}");
    }
}

#[test]
fn what_zip_does_is_reported_and_the_suggested_command_works() {
    needs(&[("zip", "zip"), ("unzip", "unzip")]);
    let explained = Explained::new();
    let text = explained
        .run("seq 20000 > notes.txt; explain -- zip -q {out:x.zip} notes.txt")
        .succeeded()
        .text();
    says(
        &text,
        &[
            "x.zip: ",
            "moved that into its place",
            "went back once",
            "fifofs run                    captured   delivered when it is done",
            "a FIFO                        fails ",
            "a FIFO in fifofs exec         captured   delivered when it is done",
            "To use:\n  fifofs run -- zip -q {out:x.zip} notes.txt\n",
        ],
    );
    let line = text.lines().last().expect("a line");
    let script = format!("{line} | cat > got.zip; unzip -p got.zip | cmp - notes.txt");
    explained.run(&script).succeeded();
}

#[test]
fn rewritten_bytes_that_a_reader_has_are_reported_and_settled_is_advised() {
    let explained = Explained::new();
    let command = r#"sh -c 'echo "count: 0"; echo "count: 0" > {out:x.txt}; sleep 1
        seq 9 >> {out:x.txt}; printf 9 | dd status=none of={out:x.txt} seek=7 bs=1 conv=notrunc'"#;
    let report = explained.json(command);
    let output = &report["outputs"][0];
    assert_eq!(
        chances(output),
        ["rewritten", "captured", "rewritten", "fails", "fails"]
    );
    assert_eq!(
        output["facts"]["rewritten"]["first"],
        serde_json::json!([7, 8])
    );
    assert_eq!(
        (&output["facts"]["openings"], &output["facts"]["reopenings"]),
        (&Value::from(3), &Value::from(2))
    );
    let line = report["run"].as_str().expect("a command line");
    assert!(line.starts_with("fifofs run --deliver settled -- sh -c '"));
    let got = explained.run(&format!("{line} 2> said")).succeeded();
    assert_same(&got.stdout, b"count: 9\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    assert_same(&explained.read("said"), b"count: 0\n");
}

#[test]
fn a_result_that_may_differ_is_reported_to_depend() {
    let explained = Explained::new();
    // Patched 100 ms after it began; on a slightly slower machine auto has delivered it by then.
    let report = explained.json(
        "perl -e 'open F, q(>), shift; syswrite F, qq(count: 0\\n); select undef, undef, undef, .09; \
         sysseek F, 7, 0; syswrite F, q(9)' {out:x.txt}",
    );
    let output = &report["outputs"][0];
    assert_eq!(
        chances(output),
        ["depends", "captured", "rewritten", "fails", "fails"]
    );
    says(
        report["run"].as_str().expect("a line"),
        &["--deliver settled"],
    );
}

#[test]
fn a_log_that_is_opened_again_to_append_is_captured_but_by_a_fifo() {
    let explained = Explained::new();
    let report = explained.json("bash -c 'for n in 1 2 3; do echo $n >> {out:x.log}; done'");
    let output = &report["outputs"][0];
    assert_eq!(
        chances(output),
        ["captured", "captured", "captured", "captured", "fails"]
    );
    assert_eq!(output["facts"]["reopenings"], 2);
    assert_eq!(
        report["run"]
            .as_str()
            .map(|line| line.contains("--deliver")),
        Some(false)
    );
}

/// zip and sed -i do so, if they are run twice. The kernel must then look the path up again, for which its first OPEN
/// fails.
#[test]
fn a_file_read_just_after_it_was_renamed_into_place_is_captured() {
    let explained = Explained::new();
    let script = r#"echo a > "$1.new"; mv "$1.new" "$1"; cat "$1" > /dev/null"#;
    let report = explained.json(&format!("sh -c '{script}' sh {{out:x.zip}}"));
    let output = &report["outputs"][0];
    assert_eq!(output["facts"]["read_openings"], 1, "{output}");
    assert_eq!(chances(output)[..2], ["captured", "captured"], "{output}");
}

#[test]
fn a_plain_writer_suits_a_fifo_as_far_as_can_be_seen() {
    let explained = Explained::new();
    let text = explained
        .run("seq 5000 > n.txt; explain -- sort -n -o {out:s.txt} n.txt")
        .succeeded()
        .text();
    says(
        &text,
        &[
            "each after the last",
            "a FIFO                        probably",
            "a FIFO in fifofs exec         captured   delivered as it is written",
        ],
    );
}

#[test]
fn a_file_moved_into_place_is_followed_to_its_old_name() {
    let explained = Explained::new();
    let report = explained
        .json("bash -c 'echo old > {out:x.txt}; seq 9 > {dir}/x.new; mv {dir}/x.new {out:x.txt}'");
    let output = &report["outputs"][0];
    assert_eq!(output["facts"]["moved_from"], serde_json::json!(["x.new"]));
    assert_eq!(output["facts"]["replaced"], 1);
    assert_eq!(output["verdicts"]["settled"]["chance"], "captured");
    assert_eq!(output["verdicts"]["fifo"]["chance"], "fails");
    assert_eq!(output["size"], 18);
}

#[test]
fn mapping_reading_back_and_resizing_are_seen() {
    let explained = Explained::new();
    let script = r#"
import mmap, os, sys
with open(sys.argv[1], "w+b") as file:
    file.truncate(10000)
    with mmap.mmap(file.fileno(), 10000) as memory:
        memory[5000:] = b"y" * 5000
with open(sys.argv[1], "r+b") as file:
    file.read(10)
"#;
    fs::write(explained.place.at("plain").join("map.py"), script).expect("write");
    let report = explained.json("python3 map.py {out:x.bin}");
    let output = &report["outputs"][0];
    let facts = &output["facts"];
    assert_eq!(facts["mapped"], true);
    assert_eq!(facts["resized"], serde_json::json!([10000]));
    assert!(facts["read_bytes"].as_u64() >= Some(10), "{facts}");
    assert_eq!(output["verdicts"]["auto"]["chance"], "captured");
    assert_eq!(output["verdicts"]["fifo"]["chance"], "fails");
    let did = output["did"].to_string();
    says(
        &did,
        &["mapped it into memory", "set its length to 10000 bytes"],
    );
}

#[test]
fn several_outputs_each_have_their_section_and_go_to_files_of_their_names() {
    let explained = Explained::new();
    let script = "explain -- bash -c 'seq 3 > {out:a.txt}; seq 4 > {out:sub/b.txt}'";
    let text = explained.run(script).succeeded().text();
    says(&text, &["a.txt: 6 bytes", "sub/b.txt: 8 bytes"]);
    let line = text.lines().last().expect("a line");
    says(line, &["--to=a.txt=./a.txt --to=sub/b.txt=./b.txt --"]);
    explained.run(line).succeeded();
    assert_same(&explained.read("a.txt"), b"1\n2\n3\n");
    assert_same(&explained.read("b.txt"), b"1\n2\n3\n4\n");
}

#[test]
fn the_files_of_a_directory_are_all_explained_and_packed() {
    let explained = Explained::new();
    let text = explained
        .run("seq 100 > n; explain -- split -l 60 n {dir}/part-")
        .succeeded()
        .text();
    says(&text, &["part-aa: ", "part-ab: ", "packed by --tar"]);
    let line = text.lines().last().expect("a line");
    assert_eq!(line.trim(), "fifofs run --tar -- split -l 60 n {dir}/part-");
    explained
        .run(&format!("{line} | tar -x; cat part-aa part-ab | cmp - n"))
        .succeeded();
}

#[test]
fn a_program_that_was_killed_is_named_and_its_status_kept() {
    let explained = Explained::new();
    let finished =
        explained.run("explain -- bash -c 'echo half > {out:x.txt}; kill -9 $$'; echo $?");
    let text = finished.text();
    says(&text, &["x.txt: 5 bytes", "killed by signal 9", "\n137\n"]);
    says(&finished.stderr, &["bash was killed by signal 9"]);
}

#[test]
fn the_status_is_the_programs_own_and_so_are_its_streams() {
    let explained = Explained::new();
    let finished =
        explained.run("echo typed | explain -- bash -c 'tee {out:x.txt}; exit 7'; echo $?");
    says(&finished.text(), &["x.txt: 6 bytes", "\n7\n"]);
    says(&finished.stderr, &["typed\n", "bash ended with status 7"]);
}

#[test]
fn for_a_program_that_made_another_file_the_placeholder_is_suggested() {
    let explained = Explained::new();
    let finished = explained.run("explain -- bash -c 'echo x > {out}.zip'; echo $?");
    says(
        &finished.stderr,
        &["did not make 'out': it left 'out.zip'; use {out:out.zip}"],
    );
    says(&finished.text(), &["out: not there in the end", "\n74\n"]);
    let finished = explained.run("explain -- true {dir}; echo $?");
    says(&finished.stderr, &["left no file in {dir}"]);
    says(&finished.text(), &["74\n"]);
}

#[test]
fn a_process_that_is_left_behind_is_waited_for() {
    let explained = Explained::new();
    let report = explained.json("bash -c 'exec 3> {out:x.txt}; (sleep 0.5; echo late >&3) &'");
    assert_eq!(report["outputs"][0]["size"], 5);
    assert_eq!(
        report["outputs"][0]["verdicts"]["auto"]["chance"],
        "captured"
    );
}

#[test]
fn wrong_usage_is_reported_before_anything_runs() {
    let explained = Explained::new();
    let refused = |script: &str, words: &str| {
        let finished = explained.run(&format!("{script}; echo $?"));
        says(&finished.stderr, &[words]);
        assert_eq!(finished.text(), "125\n");
    };
    refused("explain -- touch ran", "put {out} where");
    refused("explain", "CMD");
    refused("explain -- touch {out:/x}", "begins with a slash");
    assert!(!explained.place.at("plain").join("ran").exists());
    let finished = explained.run("explain -- no-such-program {out}; echo $?");
    says(&finished.stderr, &["no-such-program: command not found"]);
    assert_eq!(finished.text(), "127\n");
}
