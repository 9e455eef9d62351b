//! Programs that move bytes by splice(2), which since Linux 6.5 ends at the size that the kernel knows of a file.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use rustix::pipe::{SpliceFlags, pipe, splice};

use crate::common::{Mount, SOON};

/// Reads like programs that splice: by read(2) only if splice(2) cannot. The daemon recognizes them by the names of
/// their threads.
fn splicer(program: &str, path: PathBuf) -> JoinHandle<Vec<u8>> {
    let work = move || {
        let mut file = File::open(&path).expect("it opens");
        let (out, into) = pipe().expect("a pipe");
        let (mut out, mut all) = (File::from(out), Vec::new());
        while let Ok(moved) = splice(&file, None, &into, None, 1 << 16, SpliceFlags::empty()) {
            if moved == 0 {
                return all;
            }
            let begin = all.len();
            all.resize(begin + moved, 0);
            out.read_exact(&mut all[begin..]).expect("what was moved");
        }
        file.read_to_end(&mut all).expect("the rest");
        all
    };
    let thread = thread::Builder::new().name(program.into()).spawn(work);
    thread.expect("a thread")
}

#[test]
fn a_file_without_a_size_is_read_by_programs_that_splice() {
    let mount = Mount::start(&["--fifos", "virtual"]);
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(mount.place().at("content"), &content).expect("what is to be written");
    for program in ["cat", "pv", "coreutils"] {
        let write = |name: &str| {
            let written = mount.shell(&format!("cat $D/../content > $D/{name}"));
            written.finish(SOON).succeeded();
        };
        let is_whole = |reader: JoinHandle<Vec<u8>>, what: &str| {
            assert!(
                reader.join().expect("it ends") == content,
                "{program} {what}"
            );
        };
        let (file, fifo) = (format!("{program}.log"), format!("{program}.fifo"));
        let pipe = format!(".fifofs/pipe/{file}");
        let early = splicer(program, mount.file(&pipe));
        write(&file);
        is_whole(early, "before it is there");
        is_whole(splicer(program, mount.file(&pipe)), "afterwards");
        // Other programs read as many bytes as the size says, or everything if it is 0.
        let size = mount.file(&pipe).metadata().expect("its size").len();
        assert_eq!(size, 0);

        mount
            .shell(&format!("mkfifo $D/{fifo}"))
            .finish(SOON)
            .succeeded();
        let early = splicer(program, mount.file(&fifo));
        write(&fifo);
        is_whole(early, "as the reader of a FIFO");
        write(&fifo);
        is_whole(
            splicer(program, mount.file(&fifo)),
            "of a FIFO that is written",
        );
    }
    mount.unmount();
}

#[test]
fn the_status_has_its_size_and_positions_for_any_reader() {
    let mount = Mount::start(&[]);
    let script = "cd $D/.fifofs; head -3 metrics | tail -1; tail -n 1 metrics; cp status ../../status; cmp status ../../status && echo same
        test $(stat -c %s metrics) -gt 1000 && echo sized";
    let ended = mount.shell(script).finish(SOON).succeeded();
    assert_eq!(ended.stderr, "");
    let printed = ended.text();
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].starts_with("fifofs_"), "{printed}");
    assert_eq!(lines[1..], ["# EOF", "same", "sized"], "{printed}");
    let spliced = splicer("any", mount.file(".fifofs/metrics"));
    assert!(spliced.join().expect("it ends").ends_with(b"# EOF\n"));
    mount.unmount();
}

#[test]
fn a_reader_that_may_have_taken_a_pipe_for_empty_is_warned_of() {
    let mount = Mount::start(&[]);
    let said = "closed it without reading it";
    mount.shell("seq 9 > $D/x").finish(SOON).succeeded();
    let pipe = mount.file(".fifofs/pipe/x");
    mount
        .shell("cat $D/.fifofs/pipe/x")
        .finish(SOON)
        .succeeded();
    assert!(!mount.ls().contains(said));
    drop(File::open(pipe).expect("it opens"));
    mount.wait_for("that it is said", || mount.ls().contains(said));
    mount.unmount();
}
