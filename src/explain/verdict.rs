//! Judges whether a way of capturing would have got the file that the program left.
//!
//! Knows outcomes of replays and facts, and what they mean for a reader. Does not guess at timing: a result
//! that differs on a machine of another speed is reported to depend on it.

use std::path::Path;

use serde::Serialize;

use super::facts::{Facts, Worker};
use super::outcome::{Digest, End, Outcome as Replayed, Refusal, Refused};
use super::words::duration;
use crate::core::fifos::makes_anew;
use crate::core::generation::{NO_KNOWN_KIND, Way};

/// Whether a way of capturing gets the output.
///
/// ```
/// assert_eq!(fifofs::explain::Chance::Captured.to_string(), "captured");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Chance {
    /// Every byte, and an end without an error.
    Captured,
    /// Captured, as far as the operations show: the program may still object that it does not write to a
    /// regular file.
    Probably,
    /// Captured or not, depending on timing or on how the program reacts.
    Depends,
    /// Not captured by these operations; but the program looked at the path first, and may act differently
    /// if there is no regular file.
    Unlikely,
    /// Not captured, but its reader gets an error: bytes that it had were changed.
    Rewritten,
    /// Not captured: the program fails, or its reader gets an error, nothing or other bytes.
    Fails,
}

impl std::fmt::Display for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Chance::Captured => "captured",
            Chance::Probably => "probably",
            Chance::Depends => "depends",
            Chance::Unlikely => "unlikely",
            Chance::Rewritten => "rewritten",
            Chance::Fails => "fails",
        })
    }
}

/// The verdict on one way of capturing.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let study = fifofs::explain::Study::new()?;
/// std::fs::write(study.path().join("out.txt"), "hello\n")?;
/// let explained = study.finish()?.explain(&["out.txt"])?.remove(0);
/// let verdict = explained.verdicts.follow;
/// println!("follow: {} ({})", verdict.chance, verdict.reason);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Whether it gets the output.
    pub chance: Chance,
    /// Why, in words.
    pub reason: String,
}

impl Verdict {
    pub(super) fn new(chance: Chance, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Verdict { chance, reason }
    }
}

/// The verdict on a delivery mode, from its outcome on a slow machine and, if that was bad, on a fast one.
/// `left` is the file that the program left.
pub(super) fn of_way(
    slow: &Replayed,
    fast: Option<&Replayed>,
    left: Option<Digest>,
    facts: &Facts,
) -> Verdict {
    if let End::Whole = slow.end {
        if left.is_some_and(|left| left != slow.digest) {
            return Verdict::new(Chance::Fails, "its reader gets something else");
        }
        let follows = matches!(slow.way, Some((Way::Follow, _)));
        if follows && facts.mapped {
            return Verdict::new(
                Chance::Depends,
                "what is written through a mapping may be delivered before it is finished",
            );
        }
        return Verdict::new(Chance::Captured, how(slow, facts));
    }
    if fast.is_some_and(|fast| matches!(fast.end, End::Whole)) {
        let reason = format!("on timing: {}", why_not(slow));
        return Verdict::new(Chance::Depends, reason);
    }
    let chance = match slow.end {
        End::Rewritten { .. } => Chance::Rewritten,
        _ => Chance::Fails,
    };
    Verdict::new(chance, why_not(slow))
}

fn how(outcome: &Replayed, facts: &Facts) -> String {
    let Some((way, reason)) = &outcome.way else {
        return "it is empty".into();
    };
    let when = match way {
        Way::Settled => "delivered when it is done",
        Way::Follow | Way::Stream if !facts.moved_from.is_empty() => {
            "delivered once renamed into place"
        }
        Way::Follow | Way::Stream => "delivered as it is written",
    };
    // If a rule chose the mode, the reason is the rule itself.
    if reason.starts_with("--deliver") {
        return when.into();
    }
    format!("{when} ({reason})")
}

fn why_not(outcome: &Replayed) -> String {
    match &outcome.end {
        End::Rewritten {
            range: Some(range), ..
        } if range.end == range.start => {
            format!(
                "the file was cut at byte {} when its reader had more",
                range.start
            )
        }
        End::Rewritten {
            range: Some(range),
            at,
        } => format!(
            "bytes {} to {} are rewritten, {} after the start, and its reader has them by then",
            range.start,
            range.end,
            duration(at.as_secs_f64())
        ),
        End::Rewritten { range: None, .. } => "bytes that its reader has are rewritten".into(),
        End::Refused(Refusal { what, offset, at }) => {
            let when = duration(at.as_secs_f64());
            let does = match what {
                Refused::Open => "opens it to read it".to_owned(),
                Refused::Read => format!("reads it back from byte {offset}"),
                Refused::Write => format!("goes back to byte {offset}"),
            };
            format!(
                "the program {does}, {when} after the start, and what was passed on is not kept"
            )
        }
        End::Failed => {
            "the program needs bytes again that are not kept, or puts another file in the place \
             of what was passed on: its reader gets an error"
                .into()
        }
        End::Missing => "nothing stands there in the end".into(),
        End::Whole => String::new(),
    }
}

