//! A reader waits for a name: one that does not exist yet, that others are renamed to, or that is one of
//! several.

use crate::common::{Mount, SOON};

#[test]
fn a_path_that_does_not_exist_gives_enoent_but_below_wait_it_waits() {
    let mount = Mount::start(&[]);
    mount
        .reader("nothing")
        .finish(SOON)
        .failed_saying("No such file or directory");
    let waiting = mount.reader(".fifofs/pipe/later.txt");
    mount.wait_parked(&waiting);
    mount
        .shell("echo here > $D/later.txt")
        .finish(SOON)
        .succeeded();
    waiting.finish(SOON).succeeded().printed("here\n");
    mount
        .reader(".fifofs/pipe/later.txt")
        .finish(SOON)
        .succeeded()
        .printed("here\n");
    mount.unmount();
}

#[test]
fn a_file_in_a_directory_that_does_not_exist_yet_can_be_waited_for() {
    let mount = Mount::start(&[]);
    let by_command = mount.waiting_reader("new/deep er/x.txt");
    let by_path = mount.reader(".fifofs/pipe/new%2Fdeep er%2Fx.txt");
    mount.wait_parked(&by_path);
    mount
        .shell("mkdir -p \"$D/new/deep er\"; echo here > \"$D/new/deep er/x.txt\"")
        .finish(SOON)
        .succeeded();
    by_command.finish(SOON).succeeded().printed("here\n");
    by_path.finish(SOON).succeeded().printed("here\n");
    mount
        .reader(".fifofs/pipe/new/deep er/x.txt")
        .finish(SOON)
        .succeeded()
        .printed("here\n");
    mount.unmount();
}

#[test]
fn a_file_written_under_another_name_and_renamed_into_place_is_delivered_under_its_last_name() {
    let mount = Mount::start(&[]);
    let text = mount.waiting_reader("final.txt");
    let zip = mount.waiting_reader("final.zip");
    let writer = mount.shell(
        "seq 1000 > $D/.final.tmp; mv $D/.final.tmp $D/final.txt; seq 2000 > $D/zi1234; mv $D/zi1234 $D/final.zip",
    );
    writer.finish(SOON).succeeded();
    let numbers = |last| -> String { (1..=last).map(|n| format!("{n}\n")).collect() };
    text.finish(SOON).succeeded().printed(numbers(1000));
    zip.finish(SOON).succeeded().printed(numbers(2000));
    mount.unmount();
}

#[test]
fn renaming_the_directory_above_changes_the_path() {
    let mount = Mount::start(&[]);
    let reader = mount.waiting_reader("final/x.txt");
    mount
        .shell("mkdir $D/building && seq 10 > $D/building/x.txt && mv $D/building $D/final")
        .finish(SOON)
        .succeeded();
    reader
        .finish(SOON)
        .succeeded()
        .printed("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
    mount.unmount();
}

/// The reader once followed the file that was moved away, and took it for the one at its path.
#[test]
fn a_reader_does_not_go_along_when_its_file_is_moved_away() {
    let mount = Mount::start(&["--deliver", "settled"]);
    let writer = mount.shell(
        "exec 3>$D/out; echo old >&3; raise made; await go; mv $D/out $D/out.bak; exec 3>&-; echo new > $D/out",
    );
    mount.wait_flag("made");
    let reader = mount.reader("out");
    mount.wait_parked(&reader);
    mount.raise("go");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("new\n");
    mount.unmount();
}

#[test]
fn hard_links_share_a_generation() {
    let mount = Mount::start(&[]);
    let writer = mount
        .shell("exec 3>$D/a.txt; echo one >&3; ln $D/a.txt $D/b.txt; await received; echo two >&3");
    mount.wait_exists("b.txt");
    let by_new_name = mount.reader("b.txt");
    let by_old_name = mount.reader("a.txt");
    by_new_name.wait_output(b"one\n");
    mount.raise("received");
    writer.finish(SOON).succeeded();
    by_new_name.finish(SOON).succeeded().printed("one\ntwo\n");
    by_old_name.finish(SOON).succeeded().printed("one\ntwo\n");
    mount.unmount();
}

#[test]
fn a_file_with_two_names_can_be_waited_for_by_either() {
    let mount = Mount::start(&[]);
    mount
        .shell("echo one > $D/a.txt; ln $D/a.txt $D/b.txt")
        .finish(SOON)
        .succeeded();
    mount.finished("a.txt");
    let readers = ["a.txt", "b.txt"].map(|name| mount.next_reader(name));
    mount.shell("echo two >> $D/b.txt").finish(SOON).succeeded();
    for reader in readers {
        reader.finish(SOON).succeeded().printed("one\ntwo\n");
    }
    mount.unmount();
}

#[test]
fn a_link_can_be_waited_for_by_its_name() {
    let mount = Mount::start(&[]);
    mount.shell("ln -s real $D/link").finish(SOON).succeeded();
    let reader = mount.waiting_reader("link");
    mount.shell("echo hi > $D/real").finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("hi\n");
    mount.unmount();
}

/// All of these once waited for ever, or were no directory.
#[test]
fn links_are_followed_as_the_kernel_does_and_an_impossible_path_is_an_error_at_once() {
    let mount = Mount::start(&[]);
    mount
        .shell(
            r#"
P=$(dirname $D)
mkdir $P/outside; echo outside > $P/outside/f
cd $D
mkdir d; echo file > file; mkfifo fifo
ln -s loop loop; ln -s $P/outside outside; ln -s ../outside/f above; ln -s $D/later into; ln -s $D/d dir
"#,
        )
        .finish(SOON)
        .succeeded();
    let cat = |path: &str| {
        let path = mount.file(path);
        let words = ["cat", path.to_str().expect("UTF-8")];
        mount.place().fifofs(&words).finish(SOON)
    };
    for (path, reason) in [
        (".fifofs", "Is a directory"),
        (".fifofs/nosuch", "No such file"),
        ("missing/", "Is a directory"),
        ("file/below", "Not a directory"),
        ("loop", "symbolic links"),
        ("loop/below", "symbolic links"),
        ("outside/missing", "No such file"),
        ("d", "Is a directory"),
    ] {
        cat(path).failed_saying(reason).printed("");
    }
    for path in ["outside/f", "above"] {
        cat(path).succeeded().printed("outside\n");
    }
    mount
        .shell("cat $D/.fifofs/pipe/outside/f $D/.fifofs/next/pipe/above")
        .finish(SOON)
        .succeeded()
        .printed("outside\noutside\n");
    let into = mount.waiting_reader("into");
    let below = mount.shell("exec cat $D/.fifofs/pipe/dir/later");
    mount.wait_parked(&below);
    mount
        .shell("echo into > $D/later; echo below > $D/d/later")
        .finish(SOON)
        .succeeded();
    into.finish(SOON).succeeded().printed("into\n");
    below.finish(SOON).succeeded().printed("below\n");
    // The awaited path becomes a link that leads out.
    let late = mount.waiting_reader("late");
    mount
        .shell("ln -s $(dirname $D)/outside/f $D/late")
        .finish(SOON)
        .succeeded();
    late.finish(SOON).succeeded().printed("outside\n");
    mount.unmount();
}
