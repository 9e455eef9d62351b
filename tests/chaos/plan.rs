//! Variations besides the program: the setup of a mount, the readers, and the destination of `fifofs run`.

use crate::common::Dice;
use crate::program::Program;

/// How many trials share a mount.
pub(crate) const BATCH: u64 = 12;

/// What all trials of a batch have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Setup {
    Mount {
        way: &'static str,
        memory: &'static str,
    },
    Run {
        way: &'static str,
        memory: &'static str,
        window: &'static str,
    },
}

impl Setup {
    pub(crate) fn of_batch(seed: u64, batch: u64) -> Self {
        let mut dice = Dice::new(seed ^ batch.wrapping_mul(0x5851_f42d_4c95_7f2d));
        let way = dice.pick(&["auto", "auto", "auto", "follow", "settled", "stream"]);
        let memory = dice.pick(&["256M", "256M", "1M", "256K"]);
        if dice.one_in(4) {
            let window = dice.pick(&["1M", "64K"]);
            Self::Run {
                way,
                memory,
                window,
            }
        } else {
            Self::Mount { way, memory }
        }
    }

    pub(crate) fn way(&self) -> &'static str {
        match self {
            Self::Mount { way, .. } | Self::Run { way, .. } => way,
        }
    }

    pub(crate) fn options(&self) -> Vec<&'static str> {
        match self {
            Self::Mount { way, memory } => vec!["--deliver", way, "--memory", memory],
            Self::Run {
                way,
                memory,
                window,
            } => vec!["--deliver", way, "--memory", memory, "--window", window],
        }
    }
}

/// How a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By the file's own path, as soon as it is there.
    Path,
    /// The same with O_NONBLOCK and poll.
    Polling,
    /// The same with O_NONBLOCK and an edge-triggered epoll.
    Edge,
    /// Through `pipe/`.
    Pipe,
    /// Through `wait/`, to the end.
    Wait,
    /// Through `wait/`, exactly as many bytes as fstat returns.
    Exact,
    /// Through `wait/`, mapped.
    Mapped,
    /// Through `next/pipe/`.
    Next,
    /// `fifofs cat`.
    Cat,
    /// `fifofs cat --next`.
    CatNext,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Path,
        Self::Polling,
        Self::Pipe,
        Self::Next,
        Self::Cat,
        Self::CatNext,
        Self::Edge,
        Self::Wait,
        Self::Exact,
        Self::Mapped,
    ];

    /// Whether it opens the file by its own path.
    pub(crate) fn is_own_path(self) -> bool {
        matches!(self, Self::Path | Self::Polling | Self::Edge)
    }

    /// Whether it wants a writing that begins after it came.
    pub(crate) fn is_next(self) -> bool {
        matches!(self, Self::Next | Self::CatNext)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ReaderPlan {
    pub(crate) kind: Kind,
    /// Milliseconds after the program's start. Readers without a delay come before it.
    pub(crate) delay: Option<u32>,
    /// The size of its reads, and the pause between two of them.
    pub(crate) chunk: u64,
    pub(crate) pause: u32,
}

/// The destination of `fifofs run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Pipe,
    SlowPipe,
    Output,
    Redirected,
    Appended,
}

#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) program: Program,
    pub(crate) readers: Vec<ReaderPlan>,
    pub(crate) destination: Destination,
}
