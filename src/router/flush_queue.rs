//! What the flusher is to be told, in the order in which the core decided it.
//!
//! Knows that order and nothing of flushers. Two threads that have decided one after the other may go on
//! in any order once the core is free; were a file's "stop" to overtake its "go on", it would be written
//! back for ever. So decisions are queued while the core is locked, and told by one thread at a time. The
//! invariant: what was put first is told first, and nobody waits for whoever tells.

use std::collections::VecDeque;

use crate::sync::modelled::{Mutex, lock};

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

#[cfg(all(test, modelled))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// The core, which decides on and off by turns, and what the flusher was told.
    #[derive(Default)]
    struct World {
        core: Mutex<u32>,
        queue: FlushQueue<u32>,
        told: Mutex<Vec<u32>>,
    }

    impl World {
        fn handle(&self) {
            let mut core = lock(&self.core);
            *core += 1;
            self.queue.put(vec![*core]);
            drop(core);
            self.queue.tell(|decision| lock(&self.told).push(decision));
        }
    }

    #[test]
    fn model_of_threads_that_decide() {
        loom::model(|| {
            let world = Arc::new(World::default());
            let other = Arc::clone(&world);
            let other = thread::spawn(move || {
                other.handle();
                other.handle();
            });
            world.handle();
            other.join().unwrap();
            assert_eq!(*lock(&world.told), [1, 2, 3]);
        });
    }
}
