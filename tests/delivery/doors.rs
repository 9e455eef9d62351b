//! The doors of the control directory: the finished file for any tool, the pipe, the next writing, and the output of a
//! process.

use crate::common::{Mount, Process, SOON};

/// Tools that rely on the size, or the type, and some that wait in other ways.
const TOOLS: [&str; 9] = [
    r#"cp "$1" $$.cp && cat $$.cp"#,
    r#"tar -cf - "$1" 2>/dev/null | tar -xOf -"#,
    r#"rsync "$1" $$.rs && cat $$.rs"#,
    r#"curl -sST "$1" "file://$PWD/$$.up" && cat $$.up"#,
    r#"cat "$1""#,
    r#"$PYTHON -c 'import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
sys.stdout.write(os.pread(fd, os.fstat(fd).st_size, 0).decode())' "$1""#,
    r#"$PYTHON -c 'import mmap, sys
file = open(sys.argv[1], "rb")
sys.stdout.write(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[:].decode())' "$1""#,
    r#"test -r "$1" && dd status=none if="$1""#,
    r#"ls -l "$1" > /dev/null && head -c "$(stat -c %s "$1")" "$1""#,
];

fn tools(mount: &Mount, door: &str) -> Vec<Process> {
    let start = |tool: &&str| mount.shell(&format!("set -- $D/.fifofs/{door}; {tool}"));
    TOOLS.iter().map(start).collect()
}

fn all_print(tools: Vec<Process>, what: &str) {
    for (tool, program) in tools.into_iter().zip(TOOLS) {
        let printed = tool.finish(SOON).succeeded().text();
        assert_eq!(printed, what, "{program}");
    }
}

#[test]
fn any_tool_gets_the_finished_file_through_wait_and_nothing_else_waits() {
    crate::common::needs(&[("curl", "curl"), ("rsync", "rsync")]);
    for deliver in ["auto", "follow", "settled", "stream"] {
        let mount = Mount::start(&["--deliver", deliver]);
        let early = tools(&mount, "wait/x.log");
        for tool in &early {
            mount.wait_parked(tool);
        }
        let writer =
            mount.shell("exec 3> $D/x.log; echo one >&3; raise begun; await end; echo two >&3");
        mount.wait_flag("begun");
        let late = tools(&mount, "wait/x.log");
        for tool in &late {
            mount.wait_parked(tool);
        }
        // No other process is delayed by the waiting ones.
        let others = "ls -la $D $D/.fifofs $D/.fifofs/wait; echo 1 > $D/other; stat $D/other; mkdir $D/d; rm $D/other";
        mount.shell(others).finish(SOON).succeeded();
        for tool in early.iter().chain(&late) {
            mount.wait_parked(tool);
        }
        mount.raise("end");
        writer.finish(SOON).succeeded();
        all_print(early, "one\ntwo\n");
        all_print(late, "one\ntwo\n");
        all_print(tools(&mount, "wait/x.log"), "one\ntwo\n");
        mount.unmount();
    }
}

#[test]
fn a_path_in_wait_is_the_file_itself() {
    let mount = Mount::start(&[]);
    let reader = mount.python(
        "wait = D + '/.fifofs/wait/x'
st = os.stat(wait)
own = os.stat(D + '/x')
say((st.st_ino, st.st_size, st.st_mode) == (own.st_ino, own.st_size, own.st_mode))
os.utime(wait)
with open(wait, 'r+') as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    file.write('W')
say(open(D + '/x').read())",
    );
    mount.wait_parked(&reader);
    mount
        .shell("echo word > $D/x; chmod 640 $D/x")
        .finish(SOON)
        .succeeded();
    reader.finish(SOON).succeeded().printed("True\nWord\n\n");
    mount.unmount();
}

