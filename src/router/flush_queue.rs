//! What the flusher is to be told, in the order in which the core decided it.
//!
//! Knows that order and nothing of flushers. Two threads that have decided one after the other may go on
//! in any order once the core is free; were a file's "stop" to overtake its "go on", it would be written
//! back for ever. So decisions are queued while the core is locked, and told by one thread at a time. The
//! invariant: what was put first is told first, and nobody waits for whoever tells.

use std::collections::VecDeque;

use crate::sync::{Mutex, lock};

/// Decisions that are still to be told.
pub(crate) struct FlushQueue<T> {
    /// Guards what waits. Held for moments, with the core locked or alone.
    state: Mutex<State<T>>,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// Whether a thread takes what waits, and will take what is put now.
    is_told: bool,
}

impl<T> Default for FlushQueue<T> {
    fn default() -> Self {
        let state = State {
            waiting: VecDeque::new(),
            is_told: false,
        };
        FlushQueue {
            state: Mutex::new(state),
        }
    }
}

impl<T> FlushQueue<T> {
    /// Puts what was just decided, with the core still locked.
    pub(crate) fn put(&self, decisions: Vec<T>) {
        lock(&self.state).waiting.extend(decisions);
    }

    /// Tells what waits, unless another thread is about to.
    pub(crate) fn tell(&self, tell: impl Fn(T)) {
        let mut state = lock(&self.state);
        if state.is_told {
            return;
        }
        while let Some(next) = state.waiting.pop_front() {
            state.is_told = true;
            drop(state);
            tell(next);
            state = lock(&self.state);
        }
        state.is_told = false;
    }
}
