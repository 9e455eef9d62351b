//! Names and directories: renaming, linking, removing, listing, and what is refused.

use std::fs;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use crate::common::{Mount, SOON, assert_same, needs, needs_root};
use crate::{LIMIT, new_file};

#[test]
fn rename_keeps_noreplace_and_exchange() {
    let mount = Mount::start(&[]);
    let at = |name| mount.file(name);
    fs::write(at("a"), "a").expect("written");
    fs::write(at("b"), "b").expect("written");
    fs::create_dir(at("d")).expect("made");
    fs::write(at("d/inside"), "inside").expect("written");
    let rename = |old, new, flags| {
        rustix::fs::renameat_with(rustix::fs::CWD, at(old), rustix::fs::CWD, at(new), flags)
    };
    assert_eq!(rename("a", "b", RenameFlags::NOREPLACE), Err(Errno::EXIST));
    assert_eq!(rename("a", "c", RenameFlags::NOREPLACE), Ok(()));
    assert_eq!(rename("c", "b", RenameFlags::EXCHANGE), Ok(()));
    assert_same(&fs::read(at("b")).expect("read"), b"a");
    assert_same(&fs::read(at("c")).expect("read"), b"b");
    assert_eq!(rename("b", "d", RenameFlags::EXCHANGE), Ok(()));
    assert_same(&fs::read(at("b/inside")).expect("read"), b"inside");
    assert_same(&fs::read(at("d")).expect("read"), b"a");
    assert_eq!(
        rename("missing", "b", RenameFlags::EXCHANGE),
        Err(Errno::NOENT)
    );
    mount.unmount();
}

#[test]
fn names_are_refused_as_on_any_filesystem() {
    let mount = Mount::start(&[]);
    let at = |name: &str| mount.file(name);
    fs::create_dir_all(at("d/below")).expect("made");
    fs::write(at("file"), "").expect("written");
    let errno = |result: std::io::Result<()>| {
        result
            .expect_err("refused")
            .raw_os_error()
            .expect("a system error")
    };
    assert_eq!(errno(fs::create_dir(at("d"))), libc::EEXIST);
    assert_eq!(errno(fs::remove_dir(at("d"))), libc::ENOTEMPTY);
    assert_eq!(errno(fs::remove_dir(at("file"))), libc::ENOTDIR);
    assert_eq!(errno(fs::remove_file(at("d"))), libc::EISDIR);
    assert_eq!(errno(fs::rename(at("d"), at("d/below/d"))), libc::EINVAL);
    assert_eq!(errno(fs::rename(at("file"), at("d"))), libc::EISDIR);
    assert_eq!(errno(fs::rename(at("d"), at("file"))), libc::ENOTDIR);
    assert_eq!(errno(fs::write(at("file/x"), "")), libc::ENOTDIR);
    assert_eq!(errno(fs::write(at("missing/x"), "")), libc::ENOENT);
    assert_eq!(errno(fs::hard_link(at("d"), at("e"))), libc::EPERM);
    assert_eq!(
        errno(fs::write(at(&"n".repeat(256)), "")),
        libc::ENAMETOOLONG
    );
    fs::write(at(&"n".repeat(255)), "").expect("a name of 255 bytes");
    mount.unmount();
}

#[test]
fn the_links_of_a_directory_count_its_subdirectories() {
    let mount = Mount::start(&[]);
    fs::create_dir_all(mount.file("d/a")).expect("made");
    fs::create_dir_all(mount.file("d/b")).expect("made");
    let links = || mount.file("d").metadata().expect("stat").nlink();
    assert_eq!(links(), 4);
    fs::rename(mount.file("d/a"), mount.file("a")).expect("renamed");
    assert_eq!(links(), 3);
    fs::remove_dir(mount.file("d/b")).expect("removed");
    assert_eq!(links(), 2);
    mount.unmount();
}

#[test]
fn in_a_sticky_directory_no_user_removes_or_renames_what_others_own() {
    needs_root();
    needs(&[("setpriv", "util-linux")]);
    let mount = Mount::start(&["--allow-other"]);
    mount
        .shell("chmod 755 $D; mkdir -m 1777 $D/tmp; /bin/echo x > $D/tmp/roots; chmod 666 $D/tmp/roots")
        .finish(SOON)
        .succeeded();
    let nobody = |command: &str| {
        mount
            .shell(&format!(
                "setpriv --reuid 65534 --regid 65534 --clear-groups {command}"
            ))
            .finish(SOON)
    };
    nobody("rm -f $D/tmp/roots").failed_saying("Operation not permitted");
    nobody("mv $D/tmp/roots $D/tmp/mine").failed_saying("Operation not permitted");
    nobody("bash -c 'echo y > $D/tmp/theirs && mv $D/tmp/theirs $D/tmp/again && rm $D/tmp/again'")
        .succeeded();
    mount.unmount();
}

