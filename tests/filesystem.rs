//! The mount as an ordinary file system: trees there and back, git, and what programs ask of files besides writing
//! them. (Building this project in it is `scripts/selfbuild`.)

#![cfg(feature = "cli")]

mod common;

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use common::{Mount, SOON, assert_same, needs, needs_root};
use rustix::fs::{FallocateFlags, RenameFlags, SeekFrom};
use rustix::io::Errno;

const LIMIT: Duration = Duration::from_secs(60);

// ---------------------------------------------------------------------------------------------------------------
// Trees there and back

/// Makes `tree` in the plain directory, with one of everything.
const TREE: &str = r#"
set -e
mkdir -p tree/deep/deeper tree/empty "tree/with space"
cd tree
seq 5000 > text
head -c 200000 /dev/urandom > binary
: > nothing
printf x > "$(printf 'new\nline')"
printf y > 'gr\"ü"ß'
printf z > "$(printf 'n%.0s' $(seq 255))"
ln text deep/hard; ln text deep/deeper/harder
ln -s ../text deep/relative; ln -s /nowhere/at/all dangling; ln -s deep directory-link
mkfifo fifo
"$PYTHON" -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
printf s > setuid;   chmod 4755 setuid
printf g > setgid;   chmod 2755 setgid
printf n > none;     chmod 0000 none
printf w > write;    chmod 0222 write
printf r > readonly; chmod 0444 readonly
mkdir sticky;        chmod 1777 sticky
mkdir setgid.d;      chmod 2775 setgid.d
if [ $(id -u) = 0 ]; then chown 12:34 readonly; chown -h 56:78 dangling; fi
setfattr -n user.comment -v 'a value' text
setfattr -n user.binary -v 0x00ff0a binary
setfattr -n user.on.directory -v d deep
truncate -s 10M sparse; printf middle | dd of=sparse bs=1 seek=5000000 conv=notrunc status=none
find . -exec touch -h -d '2001-02-03 04:05:06.789012345' {} +
touch -d '1960-01-01 00:00:00' nothing
touch -d '2100-01-01 00:00:00.5' binary
touch -h -d '2010-10-10 10:10:10.101010101' dangling
"#;

/// Prints everything that a tree is, a line an entry. Its arguments: the tree, and types (`s`) to leave out.
const MANIFEST: &str = r#"
import hashlib
def manifest(root, without=""):
    first, lines = {}, []
    for directory, names, files in os.walk(root):
        for name in [""] + sorted(files + [n for n in names if os.path.islink(os.path.join(directory, n))]):
            path = os.path.join(directory, name) if name else directory
            shown = os.path.relpath(path, root)
            found = os.lstat(path)
            kind = stat.S_IFMT(found.st_mode)
            if stat.S_ISSOCK(found.st_mode) and "s" in without: continue
            content = ""
            if stat.S_ISREG(kind): content = hashlib.sha256(open(path, "rb").read()).hexdigest()[:16]
            if stat.S_ISLNK(kind): content = os.readlink(path)
            same = first.setdefault((found.st_dev, found.st_ino), shown)
            # A file system counts the size of a directory as it likes, and links of one too.
            size = 0 if stat.S_ISDIR(kind) else found.st_size
            links = 0 if stat.S_ISDIR(kind) else found.st_nlink
            attributes = {} if stat.S_ISLNK(kind) else {n: os.getxattr(path, n) for n in sorted(os.listxattr(path)) if n.startswith("user.")}
            time_ = 0 if "t" in without else found.st_mtime_ns
            lines.append(repr((shown, oct(found.st_mode), found.st_uid, found.st_gid, links, size, time_, same, content, attributes)))
    return "\n".join(sorted(lines))
"#;

/// Runs `there` (from `tree` in the plain directory to `$D/tree`) and `back` (from there to `back`) and compares.
fn a_tree_comes_back_as_it_was(there: &str, back: &str, without: &str) {
    needs(&[("setfattr", "attr"), ("mkfifo", "coreutils")]);
    let mount = Mount::start(&[]);
    mount.shell(TREE).finish(LIMIT).succeeded();
    mount
        .shell(&format!("set -e; {there}"))
        .finish(LIMIT)
        .succeeded();
    let manifest = |root: &str| {
        mount
            .python(&format!("{MANIFEST}\nsay(manifest({root}, {without:?}))"))
            .finish(LIMIT)
            .succeeded()
            .text()
    };
    let original = manifest("'tree'");
    assert!(original.lines().count() > 20, "{original}");
    same_lines(&manifest("D + '/tree'"), &original, "in the mount");
    mount
        .shell(&format!("set -e; {back}"))
        .finish(LIMIT)
        .succeeded();
    same_lines(&manifest("'back'"), &original, "back again");
    mount
        .shell("rm -r $D/tree && ls -A $D")
        .finish(LIMIT)
        .succeeded()
        .printed("");
    mount.unmount();
}

