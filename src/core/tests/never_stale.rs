//! Whatever writers do, in whatever order: a reader gets what the file holds in
//! the end, or an error.

use std::time::Duration;

use proptest::prelude::*;
use rustix::io::Errno;

use super::super::effects::Unique;
use super::super::rules::Deliver;
use super::{Answer, LINGER, World};

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, data: Vec<u8> },
    Truncate(u64),
    Reopen { empties: bool },
    Read { reader: usize, length: u32 },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    // Few values and short data, so that the same bytes are often rewritten.
    let data = prop::collection::vec(0..2_u8, 1..6);
    prop_oneof![
        4 => (0..12_u64, data).prop_map(|(offset, data)| Step::Write { offset, data }),
        1 => (0..12_u64).prop_map(Step::Truncate),
        1 => any::<bool>().prop_map(|empties| Step::Reopen { empties }),
        4 => (0..3_usize, 1..8_u32).prop_map(|(reader, length)| Step::Read { reader, length }),
        1 => (0..120_u64).prop_map(Step::Pass),
    ]
}

/// A reader that reads on from where it is, one request at a time.
#[derive(Default)]
struct Following {
    open: Option<Unique>,
    handle: Option<u64>,
    pending: Option<Unique>,
    got: Vec<u8>,
    end: Option<Result<(), Errno>>,
}

impl Following {
    fn look(&mut self, world: &World) {
        if let Some(open) = self.open
            && let Some(answer) = world.answer(open)
        {
            self.open = None;
            match answer {
                Answer::Handle(handle, _) => self.handle = Some(*handle),
                Answer::Error(errno) => self.end = Some(Err(*errno)),
                other => panic!("an open was answered {other:?}"),
            }
        }
        if let Some(pending) = self.pending
            && let Some(answer) = world.answer(pending)
        {
            self.pending = None;
            match answer {
                Answer::Bytes(bytes) if bytes.is_empty() => self.end = Some(Ok(())),
                Answer::Bytes(bytes) => self.got.extend(bytes),
                Answer::Error(errno) => self.end = Some(Err(*errno)),
                other => panic!("a read was answered {other:?}"),
            }
        }
    }

    fn advance(&mut self, world: &mut World, ino: u64, length: u32) {
        self.look(world);
        if self.end.is_none() && self.open.is_none() && self.handle.is_none() {
            self.open = Some(world.open(ino));
            self.look(world);
        }
        if let (Some(handle), None, None) = (self.handle, self.pending, &self.end) {
            self.pending = Some(world.read(handle, self.got.len() as u64, length));
            self.look(world);
        }
    }
}

fn never_stale(deliver: Deliver, steps: Vec<Step>) {
    let mut world = World::new(deliver, |_| {});
    let (ino, mut handle) = world.create("f.log", libc::O_WRONLY);
    let mut model: Vec<u8> = Vec::new();
    let mut readers: [Following; 3] = Default::default();
    // Of a stream: then it has failed.
    let mut was_refused = false;
    for step in steps {
        match step {
            Step::Write { offset, data } => {
                let write = world.write(ino, offset, &data);
                if let Some(Answer::Error(_)) = world.answer(write) {
                    was_refused = true;
                    continue;
                }
                let end = offset as usize + data.len();
                model.resize(model.len().max(end), 0);
                model[offset as usize..end].copy_from_slice(&data);
            }
            Step::Truncate(length) => match world.truncate(ino, length) {
                Ok(()) => model.resize(length as usize, 0),
                Err(_) => was_refused = true,
            },
            Step::Reopen { empties } => {
                let flags = libc::O_WRONLY | if empties { libc::O_TRUNC } else { 0 };
                let again = world.try_to_reopen(ino, flags);
                if let Some(Answer::Error(_)) = world.answer(again) {
                    was_refused = true;
                    continue;
                }
                world.release(handle);
                handle = world.handle(again);
                if empties {
                    model.clear();
                }
            }
            Step::Read { reader, length } => readers[reader].advance(&mut world, ino, length),
            Step::Pass(milliseconds) => world.pass(Duration::from_millis(milliseconds)),
        }
    }
    world.release(handle);
    world.pass(Duration::from_secs(2));
    for reader in &mut readers {
        for _ in 0..100 {
            reader.advance(&mut world, ino, 7);
            world.pass(Duration::from_millis(5));
        }
        match reader.end {
            Some(Ok(())) => {
                assert!(
                    !was_refused,
                    "a clean end of what the program could not write"
                );
                assert_eq!(reader.got, model);
            }
            Some(Err(errno)) => {
                assert!(errno == Errno::STALE || (was_refused && errno == Errno::IO));
                assert_ne!(deliver, Deliver::Settled, "what is settled is never stale");
            }
            None => panic!("a reader of a file that is done still waits"),
        }
    }
}

proptest! {
    #[test]
    fn what_a_reader_gets_is_what_the_file_holds_or_an_error(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        for deliver in [Deliver::Follow, Deliver::Auto, Deliver::Settled, Deliver::Stream] {
            never_stale(deliver, steps.clone());
        }
    }

    #[test]
    fn bytes_in_any_order_are_delivered_in_order(
        order in Just((0..20_u64).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut world = World::new(Deliver::Follow, |_| {});
        let (ino, handle) = world.create("f", libc::O_WRONLY);
        let open = world.open(ino);
        let mut reader = Following { handle: Some(world.handle(open)), ..Default::default() };
        for block in order {
            world.write(ino, block * 3, &[block as u8; 3]);
            reader.advance(&mut world, ino, 2);
            world.pass(Duration::from_millis(4));
        }
        world.release(handle);
        world.pass(LINGER);
        while reader.end.is_none() {
            reader.advance(&mut world, ino, 7);
        }
        let expected: Vec<u8> = (0..20).flat_map(|block| [block; 3]).collect();
        prop_assert_eq!(reader.got, expected);
    }
}
