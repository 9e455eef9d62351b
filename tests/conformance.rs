//! What xfstests found (`scripts/posix`): that takes hours and a checkout of its own, these take
//! seconds.

#![cfg(feature = "cli")]

mod common;

use common::{Mount, SOON, needs_root};

/// The kernel leaves this to the filesystem, which once did not do it.
#[test]
fn changing_a_file_by_fallocate_or_copy_file_range_clears_its_set_id_bits() {
    needs_root();
    let mount = Mount::start(&["--allow-other"]);
    mount
        .python(
            r#"
os.chmod(D, 0o777)
with open(D + "/source", "w") as file: file.write("x" * 100)
os.chmod(D + "/source", 0o644)
def mode_after(change, uid, gid, mode):
    with open(D + "/x", "w") as file: file.write("y" * 100000)
    os.chmod(D + "/x", mode)
    if os.fork() == 0:
        os.setgroups([]); os.setresgid(gid, gid, gid); os.setresuid(uid, uid, uid)
        change(os.open(D + "/x", os.O_WRONLY))
        os._exit(0)
    assert os.wait()[1] == 0
    found = oct(os.stat(D + "/x").st_mode & 0o7777)
    os.remove(D + "/x")
    return found
libc = ctypes.CDLL(None, use_errno=True)
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
def allocate(mode):
    def change(file): assert libc.fallocate(file, mode, ctypes.c_long(4096), ctypes.c_long(4096)) == 0
    return change
def copy(file): assert os.copy_file_range(os.open(D + "/source", os.O_RDONLY), file, 100) == 100
for change in allocate(0), allocate(PUNCH_HOLE | KEEP_SIZE), allocate(ZERO_RANGE), copy:
    say(mode_after(change, 65534, 65534, 0o6777), mode_after(change, 65534, 65534, 0o6666),
        mode_after(change, 65534, 0, 0o6666), mode_after(change, 0, 0, 0o6777))
"#,
        )
        .finish(SOON)
        .succeeded()
        .printed("0o777 0o666 0o2666 0o6777\n".repeat(4));
    mount.unmount();
}

/// A renamed file once was listed again behind those not yet listed, for ever.
#[test]
fn a_directory_is_listed_to_its_end_while_its_files_are_renamed() {
    let mount = Mount::start(&[]);
    mount
        .python(
            r#"
names = {str(n) for n in range(3000)}
for name in names: open(D + "/" + name, "w").close()
def rename(name):
    os.rename(D + "/" + name, D + "/other")
    os.rename(D + "/other", D + "/" + name)
seen = []
directory = os.open(D, os.O_RDONLY)
with os.scandir(directory) as entries:
    for entry in entries:
        assert len(seen) <= 6000, "more than there are"
        if entry.name in names: rename(entry.name)
        seen.append(entry.name)
say(names <= set(seen), len(names) == len(os.listdir(directory)))
open(D + "/new", "w").close()
say("new" in os.listdir(directory))
"#,
        )
        // Nine thousand renames take a while on a busy machine.
        .finish(4 * SOON)
        .succeeded()
        .printed("True True\nTrue\n");
    mount.unmount();
}

/// They once became stale when the kernel had forgotten the file.
const FILE_HANDLES: &str = r#"
libc = ctypes.CDLL(None, use_errno=True)
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]
def handle_of(path):
    handle, mount = Handle(128), ctypes.c_int()
    if libc.name_to_handle_at(-100, path.encode(), ctypes.byref(handle), ctypes.byref(mount), 0):
        raise OSError(ctypes.get_errno(), "name_to_handle_at", path)
    return handle
def open_forgotten(handle):
    with open("/proc/sys/vm/drop_caches", "w") as file: file.write("2")
    descriptor = libc.open_by_handle_at(root, ctypes.byref(handle), os.O_RDONLY)
    if descriptor < 0: raise OSError(ctypes.get_errno(), "open_by_handle_at")
    return descriptor

root = os.open(D, os.O_RDONLY)
os.makedirs(D + "/a/b")
with open(D + "/a/b/x", "w") as file:
    file.write("content")
    file.flush()
    os.fsync(file.fileno())
x, b = handle_of(D + "/a/b/x"), handle_of(D + "/a/b")
with open(open_forgotten(x)) as file: say(file.read())
directory = open_forgotten(b)
say(os.listdir(directory), os.readlink("/proc/self/fd/%d" % directory) == D + "/a/b")
os.close(directory)
os.rename(D + "/a/b/x", D + "/y")
with open(open_forgotten(x)) as file: say(file.read())
os.remove(D + "/y")
try: open_forgotten(x)
except OSError as error: say(errno.errorcode[error.errno])
"#;

#[test]
fn file_handles_stay_good_when_the_kernel_has_forgotten_the_file() {
    needs_root();
    let mount = Mount::start(&[]);
    mount
        .python(FILE_HANDLES)
        .finish(SOON)
        .succeeded()
        .printed("content\n['x'] True\ncontent\nESTALE\n");
    mount.unmount();
}