/// The verdict on a kernel FIFO, which is not replayed: from the operations that a FIFO refuses.
pub(super) fn of_fifo(facts: &Facts, exists: bool) -> Verdict {
    let fails = |reason: &str| Verdict::new(Chance::Fails, reason);
    if !exists {
        return fails("nothing stands there in the end");
    }
    // Several programs that work one after another cannot change their order.
    let several = facts.workers.len() > 1;
    let is_replaced = facts.removed > 0 || facts.replaced > 0 || !facts.moved_to.is_empty();
    let obstacles = [
        (
            is_replaced,
            "it is removed or replaced, and its reader waits for ever",
            true,
        ),
        (
            facts.reopenings > 0,
            "it is opened again after it was closed, when its reader has gone",
            several,
        ),
        (
            facts.read_openings > 0,
            "the program reads it back, and would wait for itself",
            several,
        ),
        (
            !facts.moved_from.is_empty(),
            "another file is moved into its place, and its reader waits for ever",
            false,
        ),
        (
            facts.exclusive,
            "the program insists on making the file itself (O_EXCL)",
            false,
        ),
        (facts.mapped, "it is mapped into memory", false),
        (
            facts.writes_back > 0,
            "the program goes back in it, which a pipe does not allow",
            false,
        ),
        (facts.read_bytes > 0, "the program reads it back", false),
    ];
    let Some((_, obstacle, is_firm)) = obstacles.into_iter().find(|(found, ..)| *found) else {
        return of_sequence(facts);
    };
    if facts.looked_first && !is_firm {
        // Linkers and copying tools see the FIFO, and write to it as to one.
        let reason = format!(
            "{obstacle}; but it looks first at what stands there, and may go about it otherwise"
        );
        return Verdict::new(Chance::Unlikely, reason);
    }
    fails(obstacle)
}

/// The verdict on a virtual FIFO, from its delivery by auto and the outcome of a stream.
pub(super) fn of_virtual_fifo(
    path: &Path,
    facts: &Facts,
    exists: bool,
    auto: Option<&(Way, String)>,
    stream: &Verdict,
) -> Verdict {
    if !exists {
        return Verdict::new(Chance::Fails, "nothing stands there in the end");
    }
    let name = path.file_name().unwrap_or_default();
    let makes = |worker: &Worker| makes_anew(&worker.name, name);
    let is_made_anew = facts.workers.iter().any(makes);
    // Readers get a file that is renamed into its place, however it was made.
    if !is_made_anew && facts.exclusive && facts.moved_from.is_empty() {
        let reason = "the program makes the file itself (O_EXCL)";
        return match facts.looked_first {
            true => Verdict::new(
                Chance::Depends,
                format!("on what it does where a file is there already: {reason}"),
            ),
            false => Verdict::new(Chance::Fails, reason),
        };
    }
    if !is_made_anew && facts.removed > 0 {
        let reason = "on whether its reader has come before it is removed";
        return Verdict::new(Chance::Depends, reason);
    }
    match auto {
        Some((Way::Settled, reason)) if *reason != NO_KNOWN_KIND => Verdict::new(
            Chance::Captured,
            format!("delivered when it is done ({reason})"),
        ),
        _ => stream.clone(),
    }
}

/// The verdict on a virtual FIFO whose file is written from its beginning to its end.
fn of_sequence(facts: &Facts) -> Verdict {
    if facts.gaps > 0 {
        let reason = "on whether the program writes zeros where it cannot leave gaps";
        return Verdict::new(Chance::Depends, reason);
    }
    if facts.resized.iter().any(|length| *length > 0) || facts.allocated_bytes > 0 {
        let reason = "on whether the program minds that it cannot set its length";
        return Verdict::new(Chance::Depends, reason);
    }
    let reason = match facts.openings {
        0 => "nothing is written to it",
        _ => {
            "unless the program insists on a regular file: it is written from the first byte to \
              the last"
        }
    };
    Verdict::new(Chance::Probably, reason)
}
