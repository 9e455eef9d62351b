//! Attributes of a file and its filesystem: times, extended attributes, space, block size, terminals.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::io::Errno;

use crate::common::{Mount, SOON};
use crate::new_file;

/// As if the daemon stamped it by a finer clock than the kernel does.
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

#[test]
fn a_reader_that_waits_for_the_first_byte_makes_no_blocks() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("exec > $D/x.log; raise open; await end; echo x");
    mount.wait_flag("open");
    let reader = mount.reader("x.log");
    mount.wait_parked(&reader);
    let blocks = fs::metadata(mount.file("x.log")).expect("stat").blocks();
    assert_eq!(blocks, 0);
    mount.raise("end");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).printed("x\n");
    mount.unmount();
}
