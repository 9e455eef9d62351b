//! What memory the control groups allow that a process is in.
//!
//! Knows the files of both versions of control groups, cgroups(7), and where they may be mounted:
//! version 2 alone, version 1 alone, or both beside each other (hybrid), where memory is the business
//! of one of them. The invariant: a file that is missing, or has no number in it, is no limit.

use std::fs;
use std::path::{Component, Path};

/// The files of version 2 that hold a limit; "max" is none. What passes `memory.high` is not ended but
/// slowed down, as good as to a halt.
const FILES: [&str; 2] = ["memory.max", "memory.high"];

/// The file of version 1. A number larger than any machine's memory is no limit.
const FILE_V1: &str = "memory.limit_in_bytes";

/// The least memory that is allowed by a control group of this process, or one that holds that, as
/// far as they can be seen. Below `root` are `proc` and what is mounted.
pub(super) fn memory_limit(root: &Path) -> Option<u64> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let groups = groups.lines().filter_map(Group::parse);
    let limits = groups.flat_map(|group| {
        let mounts = mounts.lines().filter_map(Mount::parse);
        mounts
            .filter(move |mount| mount.version == group.version)
            .filter_map(move |mount| mount.limit(root, group.path))
    });
    limits.min()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The group that a process is in, in one hierarchy.
struct Group<'a> {
    version: Version,
    /// From the root of the hierarchy, as the process's namespace shows it.
    path: &'a str,
}

impl<'a> Group<'a> {
    /// A line of `/proc/PID/cgroup`, `NUMBER:CONTROLLERS:PATH`, if it is about memory.
    fn parse(line: &'a str) -> Option<Group<'a>> {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let version = match controllers.split(',').any(|name| name == "memory") {
            true => Version::One,
            false if number == "0" && controllers.is_empty() => Version::Two,
            false => return None,
        };
        Some(Group { version, path })
    }
}

/// Where a hierarchy that may limit memory is mounted.
struct Mount<'a> {
    version: Version,
    /// Which of its groups is mounted.
    root: &'a str,
    point: &'a str,
}

impl<'a> Mount<'a> {
    /// A line of mountinfo, proc_pid_mountinfo(5).
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let version = match after.next()? {
            "cgroup2" => Version::Two,
            "cgroup" if after.nth(1)?.split(',').any(|option| option == "memory") => Version::One,
            _ => return None,
        };
        Some(Mount {
            version,
            root,
            point,
        })
    }

    /// The least limit of a group and those above it, up to what is mounted. One that is not below
    /// that, as in a container which is shown the names that its host uses, is taken to be the one
    /// that is mounted.
    fn limit(&self, root: &Path, group: &str) -> Option<u64> {
        let below = Path::new(group).strip_prefix(self.root).ok();
        let is_plain = |path: &&Path| path.components().all(|c| matches!(c, Component::Normal(_)));
        let below = below.filter(is_plain).unwrap_or(Path::new(""));
        let point = root.join(self.point.trim_start_matches('/'));
        let limits = below.ancestors().flat_map(|group| {
            let group = point.join(group);
            match self.version {
                Version::Two => FILES
                    .iter()
                    .filter_map(|file| number(&group.join(file)))
                    .min(),
                Version::One => number(&group.join(FILE_V1)),
            }
        });
        // What also those groups allow that are above the mount.
        let of_all = match self.version {
            Version::One => hierarchical_limit(&point.join(below)),
            Version::Two => None,
        };
        limits.chain(of_all).min()
    }
}

