//! Costs, errors and cleanup of a spool, by example; and ([`steps`]) comparison with a naive model
//! ([`model`]).

mod model;
mod steps;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;

use super::memory::{CHUNK_BYTES, memory_with};
use super::segments::Segment;
use super::slot::Store;
use super::{Limits, Load, PAGE_BYTES, Pool, Segments, Spool};

const CHUNK: usize = CHUNK_BYTES;
const PAGE: usize = PAGE_BYTES as usize;

/// Bytes that differ between chunks, offsets and seeds. (Copied together: these tests are run
/// unoptimised, where a byte at a time would take most of the time.)
fn pattern(length: usize, seed: u8) -> Vec<u8> {
    let block: Vec<u8> = (0..4099)
        .map(|at| (at as u8).wrapping_mul(7) ^ seed)
        .collect();
    let mut bytes = block.repeat(length.div_ceil(block.len()));
    bytes.truncate(length);
    bytes
}

fn contents(segments: &Segments) -> Vec<u8> {
    let bytes = segments.to_vec().expect("readable");
    assert_eq!(bytes.len(), segments.len());
    bytes
}

/// The number of this process's descriptors of files in `directory`, and the disk space of these.
fn spill_files_in(directory: &Path) -> (usize, u64) {
    let links = Path::new("/proc/self/fd")
        .read_dir()
        .expect("procfs")
        .flatten();
    let files = links.filter(|link| {
        link.path()
            .read_link()
            .is_ok_and(|file| file.starts_with(directory))
    });
    // Through the link, as the file has no name.
    let blocks = files.filter_map(|file| Some(fs::metadata(file.path()).ok()?.blocks()));
    blocks.fold((0, 0), |(count, bytes), blocks| {
        (count + 1, bytes + blocks * 512)
    })
}

/// Asserts that nothing is left on disk in `directory`: one file at most, with no more than some filesystems
/// keep of any file for their own records.
fn assert_no_disk_is_taken(directory: &Path) {
    let (files, bytes) = spill_files_in(directory);
    assert!(
        files <= 1 && bytes <= CHUNK_BYTES as u64,
        "{files} files take {bytes} bytes"
    );
}

/// A pool that spills into a directory of its own.
fn pool(memory: usize) -> (Pool, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let spill_directory = directory.path().to_owned();
    (
        Pool::new(Limits {
            memory: memory as u64,
            max_size: None,
            spill_directory,
        }),
        directory,
    )
}

#[test]
fn dropping_everything_leaves_no_memory_and_no_disk() {
    // With some memory for the bookkeeping.
    let (pool, directory) = pool(2 * CHUNK + PAGE);
    let mut spool = Spool::new(&pool);
    for at in 0..40u64 {
        spool
            .write(at * CHUNK as u64 / 4, &pattern(CHUNK / 4, at as u8))
            .expect("room");
    }
    assert_eq!(
        (pool.memory_used(), pool.spilled()),
        (2 * CHUNK as u64, 8 * CHUNK as u64)
    );
    assert_eq!(spill_files_in(directory.path()).0, 1);
    let snapshot = spool.snapshot(3 * CHUNK as u64);
    let read = spool.read(0, CHUNK);
    spool.drop_range(0..9 * CHUNK as u64);
    assert_eq!(
        pool.spilled(),
        3 * CHUNK as u64,
        "what the snapshot still has"
    );
    drop((spool, snapshot));
    assert_eq!(
        (pool.spilled(), contents(&read).len()),
        (CHUNK as u64, CHUNK)
    );
    drop(read);
    assert_eq!((pool.memory_used(), pool.spilled()), (0, 0));
    assert_no_disk_is_taken(directory.path());
    drop(pool);
    assert_eq!(spill_files_in(directory.path()), (0, 0));
}

