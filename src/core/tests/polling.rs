//! Pollers are notified of everything new, and of nothing else.

use std::ffi::OsStr;
use std::time::Duration;

use proptest::prelude::*;
use rustix::io::Errno;

use super::super::event::Event;
use super::super::events::Events;
use super::super::generation::Ending;
use super::super::namespace::{ROOT, Rename};
use super::super::readers::pollers::Pollers;
use super::super::request::Request;
use super::super::rules::Deliver;
use super::{Answer, Effect, Effects, LINGER, WRITER, World};

/// The kernel's number of the open file that is polled.
const OPEN_FILE: u64 = 7;

impl World {
    /// How often pollers were notified since this was asked last.
    fn notifications(&mut self) -> usize {
        let notified = std::mem::take(&mut self.notified);
        assert!(notified.iter().all(|of| *of == OPEN_FILE), "{notified:?}");
        notified.len()
    }

    fn replace(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        self.try_to_rename(from, to, Rename::Replace)
    }
}

/// A file that is being written, and a handle to poll.
fn polled(deliver: Deliver) -> (World, u64, u64, u64) {
    let mut world = World::new(deliver, |settings| {
        settings.window_bytes = 1 << 16;
    });
    let (ino, writer) = world.create("f", libc::O_WRONLY);
    let open = world.open_with(ino, libc::O_NONBLOCK, &super::Opener::default());
    let reader = world.handle(open);
    (world, ino, writer, reader)
}

#[test]
fn new_bytes_are_notified_also_where_a_poll_found_some_already() {
    for deliver in [Deliver::Follow, Deliver::Stream] {
        let (mut world, ino, _, reader) = polled(deliver);
        assert!(!world.poll(reader, Some(OPEN_FILE)));
        for offset in 0..4 {
            world.write(ino, offset, b"x");
            assert_eq!(world.notifications(), 1, "at {offset}");
            assert!(world.poll(reader, Some(OPEN_FILE)));
        }
    }
}

#[test]
fn one_notification_is_enough_until_the_next_poll() {
    let (mut world, ino, writer, reader) = polled(Deliver::Stream);
    world.poll(reader, Some(OPEN_FILE));
    for offset in 0..100 {
        world.write(ino, offset, b"x");
    }
    assert_eq!(world.notifications(), 1);
    assert!(world.poll(reader, Some(OPEN_FILE)), "it polls at last");
    world.write(ino, 100, b"x");
    assert_eq!(world.notifications(), 1, "of the next byte");
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(
        world.notifications(),
        1,
        "the end is notified without a new poll, too: another poller may have had the notification"
    );
}

#[test]
fn reading_causes_no_notification() {
    for deliver in [Deliver::Follow, Deliver::Stream] {
        let (mut world, ino, writer, reader) = polled(deliver);
        world.write(ino, 0, b"0123456789");
        assert!(world.poll(reader, Some(OPEN_FILE)));
        for offset in [0, 3, 6, 9] {
            world.read_now(reader, offset, 3);
        }
        assert_eq!(world.read_now(reader, 10, 3), Answer::Error(Errno::AGAIN));
        assert_eq!(world.notifications(), 0);
        world.release(writer);
        world.pass(LINGER);
        assert_eq!(world.notifications(), 1);
        assert_eq!(world.read_now(reader, 10, 3), Answer::Bytes(Vec::new()));
        assert_eq!(world.notifications(), 0);
    }
}

#[test]
fn without_a_poller_there_is_no_notification() {
    let (mut world, ino, writer, reader) = polled(Deliver::Follow);
    // Like poll(2) with a timeout of 0, which does not wait on the file.
    assert!(!world.poll(reader, None));
    world.write(ino, 0, b"x");
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(world.notifications(), 0);
}

#[test]
fn every_end_is_notified_and_every_error() {
    type Act = fn(&mut World, u64, u64);
    let acts: [(&str, Act, Answer); 6] = [
        ("the end", |_, _, _| {}, Answer::Bytes(Vec::new())),
        (
            "the death of the writer",
            |world, _, _| world.end(WRITER, Ending::Signal(9)),
            Answer::Error(Errno::IO),
        ),
        (
            "rewritten bytes",
            |world, ino, _| {
                world.write(ino, 0, b"y");
            },
            Answer::Error(Errno::STALE),
        ),
        (
            "a truncation",
            |world, ino, _| world.truncate(ino, 0).unwrap(),
            Answer::Error(Errno::STALE),
        ),
        (
            "another file in its place",
            |world, _, _| {
                let (other, writer) = world.create("other", libc::O_WRONLY);
                world.write(other, 0, b"z");
                world.replace("other", "f").unwrap();
                world.release(writer);
            },
            Answer::Error(Errno::STALE),
        ),
        (
            "its removal",
            |world, _, _| {
                world.unlink("f");
                world.end(WRITER, Ending::Status(0));
            },
            Answer::Error(Errno::NOENT),
        ),
    ];
    for (what, act, expected) in acts {
        let (mut world, ino, writer, reader) = polled(Deliver::Follow);
        world.write(ino, 0, b"x");
        assert_eq!(world.read_now(reader, 0, 9), Answer::Bytes(b"x".to_vec()));
        assert!(!world.poll(reader, Some(OPEN_FILE)));
        act(&mut world, ino, writer);
        world.release(writer);
        world.pass(LINGER);
        assert!(world.notifications() > 0, "{what}");
        assert!(world.poll(reader, Some(OPEN_FILE)), "{what}");
        assert_eq!(world.read_now(reader, 1, 9), expected, "{what}");
    }
}

