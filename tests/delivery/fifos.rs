//! Virtual FIFOs: scripts can use them as FIFOs, and programs can seek in them.

use rustix::process::Signal;

use crate::common::{Mount, SOON, needs, signal};

fn mount() -> Mount {
    Mount::start(&["--fifos", "virtual"])
}

#[test]
fn messages_are_read_once_and_in_order_whichever_side_comes_first() {
    let mount = mount();
    let script = "cd $D; mkfifo -m 600 p; stat -c '%F %a' p; test -p p || echo no FIFO to see
        echo 1 > p; cat p
        (sleep .2; echo 2 > p) & cat p
        # Each open for writing waits until the message before it is read.
        (echo 3 > p; echo 4 > p; echo 5 > p) & cat p; cat p; cat p; wait
        for i in $(seq 10); do echo m$i > p; done & for i in $(seq 10); do cat p; done; wait
        for i in $(seq 20); do echo $i > p & done; for i in $(seq 20); do cat p; done | sort -n | md5sum; wait
        seq 20 | md5sum
        : > p; cat p
        seq 3 > p & exec 3<p; rm p; read a <&3; read b <&3; echo $a $b; exec 3<&-; wait; ls -A";
    let numbers: String = (1..=10).map(|n| format!("m{n}\n")).collect();
    let sum = "a951fa1fa39b2f0df6ae22e12a26ccf3  -\n";
    let printed = mount.shell(script).finish(SOON).succeeded().text();
    let lines: Vec<&str> = printed.lines().collect();
    let head = "regular empty file 600\nno FIFO to see\n1\n2\n3\n4\n5\n";
    assert!(
        printed.starts_with(&(head.to_owned() + &numbers)),
        "{printed}"
    );
    assert_eq!(lines[17], lines[18], "all twenty: {printed}, as {sum}");
    assert_eq!(lines[19..], ["1 2"], "{printed}");
    mount.unmount();
}

#[test]
fn a_name_is_one_file_to_copiers_which_look_and_then_open() {
    let mount = mount();
    let script = "cd $D; mkfifo p; number=$(stat -c %i p)
        echo 1 > p; cp p ../1
        (sleep .2; echo 2 > p) & cp p ../2; wait
        cat ../1 ../2; rm ../1 ../2
        echo 3 > p; exec 3< p; stat -Lc %i p /proc/self/fd/3 | uniq | grep -cx $number
        ls -i | grep -c \"^ *$number p\"";
    mount
        .shell(script)
        .finish(SOON)
        .succeeded()
        .printed("1\n2\n1\n1\n");
    mount.unmount();
}

#[test]
fn a_fifo_that_was_renamed_is_read_by_its_new_name() {
    let mount = mount();
    let script = "cd $D; for i in 1 2 3; do mkfifo p; mv p q; echo $i > q; cat q; rm q; done";
    let shell = mount.shell(script).finish(SOON).succeeded();
    shell.printed("1\n2\n3\n");
    mount.unmount();
}

