//! `fifofs doctor`: tries what fifofs needs, on this machine and as this user.
//!
//! Invariant: every finding that is not good says what to do about it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use clap::Args;
use fifofs::{Mount, Privacy, Result, Target, TemporaryPipe};
use indicatif::BinaryBytes;
use rustix::process::Resource;

use super::run::object;
use super::text::Page;
use super::{Ended, kernel, print, status};

/// Check what fifofs needs on this machine, and say how to fix what does not work
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  fifofs doctor\n  fifofs doctor --remove s3://bucket")]
pub(crate) struct Arguments {
    /// List uploads to s3://BUCKET that were left unfinished when fifofs was killed
    ///
    /// Nothing else is checked then. These are uploads by this user on this machine; a lifecycle rule of the
    /// bucket removes those of other machines.
    #[arg(value_name = "BUCKET")]
    bucket: Option<OsString>,
    /// Remove these uploads
    #[arg(long, requires = "bucket")]
    remove: bool,
    /// Only take away what killed processes left, and print which mounts
    #[arg(long, hide = true)]
    clear_dead: bool,
    /// Only mount somewhere, and unmount
    #[arg(long, hide = true)]
    try_mount: bool,
}

/// The result of one check.
enum Finding {
    /// It works; with details.
    Well(String),
    /// It works, but less well than it could; what to do about it.
    Less(String, &'static str),
    /// It does not work; what to do about it.
    Broken(String, &'static str),
}

use Finding::{Broken, Less, Well};

/// The device number of `/dev/fuse`: linux, Documentation/admin-guide/devices.txt.
const FUSE_DEVICE: u64 = libc::makedev(10, 229);

/// Call this while the process has one thread: it enters a private namespace.
pub(crate) fn run(arguments: &Arguments) -> Result<Ended> {
    if arguments.clear_dead {
        let mut page = Page::default();
        for mount in fifofs::clear_dead()? {
            page.line(mount.display());
        }
        print(page.into_text())?;
        return Ok(Ended::default());
    }
    if let Some(bucket) = &arguments.bucket {
        return object::left(bucket, arguments.remove);
    }
    if arguments.try_mount {
        Mount::builder().mount_temporary()?.unmount()?;
        return Ok(Ended::default());
    }
    let findings = [
        // First, as the checks below enter a private namespace.
        ("dead mounts", dead_mounts()),
        ("FUSE device", device()),
        ("mounts", mounts()),
        ("private mounts", private_mounts()),
        ("capture by FUSE", capture()),
        ("capture by FIFO", pipe()),
        ("request timeout", request_timeout()),
        ("killed writers", killed_writers()),
        ("other containers", other_containers()),
        ("mappings", mappings()),
        ("small writes", small_writes()),
        ("open files", open_files()),
        ("pipe size", pipe_size()),
        ("spill directory", spill_directory()),
    ];
    let mut page = Page::default();
    let mut ended = Ended::default();
    for (what, finding) in &findings {
        let (mark, detail, remedy) = match finding {
            Well(detail) => ("ok  ", detail, None),
            Less(detail, remedy) => ("note", detail, Some(remedy)),
            Broken(detail, remedy) => ("BAD ", detail, Some(remedy)),
        };
        page.line(format_args!("{mark}  {what}: {detail}"));
        if let Some(remedy) = remedy {
            page.line(format_args!("      {remedy}"));
        }
        if let Broken(..) = finding {
            ended.status = status::FAILED;
        }
    }
    // If the reader has gone, it needs no more output.
    let _ = print(page.into_text());
    Ok(ended)
}

/// In a process of its own: it has threads, of which one may hang with a daemon.
fn dead_mounts() -> Finding {
    match super::this_command()
        .args(["doctor", "--clear-dead"])
        .output()
    {
        Ok(output) if output.status.success() && output.stdout.is_empty() => {
            Well("none is left by a daemon that was killed".into())
        }
        Ok(output) if output.status.success() => {
            let mounts = String::from_utf8_lossy(&output.stdout);
            let mounts: Vec<&str> = mounts.lines().collect();
            Well(format!("removed: {}", mounts.join(", ")))
        }
        Ok(output) => Less(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            "`fifofs unmount DIR` removes one",
        ),
        Err(error) => Less(error.to_string(), "`fifofs unmount DIR` removes one"),
    }
}

fn device() -> Finding {
    match File::options().read(true).write(true).open("/dev/fuse") {
        Ok(file)
            if file
                .metadata()
                .is_ok_and(|found| found.rdev() != FUSE_DEVICE) =>
        {
            Broken(
                "/dev/fuse is something else".into(),
                "it must be character device 10, 229: `mknod -m 666 /dev/fuse c 10 229`",
            )
        }
        Ok(_) => Well("/dev/fuse can be opened".into()),
        Err(error) => {
            let remedy = match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    "have root give it mode 0666 (the rule of udev does), or run as root"
                }
                _ => {
                    "load the driver with `modprobe fuse`, or start the container with --device \
                     /dev/fuse --cap-add SYS_ADMIN; `fifofs run --backend fifo` needs neither"
                }
            };
            Broken(format!("/dev/fuse: {error}"), remedy)
        }
    }
}