#[test]
fn any_number_of_files_on_disk_takes_one_descriptor() {
    let (pool, directory) = pool(0);
    let files: Vec<_> = (0..300)
        .map(|seed| {
            let mut spool = Spool::new(&pool);
            spool.write(0, &pattern(5000, seed as u8)).expect("room");
            spool
        })
        .collect();
    assert_eq!(spill_files_in(directory.path()).0, 1);
    for (seed, spool) in files.iter().enumerate() {
        assert!(contents(&spool.read(0, CHUNK)) == pattern(5000, seed as u8));
    }
    assert_eq!(pool.spilled(), 300 * 5000);
    drop(files);
    assert_no_disk_is_taken(directory.path());
}

#[test]
fn the_bookkeeping_of_a_sparse_file_is_counted_and_refused_in_the_end() {
    let (pool, _directory) = pool(0);
    let mut spool = Spool::new(&pool);
    let mut offset = 0;
    let refused = loop {
        match spool.write(offset, b"x") {
            Ok(()) => offset += 2,
            Err(errno) => break errno,
        }
    };
    assert_eq!(refused, Errno::NOSPC);
    let ranges = spool.written.count();
    assert_eq!((spool.len(), ranges as u64), (offset - 1, offset / 2));
    assert!(
        (10_000..40_000).contains(&ranges),
        "{ranges} ranges in a mebibyte"
    );
    spool.truncate(1).expect("less needs nothing");
    spool.write(1, b"y").expect("room again");
    assert!(pool.kept() < 4096, "{} bytes", pool.kept());
    drop(spool);
    assert_eq!(pool.kept(), 0);
}

#[test]
fn a_file_emptied_takes_no_disk() {
    let (pool, directory) = pool(0);
    let mut spool = Spool::new(&pool);
    spool.write(0, b"on disk").expect("room");
    assert_eq!(spill_files_in(directory.path()).0, 1);
    spool.truncate(0).expect("not too long");
    assert_eq!(pool.spilled(), 0);
    assert_no_disk_is_taken(directory.path());
}

#[test]
fn a_small_file_costs_little_and_a_megabyte_reads_as_four_chunks() {
    let (pool, _directory) = pool(64 * CHUNK);
    let (mut small, mut large) = (Spool::new(&pool), Spool::new(&pool));
    small.write(0, &[1; 1000]).expect("room");
    assert_eq!((pool.memory_used(), small.allocated_bytes()), (1024, 4096));
    large.write(0, &vec![1; 4 * CHUNK]).expect("room");
    let read = large.read(0, 4 * CHUNK);
    assert_eq!(read.parts().len(), 4);
    let is_in_memory = |part: &Segment| {
        matches!(
            part,
            Segment::Stored {
                store: Store::Memory(_),
                ..
            }
        )
    };
    assert!(read.parts().iter().all(is_in_memory));
}

#[test]
fn appending_while_a_line_is_being_read_copies_only_the_line() {
    let (pool, _directory) = pool(64 * CHUNK);
    let mut spool = Spool::new(&pool);
    spool.write(0, &vec![1; CHUNK / 2 + 1]).expect("room");
    let read = spool.read(0, 100);
    spool.write(CHUNK as u64 / 2 + 1, b"more").expect("room");
    assert!(
        pool.memory_used() <= CHUNK as u64 + 512,
        "{}",
        pool.memory_used()
    );
    assert_eq!(contents(&read), [1; 100]);
}

#[test]
fn a_spill_directory_that_is_missing_is_a_full_disk_and_changes_nothing() {
    let pool = Pool::new(Limits {
        memory: CHUNK as u64,
        max_size: Some(u64::MAX),
        spill_directory: "/nonexistent/fifofs".into(),
    });
    let mut spool = Spool::new(&pool);
    spool.write(0, b"kept").expect("in memory");
    assert_eq!(spool.write(1, &vec![7; 2 * CHUNK]), Err(Errno::NOSPC));
    assert_eq!(
        (contents(&spool.read(0, 10)), spool.frontier()),
        (b"kept".to_vec(), 4)
    );
    assert_eq!(pool.available(), u64::MAX - PAGE_BYTES);
}