#[test]
fn flowing_bytes_are_bounded_and_a_writer_without_readers_gets_epipe() {
    let mount = mount();
    let script = "cd $D; mkfifo p
        yes > p 2> yes & head -1 p; wait
        cat /dev/urandom > p 2> cat & head -c 10 p | wc -c; wait
        grep -c 'Broken pipe' yes cat
        echo next > p & cat p";
    mount
        .shell(script)
        .finish(SOON)
        .succeeded()
        .printed("y\n10\nyes:1\ncat:1\nnext\n");
    // No reader has read more than a byte of it.
    let slow = mount.shell("exec 3< $D/p; head -c 1 <&3 | wc -c; await end; cat <&3 | wc -c");
    mount.wait_parked(&slow);
    let writer = mount.shell("head -c 20M /dev/zero > $D/p");
    mount.wait_parked(&writer);
    let size = mount.file("p").metadata().expect("its size").len();
    assert!(size < 8 << 20, "{size} bytes are kept");
    mount.raise("end");
    slow.finish(SOON).succeeded().printed("1\n20971519\n");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn opening_two_fifos_of_one_program_waits_at_neither_before_it_writes() {
    let mount = mount();
    let script = "cd $D; mkfifo in out; while read -r line; do echo got $line; done < in > out &
        exec 3> in 4< out; for word in one two; do echo $word >&3; read -r line <&4; echo $line; done
        exec 3>&- 4<&-; wait; ls";
    let printed = "got one\ngot two\nin\nout\n";
    mount
        .shell(script)
        .finish(SOON)
        .succeeded()
        .printed(printed);
    mount.unmount();
}

#[test]
fn a_reader_that_leaves_before_anything_is_written_affects_only_its_writer() {
    let mount = mount();
    // The reader is there first, and alone: its writer gets EPIPE, and the next message is read.
    let script = "cd $D; mkfifo p; { await left; yes; } > p 2> $F/yes & exec 3< p; exec 3<&-; > $F/left; wait
        grep -c 'Broken pipe' $F/yes; echo next > p & cat p; wait
        # Another reader has it open.
        { await gone; echo both; } > p & exec 3< p 4< p; exec 3<&-; > $F/gone; cat <&4; exec 4<&-; wait
        # A message that is settled by then is kept for the next reader.
        { await open; printf 'PK\\003\\004zip'; > $F/begun; await killed; } > p &
        exec 3< p; > $F/open; await begun; exec 3<&-; > $F/killed; cat p | wc -c; wait";
    let printed = "1\nnext\nboth\n7\n";
    mount
        .shell(script)
        .finish(SOON)
        .succeeded()
        .printed(printed);
    mount.unmount();
}

#[test]
fn a_writer_that_appends_line_by_line_goes_on_for_a_reader_that_reads_on() {
    // So that it shows for any time between two lines.
    let mount = Mount::start(&["--fifos", "virtual", "--linger", "exit"]);
    mount.shell("mkfifo $D/p").finish(SOON).succeeded();
    let mut reads_on = mount.reader("p");
    let script = r#"
for flag in "second", "third", "end":
    with open(D + "/p", "a") as file: file.write(f"before the {flag}\n")
    wait_flag(flag)
"#;
    let writer = mount.python(script);
    reads_on.wait_output(b"before the second\n");
    // Nothing must happen in this time.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(reads_on.is_running(), "ended though its writer lives");
    mount.raise("second");
    let two = b"before the second\nbefore the third\n";
    reads_on.wait_output(two);
    // Once that one is gone the next line is for the next reader, though the writer lives.
    signal(reads_on.pid(), Signal::TERM);
    reads_on.finish(SOON);
    mount.wait_for("the FIFO to be empty", || {
        mount.ls().contains("waits for a writer")
    });
    let next = mount.shell("read -r line < $D/p; echo $line");
    mount.wait_parked(&next);
    mount.raise("third");
    next.finish(SOON).succeeded().printed("before the end\n");
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn a_failed_message_is_an_error_for_its_readers_and_then_it_is_gone() {
    let mount = mount();
    for (begin, name) in [("echo text", "p"), ("printf 'PK\\003\\004zip'", "p.zip")] {
        let script = format!(
            "cd $D; mkfifo {name}; {{ {begin}; sleep .2; kill -KILL $BASHPID; }} > {name} & cat {name} > /dev/null; echo $?
             (sleep .2; echo well > {name}) & cat {name}; wait"
        );
        let ended = mount.shell(&script).finish(SOON);
        assert_eq!(ended.text(), "1\nwell\n", "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains("Input/output error"), "{name}");
    }
    mount.unmount();
}

#[test]
fn a_failed_message_ends_for_a_reader_that_opened_it_before_its_first_byte_and_is_gone() {
    let mount = mount();
    let script = r#"
path = D + "/p.zip"
os.mkfifo(path)
is_open, has_opened = os.pipe()
writer = os.fork()
if writer == 0:
    fd = os.open(path, os.O_WRONLY)
    os.read(is_open, 1)
    os.write(fd, b"PK\x03\x04zip")
    os.kill(os.getpid(), 9)
fd = os.open(path, os.O_RDONLY)
os.write(has_opened, b".")
try:
    print("got", os.read(fd, 100))
except OSError as error:
    print(os.strerror(error.errno))
os.close(fd)
os.waitpid(writer, 0)
writer = os.fork()
if writer == 0:
    with open(path, "w") as file: file.write("well")
    os._exit(0)
print(open(path).read())
"#;
    let ended = mount.python(script).finish(SOON);
    ended.succeeded().printed("Input/output error\nwell\n");
    mount.unmount();
}

#[test]
fn readers_that_wait_together_share_a_message_and_doors_do_not_take_it() {
    let mount = mount();
    let script = "cd $D; mkfifo p; cat p > $F/1 & cat p > $F/2 & $FIFOFS cat p > $F/3 & sleep .3
        seq 1000 > p; wait; for i in 1 2 3; do seq 1000 | cmp - $F/$i || exit 1; done
        echo unread > p; $FIFOFS cat p; cat p
        # A file put in its place is an ordinary file.
        cat p & sleep .2; echo other > q; mv q p; wait; cat p";
    let printed = "unread\nunread\nother\nother\n";
    mount
        .shell(script)
        .finish(SOON)
        .succeeded()
        .printed(printed);
    mount.unmount();
}

/// The usual helper, which knows nothing of fifofs.
const HELPER: &str = r#"
import shutil, subprocess, tempfile
def capture(*command):
    d = tempfile.mkdtemp(); p = os.path.join(d, "out"); os.mkfifo(p)
    child = subprocess.Popen([word.replace("@", p) for word in command])
    data = open(p, "rb").read(); child.wait(); shutil.rmtree(d)
    return data
"#;

#[test]
fn programs_that_seek_are_captured_by_the_helper_that_makes_a_fifo() {
    needs(&[("sqlite3", "sqlite3")]);
    let mount = mount();
    let script = format!(
        r#"{HELPER}
tempfile.tempdir = D
os.chdir(F)
open("words", "w").write("".join("%d\n" % (n * 7919 % 10007) for n in range(10007)))
assert capture("sort", "-n", "-o", "@", "words") == "".join("%d\n" % n for n in range(10007)).encode()
data = capture("sqlite3", "@", "create table t(a); insert into t values(1),(2);")
open("db", "wb").write(data)
say(subprocess.run(["sqlite3", "db", "pragma integrity_check; select sum(a) from t"], capture_output=True, text=True).stdout)
patch = "import sys; f = open(sys.argv[1], 'w'); f.write('XXXX\\n' + 'line\\n' * 100000); f.seek(0); f.write('DONE'); f.close()"
assert capture(sys.executable, "-c", patch, "@") == b"DONE\n" + b"line\n" * 100000
data = capture("tar", "-cf", "@", "words")
say(subprocess.run(["tar", "-tf", "-"], input=data, capture_output=True).stdout.decode())
say(os.listdir(D))
"#
    );
    let printed = "ok\n3\n\nwords\n\n[]\n";
    mount
        .python(&script)
        .finish(SOON)
        .succeeded()
        .printed(printed);
    mount.unmount();
}

#[test]
fn archivers_make_the_file_that_a_reader_waits_for_whichever_side_comes_first() {
    needs(&[
        ("zip", "zip"),
        ("unzip", "unzip"),
        ("ar", "binutils"),
        ("gcc", "gcc"),
        ("sqlite3", "sqlite3"),
        ("rsync", "rsync"),
        ("curl", "curl"),
    ]);
    let mount = mount();
    let script = r#"set -e -o pipefail; cd $D; seq 20000 > $F/words; echo 'int x;' > $F/x.c; gcc -c $F/x.c -o $F/x.o
        makes() {
            case $1 in
            p.zip) zip -q -j $1 $F/words ;;
            p.a) ar rcsD $1 $F/x.o && ls $1 > /dev/null ;;
            p.db) sqlite3 $1 'create table t (a); insert into t values (7)' ;;
            esac
        }
        looks() {
            case $1 in
            p.zip) unzip -p $F/got.zip | cmp - $F/words ;;
            p.a) ar t $F/got.a ;;
            p.db) sqlite3 $F/got.db 'select a from t; pragma integrity_check' ;;
            esac
        }
        for p in p.zip p.a p.db; do
            mkfifo $p; cat $p > $F/got.${p#p.} & sleep .2; ls -l $p > /dev/null; [ -e $p ]; makes $p; wait $!; looks $p; rm $p
            mkfifo $p; makes $p & cat $p > $F/got.${p#p.}; wait $!; looks $p; rm $p
        done
        # Programs that look first see no file once a reader waits.
        mkfifo r; cat r > $F/r & sleep .2; rsync $F/words r; wait $!; cmp $F/r $F/words; rm r
        mkfifo r; cat r > $F/r & sleep .2; curl -s -o r file://$F/words; wait $!; cmp $F/r $F/words; rm r
        ls -A"#;
    let printed = "x.o\nx.o\n7\nok\n7\nok\n";
    mount
        .shell(script)
        .finish(SOON)
        .succeeded()
        .printed(printed);
    // A helper that polls has everything once its child is reaped, also a file that replaced the FIFO.
    let script = format!(
        r#"{HELPER}
import select
tempfile.tempdir = D; os.chdir(F)
def poll(name, *command):
    d = tempfile.mkdtemp(); p = os.path.join(d, name); os.mkfifo(p)
    fd = os.open(p, os.O_RDONLY | os.O_NONBLOCK)
    subprocess.run([word.replace("@", p) for word in command], check=True)
    poll = select.poll(); poll.register(fd, select.POLLIN); data = b""
    while poll.poll(0):
        piece = os.read(fd, 65536)
        if not piece: break
        data += piece
    os.close(fd); shutil.rmtree(d)
    return data
data = poll("x.zip", "zip", "-q", "@", "words")
assert data[:2] == b"PK" and len(data) > 1000, data
patch = "import sys; f = open(sys.argv[1], 'w+'); f.write('XXXX\\n' + 'line\\n' * 1000); f.seek(0); f.write('DONE'); f.close()"
for n in range(20):
    assert poll("x", sys.executable, "-c", patch, "@") == b"DONE\n" + b"line\n" * 1000
"#
    );
    mount.python(&script).finish(SOON).succeeded().printed("");
    mount.unmount();
}

#[test]
fn archivers_make_one_message_after_the_other() {
    needs(&[("zip", "zip"), ("ar", "binutils")]);
    let mount = mount();
    // If the kernel cached the name of the last one, they would open that.
    let script = r#"set -e -o pipefail; cd $D; seq 200 > $F/words; mkfifo p.zip p.a
        for i in 1 2 3; do
            zip -q -j p.zip $F/words & cat p.zip | tail -c 22 | head -c 2; wait $!
            ar rcsD p.a $F/words & cat p.a | head -n 1; wait $!
        done"#;
    let printed = "PK!<arch>\n".repeat(3);
    mount
        .shell(script)
        .finish(SOON)
        .succeeded()
        .printed(&printed);
    mount.unmount();
}

#[test]
fn a_process_that_has_a_fifo_open_keeps_it_when_its_name_is_removed() {
    let mount = mount();
    let script = "cd $D; for begin in 'echo text' \"printf 'PK\\003\\004zip'\"; do
            mkfifo p.zip; { eval \"$begin\"; sleep .1; } > p.zip & exec 3< p.zip; rm p.zip; stat -L -c %h /dev/fd/3
            cat <&3 | wc -c; exec 3<&-; wait
        done; ls -A";
    let printed = "0\n5\n0\n7\n";
    mount
        .shell(script)
        .finish(SOON)
        .succeeded()
        .printed(printed);
    mount.unmount();
}

#[test]
fn a_reader_of_a_writer_that_dies_before_it_opens_can_stop_waiting_and_the_next_message_is_read() {
    let mount = mount();
    let script = r#"cd $D; mkfifo p; sh -c 'exit 4' & wait $!; cat .fifofs/pid/$!/wait/p 2> $F/err || grep -c 'No such file' $F/err
        $FIFOFS cat --timeout 100ms p 2> /dev/null; echo $?
        cat p & sleep .2; sh -c 'exit 3'; echo late > p; wait
        # If half of it is read, the rest is gone with its reader.
        seq 1000 > p & head -c 4 p; wait; echo next > p & cat p; wait
        for i in 1 2 3; do echo $i > p; done & cat p p p; wait
        exec 6<> p; exec 6>&-; ls"#;
    let printed = "1\n124\nlate\n1\n2\nnext\n1\n2\n3\np\n";
    mount
        .shell(script)
        .finish(SOON)
        .succeeded()
        .printed(printed);
    let warnings = mount.status()["warnings"].to_string();
    assert!(warnings.contains("as a semaphore"), "{warnings}");
    mount.unmount();
}

#[test]
fn the_status_says_what_a_fifo_waits_for_and_that_several_read_one_message() {
    let mount = mount();
    let reader = mount.shell("cd $D; mkfifo p q; cat p & cat p & cat q; wait");
    let q = |field: &str| {
        let files = mount.status()["files"].take();
        let q = files.as_array()?.iter().find(|file| file["path"] == "q");
        Some(q?[field].clone())
    };
    mount.wait_for("q to have a reader", || {
        q("readers").is_some_and(|it| it[0]["waits_for"] == "a writer")
    });
    assert_eq!(q("fifo"), Some("empty".into()));
    assert_eq!(mount.status()["waiting"], serde_json::json!([]));
    let writer = mount.shell("cd $D; { echo text; await end; } > q");
    mount.wait_for("it to be read", || q("fifo") == Some("being_read".into()));
    let texts = || mount.status()["warnings"].to_string();
    assert_eq!(texts(), "[]");
    mount.shell("echo both > $D/p").finish(SOON).succeeded();
    mount.wait_for("a warning", || texts().contains("each gets all of it"));
    mount.raise("end");
    writer.finish(SOON).succeeded();
    let ended = reader.finish(SOON).succeeded();
    assert_eq!(ended.text().matches("both").count(), 2);
    mount.shell("echo unread > $D/q").finish(SOON).succeeded();
    assert_eq!(q("fifo"), Some("unread".into()));
    let listed = mount.shell("$FIFOFS ls $D").finish(SOON).succeeded().text();
    assert!(listed.contains("virtual FIFO, unread; follow"), "{listed}");
    assert!(listed.contains("p  empty "), "{listed}");
    mount.unmount();
}

#[test]
fn with_consume_a_message_is_gone_once_it_is_read_and_the_fifo_stays() {
    let mount = Mount::start(&["--fifos", "virtual", "--consume"]);
    let script = "cd $D; mkfifo p x.bin
        for i in 1 2; do echo $i > p & cat p; wait; done
        printf 'PK\\003\\004x' > x.bin & cat x.bin | wc -c; wait; ls
        # A file put in its place is an ordinary file, and is consumed.
        cat p & sleep .2; echo other > q; mv q p; wait; until [ ! -e p ]; do sleep .1; done; ls";
    let printed = "1\n2\n5\np\nx.bin\nother\nx.bin\n";
    mount
        .shell(script)
        .finish(SOON)
        .succeeded()
        .printed(printed);
    mount.unmount();
}

#[test]
fn a_glob_says_which_are_virtual_and_by_default_none_is() {
    let mount = Mount::start(&["--fifos", "*.pipe"]);
    let script = "cd $D; mkfifo a.pipe b; test -p a.pipe; echo $?; test -p b; echo $?";
    mount
        .shell(script)
        .finish(SOON)
        .succeeded()
        .printed("1\n0\n");
    mount.unmount();
    let mount = Mount::start(&[]);
    mount
        .shell("mkfifo $D/a; test -p $D/a")
        .finish(SOON)
        .succeeded();
    let wrong = mount
        .shell("$FIFOFS mount --fifos virtul $D/../other")
        .finish(SOON);
    wrong.failed_saying("expected virtual, kernel, or a glob");
    mount.unmount();
}
