//! Gives back the memory that a helper has of the process that forked it.
//!
//! Knows `/proc/self/maps`; does not know what the helper does. The invariant: what the helper says
//! that it needs, its stack and its thread-local storage stay; so do programs, libraries and what is
//! small. Everything here but [`Needed::of`] is async-signal-safe.
//!
//! A fork copies no page, but it keeps every page of its parent alive: one that the parent frees is
//! freed only once the helper has gone, and one that it writes to is kept twice.

use std::ops::Range;
use std::sync::atomic::AtomicU8;

use super::lines::each_line;
use crate::procfs::hexadecimal;

/// Mappings that are smaller stay, those of the dynamic linker among them.
const SMALL_BYTES: usize = 1 << 20;
/// How much stays on both sides of where the stack is, and the thread-local storage.
const AROUND_BYTES: usize = 256 << 10;
/// How much stays of what follows the variables of a library at once: more than libraries have.
const VARIABLES_BYTES: usize = 16 << 20;
/// More than any line can have: 73 bytes, and a path.
const LINE_BYTES: usize = 8 << 10;
/// How many pieces of memory a helper may need.
const PIECES: usize = 16;

/// A zeroed variable of this crate, next to those of other crates. A program that this is linked into may
/// have any number of its own there.
static VARIABLE: AtomicU8 = AtomicU8::new(0);

/// What a helper goes on to use, beside its stack.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needed {
    pieces: [(usize, usize); PIECES],
    count: usize,
}

impl Needed {
    /// These pieces of the heap.
    pub(super) fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Needed {
        let range = |piece: &[u8]| {
            let start = piece.as_ptr() as usize;
            start..start + piece.len()
        };
        let ranges = pieces.into_iter().map(range);
        ranges.fold(Needed::default(), Needed::and)
    }

    /// All that a vector has room for.
    pub(super) fn with_room<T>(self, vector: &Vec<T>) -> Needed {
        let start = vector.as_ptr() as usize;
        self.and(start..start + vector.capacity() * size_of::<T>())
    }

    /// What both need.
    pub(super) fn together(self, other: Needed) -> Needed {
        other.ranges().fold(self, Needed::and)
    }

    fn and(mut self, range: Range<usize>) -> Needed {
        self.pieces[self.count] = (range.start, range.end);
        self.count += 1;
        self
    }

    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let pieces = self.pieces.iter().take(self.count);
        pieces.map(|(start, end)| *start..*end)
    }

    /// The first of them, in whole pages, that ends after `address`.
    fn next_after(&self, address: usize, page: usize) -> Option<Range<usize>> {
        let whole =
            |range: Range<usize>| range.start / page * page..range.end.next_multiple_of(page);
        let ranges = self.ranges().map(whole);
        ranges
            .filter(|range| range.end > address)
            .min_by_key(|range| range.start)
    }
}

/// Unmaps memory that only the parent needs.
///
/// # Safety
///
/// To be called in a forked process of one thread that never returns to its caller's callers, and
/// uses no more than `needed`, its stack near here and what is static.
pub(super) unsafe fn release(needed: Needed) {
    let around = |address: usize| address.saturating_sub(AROUND_BYTES)..address + AROUND_BYTES;
    let on_stack = 0_u8;
    // SAFETY: gives the address of what every thread has.
    let thread_local = unsafe { libc::__errno_location() };
    // SAFETY: as above; the address is that of the thread's control block.
    let thread = unsafe { libc::pthread_self() };
    let needed = needed
        .and(around(&raw const on_stack as usize))
        .and(around(thread_local as usize))
        .and(around(thread as usize));
    let page = rustix::param::page_size();
    let mut variables_end = 0;
    let unmap = |line: &[u8]| {
        let Some(mapping) = Mapping::parse(line) else {
            return;
        };
        let Range { mut start, end } = mapping.range.clone();
        // What follows a library's variables at once begins with those that are zero.
        if start == variables_end {
            start += VARIABLES_BYTES;
        }
        if mapping.has_file && mapping.is_writable && !mapping.is_shared {
            variables_end = end;
        }
        let is_program = mapping.has_file && !mapping.is_shared;
        let is_ours = mapping.range.contains(&(&raw const VARIABLE as usize));
        let is_kept = is_program || is_ours || mapping.is_special;
        if !is_kept && end.saturating_sub(start) >= SMALL_BYTES {
            // SAFETY: nothing of it is used any more, as the caller promises.
            unsafe { unmap_but(&needed, start..end, page) };
        }
    };
    let _ = each_line(c"/proc/self/maps", &mut [0; LINE_BYTES], unmap);
}

