//! Programs that inspect the existing file before they write, and so find a FIFO that is not written yet.
//!
//! Like a FIFO of the kernel, such a FIFO makes an open for reading wait. Most programs open their output for
//! writing only. Some take the existing file for one to be changed, and an empty one for a broken one; others
//! refuse to overwrite it, or ask first. Their LOOKUP finds nothing, so they create the file, and all that
//! they do to it until they exit is one message. They are known by their names: their requests show too late
//! what they are about to do.

use std::ffi::OsStr;

use super::super::file::by_extension;

/// Archivers and the formats that they make.
const ARCHIVERS: &[(&[&str], &[&str])] = &[
    (&["zip"], &["zip"]),
    (&["7z", "7za", "7zr", "7zz"], &["7z", "zip", "tar", "wim"]),
    (&["ar", "gcc-ar", "llvm-ar"], &["ar"]),
    (&["rar"], &["rar"]),
];

/// Other programs, which may as well be about to read the file: they count as writers if a reader waits for
/// it.
const MAKERS: &[&str] = &[
    "aria2c",
    "curl",
    "exiftool",
    "flac",
    "gdal_translate",
    "ld.lld",
    "lz4",
    "mke2fs",
    "mkfs.ext4",
    "mksquashfs",
    "ogr2ogr",
    "rsync",
    "samtools",
    "wget",
];

/// Programs that read the existing file, even an empty one, and then write it.
const READERS: &[&str] = &["sqlite3"];

/// Programs that open a FIFO for reading and writing to use it as a semaphore.
const SHELLS: &[&str] = &["bash", "dash", "ksh", "mksh", "sh", "zsh"];

/// Whether an OPEN is that of a semaphore.
pub(in crate::core) fn is_semaphore(program: &str, flags: i32) -> bool {
    flags & libc::O_ACCMODE == libc::O_RDWR && SHELLS.contains(&program)
}

/// Whether a program of this name opens its output for reading before it writes it.
pub(in crate::core) fn reads_before_writing(program: &str) -> bool {
    READERS.contains(&program)
}

/// Whether all that a program of this name does to its output is one message.
pub(in crate::core) fn makes_one_message(program: &str) -> bool {
    let mut archivers = ARCHIVERS.iter();
    MAKERS.contains(&program) || archivers.any(|(names, _)| names.contains(&program))
}

/// Whether a program of this name finds nothing at an unwritten FIFO of that name.
pub(in crate::core) fn finds_nothing(program: &str, name: &OsStr, is_awaited: bool) -> bool {
    let format = by_extension(name).map(|format| format.name);
    let makes_it = |(names, formats): &(&[&str], &[&str])| {
        names.contains(&program) && format.is_some_and(|format| formats.contains(&format))
    };
    ARCHIVERS.iter().any(makes_it) || is_awaited && MAKERS.contains(&program)
}

/// Whether a program of this name creates the file anew where a FIFO of that name has a reader.
pub(crate) fn makes_anew(program: &str, name: &OsStr) -> bool {
    finds_nothing(program, name, true)
}