#[test]
fn offsets_past_the_longest_file_are_refused() {
    let (pool, _directory) = pool(CHUNK);
    let mut spool = Spool::new(&pool);
    assert_eq!(spool.write(i64::MAX as u64, b"x"), Err(Errno::FBIG));
    assert_eq!(spool.truncate(1 << 63), Err(Errno::FBIG));
    assert_eq!(spool.allocate(u64::MAX, 2, false), Err(Errno::FBIG));
    spool
        .write(i64::MAX as u64 - 1, b"x")
        .expect("the last byte there is");
    assert_eq!((spool.len(), spool.frontier()), (i64::MAX as u64, 0));
    assert_eq!(
        spool.seek_data(0),
        Some(i64::MAX as u64 / PAGE_BYTES * PAGE_BYTES)
    );
    spool.truncate(i64::MAX as u64).expect("the longest file");
}

#[test]
fn bytes_on_disk_that_a_truncation_cut_off_do_not_show_in_a_later_gap() {
    let (pool, _directory) = pool(0);
    let mut spool = Spool::new(&pool);
    spool.write(0, &[1; 10_000]).expect("room");
    spool.truncate(100).expect("not too long");
    spool.write(5000, b"x").expect("room");
    let expected = [&[1; 100][..], &[0; 4900], b"x"].concat();
    assert_eq!(contents(&spool.read(0, usize::MAX)), expected);
}

#[test]
fn gaps_filled_move_the_frontier_and_stay_holes() {
    let (pool, _directory) = pool(CHUNK);
    let mut spool = Spool::new(&pool);
    spool.fill_gaps();
    spool.write(2 * PAGE_BYTES, b"x").expect("room");
    spool.fill_gaps();
    assert_eq!(
        (spool.frontier(), spool.seek_hole(0)),
        (spool.len(), Some(0))
    );
}

#[test]
fn a_whole_chunk_is_not_copied() {
    let (pool, _directory) = pool(8 * CHUNK);
    let mut spool = Spool::new(&pool);
    let mut chunks = [
        memory_with(CHUNK, 0, &pattern(CHUNK, 1)),
        memory_with(CHUNK, 0, b"rest"),
    ];
    let address = chunks[0].bytes(0..CHUNK).as_ptr();
    let mut load = Load::new(&[], &mut chunks, CHUNK + 4);
    spool.take(CHUNK as u64, &mut load, true).expect("room");
    let read = spool.read(CHUNK as u64, CHUNK);
    assert_eq!(read.parts().len(), 1, "not in one piece: {read:?}");
    assert_eq!(read.load().unwrap()[0].as_ptr(), address);
    assert_eq!(contents(&spool.read(2 * CHUNK as u64, 4)), b"rest");
    assert_eq!(pool.memory_used(), 2 * CHUNK as u64);
}

#[test]
fn a_chunk_that_a_reader_holds_is_appended_to_without_a_copy() {
    let (pool, _directory) = pool(8 * CHUNK);
    let mut spool = Spool::new(&pool);
    spool.write(0, &vec![1; CHUNK / 2 + 1]).expect("room");
    let held = spool.read(0, CHUNK);
    let used = pool.memory_used();
    spool.write(CHUNK as u64 / 2 + 1, b"more").expect("room");
    assert_eq!(pool.memory_used(), used);
    assert_eq!(contents(&held), vec![1; CHUNK / 2 + 1]);
    // But where it was cut, the reader still has the old bytes.
    spool.truncate(10).expect("shorter");
    spool.write(10, b"new").expect("room");
    assert!(pool.memory_used() > used);
    assert_eq!(contents(&held), vec![1; CHUNK / 2 + 1]);
    assert_eq!(contents(&spool.read(8, 10)), [1, 1, b'n', b'e', b'w']);
}