/// # Safety
///
/// Of `range` only what is in `needed` may still be used.
unsafe fn unmap_but(needed: &Needed, range: Range<usize>, page: usize) {
    let mut start = range.start;
    while start < range.end {
        let kept = needed
            .next_after(start, page)
            .unwrap_or(usize::MAX..usize::MAX);
        let end = kept.start.clamp(start, range.end);
        if end > start {
            // SAFETY: whole pages that are not used any more. Pages that cannot be unmapped stay.
            unsafe { libc::munmap(std::ptr::without_provenance_mut(start), end - start) };
        }
        start = kept.end;
    }
}

/// A line of `/proc/self/maps` (proc(5)).
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    range: Range<usize>,
    is_shared: bool,
    is_writable: bool,
    has_file: bool,
    /// The main thread's stack, or a piece of the kernel.
    is_special: bool,
}

impl Mapping {
    fn parse(line: &[u8]) -> Option<Mapping> {
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let range = fields.next()?;
        let dash = range.iter().position(|byte| *byte == b'-')?;
        let start = hexadecimal(range.get(..dash)?)? as usize;
        let end = hexadecimal(range.get(dash + 1..)?)? as usize;
        let permissions = fields.next()?;
        let has_file = fields.nth(2)? != b"0";
        let name = fields.next().unwrap_or_default().trim_ascii();
        let is_heap = name.is_empty() || name == b"[heap]" || name.starts_with(b"[anon");
        Some(Mapping {
            range: start..end,
            is_shared: permissions.get(3) == Some(&b's'),
            is_writable: permissions.get(1) == Some(&b'w'),
            has_file,
            is_special: !has_file && !is_heap && name.starts_with(b"["),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_parsed_from_its_line() {
        let parse = |line: &str| Mapping::parse(line.as_bytes()).unwrap();
        let heap = parse("7f0000000000-7f0000200000 rw-p 00000000 00:00 0 ");
        assert_eq!(heap.range, 0x7f00_0000_0000..0x7f00_0020_0000);
        assert!(heap.is_writable && !heap.is_shared && !heap.has_file && !heap.is_special);
        let named = parse("55d0a000-55d0b000 rw-p 00000000 00:00 0          [anon:a name]");
        assert!(!named.is_special && !named.has_file);
        assert!(!parse("55d0a000-55d0b000 rw-p 00000000 00:00 0          [heap]").is_special);
        assert!(parse("7ffd0000-7ffd2000 r-xp 00000000 00:00 0          [vdso]").is_special);
        let library = parse("7f3c000-7f3d000 r-xp 00028000 fe:00 1234      /usr/lib/a b.so");
        assert!(library.has_file && !library.is_writable && !library.is_shared);
        assert!(parse("7f3c000-7f3d000 rw-s 00000000 00:01 77  /dev/zero (deleted)").is_shared);
        assert_eq!(Mapping::parse(b"nonsense"), None);
        // Of this process, every one is.
        let maps = std::fs::read("/proc/self/maps").unwrap();
        let mut lines = maps
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        assert!(lines.all(|line| Mapping::parse(line).is_some()));
    }

    #[test]
    fn needed_memory_stays_in_whole_pages() {
        let needed = Needed::default().and(0x2800..0x2900).and(0x7fff..0x8001);
        let next = |address| needed.next_after(address, 0x1000);
        assert_eq!(next(0), Some(0x2000..0x3000));
        assert_eq!(next(0x2fff), Some(0x2000..0x3000));
        assert_eq!(next(0x3000), Some(0x7000..0x9000));
        assert_eq!(next(0x9000), None);
    }
}
