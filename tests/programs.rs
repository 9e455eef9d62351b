//! Real programs that change an existing, done file, and one that writes in random order, each run once into a plain
//! directory and once into the mount while `fifofs cat` waits for its output. The reader must get, byte for byte, what
//! `cp` copies out of the mount afterwards, and that must be right: equal to the plain output if the program is
//! deterministic, otherwise accepted by the format's checker. Programs that make a file are in `scripts/programs`.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::time::Duration;

use common::{Mount, assert_same, needs};

const LIMIT: Duration = Duration::from_secs(60);

/// Makes `src/` (to be packed), `x.txt` (shuffled lines), `hello.c` and `random` in the plain directory.
const INPUTS: &str = r#"
set -e
mkdir -p src/deep
seq 1 20000 > src/numbers.txt
echo hello > src/deep/hello.txt
head -c 300000 /dev/zero > src/zeros
"$PYTHON" -c 'import random, sys; random.seed(1); sys.stdout.buffer.write(random.randbytes(700000))' > random
seq 1 50000 | "$PYTHON" -c 'import random, sys; lines = sys.stdin.readlines(); random.seed(2); random.shuffle(lines); sys.stdout.writelines(lines)' > x.txt
cat > hello.c <<'END'
#include <stdio.h>
#include <stdlib.h>
static char table[200000] = {1};
int main(void) { printf("hello, %d\n", table[0] + 41); return EXIT_SUCCESS; }
END
find src -exec touch -d 2020-02-02T02:02:02 {} +
"#;

/// What must hold for an output, besides that the reader and `cp` agree.
enum Right {
    /// The program leaves the same bytes in a plain directory.
    SameAsPlain,
    /// This script accepts the reader's bytes, in the file `$GOT`.
    Checked(&'static str),
    /// Both.
    SameAndChecked(&'static str),
}

/// One program and one output.
struct Program {
    /// The programs that it runs, with their Debian packages.
    needs: &'static [(&'static str, &'static str)],
    /// The name of the output.
    output: &'static str,
    /// Options of the mount.
    options: &'static [&'static str],
    /// Runs first, to its end; its output is done before the reader starts, which then waits for the next generation.
    before: Option<&'static str>,
    /// The script: it makes `$OUT/NAME`.
    run: &'static str,
    right: Right,
}

impl Program {
    const fn new(output: &'static str, run: &'static str, right: Right) -> Self {
        Self {
            needs: &[],
            output,
            options: &[],
            before: None,
            run,
            right,
        }
    }

    const fn needs(mut self, programs: &'static [(&'static str, &'static str)]) -> Self {
        self.needs = programs;
        self
    }

    const fn options(mut self, options: &'static [&'static str]) -> Self {
        self.options = options;
        self
    }

    const fn before(mut self, script: &'static str) -> Self {
        self.before = Some(script);
        self
    }

    /// Runs it both ways and compares.
    fn assert_captured_right(self) {
        needs(self.needs);
        let mount = Mount::start(self.options);
        let place = mount.place();
        let script = |directory: &str, script: &str| format!("set -e; OUT={directory}; {script}");

        place.shell(INPUTS).finish(LIMIT).succeeded();
        fs::create_dir(place.at("plain/out")).expect("a directory");
        for part in self.before.iter().chain([&self.run]) {
            place
                .shell(&script("$P/out", part))
                .finish(LIMIT)
                .succeeded();
        }
        let plain = fs::read(place.at("plain/out").join(self.output)).expect("the plain output");

        let reader = if let Some(before) = self.before {
            mount.shell(&script("$D", before)).finish(LIMIT).succeeded();
            mount.finished(self.output);
            mount.next_reader(self.output)
        } else {
            mount.waiting_reader(self.output)
        };
        mount
            .shell(&script("$D", self.run))
            .finish(LIMIT)
            .succeeded();
        let got = reader.finish(LIMIT).succeeded().stdout;
        place
            .shell(&format!("cp \"$D/{}\" copied", self.output))
            .finish(LIMIT)
            .succeeded();
        let copied = fs::read(place.at("plain/copied")).expect("the copy");
        assert_same(&got, &copied);

        let name = format!("got-{}", self.output);
        fs::write(place.at("plain").join(&name), &got).expect("written");
        let check = match self.right {
            Right::SameAsPlain => None,
            Right::Checked(check) | Right::SameAndChecked(check) => Some(check),
        };
        if let Some(check) = check {
            place
                .shell(&format!("set -e; GOT=./{name}; {check}"))
                .finish(LIMIT)
                .succeeded();
        }
        if !matches!(self.right, Right::Checked(_)) {
            assert_same(&got, &plain);
        }
        mount.unmount();
    }
}

#[test]
fn zip_updating_an_archive_is_captured_right() {
    Program::new(
        "x.zip",
        "zip -X -q $OUT/x.zip x.txt",
        Right::Checked("unzip -t $GOT; unzip -p $GOT x.txt | cmp - x.txt"),
    )
    .needs(&[("zip", "zip"), ("unzip", "unzip")])
    .before("zip -X -q -r $OUT/x.zip src")
    .assert_captured_right();
}

