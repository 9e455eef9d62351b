//! Trees there and back, with one of everything, and git.

use crate::LIMIT;
use crate::common::{Mount, needs};

/// Makes `tree` in the plain directory, with a file of each type.
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

/// Prints everything about a tree, one line an entry. Its arguments: the tree, and types (`s`) to leave out.
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
            # Filesystems differ in the size of a directory, and in the number of its links.
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

/// Compares line by line, to show only the lines that differ.
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