#[test]
fn a_settled_file_causes_one_notification_when_it_is_done() {
    let (mut world, ino, writer, reader) = polled(Deliver::Settled);
    assert!(!world.poll(reader, Some(OPEN_FILE)));
    world.write(ino, 0, b"all of it");
    assert_eq!(world.notifications(), 0);
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(world.notifications(), 1);
    assert!(world.poll(reader, Some(OPEN_FILE)));
    let all = Answer::Bytes(b"all of it".to_vec());
    assert_eq!(world.read_now(reader, 0, 99), all);
    assert_eq!(world.notifications(), 0);
}

#[test]
fn bytes_that_time_alone_releases_are_notified() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let (ino, _) = world.create("f.log", libc::O_WRONLY);
    let open = world.open_with(ino, libc::O_NONBLOCK, &super::Opener::default());
    let reader = world.handle(open);
    world.write(ino, 0, b"x");
    assert!(!world.poll(reader, Some(OPEN_FILE)));
    world.pass(Duration::from_millis(50));
    assert_eq!(world.notifications(), 0);
    world.pass(Duration::from_millis(60));
    assert_eq!(world.notifications(), 1);
}

#[test]
fn when_the_mount_goes_pollers_wake_and_reads_fail() {
    let (mut world, ino, _, reader) = polled(Deliver::Follow);
    world.write(ino, 0, b"x");
    world.read_now(reader, 0, 1);
    world.poll(reader, Some(OPEN_FILE));
    for _ in 0..2 {
        world.tell(Request::ShutDown);
    }
    assert_eq!(world.notifications(), 1);
    assert!(world.poll(reader, Some(OPEN_FILE)));
    assert_eq!(world.read_now(reader, 1, 1), Answer::Error(Errno::NOTCONN));
}

/// Of several exclusive pollers the kernel wakes one, which may die before it polls.
#[test]
fn the_end_is_notified_also_to_a_poller_that_was_notified_already() {
    let mut pollers = Pollers::default();
    let mut effects = Effects::default();
    let mut notifies = |pollers: &mut Pollers, ready, limit, over| {
        let readiness = super::super::readers::pollers::Readiness { ready, limit, over };
        pollers.notify(readiness, &mut effects);
        std::mem::take(&mut effects).into_iter().count()
    };
    assert_eq!(notifies(&mut pollers, true, 1, false), 0, "no poller");
    pollers.asked(Some(OPEN_FILE), Default::default());
    assert_eq!(notifies(&mut pollers, false, 0, false), 0, "nothing yet");
    assert_eq!(notifies(&mut pollers, true, 1, false), 1);
    assert_eq!(notifies(&mut pollers, true, 2, false), 0, "did not ask");
    assert_eq!(notifies(&mut pollers, true, 2, true), 1, "the end");
    assert_eq!(notifies(&mut pollers, true, 2, true), 0, "no news");
}

#[test]
fn every_event_is_notified_unless_the_last_was_not_asked_about() {
    let mut events = Events::new(Duration::ZERO);
    let id = events.subscribe(None, false);
    let publish = |events: &mut Events| {
        let mut effects = Effects::default();
        events.publish(Duration::ZERO, "f".into(), Event::Closed, &mut effects);
        let is_notification = |effect: &Effect| matches!(effect, Effect::PollAgain { .. });
        effects.into_iter().filter(is_notification).count()
    };
    assert!(!events.poll(id, Some(OPEN_FILE)).ready);
    assert_eq!(publish(&mut events), 1);
    assert_eq!(publish(&mut events), 0);
    assert!(events.poll(id, Some(OPEN_FILE)).ready);
    assert_eq!(publish(&mut events), 1, "there are some already");
    assert!(events.poll(id, Some(OPEN_FILE)).ready);
    let mut effects = Effects::default();
    events.shut_down(&mut effects);
    events.shut_down(&mut effects);
    assert_eq!(effects.into_iter().count(), 1);
    assert!(events.poll(id, Some(OPEN_FILE)).ready);
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Patch(u64),
    Truncate(u64),
    Reopen {
        empties: bool,
    },
    Close,
    Kill,
    Replace(usize),
    Remove,
    Pass(u64),
    /// The poller waits, and if it is woken, reads all bytes, so many at a time.
    Wait(u32),
    /// Checks that the poller does not sleep on a file that is ready.
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..6_usize).prop_map(Step::Append),
        1 => (0..12_u64).prop_map(Step::Patch),
        1 => (0..12_u64).prop_map(Step::Truncate),
        1 => any::<bool>().prop_map(|empties| Step::Reopen { empties }),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => (0..20_usize).prop_map(Step::Replace),
        1 => Just(Step::Remove),
        3 => (0..200_u64).prop_map(Step::Pass),
        6 => (1..9_u32).prop_map(Step::Wait),
        4 => Just(Step::Look),
    ]
}