/// Compares line by line, to show the lines that differ and not two hundred.
#[track_caller]
fn same_lines(got: &str, expected: &str, what: &str) {
    let missing: Vec<_> = expected
        .lines()
        .filter(|line| !got.lines().any(|other| other == *line))
        .collect();
    let surplus: Vec<_> = got
        .lines()
        .filter(|line| !expected.lines().any(|other| other == *line))
        .collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{what}:\nexpected {missing:#?}\ngot {surplus:#?}"
    );
}

#[test]
fn a_tree_copied_by_cp_a_comes_back_as_it_was() {
    a_tree_comes_back_as_it_was("cp -a tree $D/tree", "cp -a $D/tree back", "");
}

#[test]
fn a_tree_copied_by_tar_comes_back_as_it_was() {
    // tar stores no sockets.
    a_tree_comes_back_as_it_was(
        "tar --xattrs -S --warning=no-file-ignored -cf - tree | tar --xattrs -xpf - -C $D",
        "mkdir back; tar --xattrs -S --warning=no-file-ignored -cf - -C $D/tree . | tar --xattrs -xpf - -C back",
        "s",
    );
}

#[test]
fn a_tree_copied_by_rsync_a_comes_back_as_it_was() {
    needs(&[("rsync", "rsync")]);
    a_tree_comes_back_as_it_was(
        "rsync -aHXS tree/ $D/tree/",
        "rsync -aHXS $D/tree/ back/ && test -z \"$(rsync -aHXn --itemize-changes --checksum $D/tree/ back/)\"",
        "",
    );
}

#[test]
fn a_sparse_file_stays_sparse() {
    let mount = Mount::start(&[]);
    mount
        .shell(
            "truncate -s 1G $D/sparse; printf end | dd of=$D/sparse bs=1 seek=1073741820 conv=notrunc status=none; sync $D/sparse; stat -c %s $D/sparse; test $(stat -c %b $D/sparse) -lt 4096",
        )
        .finish(SOON)
        .succeeded()
        .printed("1073741824\n");
    mount.unmount();
}

#[test]
fn git_clones_a_repository_into_the_mount_and_fsck_finds_it_whole() {
    needs(&[("git", "git")]);
    let mount = Mount::start(&[]);
    mount
        .shell(
            r#"
set -e
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
git config --global user.name Test; git config --global user.email test@example.org
git config --global init.defaultBranch main; git config --global safe.directory '*'
mkdir plain-repository; cd plain-repository; git init -q
for round in 1 2 3; do
  for i in $(seq 40); do seq $((i * round)) > file$i; done
  ln -sf file1 link; chmod +x file2
  git add -A; git commit -q -m "round $round"
done
git clone -q --no-local "$PWD" $D/repository
cd $D/repository
git fsck --full --strict
test -z "$(git status --porcelain)"
git rm -q file3; echo more >> file4; git add -A; git commit -q -m 'in the mount'
git gc -q; git fsck --full
git push -q origin HEAD:refs/heads/back
cd "$P/plain-repository"
git fsck --full
test "$(git rev-parse back)" = "$(git -C $D/repository rev-parse HEAD)"
diff -r --exclude=.git <(git archive back | tar t) <(git -C $D/repository archive HEAD | tar t)
"#,
        )
        .finish(LIMIT)
        .succeeded();
    mount.unmount();
}

// ---------------------------------------------------------------------------------------------------------------
// Names

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
fn names_are_refused_as_everywhere() {
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
fn in_a_sticky_directory_nobody_removes_or_renames_what_others_own() {
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

// ---------------------------------------------------------------------------------------------------------------
// Files

/// A new file of the mount, open for reading and writing.
fn new_file(mount: &Mount, name: &str) -> File {
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(mount.file(name))
        .expect("a new file")
}

#[test]
fn a_punched_hole_reads_as_zeros_and_keeps_the_size() {
    let mount = Mount::start(&[]);
    let file = new_file(&mount, "x");
    let mut expected = vec![b'x'; 1 << 20];
    file.write_all_at(&expected, 0).expect("written");
    rustix::fs::fallocate(
        &file,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        100_000,
        400_000,
    )
    .expect("punched");
    expected[100_000..500_000].fill(0);
    let mut got = vec![0; 1 << 20];
    file.read_exact_at(&mut got, 0).expect("read");
    assert_same(&got, &expected);
    assert_eq!(file.metadata().expect("stat").len(), 1 << 20);
    assert_eq!(
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 2 << 20),
        Ok(())
    );
    assert_eq!(file.metadata().expect("stat").len(), 2 << 20);
    assert_eq!(
        rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 3 << 20),
        Ok(())
    );
    assert_eq!(file.metadata().expect("stat").len(), 2 << 20);
    mount.unmount();
}