#[test]
fn a_fifo_and_a_socket_made_in_the_mount_work() {
    let mount = Mount::start(&[]);
    mount
        .shell("mkfifo $D/fifo; (echo through > $D/fifo) & cat $D/fifo; wait")
        .finish(SOON)
        .succeeded()
        .printed("through\n");
    mount
        .python(
            r#"
import socket
server = socket.socket(socket.AF_UNIX)
server.bind(D + "/socket")
server.listen(1)
client = socket.socket(socket.AF_UNIX)
client.connect(D + "/socket")
client.sendall(b"through")
say(server.accept()[0].recv(100))
"#,
        )
        .finish(SOON)
        .succeeded()
        .printed("b'through'\n");
    mount.unmount();
}

#[test]
fn a_thousand_files_are_listed_once_each_while_they_are_deleted() {
    let mount = Mount::start(&[]);
    mount
        .python(
            r#"
os.mkdir(D + "/many")
for i in range(1000): open(f"{D}/many/file{i:04}", "w").close()
seen = []
with os.scandir(D + "/many") as entries:
    for entry in entries:
        seen.append(entry.name)
        os.unlink(entry.path)
assert sorted(seen) == [f"file{i:04}" for i in range(1000)], (len(seen), len(set(seen)))
assert os.listdir(D + "/many") == []
os.rmdir(D + "/many")
"#,
        )
        .finish(LIMIT)
        .succeeded();
    mount
        .shell("mkdir -p $D/a/b; touch $D/a/{1..1000} $D/a/b/{1..1000}; rm -r $D/a; ls -A $D")
        .finish(LIMIT)
        .succeeded()
        .printed("");
    mount.unmount();
}

#[test]
fn files_that_are_there_all_the_time_are_in_a_listing_once_while_all_of_them_are_renamed() {
    let mount = Mount::start(&[]);
    mount
        .python(
            r#"
os.mkdir(D + "/many")
os.chdir(D + "/many")
moved, replaced = range(100), range(10)
for i in moved: open(f"{i}.a", "w").close()
for i in replaced: open(f"kept{i}", "w").close()
def rename_all(frm, to):
    for i in moved: os.rename(f"{i}.{frm}", f"{i}.{to}")
    for i in replaced:
        open("new", "w").close()
        os.rename("new", f"kept{i}")
libc = ctypes.CDLL(None, use_errno=True)
def some_names(directory):
    # The C library would ask for a thousand at once.
    buffer = ctypes.create_string_buffer(512)
    length = libc.getdents64(directory, buffer, len(buffer))
    left = buffer.raw[:length]
    names = []
    while left:
        length = int.from_bytes(left[16:18], sys.byteorder)
        names.append(left[19:length].split(b"\0")[0].decode())
        left = left[length:]
    return names
directory, seen, pieces = os.open(".", os.O_RDONLY), [], 0
while names := some_names(directory):
    seen += [name.removesuffix(".a").removesuffix(".b") for name in names]
    rename_all(*("ab" if pieces % 2 == 0 else "ba"))
    pieces += 1
expected = sorted([".", ".."] + [str(i) for i in moved] + [f"kept{i}" for i in replaced])
assert sorted(seen) == expected, (pieces, set(expected) - set(seen), [n for n in seen if seen.count(n) > 1])
assert pieces > 3, "it was listed in pieces"
"#,
        )
        .finish(LIMIT)
        .succeeded();
    mount.unmount();
}

#[test]
fn an_unlinked_open_file_goes_on_until_it_is_closed() {
    let mount = Mount::start(&[]);
    let mut file = new_file(&mount, "x");
    file.write_all(b"before ").expect("written");
    fs::remove_file(mount.file("x")).expect("unlinked");
    assert!(!mount.file("x").exists());
    file.write_all(b"after").expect("written");
    file.rewind().expect("rewound");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("read");
    assert_eq!(text, "before after");
    let found = file.metadata().expect("fstat");
    assert_eq!((found.nlink(), found.len()), (0, 12));
    drop(file);
    mount.unmount();
}

#[test]
fn a_hard_link_to_a_removed_name_keeps_the_file() {
    let mount = Mount::start(&[]);
    fs::write(mount.file("a"), "content").expect("written");
    fs::hard_link(mount.file("a"), mount.file("b")).expect("linked");
    assert_eq!(mount.file("a").metadata().expect("stat").nlink(), 2);
    fs::remove_file(mount.file("a")).expect("removed");
    assert_same(&fs::read(mount.file("b")).expect("read"), b"content");
    assert_eq!(mount.file("b").metadata().expect("stat").nlink(), 1);
    mount.unmount();
}
