//! Random operations on a spool and its [`Model`], compared after each, under limits small enough that it
//! spills and runs out of space. When all is dropped nothing must be left.

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::io::Errno;

use super::model::{END_MAX, Model};
use super::{CHUNK, PAGE, assert_no_disk_is_taken, contents, pattern};
use crate::core::spool::memory::memory_with;
use crate::core::spool::{Limits, Load, Pool, Segments, Spool};

#[derive(Clone, Debug)]
enum Step {
    Write {
        offset: usize,
        length: usize,
        seed: u8,
        /// Where in its chunk the bytes were expected to go, if not where they do.
        expected: Option<usize>,
    },
    Truncate {
        length: usize,
    },
    Allocate {
        offset: usize,
        length: usize,
        keep_size: bool,
    },
    Punch {
        offset: usize,
        length: usize,
    },
    Drop {
        offset: usize,
        length: usize,
    },
    Hold {
        offset: usize,
        length: usize,
    },
    Release,
    Compare {
        offset: usize,
        length: usize,
        change: usize,
    },
    /// Takes a snapshot and puts it aside, or puts the original aside and goes on with the snapshot.
    Snapshot {
        length: usize,
        go_on_with_it: bool,
    },
    Discard,
}

/// Offsets near the chunk borders, where the mistakes are, and anywhere.
fn offset() -> impl Strategy<Value = usize> {
    let near = (0usize..5, -5000isize..5000)
        .prop_map(|(chunk, by)| (chunk * CHUNK).saturating_add_signed(by));
    prop_oneof![
        Just(0),
        (0usize..5).prop_map(|chunk| chunk * CHUNK),
        near,
        0..5 * CHUNK
    ]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        1usize..9000,
        1..2 * CHUNK,
        Just(CHUNK),
        Just(PAGE),
        Just(4 * CHUNK)
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let range =
        || (offset(), length()).prop_map(|(offset, length)| (offset, length.min(END_MAX - offset)));
    prop_oneof![
        8 => (range(), any::<u8>(), prop_oneof![3 => Just(None), 1 => (0..CHUNK).prop_map(Some)])
            .prop_map(|((offset, length), seed, expected)| Step::Write { offset, length, seed, expected }),
        2 => offset().prop_map(|length| Step::Truncate { length }),
        1 => (range(), any::<bool>())
            .prop_map(|((offset, length), keep_size)| Step::Allocate { offset, length, keep_size }),
        2 => range().prop_map(|(offset, length)| Step::Punch { offset, length }),
        1 => offset().prop_map(|offset| Step::Drop { offset: 0, length: offset / 4 }),
        1 => range().prop_map(|(offset, length)| Step::Drop { offset, length }),
        3 => range().prop_map(|(offset, length)| Step::Hold { offset, length }),
        1 => Just(Step::Release),
        1 => (range(), offset())
            .prop_map(|((offset, length), change)| Step::Compare { offset, length, change }),
        1 => (offset(), any::<bool>())
            .prop_map(|(length, go_on_with_it)| Step::Snapshot { length, go_on_with_it }),
        1 => Just(Step::Discard),
    ]
}

/// Writes as the kernel's requests are read: the bytes lie in memory cut like the file, if they were
/// expected to go where they do.
fn take(
    spool: &mut Spool,
    offset: usize,
    data: &[u8],
    expected: Option<usize>,
) -> Result<(), Errno> {
    let begins = expected.unwrap_or(offset % CHUNK);
    let first = if begins == 0 {
        0
    } else {
        data.len().min(CHUNK - begins)
    };
    let (first, rest) = data.split_at(first);
    let mut chunks: Vec<_> = rest
        .chunks(CHUNK)
        .map(|part| memory_with(CHUNK, 0, part))
        .collect();
    spool.take(
        offset as u64,
        &mut Load::new(first, &mut chunks, rest.len()),
        true,
    )
}