#[test]
fn seek_finds_data_and_holes() {
    let mount = Mount::start(&[]);
    let file = new_file(&mount, "x");
    file.set_len(4 << 20).expect("truncated");
    file.write_all_at(&[b'x'; 4096], 1 << 20).expect("written");
    file.sync_all().expect("fsync");
    let seek = |from| rustix::fs::seek(&file, from);
    assert_eq!(seek(SeekFrom::Data(0)), Ok(1 << 20));
    assert_eq!(seek(SeekFrom::Hole(0)), Ok(0));
    let hole = seek(SeekFrom::Hole(1 << 20)).expect("a hole");
    assert!(
        ((1 << 20) + 4096..=2 << 20).contains(&hole),
        "the hole after the data is at {hole}"
    );
    assert_eq!(seek(SeekFrom::Data(3 << 20)), Err(Errno::NXIO));
    assert_eq!(seek(SeekFrom::Hole(4 << 20)), Err(Errno::NXIO));
    mount.unmount();
}

#[test]
fn copy_file_range_copies_within_the_mount() {
    let mount = Mount::start(&[]);
    let (from, to) = (new_file(&mount, "from"), new_file(&mount, "to"));
    let content: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
    from.write_all_at(&content, 0).expect("written");
    let (mut at, mut there) = (1_000, 0);
    while there < 900_000 {
        let left = 900_000 - there as usize;
        let copied = rustix::fs::copy_file_range(&from, Some(&mut at), &to, Some(&mut there), left)
            .expect("copied");
        assert!(copied > 0, "nothing copied at {there}");
    }
    let mut got = Vec::new();
    (&to).rewind().expect("rewound");
    (&to).read_to_end(&mut got).expect("read");
    assert_same(&got, &content[1_000..901_000]);
    mount.unmount();
}

