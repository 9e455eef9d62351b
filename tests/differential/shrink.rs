//! Makes a failed sequence as short and simple as possible.
//!
//! Knows how operations get simpler, not why one fails. Invariant: the returned sequence fails, too, unless that
//! depends on chance.

use std::time::{Duration, Instant};

use super::operations::*;

/// After this time shrinking stops.
const PATIENCE: Duration = Duration::from_secs(60);

/// Drops and simplifies operations as long as the sequence `fails`.
pub(crate) fn shrink(
    mut sequence: Vec<Operation>,
    mut fails: impl FnMut(&[Operation]) -> bool,
) -> Vec<Operation> {
    let deadline = Instant::now() + PATIENCE;
    let mut attempt = |sequence: &mut Vec<Operation>, candidate: Vec<Operation>| {
        let better = Instant::now() < deadline && fails(&candidate);
        if better {
            *sequence = candidate;
        }
        better
    };
    loop {
        let before = sequence.clone();
        let mut chunk = sequence.len() / 2;
        while chunk > 0 {
            let mut start = 0;
            while start < sequence.len() {
                let mut candidate = sequence.clone();
                candidate.drain(start..(start + chunk).min(sequence.len()));
                if !attempt(&mut sequence, candidate) {
                    start += chunk;
                }
            }
            chunk /= 2;
        }
        for index in 0..sequence.len() {
            let mut simpler_ones = simpler(&sequence[index]);
            while let Some(simpler_one) = simpler_ones.pop() {
                let mut candidate = sequence.clone();
                candidate[index] = simpler_one;
                if attempt(&mut sequence, candidate) {
                    simpler_ones = simpler(&sequence[index]);
                }
            }
        }
        if sequence == before {
            return sequence;
        }
    }
}

/// Slightly simpler operations; the simplest is the last. Simplifying never goes in a circle.
fn simpler(operation: &Operation) -> Vec<Operation> {
    let mut found = Vec::new();
    if let Fork { does } = operation {
        found.extend(
            simpler(&does.0)
                .into_iter()
                .map(|plain| Fork { does: child(plain) }),
        );
        found.push((*does.0).clone());
        return found;
    }
    for smaller in [|n: u64| n - 1, |n: u64| n / 2, |_| 1, |_| 0] {
        let mut plain = operation.clone();
        match &mut plain {
            Write { length, .. }
            | Read { length, .. }
            | CopyRange { length, .. }
            | SetAttribute { length, .. } => shorten(length, smaller),
            PositionedWrite { offset, length, .. } | PositionedRead { offset, length, .. } => {
                if *offset > 0 {
                    found.push(operation.clone());
                    match found.last_mut() {
                        Some(PositionedWrite { offset, .. } | PositionedRead { offset, .. }) => {
                            *offset = smaller(*offset as u64) as i64
                        }
                        _ => unreachable!("a copy"),
                    }
                }
                shorten(length, smaller);
            }
            MapWrite { length, .. } | MapRead { length, .. } => shorten(length, smaller),
            Allocate { length, .. } if *length > 0 => *length = smaller(*length),
            FileTruncate { length, .. } | Truncate { length, .. } | Seek { offset: length, .. }
                if *length > 0 =>
            {
                *length = smaller(*length as u64) as i64;
            }
            _ => {}
        }
        if plain != *operation {
            found.push(plain);
        }
    }
    // For 1 both n - 1 and n / 2 are 0: once is enough.
    found.dedup();
    found.retain(|plain| plain != operation);
    if let Open {
        slot,
        path,
        flags,
        mode,
    } = operation
    {
        for (modifier, _) in MODIFIERS {
            if flags.has(modifier) {
                found.push(Open {
                    slot: *slot,
                    path,
                    flags: Flags(flags.0 & !modifier.0),
                    mode: *mode,
                });
            }
        }
    }
    found
}

fn shorten(length: &mut usize, smaller: fn(u64) -> u64) {
    if *length > 0 {
        *length = smaller(*length as u64) as usize;
    }
}
