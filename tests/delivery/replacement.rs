//! A file that is replaced while it is read: the reader goes on if the new one begins with the bytes that it
//! has.

use crate::common::{Mount, SOON, assert_same};

/// A writer writes `alpha`, waits until that has been read, and then replaces the file at the path by
/// `content`, as `replace` does it. Checks whether the reader goes on.
fn replace_while_a_reader_follows(replace: &str, content: &str, goes_on: bool) {
    let mount = Mount::start(&[]);
    let early = mount.waiting_reader("x.txt");
    let script = format!(
        r#"
path = D + "/x.txt"
old = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
os.write(old, b"alpha\n")
wait_flag("received")
content = {content:?}.encode()
{replace}
os.close(old)
"#
    );
    let writer = mount.python(&script);
    mount.wait_exists("x.txt");
    let reader = mount.reader("x.txt");
    reader.wait_output(b"alpha\n");
    early.wait_output(b"alpha\n");
    mount.raise("received");
    writer.finish(SOON).succeeded();
    let (reader, early) = (reader.finish(SOON), early.finish(SOON));
    if goes_on {
        reader.succeeded().printed(content);
        early.succeeded().printed(content);
    } else {
        reader.failed_saying("Stale file handle").printed("alpha\n");
        early.failed_saying("x.txt").printed("alpha\n");
    }
    assert_same(&mount.finished("x.txt"), content.as_bytes());
    mount.unmount();
}

const BY_RENAME: &str = r#"
new = os.open(D + "/x.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
os.write(new, content)
os.close(new)
os.rename(D + "/x.tmp", path)
"#;

const BY_UNLINK: &str = r#"
os.unlink(path)
new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
os.write(new, content)
os.close(new)
"#;

const BY_TRUNCATION: &str = r#"
new = os.open(path, os.O_WRONLY | os.O_TRUNC)
os.write(new, content)
os.close(new)
"#;

#[test]
fn a_reader_goes_on_with_a_file_renamed_over_its_own_if_that_begins_with_its_bytes() {
    replace_while_a_reader_follows(BY_RENAME, "alpha\nbeta\n", true);
}

#[test]
fn a_reader_gets_estale_if_a_file_renamed_over_its_own_begins_otherwise() {
    replace_while_a_reader_follows(BY_RENAME, "omega\nbeta\n", false);
}

#[test]
fn a_reader_goes_on_with_the_file_created_after_an_unlink_if_that_begins_with_its_bytes() {
    replace_while_a_reader_follows(BY_UNLINK, "alpha\nbeta\n", true);
}

#[test]
fn a_reader_gets_estale_if_the_file_created_after_an_unlink_begins_otherwise() {
    replace_while_a_reader_follows(BY_UNLINK, "omega\nbeta\n", false);
}

#[test]
fn a_reader_goes_on_after_o_trunc_if_the_new_content_begins_with_its_bytes() {
    replace_while_a_reader_follows(BY_TRUNCATION, "alpha\nbeta\n", true);
}

#[test]
fn a_reader_gets_estale_after_o_trunc_if_the_new_content_begins_otherwise() {
    replace_while_a_reader_follows(BY_TRUNCATION, "omega\nbeta\n", false);
}

#[test]
fn a_reader_gets_estale_if_the_new_content_is_shorter_than_its_bytes() {
    replace_while_a_reader_follows(BY_RENAME, "alp", false);
}

/// Keeps for any time a state that the kernel has for a moment while a file is replaced: an inode that it found
/// by a name which the inode no longer has, held by a descriptor that reads nothing.
#[test]
fn a_file_that_was_just_replaced_is_not_opened_and_read_to_a_clean_end() {
    for replace in [
        r#"put(D + "/t", b"NEW" * 10); os.rename(D + "/t", path)"#,
        r#"os.unlink(path); put(path, b"NEW" * 10)"#,
    ] {
        // So that it is not done before.
        let mount = Mount::start(&["--linger", "exit"]);
        let early = mount.waiting_reader("x.txt");
        let script = format!(
            r#"
def put(path, content):
    with open(path, "wb") as file: file.write(content)
path = D + "/x.txt"
put(path, b"OLD" * 10)
raise_flag("old")
wait_flag("found")
{replace}
raise_flag("replaced")
wait_flag("opened")
"#
        );
        let writer = mount.python(&script);
        let late = mount.python(
            r#"
wait_flag("old")
found = os.open(D + "/x.txt", os.O_PATH)
before = open(D + "/x.txt", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK))
raise_flag("found")
wait_flag("replaced")
for flags in os.O_RDONLY, os.O_RDONLY | os.O_NONBLOCK:
    try: os.open(f"/proc/self/fd/{found}", flags)
    except OSError as error: say(errno.errorcode[error.errno])
raise_flag("opened")
say(open(D + "/x.txt").read())
say(before.read())
"#,
        );
        let new = "NEW".repeat(10);
        late.finish(SOON)
            .succeeded()
            .printed(format!("ESTALE\nESTALE\n{new}\n{new}\n"));
        early.finish(SOON).succeeded().printed(new);
        writer.finish(SOON).succeeded();
        mount.unmount();
    }
}

#[test]
fn a_removed_file_is_opened_again_through_an_open_descriptor() {
    let mount = Mount::start(&[]);
    mount
        .shell("exec 3<> $D/x; echo one >&3; rm $D/x; cat /dev/fd/3; echo two >&3; cat /proc/$$/fd/3; exec 3>&-; ! [ -e $D/x ]")
        .finish(SOON)
        .succeeded()
        .printed("one\none\ntwo\n");
    mount
        .shell("echo one > $D/x; exec 3< $D/x; rm $D/x; cat /dev/fd/3")
        .finish(SOON)
        .succeeded()
        .printed("one\n");
    mount.unmount();
}