#[test]
fn flock_and_fcntl_locks_hold_between_processes() {
    needs(&[("flock", "util-linux")]);
    let mount = Mount::start(&[]);
    mount.shell("touch $D/lock").finish(SOON).succeeded();
    let holder = mount.shell("exec 9>> $D/lock; flock 9; raise flock; await release; exec 9>&-");
    mount.wait_flag("flock");
    let refused = mount.shell("flock -n $D/lock true").finish(SOON);
    assert_eq!(refused.status.code(), Some(1), "the lock is held");
    let waits = mount.shell("flock $D/lock echo locked");
    mount.raise("release");
    waits.finish(SOON).succeeded().printed("locked\n");
    holder.finish(SOON).succeeded();

    let holder = mount.python(
        r#"
file = open(D + "/lock", "r+")
fcntl.lockf(file, fcntl.LOCK_EX, 100, 50)
raise_flag("fcntl")
wait_flag("release fcntl")
"#,
    );
    mount.wait_flag("fcntl");
    mount
        .python(
            r#"
file = open(D + "/lock", "r+")
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 50, 0)
try: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 120)
except BlockingIOError: say("refused")
raise_flag("release fcntl")
fcntl.lockf(file, fcntl.LOCK_EX, 10, 120)
say("locked")
"#,
        )
        .finish(SOON)
        .succeeded()
        .printed("refused\nlocked\n");
    holder.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn lines_of_concurrent_appenders_are_all_there_and_whole() {
    let mount = Mount::start(&[]);
    let reader = mount.waiting_reader("x.log");
    mount
        .shell(
            "for k in 1 2 3 4; do (for i in $(seq 1000); do echo \"writer $k line $i\"; done >> $D/x.log) & done; wait",
        )
        .finish(LIMIT)
        .succeeded();
    let text = reader.finish(SOON).succeeded().text();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<_> = (1..=4)
        .flat_map(|k| (1..=1000).map(move |i| format!("writer {k} line {i}")))
        .collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert_same(&mount.finished("x.log"), text.as_bytes());
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

#[test]
fn truncation_shortens_extends_with_zeros_and_sets_the_times() {
    let mount = Mount::start(&[]);
    let file = new_file(&mount, "x");
    file.write_all_at(b"0123456789", 0).expect("written");
    file.set_len(4).expect("shortened");
    file.set_len(8).expect("extended");
    assert_same(&fs::read(mount.file("x")).expect("read"), b"0123\0\0\0\0");
    mount
        .shell("touch -d '2001-02-03 04:05:06.789012345' $D/x; stat -c %Y.%y $D/x | tail -c 36")
        .finish(SOON)
        .succeeded();
    let found = file.metadata().expect("stat");
    assert_eq!(
        (found.mtime(), found.mtime_nsec()),
        (981_173_106, 789_012_345)
    );
    let before = found.ctime();
    file.write_all_at(b"x", 0).expect("written");
    file.sync_all().expect("fsync");
    let found = file.metadata().expect("stat");
    assert!(found.mtime() >= before, "a write sets the time");
    mount.unmount();
}

/// As when the daemon stamps it by a finer clock than the kernel does.
#[test]
fn no_file_was_written_before_it_was_made() {
    let mount = Mount::start(&[]);
    for number in 0..20 {
        let file = new_file(&mount, &number.to_string());
        let made = file.metadata().expect("stat").modified().expect("a time");
        file.write_all_at(b"x", 0).expect("written");
        let written = file.metadata().expect("stat").modified().expect("a time");
        assert!(written >= made, "written {written:?}, made {made:?}");
    }
    mount.unmount();
}

#[test]
fn extended_attributes_keep_create_and_replace_and_tell_their_size() {
    use rustix::fs::XattrFlags;
    let mount = Mount::start(&[]);
    fs::write(mount.file("x"), "").expect("written");
    let path = mount.file("x");
    let set = |flags| rustix::fs::setxattr(&path, "user.one", b"value", flags);
    assert_eq!(set(XattrFlags::REPLACE), Err(Errno::NODATA));
    assert_eq!(set(XattrFlags::CREATE), Ok(()));
    assert_eq!(set(XattrFlags::CREATE), Err(Errno::EXIST));
    assert_eq!(set(XattrFlags::REPLACE), Ok(()));
    let mut small = [0u8; 2];
    assert_eq!(
        rustix::fs::getxattr(&path, "user.one", &mut small),
        Err(Errno::RANGE)
    );
    let mut value = [0u8; 16];
    assert_eq!(rustix::fs::getxattr(&path, "user.one", &mut value), Ok(5));
    assert_eq!(rustix::fs::removexattr(&path, "user.one"), Ok(()));
    assert_eq!(
        rustix::fs::getxattr(&path, "user.one", &mut value),
        Err(Errno::NODATA)
    );
    mount.unmount();
}

#[test]
fn a_mapping_shared_by_two_processes_shows_each_what_the_other_writes() {
    let mount = Mount::start(&[]);
    mount
        .python(
            r#"
fd = os.open(D + "/x", os.O_RDWR | os.O_CREAT, 0o644)
os.ftruncate(fd, 8192)
shared = mmap.mmap(fd, 8192)
child = os.fork()
if child == 0:
    own = mmap.mmap(os.open(D + "/x", os.O_RDWR), 8192)
    own[4096:4101] = b"child"
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert shared[4096:4101] == b"child"
shared[:6] = b"parent"
shared.flush()
assert os.pread(fd, 6, 0) == b"parent"
"#,
        )
        .finish(SOON)
        .succeeded();
    mount.unmount();
}

#[test]
fn statfs_and_df_answer() {
    let mount = Mount::start(&[]);
    fs::write(mount.file("x"), "x").expect("written");
    let found = rustix::fs::statvfs(mount.path()).expect("statvfs");
    assert!(found.f_blocks > 0 && found.f_bavail > 0 && found.f_bavail <= found.f_blocks);
    assert!(found.f_files > 0 && found.f_ffree > 0);
    assert_eq!(found.f_namemax, 255);
    mount.shell("df $D && df -i $D").finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn a_file_is_no_terminal() {
    let mount = Mount::start(&[]);
    let file = File::create(mount.file("x")).unwrap();
    assert_eq!(rustix::termios::tcgetattr(&file).err(), Some(Errno::NOTTY));
    drop(file);
    mount.unmount();
}

#[test]
fn the_block_size_asks_for_a_mebibyte_at_a_time() {
    let mount = Mount::start(&[]);
    fs::write(mount.file("x"), "x").expect("written");
    assert_eq!(mount.file("x").metadata().expect("stat").blksize(), 1 << 20);
    mount.unmount();
}