/// An edge-triggered poller, as in epoll.
struct EdgeTriggered {
    handle: u64,
    /// True from the start, as when epoll adds a file.
    is_on_ready_list: bool,
    position: u64,
    over: bool,
}

impl EdgeTriggered {
    fn wait(&mut self, world: &mut World, length: u32) {
        self.is_on_ready_list |= world.notifications() > 0;
        if !std::mem::take(&mut self.is_on_ready_list) || !world.poll(self.handle, Some(OPEN_FILE))
        {
            return;
        }
        while !self.over {
            match world.read_now(self.handle, self.position, length) {
                Answer::Bytes(bytes) if !bytes.is_empty() => self.position += bytes.len() as u64,
                Answer::Error(Errno::AGAIN) => return,
                _ => self.over = true,
            }
        }
    }

    fn look(&mut self, world: &mut World) {
        self.is_on_ready_list |= world.notifications() > 0;
        if !self.is_on_ready_list && !self.over {
            // Without a number of the kernel a POLL changes nothing.
            assert!(!world.poll(self.handle, None), "it sleeps on what is ready");
        }
    }
}

fn never_sleeps_on_what_is_ready(deliver: Deliver, steps: Vec<Step>) {
    let (mut world, mut ino, writer, handle) = polled(deliver);
    let mut poller = EdgeTriggered {
        handle,
        is_on_ready_list: true,
        position: 0,
        over: false,
    };
    let is_there = |world: &World| world.core.names.find(ROOT, OsStr::new("f")).is_ok();
    let mut length = 0;
    let mut writers = vec![writer];
    for step in steps {
        match step {
            Step::Append(bytes) if !writers.is_empty() => {
                world.write(ino, length, &vec![1; bytes]);
                length += bytes as u64;
            }
            Step::Patch(at) if !writers.is_empty() && at < length => {
                world.write(ino, at, b"\x01\x02"[(at % 2) as usize..].get(..1).unwrap());
            }
            Step::Truncate(to) if !writers.is_empty() => {
                if world.truncate(ino, to).is_ok() {
                    length = to;
                }
            }
            Step::Reopen { empties } if is_there(&world) => {
                let flags = libc::O_WRONLY | if empties { libc::O_TRUNC } else { 0 };
                let reopened = world.try_to_reopen(ino, flags);
                if world.error(reopened).is_none() {
                    writers.push(world.handle(reopened));
                    length = if empties { 0 } else { length };
                }
            }
            Step::Close => {
                if let Some(writer) = writers.pop() {
                    world.release(writer);
                }
            }
            Step::Kill => {
                for writer in writers.drain(..) {
                    world.release(writer);
                }
                world.end(WRITER, Ending::Signal(9));
            }
            Step::Replace(bytes) => {
                let (other, writer) = world.create("other", libc::O_WRONLY);
                world.write(other, 0, &vec![1; bytes]);
                let replaced = world.replace("other", "f");
                world.release(writer);
                if replaced.is_err() {
                    world.unlink("other");
                    continue;
                }
                for writer in writers.drain(..) {
                    world.release(writer);
                }
                (ino, length) = (other, bytes as u64);
            }
            Step::Remove if is_there(&world) => world.unlink("f"),
            Step::Pass(milliseconds) => world.pass(Duration::from_millis(milliseconds)),
            Step::Wait(length) => poller.wait(&mut world, length),
            Step::Look => poller.look(&mut world),
            Step::Append(_)
            | Step::Patch(_)
            | Step::Truncate(_)
            | Step::Reopen { .. }
            | Step::Remove => {}
        }
    }
    poller.look(&mut world);
}

proptest! {
    #[test]
    fn an_edge_triggered_poller_never_sleeps_on_what_is_ready(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        for deliver in [Deliver::Follow, Deliver::Auto, Deliver::Settled, Deliver::Stream] {
            never_sleeps_on_what_is_ready(deliver, steps.clone());
        }
    }
}