/// Mounts as `fifofs mount` does, outside of private namespaces: in a process of its own, as this one is
/// about to enter a namespace in which it has more rights.
fn mounts() -> Finding {
    let remedy = "`fifofs run` does not need them if the lines below are ok";
    let mut command = super::this_command();
    match command.args(["doctor", "--try-mount"]).output() {
        Ok(output) if output.status.success() => {
            Well("a mount was made and unmounted, as by `fifofs mount`".into())
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().trim_start_matches("fifofs: ");
            Broken(said.replace('\n', "; "), remedy)
        }
        Err(error) => Broken(error.to_string(), remedy),
    }
}

fn private_mounts() -> Finding {
    match fifofs::enter_private_namespace() {
        Ok(Privacy::Private) => Well("no other process sees the mounts of `fifofs run`".into()),
        Ok(_) if rustix::process::geteuid().is_root() => Less(
            "this is a chroot, whose root is no mount point: other processes see the mounts of \
             `fifofs run`"
                .into(),
            "only root can look into them; to make them private, bind the directory over itself \
             before the chroot (`mount --bind DIR DIR`)",
        ),
        Ok(_) => Less(
            "fusermount3 makes the mounts of `fifofs run`, and other processes see them".into(),
            "only you can look into them; run as root to make them private",
        ),
        Err(error) => Broken(
            error.to_string(),
            "until then `fifofs run` cannot mount for this user; `fifofs run --backend fifo` needs \
             no mount",
        ),
    }
}

/// Captures a program's output in a mount.
fn capture() -> Finding {
    let trial = || -> Result<Vec<u8>> {
        let mount = Mount::builder().readers_wait(false).mount_temporary()?;
        let capture = mount.capture("trial.txt")?;
        let output = capture.run(&mut echo(&capture))?;
        mount.unmount()?;
        Ok(output.bytes)
    };
    judge(trial(), "see what is said above about the FUSE device")
}

fn pipe() -> Finding {
    let trial = || {
        Ok(TemporaryPipe::new()
            .and_then(|pipe| Ok(pipe.run(&mut echo(&pipe))?))?
            .bytes)
    };
    judge(trial(), "set TMPDIR to a directory that you may write")
}

fn echo(target: &dyn Target) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo trial > \"$1\"", "sh"])
        .arg(target.path());
    command
}

fn judge(bytes: Result<Vec<u8>>, remedy: &'static str) -> Finding {
    match bytes {
        Ok(bytes) if bytes == b"trial\n" => Well("a line that a program wrote came back".into()),
        Ok(bytes) => Broken(format!("{bytes:?} came back"), "please report this"),
        Err(error) => Broken(error.to_string(), remedy),
    }
}

