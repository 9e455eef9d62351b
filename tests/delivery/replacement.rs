//! A file that is replaced while it is read: the reader goes on if the new one begins with what it has.

use crate::common::{Mount, SOON, assert_same};

/// A writer that writes `alpha`, waits until that has been read, and then replaces what stands at the path, as
/// `replace` does it, by `content`. Gives what the reader's fate is to be checked with.
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
fn a_reader_goes_on_with_what_was_renamed_over_its_file_if_that_begins_with_what_it_has() {
    replace_while_a_reader_follows(BY_RENAME, "alpha\nbeta\n", true);
}

#[test]
fn a_reader_gets_estale_if_what_was_renamed_over_its_file_begins_otherwise() {
    replace_while_a_reader_follows(BY_RENAME, "omega\nbeta\n", false);
}

#[test]
fn a_reader_goes_on_with_the_file_created_after_an_unlink_if_that_begins_with_what_it_has() {
    replace_while_a_reader_follows(BY_UNLINK, "alpha\nbeta\n", true);
}

#[test]
fn a_reader_gets_estale_if_the_file_created_after_an_unlink_begins_otherwise() {
    replace_while_a_reader_follows(BY_UNLINK, "omega\nbeta\n", false);
}

#[test]
fn a_reader_goes_on_after_o_trunc_if_the_new_content_begins_with_what_it_has() {
    replace_while_a_reader_follows(BY_TRUNCATION, "alpha\nbeta\n", true);
}

#[test]
fn a_reader_gets_estale_after_o_trunc_if_the_new_content_begins_otherwise() {
    replace_while_a_reader_follows(BY_TRUNCATION, "omega\nbeta\n", false);
}

#[test]
fn a_reader_gets_estale_if_the_new_content_ends_before_what_it_has() {
    replace_while_a_reader_follows(BY_RENAME, "alp", false);
}
