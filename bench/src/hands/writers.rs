//! Hands that write.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::thread;
use std::time::Duration;

use aligned_vec::avec;

use super::{PART_BYTES, failed, now, nth, raise_descriptor_limit, ready};
use crate::Outcome;
use crate::PAGE_BYTES;

/// Writes blocks, one write(2) each. Prints the nanoseconds from before the file was opened until it was closed.
///
/// Each block begins with a number of eight bytes; if `timed`, that of the first is the time of its write: so a
/// reader knows when writing began, however the writer was started.
pub(super) fn write(path: &str, block: usize, total: usize, timed: bool) -> Outcome<String> {
    let mut bytes = avec![[PAGE_BYTES]| b'x'; block.max(8)];
    let start = now();
    let mut file = File::create(path).map_err(failed("create", path))?;
    for index in 0..total / bytes.len() {
        let number = if index == 0 && timed {
            now()
        } else {
            index as u64
        };
        bytes[..8].copy_from_slice(&number.to_ne_bytes());
        file.write_all(&bytes).map_err(failed("write to", path))?;
    }
    drop(file);
    Ok((now() - start).to_string())
}

/// Writes lines as C programs do.
pub(super) fn stdio(path: &str, lines: usize) -> Outcome<String> {
    let name = CString::new(path).map_err(|_| format!("{path:?} has a zero byte in it"))?;
    let line = c"a line of text, as programs write them, sixty bytes of length\n";
    // SAFETY: both are C strings; the result is checked.
    let file = unsafe { libc::fopen(name.as_ptr(), c"w".as_ptr()) };
    if file.is_null() {
        return Err(failed("create", path)(std::io::Error::last_os_error()));
    }
    let mut well = true;
    for _ in 0..lines {
        // SAFETY: `file` came from fopen and is closed only below.
        well &= unsafe { libc::fputs(line.as_ptr(), file) } >= 0;
    }
    // SAFETY: `file` came from fopen, and is not used after this.
    well &= unsafe { libc::fclose(file) } == 0;
    if well {
        Ok(String::new())
    } else {
        Err(failed("write to", path)(std::io::Error::last_os_error()))
    }
}

/// Writes lines that contain the time. The pauses (7 to 13 ms) vary: otherwise they could fall in step with the
/// flusher's interval.
pub(super) fn write_lines(path: &str, count: usize) -> Outcome<String> {
    let mut file = File::create(path).map_err(failed("create", path))?;
    let mut pause_us = 10_000;
    for _ in 0..count {
        thread::sleep(Duration::from_micros(pause_us));
        pause_us = 7_000 + (pause_us * 7_919 + 1_237) % 6_000;
        file.write_all(format!("{}\n", now()).as_bytes())
            .map_err(failed("write to", path))?;
    }
    Ok(String::new())
}

/// Writes a line now and then, like a log.
pub(super) fn log(path: &str, count: usize, pause_us: u64) -> Outcome<String> {
    let mut file = File::create(path).map_err(failed("create", path))?;
    for number in 0..count {
        file.write_all(format!("{number} something happened\n").as_bytes())
            .map_err(failed("write to", path))?;
        thread::sleep(Duration::from_micros(pause_us));
    }
    Ok(String::new())
}

/// Opens many files, writes them in turn, 64 KiB at a time, and closes them. Prints `START END`; START is when all
/// are open.
pub(super) fn scatter(template: &str, count: usize, total: usize) -> Outcome<String> {
    raise_descriptor_limit();
    let part = avec![[PAGE_BYTES]| b'x'; PART_BYTES];
    let rounds = total / count / PART_BYTES;
    let mut files = Vec::new();
    for index in 0..count {
        let path = nth(template, index);
        files.push(File::create(&path).map_err(failed("create", &path))?);
    }
    let start = now();
    for _ in 0..rounds {
        for file in &mut files {
            file.write_all(&part)
                .map_err(failed("write to", template))?;
        }
    }
    drop(files);
    Ok(format!("{start} {}", now()))
}

/// Makes many small files, one after the other. Prints `START END`.
pub(super) fn make(template: &str, count: usize) -> Outcome<String> {
    let start = now();
    for index in 0..count {
        let path = nth(template, index);
        std::fs::write(&path, [b'x'; 1024]).map_err(failed("write", &path))?;
    }
    Ok(format!("{start} {}", now()))
}

/// Writes a line to each of many files and keeps them open until it is killed.
pub(super) fn hold(template: &str, count: usize) -> Outcome<String> {
    raise_descriptor_limit();
    let mut files = Vec::new();
    for index in 0..count {
        let path = nth(template, index);
        let mut file = File::create(&path).map_err(failed("create", &path))?;
        file.write_all(b"a line\n")
            .map_err(failed("write to", &path))?;
        files.push(file);
    }
    ready()?;
    loop {
        thread::park();
    }
}
