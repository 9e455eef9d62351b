//! A hand that captures, as a program with the library does.

use std::ptr;
use std::time::Instant;

use fifofs::Capture;

use crate::Outcome;

/// The kernel has huge pages of this size on most processors.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// The nanoseconds of the first capture in a process that has this much memory in `huge` or `small` pages.
pub(super) fn first(mebibytes: usize, pages: &str) -> Outcome<String> {
    take_memory(mebibytes << 20, pages == "huge")?;
    let start = Instant::now();
    let capture = Capture::new("first").map_err(|error| error.to_string())?;
    let taken = start.elapsed();
    drop(capture);
    Ok(taken.as_nanos().to_string())
}

/// Allocates memory, touches it, and keeps it.
fn take_memory(bytes: usize, in_huge_pages: bool) -> Outcome<()> {
    if bytes == 0 {
        return Ok(());
    }
    let failed = || format!("cannot take memory: {}", std::io::Error::last_os_error());
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    let length = bytes + HUGE_PAGE_BYTES;
    // SAFETY: the kernel chooses a free address.
    let memory = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(failed());
    }
    let advice = match in_huge_pages {
        true => libc::MADV_HUGEPAGE,
        false => libc::MADV_NOHUGEPAGE,
    };
    // SAFETY: it was just mapped, with this length.
    if unsafe { libc::madvise(memory, length, advice) } != 0 {
        return Err(failed());
    }
    // SAFETY: as above.
    unsafe { ptr::write_bytes(memory.cast::<u8>(), 1, length) };
    // If free memory is in small pieces, pages are small; this collapses them. Since Linux 6.1.
    // SAFETY: as above; the contents stay.
    if in_huge_pages && unsafe { libc::madvise(memory, length, libc::MADV_COLLAPSE) } != 0 {
        return Err(format!(
            "cannot have huge pages: {}",
            std::io::Error::last_os_error()
        ));
    }
    Ok(())
}