fn number_in(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn request_timeout() -> Finding {
    // linux, Documentation/admin-guide/sysctl/fs.rst; since 6.14.
    match number_in("/proc/sys/fs/fuse/default_request_timeout") {
        None | Some(0) => Well("a reader may wait as long as it likes".into()),
        Some(seconds) => Broken(
            format!("the kernel ends a mount in which somebody has waited for {seconds} s"),
            "as root: sysctl fs.fuse.default_request_timeout=0",
        ),
    }
}

fn killed_writers() -> Finding {
    // PIDFD_INFO_EXIT.
    match kernel::version() {
        (version, release) if version >= (6, 15) => {
            Well(format!("Linux {release} says how any process ended"))
        }
        (_, release) => Less(
            format!(
                "Linux {release} does not say how a process ended that had closed its file before"
            ),
            match rustix::process::geteuid().is_root() {
                true => {
                    "in a mount, a writer that crashes after the close passes for one that \
                     finished. fifofs notices a writer that is killed with the file open; `fifofs \
                     run` is not concerned. Linux 6.15 and newer say it"
                }
                false => {
                    "in a mount, a writer that crashes after the close passes for one that finished, \
                     and with --allow-other any writer of another user that crashes. fifofs notices \
                     a writer of yours that is killed with the file open; `fifofs run` is not \
                     concerned. Mount as root for other users; Linux 6.15 and newer say it of all \
                     processes"
                }
            },
        ),
    }
}

fn other_containers() -> Finding {
    // `PROC_PID_INIT_INO`, linux, include/linux/proc_ns.h.
    const FIRST: u64 = 0xEFFF_FFFC;
    match fs::metadata("/proc/self/ns/pid") {
        Ok(own) if own.ino() == FIRST => {
            Well("processes in all pid namespaces can be seen from here".into())
        }
        Ok(_) => Less(
            "this is a pid namespace of its own: programs outside of it cannot be seen".into(),
            "if such a program writes to a mount and crashes, readers see a normal end: share the \
             namespace (Kubernetes: shareProcessNamespace or hostPID; docker and podman: --pid=host \
             or --pid=container:NAME), or refuse such writers by `fifofs mount --require-visible`",
        ),
        Err(error) => Less(
            format!("/proc/self/ns/pid: {error}"),
            "mount /proc: without it fifofs cannot see how programs end",
        ),
    }
}

fn mappings() -> Finding {
    match kernel::version() {
        (version, release) if version >= kernel::MAPS_ALL => {
            Well(format!("Linux {release} maps every file of a mount"))
        }
        (_, release) => Less(
            format!("Linux {release} cannot map streams, and files that `fifofs explain` watches"),
            "a program that writes through a mapping gets ENODEV there: leave out `--deliver \
             stream`. Linux 6.6 and newer can",
        ),
    }
}

fn small_writes() -> Finding {
    // FUSE_HANDLE_KILLPRIV_V2.
    match kernel::version() {
        (version, release) if version >= (5, 12) => {
            Well(format!("Linux {release} passes each on by one request"))
        }
        (_, release) => Less(
            format!("Linux {release} asks for set-user-id bits before each write"),
            "programs that write a few KiB at a time are slower: by 4 KiB, a file that follows took \
             eight times as long as on Linux 6.12. Larger writes cost little; Linux 5.12 and newer \
             do not ask",
        ),
    }
}

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    match limit.maximum {
        Some(files) if files < 4096 => Less(
            format!("{files} at most"),
            "each process that writes takes one: raise the hard limit (`ulimit -Hn`) for more \
             than a few thousand at once",
        ),
        Some(files) => Well(format!("{files} at most")),
        None => Well("as many as there may be".into()),
    }
}

fn pipe_size() -> Finding {
    match number_in("/proc/sys/fs/pipe-max-size") {
        Some(bytes) if bytes < 1 << 20 => Less(
            format!("{} at most", BinaryBytes(bytes)),
            "pipes of 1 MiB are faster; as root: sysctl fs.pipe-max-size=1048576",
        ),
        Some(bytes) => Well(format!("{} at most", BinaryBytes(bytes))),
        None => Well("unknown".into()),
    }
}

fn spill_directory() -> Finding {
    let directory = Mount::builder().spill_directory();
    let remedy = "set TMPDIR, or --spill, to a directory on disk with enough room";
    match free_bytes(&directory) {
        Ok(free) if free < 1 << 30 => Less(
            format!("{} has {} free", directory.display(), BinaryBytes(free)),
            remedy,
        ),
        Ok(free) => Well(format!(
            "{} has {} free",
            directory.display(),
            BinaryBytes(free)
        )),
        Err(error) => Broken(format!("{}: {error}", directory.display()), remedy),
    }
}

fn free_bytes(directory: &Path) -> std::io::Result<u64> {
    let status = rustix::fs::statvfs(directory)?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}