const RUNS: &str = "chmod +x $GOT; test \"$($GOT)\" = 'hello, 42'";

#[test]
fn sort_in_place_is_captured_right() {
    Program::new(
        "sorted.txt",
        "sort -n -o $OUT/sorted.txt $OUT/sorted.txt",
        Right::SameAndChecked("seq 1 50000 | cmp - $GOT"),
    )
    .before("cp x.txt $OUT/sorted.txt")
    .assert_captured_right();
}

#[test]
fn sed_in_place_is_captured_right() {
    Program::new(
        "edited.txt",
        "sed -i 's/7/seven/g' $OUT/edited.txt",
        Right::SameAndChecked("sed 's/7/seven/g' x.txt | cmp - $GOT"),
    )
    .needs(&[("sed", "sed")])
    .before("cp x.txt $OUT/edited.txt")
    .assert_captured_right();
}

#[test]
fn ar_adding_to_an_archive_is_captured_right() {
    Program::new(
        "libx.a",
        "ar rD $OUT/libx.a x.txt",
        Right::SameAndChecked("ar p $GOT x.txt | cmp - x.txt"),
    )
    .needs(&[("ar", "binutils")])
    .before("ar rcD $OUT/libx.a src/numbers.txt")
    .assert_captured_right();
}

#[test]
fn a_download_of_curl_over_http_that_is_resumed_is_captured_right() {
    Program::new(
        "page.txt",
        r#"
"$PYTHON" - > port <<'END' &
import http.server, os, re, socketserver
class Ranges(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        data = open("x.txt", "rb").read()
        start = int(re.search(r"\d+", self.headers.get("Range", "0"))[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if start: self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[start:])
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Ranges)
print(server.server_address[1], flush=True)
server.handle_request()
END
server=$!
until [ -s port ]; do sleep 0.01; done
curl -sS -C 1000 -o $OUT/page.txt http://127.0.0.1:$(cat port)/x.txt
wait $server
rm port
"#,
        Right::SameAsPlain,
    )
    .needs(&[("curl", "curl")])
    .before("head -c 1000 x.txt > $OUT/page.txt")
    .assert_captured_right();
}

#[test]
fn dd_that_seeks_is_captured_right() {
    Program::new(
        "image",
        "dd status=none if=random of=$OUT/image bs=64k seek=3 conv=notrunc",
        Right::SameAsPlain,
    )
    .needs(&[("dd", "coreutils")])
    .assert_captured_right();
}

#[test]
fn several_dd_that_patch_one_file_are_captured_right() {
    Program::new(
        "image",
        "dd status=none if=random of=$OUT/image bs=64k seek=3 conv=notrunc; dd status=none if=x.txt of=$OUT/image bs=1k count=100 conv=notrunc; dd status=none if=src/numbers.txt of=$OUT/image bs=100 seek=77 conv=notrunc",
        Right::SameAsPlain,
    )
    .options(&["--linger", "1s"])
    .assert_captured_right();
}

const SHUFFLES: &str = r#""$PYTHON" - <<END
import os, random, threading
data = open("random", "rb").read()
offsets = list(range(0, len(data), 4096))
random.seed(3)
random.shuffle(offsets)
fd = os.open("$OUT/shuffled", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
def write(mine):
    for offset in mine: os.pwrite(fd, data[offset:offset + 4096], offset)
threads = [threading.Thread(target=write, args=(offsets[i::4],)) for i in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
os.close(fd)
END
"#;

#[test]
fn blocks_in_shuffled_order_from_four_threads_are_captured_right_by_a_reader_that_follows() {
    Program::new(
        "shuffled",
        SHUFFLES,
        Right::SameAndChecked("cmp random $GOT"),
    )
    .options(&["--deliver", "follow"])
    .assert_captured_right();
}

#[test]
fn blocks_in_shuffled_order_from_four_threads_are_captured_right_as_a_stream() {
    // Only the reader is checked: a stream leaves nothing for `cp`.
    let mount = Mount::start(&["--deliver", "stream"]);
    mount.shell(INPUTS).finish(LIMIT).succeeded();
    let expected = fs::read(mount.place().at("plain/random")).expect("the input");
    let reader = mount.waiting_reader("shuffled");
    mount
        .shell(&format!("OUT=$D; {SHUFFLES}"))
        .finish(LIMIT)
        .succeeded();
    assert_same(&reader.finish(LIMIT).succeeded().stdout, &expected);
    mount.unmount();
}

#[test]
fn objcopy_in_place_is_captured_right() {
    Program::new(
        "hello",
        "objcopy --strip-all --add-section .note.x=src/deep/hello.txt $OUT/hello",
        Right::SameAndChecked(RUNS),
    )
    .needs(&[("objcopy", "binutils"), ("gcc", "gcc")])
    .before("gcc -o $OUT/hello hello.c")
    .assert_captured_right();
}