/// Each of them may write the file anew through its descriptor, so the others would have something to wait for.
#[test]
fn many_opens_for_reading_and_writing_at_once_wait_only_once() {
    for deliver in ["auto", "follow", "settled"] {
        let mount = Mount::start(&["--deliver", deliver]);
        let start = |_| {
            let both = mount.shell("exec 3<> $D/.fifofs/wait/x && cat <&3; exec 3>&-");
            [both, mount.shell("cat $D/.fifofs/wait/x")]
        };
        let readers: Vec<Process> = (0..10).flat_map(start).collect();
        for reader in &readers {
            mount.wait_parked(reader);
        }
        mount.shell("seq 9 > $D/x").finish(SOON).succeeded();
        for reader in readers.into_iter().chain((0..10).flat_map(start)) {
            let read = reader.finish(SOON).succeeded().text();
            assert_eq!(read, "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "{deliver}");
        }
        mount.unmount();
    }
}

#[test]
fn the_next_writing_is_waited_for_by_stat_and_open_as_one() {
    let mount = Mount::start(&["--linger", "50ms"]);
    mount
        .shell("echo before > $D/x.log")
        .finish(SOON)
        .succeeded();
    assert_eq!(mount.finished("x.log"), b"before\n");
    // (Each of them is a single process, which looks once.)
    let mut next = tools(&mount, "next/wait/x.log");
    next.truncate(5);
    let pipe = mount.reader(".fifofs/next/pipe/x.log");
    for tool in next.iter().chain([&pipe]) {
        mount.wait_parked(tool);
    }
    mount
        .shell("echo after > $D/x.log")
        .finish(SOON)
        .succeeded();
    all_print(next, "after\n");
    pipe.finish(SOON).succeeded().printed("after\n");
    mount.unmount();
}

/// One thread asks for one file after the other, each before it exists.
#[test]
fn a_thread_that_asks_for_the_sizes_of_many_files_gets_each() {
    for door in ["wait", "next/wait"] {
        let mount = Mount::start(&[]);
        let sizes = mount.python(&format!(
            "for name in 'abc':
    say(os.stat(D + '/.fifofs/{door}/' + name).st_size)"
        ));
        for name in ["a", "b", "c"] {
            mount.wait_parked(&sizes);
            let write = format!("echo {name} > $D/{name}");
            mount.shell(&write).finish(SOON).succeeded();
        }
        sizes.finish(SOON).succeeded().printed("2\n2\n2\n");
        mount.unmount();
    }
}

#[test]
fn with_consume_a_size_is_shown_through_wait_and_the_file_stays_until_it_is_read() {
    let mount = Mount::start(&["--consume"]);
    let reader = mount.python(
        "path = D + '/.fifofs/wait/a'
say(os.stat(path).st_size)
say(open(path).read())",
    );
    mount.wait_parked(&reader);
    mount.shell("echo 123 > $D/a").finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("4\n123\n\n");
    mount
        .shell("until ! [ -e $D/a ]; do sleep .01; done")
        .finish(SOON)
        .succeeded();
    mount.unmount();
}

/// Copiers refuse a file that is another one at open(2) than at stat(2).
#[test]
fn a_name_in_pipe_is_the_same_file_for_stat_and_open() {
    let mount = Mount::start(&[]);
    let early = mount.shell("cp $D/.fifofs/pipe/x.log $$.cp && cat $$.cp");
    mount.wait_parked(&early);
    mount.shell("seq 3 > $D/x.log").finish(SOON).succeeded();
    early.finish(SOON).succeeded().printed("1\n2\n3\n");
    let script = "
def number(path, of=os.stat): return of(D + '/.fifofs/' + path).st_ino
def opened(path): return os.fstat(os.open(path, os.O_RDONLY))
for path in 'pipe/x.log', 'pid/1/pipe/x.log':
    say(number(path) == number(path, opened))
say(len({number(path) for path in ('pipe/x.log', 'pipe/y.log', 'next/pipe/x.log', '../x.log')}))";
    mount.shell("seq 3 > $D/y.log").finish(SOON).succeeded();
    mount
        .python(script)
        .finish(SOON)
        .succeeded()
        .printed("True\nTrue\n4\n");
    mount.unmount();
}

#[test]
fn the_pipe_has_no_size_and_gives_every_byte_of_a_failed_file_and_then_an_error() {
    let mount = Mount::start(&["--deliver", "follow"]);
    let reader = mount.python(
        "fd = os.open(D + '/.fifofs/pipe/x', os.O_RDONLY)
raise_flag('open')
try:
    while True: say(os.read(fd, 100), os.fstat(fd).st_size)
except OSError as error: say(errno.errorcode[error.errno])",
    );
    mount.wait_parked(&reader);
    let writer = mount.shell("exec 3> $D/x; echo half >&3; await kill; kill -KILL $$");
    mount.wait_flag("open");
    let pipe = "cat $D/.fifofs/pipe/x";
    let early = mount.shell(pipe);
    mount.wait_parked(&early);
    mount.raise("kill");
    writer.finish(SOON);
    let text = reader.finish(SOON).succeeded().text();
    assert_eq!(text, "b'half\\n' 0\nEIO\n");
    let failed = |reader: Process| {
        let ended = reader.finish(SOON);
        ended.failed_saying("Input/output error").printed("half\n");
    };
    failed(early);
    failed(mount.shell(pipe));
    mount.unmount();
}

#[test]
fn through_pid_no_reader_waits_longer_than_a_process_runs() {
    // Otherwise the linger would show in the times.
    let mount = Mount::start(&["--linger", "exit"]);
    mount.shell("echo old > $D/x").finish(SOON).succeeded();
    assert_eq!(mount.finished("x"), b"old\n");
    let script = "import subprocess
def read(pid, path):
    try: return open(D + '/.fifofs/pid/%s/%s' % (pid, path)).read().strip()
    except OSError as error: return errno.errorcode[error.errno]
def leave(door, command):
    # A zombie has ended.
    child = subprocess.Popen(['bash', '-c', command])
    left = read(child.pid, door + '/x')
    child.wait()
    return left
for door in 'wait', 'pipe':
    say(leave(door, 'sleep .2; echo %s > $D/x; sleep .2' % door))
    say(leave(door, 'sleep .2'), leave(door, 'true'))
    say(leave(door, '(exec 3> $D/x; sleep .4; echo left >&3) & sleep .2'))
    say(leave(door, 'echo a > $D/y; mv $D/y $D/x'))
    say([read(number, door + '/none') for number in ('0', '-1', 'x', '01', '+1', '1 ', 4194000, 1 << 40)])
    # A thread is no process.
    held = threading.Event()
    thread = threading.Thread(target=held.wait)
    thread.start()
    say(read(thread.native_id, door + '/none'))
    held.set()
";
    let all = |door: &str| {
        format!(
            "{door}\nENOENT ENOENT\nleft\na\n{:?}\nENOENT\n",
            ["ENOENT"; 8]
        )
        .replace('"', "'")
    };
    let expected = all("wait") + &all("pipe");
    mount
        .python(script)
        .finish(SOON)
        .succeeded()
        .printed(expected);
    let cat = mount.shell("sleep .2 & exec $FIFOFS cat --pid $! $D/x");
    cat.finish(SOON)
        .failed_saying("has ended without making it");
    mount.unmount();
}

/// The steps of a script write one generation, if they come soon after each other.
#[test]
fn the_output_of_a_process_may_be_of_a_generation_that_others_began() {
    let mount = Mount::start(&["--deliver", "follow"]);
    let script = "echo first > $D/x
        for door in wait pipe; do
            (await $door; echo $door > $D/x) & cat $D/.fifofs/pid/$!/$door/x & raise $door; wait
        done
        # A writer has it open all the time.
        exec 3>> $D/x
        (echo more >> $D/x; await seen) & head -n 2 $D/.fifofs/pid/$!/pipe/x
        raise seen; wait
        sleep .1 & cat $D/.fifofs/pid/$!/pipe/x";
    let ended = mount.shell(script).finish(SOON);
    ended
        .failed_saying("No such file")
        .printed("wait\npipe\npipe\nmore\n");
    mount.unmount();
}

#[test]
fn a_process_is_identified_by_its_id_in_the_readers_namespace() {
    let mount = Mount::start(&[]);
    let script = "unshare --pid --fork --kill-child bash -c '
        (sleep .3; echo inside > $D/x) & cat $D/.fifofs/pid/$!/wait/x
        sleep .1 & cat $D/.fifofs/pid/$!/wait/none'";
    let ended = mount.shell(script).finish(SOON);
    ended.failed_saying("No such file").printed("inside\n");
    mount.unmount();
}

/// A reader that waited for the id's former process would wait as long as the present one lives, and get its output.
#[test]
fn a_reused_process_id_means_the_present_process() {
    crate::common::needs_root();
    // In a pid namespace of its own process ids can be chosen.
    let script = "
        start() {
            local number=$1
            shift
            until
                echo $((number - 1)) > /proc/sys/kernel/ns_last_pid
                \"$@\" &
                [ $! = $number ]
            do kill $! && wait $!; done
        }
        start 300 sleep 100
        for door in wait pipe; do cat $D/.fifofs/pid/300/$door/x 2>&1 & readers+=($!); done
        await waiting
        kill 300; wait 300
        start 300 sleep 100
        wait ${readers[@]}
        cat /proc/300/comm
        kill 300; wait 300
        start 301 bash -c 'echo first > $D/y'; wait 301
        sleep .1
        start 301 sleep 100
        cat $D/.fifofs/pid/301/wait/y 2>&1 & reader=$!
        : > $F/third
        await third-waits
        kill 301; wait 301; wait $reader
        start 302 bash -c 'sleep .2; echo second > $D/y'
        cat $D/.fifofs/pid/302/wait/y";
    let mount = Mount::start(&[]);
    std::fs::write(mount.place().at("plain").join("script"), script).expect("write the script");
    let apart = mount.shell(
        "export -f await; unshare --pid --fork --mount-proc --kill-child bash $P/script | sed 's/.*: //'",
    );
    mount.wait_for("two readers to wait", || {
        mount.status()["waiting"].as_array().map(Vec::len) == Some(2)
    });
    mount.raise("waiting");
    mount.wait_flag("third");
    mount.wait_for("the third reader to wait", || {
        mount.status()["waiting"].as_array().map(Vec::len) == Some(1)
    });
    mount.raise("third-waits");
    let none = "No such file or directory\n";
    apart
        .finish(SOON)
        .printed(format!("{none}{none}sleep\n{none}second\n"));
    mount.unmount();
}