/// Runs the steps on a spool and its model, comparing after each.
fn run(memory: usize, max_size: usize, steps: Vec<Step>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let pool = Pool::new(Limits {
        memory: memory as u64,
        max_size: Some(max_size as u64),
        spill_directory: directory.path().to_owned(),
    });
    let (mut spool, mut model) = (Spool::new(&pool), Model::new());
    let mut aside: Vec<(Spool, Model)> = Vec::new();
    let mut held: Vec<(Segments, Vec<u8>)> = Vec::new();
    for step in steps {
        let others: usize = aside.iter().map(|(_, model)| model.charged()).sum();
        let before = model.charged();
        let mut wanted = model.clone();
        // As the pool sees it: only what a step adds can be refused.
        let fits =
            |wanted: &Model| wanted.charged() == before || wanted.charged() + others <= max_size;
        match step {
            Step::Write {
                offset,
                length,
                seed,
                expected: expected_at,
            } => {
                let data = pattern(length, seed);
                wanted.write(offset, &data);
                let expected = match () {
                    () if model.lacks(offset, length) => Err(Errno::SPIPE),
                    () if !fits(&wanted) => Err(Errno::NOSPC),
                    () => Ok(()),
                };
                assert_eq!(take(&mut spool, offset, &data, expected_at), expected);
                if expected.is_ok() {
                    model = wanted;
                }
            }
            Step::Allocate {
                offset,
                length,
                keep_size,
            } => {
                wanted.allocate(offset, length, keep_size);
                let expected = if fits(&wanted) {
                    Ok(())
                } else {
                    Err(Errno::NOSPC)
                };
                assert_eq!(
                    spool.allocate(offset as u64, length as u64, keep_size),
                    expected
                );
                if expected.is_ok() {
                    model = wanted;
                }
            }
            Step::Truncate { length } => {
                spool.truncate(length as u64).expect("not too long");
                model.truncate(length);
            }
            Step::Punch { offset, length } => {
                let expected = match model.lacks(offset, length) {
                    true => Err(Errno::SPIPE),
                    false => Ok(()),
                };
                assert_eq!(spool.punch(offset as u64, length as u64), expected);
                if expected.is_ok() {
                    model.punch(offset, length);
                }
            }
            Step::Drop { offset, length } => {
                spool.drop_range(offset as u64..(offset + length) as u64);
                model.drop_range(offset, length);
            }
            Step::Hold { offset, length } => {
                let start = offset.min(model.bytes.len());
                let length = model.held(start, length);
                let end = start + length;
                held.push((
                    spool.read(start as u64, length),
                    model.bytes[start..end].to_vec(),
                ));
            }
            Step::Release => drop((!held.is_empty()).then(|| held.remove(0))),
            Step::Compare {
                offset,
                length,
                change,
            } => {
                let start = offset.min(model.bytes.len());
                let end = start + model.held(start, length);
                let mut data = model.bytes[start..end].to_vec();
                assert_eq!(
                    spool.difference(start as u64, &data).expect("readable"),
                    None
                );
                if !data.is_empty() {
                    let (a, b) = (change % data.len(), (change / 2 + length) % data.len());
                    data[a] ^= 1;
                    data[b] ^= 2;
                    let expected = (start + a.min(b)) as u64..(start + a.max(b) + 1) as u64;
                    data.push(9);
                    data.truncate(if end == model.bytes.len() {
                        data.len()
                    } else {
                        data.len() - 1
                    });
                    let found = spool.difference(start as u64, &data).expect("readable");
                    assert_eq!(found, Some(expected));
                }
            }
            Step::Snapshot {
                length,
                go_on_with_it,
            } => {
                let mut copy = (spool.snapshot(length as u64), model.clone());
                copy.1.truncate(length.min(model.bytes.len()));
                if go_on_with_it {
                    std::mem::swap(&mut copy.0, &mut spool);
                    std::mem::swap(&mut copy.1, &mut model);
                }
                aside.push(copy);
            }
            Step::Discard => drop((!aside.is_empty()).then(|| aside.remove(0))),
        }
        model.check(&spool);
        // Small reads of chunks that are not full are copies, of 16 KiB at most, beyond the limit.
        let slack = (held.len() * 7) << 14;
        assert!(
            pool.memory_used() <= (memory + slack) as u64,
            "memory {}",
            pool.memory_used()
        );
        let charged = model.charged()
            + aside
                .iter()
                .map(|(_, model)| model.charged())
                .sum::<usize>();
        assert_eq!(pool.available(), max_size.saturating_sub(charged) as u64);
    }
    aside.iter().for_each(|(spool, model)| model.check(spool));
    drop((spool, aside));
    for (segments, bytes) in &held {
        assert!(
            contents(segments) == *bytes,
            "a read changed after it was handed out"
        );
        let loaded = segments.load().expect("readable").concat();
        assert!(loaded == *bytes, "load and to_vec differ");
    }
    for pair in held.windows(2) {
        let (a, b) = (&pair[0].1, &pair[1].1);
        let common = a.iter().zip(b).position(|(a, b)| a != b);
        let expected = common.or((a.len() != b.len()).then_some(a.len().min(b.len())));
        assert_eq!(
            pair[0]
                .0
                .clone()
                .differs_from(pair[1].0.clone())
                .expect("readable"),
            expected
        );
    }
    drop(held);
    assert_eq!(
        (
            pool.memory_used(),
            pool.kept(),
            pool.spilled(),
            pool.available()
        ),
        (0, 0, 0, max_size as u64)
    );
    assert_no_disk_is_taken(directory.path());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_agree_with_a_plain_vector(
        memory in prop_oneof![Just(0), Just(5000), Just(CHUNK), Just(CHUNK * 5 / 2), Just(64 * CHUNK)],
        max_size in prop_oneof![Just(2 * CHUNK), Just(7 * CHUNK), Just(1000 * CHUNK)],
        steps in vec(step(), 1..32),
    ) {
        run(memory, max_size, steps);
    }

    #[test]
    fn pieces_written_in_any_order_make_the_whole(
        memory in prop_oneof![Just(0), Just(2 * CHUNK), Just(64 * CHUNK)],
        order in Just((0usize..40).collect::<Vec<_>>()).prop_shuffle(),
        piece in 1usize..END_MAX / 40,
    ) {
        let steps = order.iter().map(|&at| Step::Write { offset: at * piece, length: piece, seed: at as u8, expected: None });
        run(memory, 1000 * CHUNK, steps.collect());
    }
}
