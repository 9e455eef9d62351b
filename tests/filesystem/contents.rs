//! The contents of a file: holes, their ends, copies of ranges, and truncation.

use std::fs;
use std::io::{Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use crate::common::{Mount, SOON, assert_same};
use crate::new_file;

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
    let seek = |from| rustix::fs::seek(&file, from);
    // The kernel may have data that the daemon does not know of: then it refuses this, and programs read
    // everything.
    assert_eq!(seek(SeekFrom::Data(0)), Err(Errno::INVAL));
    drop(file);
    let file = std::fs::File::open(mount.path().join("x")).expect("opened");
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