/// What version 1 says that a group may have with all that is above it.
fn hierarchical_limit(group: &Path) -> Option<u64> {
    let text = fs::read_to_string(group.join("memory.stat")).ok()?;
    let value = |line: &str| {
        let value = line.strip_prefix("hierarchical_memory_limit ")?;
        value.trim().parse().ok()
    };
    text.lines().find_map(value)
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNLIMITED_V1: u64 = 9_223_372_036_854_771_712;

    /// A root with these files in it.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        memory_limit(root(files).path())
    }

    const V2: &str = "25 1 0:22 / /sys rw,nosuid - sysfs sysfs rw\n\
        29 25 0:25 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    const V1: &str = "30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n\
        33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:12 - cgroup cgroup rw,cpu,cpuacct\n\
        36 30 0:32 / /sys/fs/cgroup/memory rw,relatime shared:15 - cgroup cgroup rw,memory\n";

    #[test]
    fn with_version_2_the_least_of_the_group_and_those_above_counts_and_max_is_none() {
        let cgroup = ("proc/self/cgroup", "0::/user.slice/job/step\n");
        let mounts = ("proc/self/mountinfo", V2);
        let group = "sys/fs/cgroup/user.slice/job";
        let step = &format!("{group}/step/memory.max");
        let high = &format!("{group}/step/memory.high");
        let above = &format!("{group}/memory.max");
        let other = ("sys/fs/cgroup/user.slice/other/memory.max", "4096\n");
        assert_eq!(limit(&[cgroup, mounts, (step, "max\n"), other]), None);
        assert_eq!(limit(&[cgroup, mounts, (step, "900\n")]), Some(900));
        let files = [cgroup, mounts, (step, "900\n"), (above, "800\n"), other];
        assert_eq!(limit(&files), Some(800));
        let files = [
            cgroup,
            mounts,
            (step, "max\n"),
            (high, "700\n"),
            (above, "800\n"),
        ];
        assert_eq!(limit(&files), Some(700));
    }

    #[test]
    fn with_version_1_the_memory_controller_is_found_and_its_huge_number_is_no_limit_below_the_machines()
     {
        let cgroup = (
            "proc/self/cgroup",
            "12:pids:/slurm/uid_0/job_7\n\
             9:memory:/slurm/uid_0/job_7/step_0\n\
             4:cpu,cpuacct:/\n",
        );
        let mounts = ("proc/self/mountinfo", V1);
        let job = "sys/fs/cgroup/memory/slurm/uid_0/job_7";
        let step = &format!("{job}/step_0/memory.limit_in_bytes");
        let above = &format!("{job}/memory.limit_in_bytes");
        let unlimited = &format!("{UNLIMITED_V1}\n");
        let files = [cgroup, mounts, (step, unlimited), (above, "419430400\n")];
        assert_eq!(limit(&files), Some(400 << 20));
        assert_eq!(
            limit(&[cgroup, mounts, (step, unlimited)]),
            Some(UNLIMITED_V1)
        );
        assert_eq!(limit(&[cgroup, mounts]), None);
    }

    #[test]
    fn a_container_sees_the_limit_of_its_group_under_whatever_name_its_host_gave_it() {
        // Version 1 without a namespace of its own: only the container's group is mounted.
        let mounts = V1.replace("0:32 /", "0:32 /docker/abc");
        let files = |path: &'static str| {
            let cgroup = format!("9:memory:{path}\n");
            limit(&[
                ("proc/self/cgroup", &cgroup),
                ("proc/self/mountinfo", &mounts),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "5000\n"),
                ("sys/fs/cgroup/memory/in/memory.limit_in_bytes", "4000\n"),
            ])
        };
        assert_eq!(files("/docker/abc"), Some(5000));
        assert_eq!(files("/docker/abc/in"), Some(4000));
        assert_eq!(files("/elsewhere"), Some(5000));
        // A process that was moved out of its namespace's root.
        let files = [
            ("proc/self/cgroup", "0::/../job\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/memory.max", "3000\n"),
        ];
        assert_eq!(limit(&files), Some(3000));
    }

    #[test]
    fn with_version_1_also_limits_above_what_is_mounted_count() {
        let mounts = V1.replace("0:32 /", "0:32 /docker/abc");
        let stat = "cache 0\nhierarchical_memory_limit 2000\nhierarchical_memsw_limit 1\n";
        let files = [
            ("proc/self/cgroup", "9:memory:/docker/abc\n"),
            ("proc/self/mountinfo", &*mounts),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "5000\n"),
            ("sys/fs/cgroup/memory/memory.stat", stat),
        ];
        assert_eq!(limit(&files), Some(2000));
    }

    #[test]
    fn in_a_hybrid_whichever_version_has_the_memory_controller_counts() {
        let mounts = format!(
            "{V1}42 30 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
        );
        let cgroup = (
            "proc/self/cgroup",
            "9:memory:/job\n1:name=systemd:/job\n0::/job\n",
        );
        let mounts = ("proc/self/mountinfo", &*mounts);
        let one = ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "6000\n");
        let two = ("sys/fs/cgroup/unified/job/memory.max", "5000\n");
        assert_eq!(limit(&[cgroup, mounts, one]), Some(6000));
        assert_eq!(limit(&[cgroup, mounts, two]), Some(5000));
        let none = ("sys/fs/cgroup/unified/job/cgroup.procs", "1\n");
        assert_eq!(limit(&[cgroup, mounts, none]), None);
        assert_eq!(limit(&[]), None);
    }
}
