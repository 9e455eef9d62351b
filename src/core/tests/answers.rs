//! What each way of asking is answered, also by those who need not wait: the writer itself, a step of
//! its script, this process, who maps, who has had the end.

use std::time::Duration;

use rustix::io::Errno;

use super::super::CONTROL_NAME;
use super::super::effects::{Effect, Transport};
use super::super::generation::Ending;
use super::super::ids::Unique;
use super::super::namespace::ROOT;
use super::super::patching::Reading;
use super::super::request::{Caller, Opener, Request};
use super::super::rules::Deliver;
use super::super::timers::{DYING, LEFT_BEHIND};
use super::{Answer, LINGER, READER, WRITER, World, bytes};

/// One that has the file open for writing, too, and so gets it as it is.
fn holder() -> Opener {
    Opener {
        holds: true,
        ..Opener::default()
    }
}

/// A child of the writer, in its process group.
fn child_of_writer() -> Opener {
    Opener {
        group: Some(WRITER),
        lineage: vec![300, WRITER],
        ..Opener::default()
    }
}

impl World {
    fn internal(&mut self) -> Caller {
        Caller {
            internal: true,
            ..self.caller(READER)
        }
    }

    fn transport(&mut self, caller: Caller, ino: u64, opener: &Opener) -> Transport {
        let open = self.open_by(caller, ino, opener);
        match self.answer(open) {
            Some(Answer::Handle(_, transport)) => *transport,
            other => panic!("not opened: {other:?}"),
        }
    }

    fn opens_with(&mut self, ino: u64, opener: &Opener) -> Option<Errno> {
        let open = self.open_as(ino, opener);
        self.error(open)
    }

    /// A file of the control directory, opened.
    fn control(&mut self, name: &str) -> u64 {
        let directory = self.look_up(ROOT, CONTROL_NAME);
        let ino = self.look_up(directory, name);
        let open = self.open(ino);
        self.handle(open)
    }

    /// Opens a path behind a door.
    fn open_door(&mut self, door: &str, name: &str) -> Unique {
        let directory = self.look_up(ROOT, CONTROL_NAME);
        let door = self.look_up(directory, door);
        let ino = self.look_up(door, name);
        self.open(ino)
    }
}

/// A stream of which its one reader has had `0123`, and nobody `4567`; with the writer's handle.
fn streamed() -> (World, u64, u64, u64) {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, writer) = world.create("f", libc::O_RDWR);
    let open = world.open(ino);
    let reader = world.handle(open);
    let early = world.open_as(ino, &child_of_writer());
    let early = world.handle(early);
    world.write(ino, 0, b"01234567");
    world.read(reader, 0, 4);
    assert_eq!(world.read_now(writer, 4, 4), bytes(b"4567"));
    (world, ino, reader, early)
}

#[test]
fn who_writes_a_stream_reads_what_nobody_has_had_and_no_more() {
    let (mut world, _, _, early) = streamed();
    assert_eq!(world.read_now(early, 4, 4), bytes(b"4567"));
    let back = world.read_now(early, 0, 8);
    assert_eq!(back, Answer::Error(Errno::SPIPE));
    // As its program believes to have read that, it has failed.
    let (mut world, ino, reader, early) = streamed();
    world.read_now(early, 0, 8);
    let more = world.read(reader, 4, 4);
    assert_eq!(world.error(more), Some(Errno::IO));
    let write = world.write(ino, 8, b"8");
    assert_eq!(world.error(write), Some(Errno::PIPE));
}

#[test]
fn what_was_passed_on_is_opened_by_nobody_but_this_process() {
    let (mut world, ino, reader, _) = streamed();
    assert_eq!(world.opens_with(ino, &holder()), Some(Errno::STALE));
    assert_eq!(
        world.fill_pages(ino, reader, 4),
        Answer::Error(Errno::STALE)
    );
    let of_another_group = Opener {
        group: Some(READER),
        ..holder()
    };
    let stranger = world.opens_with(ino, &of_another_group);
    assert_eq!(stranger, Some(Errno::STALE));
    let caller = world.internal();
    let transport = world.transport(caller, ino, &Opener::default());
    assert_eq!(transport, Transport::Cached);
    // That of a stranger changes nothing; a step of its script makes it fail.
    let write = world.write(ino, 8, b"8");
    assert_eq!(world.answer(write), Some(&Answer::Written(1)));
    let step = world.opens_with(ino, &child_of_writer());
    assert_eq!(step, Some(Errno::SPIPE));
    let write = world.write(ino, 9, b"9");
    assert_eq!(world.error(write), Some(Errno::PIPE));
}

#[test]
fn only_a_stream_is_kept_from_the_cache_of_who_need_not_wait() {
    for (deliver, expected) in [
        (Deliver::Stream, Transport::Direct),
        (Deliver::Follow, Transport::Cached),
    ] {
        let mut world = World::new(deliver, |_| {});
        let (ino, _) = world.create("f", libc::O_RDWR);
        world.write(ino, 0, b"x");
        let caller = world.caller(READER);
        assert_eq!(world.transport(caller, ino, &holder()), expected);
        let caller = world.internal();
        let transport = world.transport(caller, ino, &Opener::default());
        assert_eq!(transport, Transport::Cached);
    }
}

#[test]
fn pages_for_a_mapping_of_a_whole_file_are_filled() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, writer) = world.create("f", libc::O_RDWR);
    world.write(ino, 0, b"content");
    world.release(writer);
    world.pass(LINGER);
    let open = world.open(ino);
    let reader = world.handle(open);
    assert_eq!(world.fill_pages(ino, reader, 4), bytes(b"cont"));
}

#[test]
fn who_has_had_the_end_may_read_again_and_is_told_of_a_later_crash_at_the_end_only() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, writer) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"half");
    world.read(reader, 0, 4);
    let end = world.read(reader, 4, 4);
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(world.answer(end), Some(&bytes(b"")));
    assert_eq!(world.read_now(reader, 0, 4), bytes(b"half"));
    assert_eq!(world.read_now(reader, 4, 4), bytes(b""));
    let writer = world.reopen_for_writing(ino, libc::O_WRONLY | libc::O_APPEND);
    world.write(ino, 4, b"more");
    world.end(WRITER, Ending::Signal(libc::SIGKILL));
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(world.read_now(reader, 4, 4), bytes(b"more"));
    for past in [8, 9] {
        let end = world.read_now(reader, past, 4);
        assert_eq!(end, Answer::Error(Errno::IO), "at {past}");
    }
}

#[test]
fn the_state_is_read_from_any_offset() {
    let mut world = World::new(Deliver::Follow, |_| {});
    world.create("name", libc::O_WRONLY);
    let status = world.control("status");
    let Answer::Bytes(all) = world.read_now(status, 0, 1 << 20) else {
        panic!("no text");
    };
    assert!(String::from_utf8_lossy(&all).contains("name"));
    assert_eq!(world.read_now(status, 5, 10), bytes(&all[5..15]));
    assert_eq!(world.read_now(status, 1 << 20, 10), bytes(b""));
}

#[test]
fn events_are_waited_for_unless_one_will_not_or_the_mount_ends() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let events = world.control("events");
    let Answer::Error(Errno::AGAIN) = world.read_now(events, 0, 4096) else {
        panic!("something happened");
    };
    let waits = world.read(events, 0, 4096);
    assert_eq!(world.answer(waits), None);
    world.create("f", libc::O_WRONLY);
    assert!(matches!(world.answer(waits), Some(Answer::Bytes(_))));
    while world.read_now(events, 0, 4096) != Answer::Error(Errno::AGAIN) {}
    let waits = world.read(events, 0, 4096);
    world.tell(Request::ShutDown);
    assert_eq!(world.error(waits), Some(Errno::NOTCONN));
    let late = world.read_now(events, 0, 4096);
    assert_eq!(late, Answer::Error(Errno::NOTCONN));
}

#[test]
fn who_asks_beyond_the_end_has_not_had_what_is_before_it() {
    let mut world = World::new(Deliver::Follow, |settings| settings.consume = true);
    let (ino, writer) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"1234");
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(world.read_now(reader, 100, 4), bytes(b""));
    assert_eq!(world.read_now(reader, 0, 4), bytes(b"1234"));
    // It goes when the reader knows that this was all.
    assert!(world.try_to_look_up(ROOT, "f").is_ok());
    assert_eq!(world.read_now(reader, 4, 4), bytes(b""));
    assert_eq!(world.try_to_look_up(ROOT, "f").err(), Some(Errno::NOENT));
}

#[test]
fn a_reader_of_a_path_waits_for_what_comes_there_when_what_it_has_had_is_removed() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let open = world.open_door("pipe", "x");
    assert_eq!(world.answer(open), None);
    let (ino, writer) = world.create("x", libc::O_WRONLY);
    world.write(ino, 0, b"a");
    let reader = world.handle(open);
    world.read(reader, 0, 4);
    let waits = world.read(reader, 1, 4);
    world.unlink("x");
    world.release(writer);
    world.pass(LINGER);
    world.pass(LINGER);
    assert_eq!(world.answer(waits), None);
    let (ino, _) = world.create("x", libc::O_WRONLY);
    world.write(ino, 0, b"ab");
    assert_eq!(world.answer(waits), Some(&bytes(b"b")));
}

#[test]
fn what_was_removed_is_missing_once_nobody_is_left_to_make_it_again() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let id = world.capture("x");
    world.tell(Request::Hold { id, again: false });
    let open = Request::OpenCaptured {
        id,
        reading: Reading {
            of_holders: true,
            by_position: false,
        },
        opener: Opener::default(),
    };
    let Ok(Answer::Handle(reader, _)) = world.ask(open) else {
        panic!("not opened");
    };
    let (ino, writer) = world.create("x", libc::O_WRONLY);
    world.write(ino, 0, b"a");
    world.read(reader, 0, 4);
    let waits = world.read(reader, 1, 4);
    world.unlink("x");
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(world.answer(waits), None);
    let left_others = false;
    world.tell(Request::LetGo { id, left_others });
    assert_eq!(world.error(waits), Some(Errno::NOENT));
}

#[test]
fn those_whom_a_process_left_behind_have_a_moment_to_open_what_it_did_not() {
    let holder_exits = |left_others: bool| {
        let mut world = World::new(Deliver::Follow, |_| {});
        let id = world.capture("x");
        world.tell(Request::Hold { id, again: false });
        let open = Request::OpenCaptured {
            id,
            reading: Reading {
                of_holders: true,
                by_position: false,
            },
            opener: Opener::default(),
        };
        let Ok(Answer::Handle(reader, _)) = world.ask(open) else {
            panic!("not opened");
        };
        let waits = world.read(reader, 0, 4);
        world.tell(Request::LetGo { id, left_others });
        (world, reader, waits)
    };
    let (world, _, waits) = holder_exits(false);
    assert_eq!(world.error(waits), Some(Errno::NOENT));
    let (mut world, _, waits) = holder_exits(true);
    world.pass(LEFT_BEHIND - Duration::from_millis(1));
    assert_eq!(world.answer(waits), None);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.error(waits), Some(Errno::NOENT));
    let (mut world, reader, waits) = holder_exits(true);
    world.pass(LEFT_BEHIND / 2);
    let (ino, writer) = world.create("x", libc::O_WRONLY);
    world.pass(LEFT_BEHIND * 2);
    assert_eq!(world.answer(waits), None);
    world.write(ino, 0, b"late");
    assert_eq!(world.answer(waits), Some(&bytes(b"late")));
    let end = world.read(reader, 4, 4);
    world.release(writer);
    world.pass(DYING);
    assert_eq!(world.answer(end), Some(&bytes(b"")));
}

#[test]
fn who_opens_a_finished_file_at_a_path_keeps_it_when_another_takes_its_place() {
    let mut world = World::new(Deliver::Follow, |_| {});
    for (name, content) in [("x", b"old"), ("y", b"new")] {
        let (ino, writer) = world.create(name, libc::O_WRONLY);
        world.write(ino, 0, content);
        world.release(writer);
    }
    world.pass(LINGER);
    let open = world.open_door("pipe", "x");
    let reader = world.handle(open);
    world.rename("y", "x");
    assert_eq!(world.read_now(reader, 0, 4), bytes(b"old"));
    assert_eq!(world.read_now(reader, 3, 4), bytes(b""));
}

#[test]
fn a_file_that_is_written_again_is_warned_of_if_somebody_was_told_that_it_was_done() {
    type Act = fn(&mut World, u64) -> Option<Unique>;
    let acts: [(&str, Deliver, Act, bool); 4] = [
        ("nobody", Deliver::Settled, |_, _| None, false),
        (
            "one who opened it",
            Deliver::Settled,
            |world, ino| Some(world.open(ino)),
            true,
        ),
        (
            "one who waited for it",
            Deliver::Settled,
            |world, _| Some(world.open_door("wait", "f")),
            true,
        ),
        (
            "one who has had the end",
            Deliver::Follow,
            |world, ino| {
                let open = world.open(ino);
                let reader = world.handle(open);
                world.read(reader, 0, 4);
                Some(world.read(reader, 4, 4))
            },
            true,
        ),
    ];
    for (who, deliver, act, expected) in acts {
        let mut world = World::new(deliver, |_| {});
        let (ino, writer) = world.create("f", libc::O_WRONLY);
        world.write(ino, 0, b"text");
        let told = act(&mut world, ino);
        world.release(writer);
        world.pass(LINGER);
        assert!(
            told.is_none_or(|told| world.answer(told).is_some()),
            "{who}"
        );
        world.reopen_for_writing(ino, libc::O_WRONLY | libc::O_APPEND);
        let warns = world.core.files[&ino].warning().is_some();
        assert_eq!(warns, expected, "{who}");
    }
}

#[test]
fn the_kernel_asks_again_what_a_file_is_once_a_reader_has_it() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"x");
    world.open(ino);
    let is_it =
        |effect: &Effect| matches!(effect, Effect::ForgetAttributes { ino: of, .. } if *of == ino);
    assert!(world.told.iter().any(is_it), "{:?}", world.told);
}

#[test]
fn who_has_waited_and_opened_is_sent_back_again_the_next_time() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, writer) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"text");
    let waits = world.open_door("wait", "f");
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(world.error(waits), Some(Errno::STALE), "to look again");
    let open = world.open(ino);
    world.handle(open);
    // It finds another name that is gone when it opens that.
    world.create("new", libc::O_WRONLY);
    world.rename("new", "f");
    assert_eq!(
        world.opens_with(ino, &Opener::default()),
        Some(Errno::STALE)
    );
}

#[test]
fn who_has_waited_for_a_finished_file_waits_on_if_it_is_written_again_just_then() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, writer) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"text");
    let waits = world.open_door("wait", "f");
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(world.error(waits), Some(Errno::STALE), "to look again");
    let writer = world.reopen_for_writing(ino, libc::O_WRONLY | libc::O_APPEND);
    world.write(ino, 4, b"more");
    let open = world.open(ino);
    assert_eq!(world.answer(open), None);
    world.release(writer);
    world.pass(LINGER);
    world.handle(open);
}

#[test]
fn a_file_with_two_names_is_read_to_its_end_though_one_is_removed() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, writer) = world.create("f", libc::O_WRONLY);
    world.try_to_link(ino, "g").unwrap();
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"text");
    world.read(reader, 0, 4);
    let end = world.read(reader, 4, 4);
    world.unlink("f");
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(world.answer(end), Some(&bytes(b"")));
}

#[test]
fn what_is_read_from_its_end_is_whole_for_who_opens_it_and_flows_through_a_pipe() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let (ino, writer) = world.create("x.parquet", libc::O_WRONLY);
    let by_path = world.open(ino);
    let piped = world.open_door("pipe", "x.parquet");
    world.write(ino, 0, b"PAR1");
    world.pass(10 * LINGER);
    assert_eq!(world.answer(by_path), None);
    let reader = world.handle(piped);
    assert_eq!(world.read_now(reader, 0, 4), bytes(b"PAR1"));
    world.release(writer);
    world.pass(LINGER);
    world.handle(by_path);
}

#[test]
fn only_a_reader_that_cannot_be_seen_is_warned_of() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    world.open(ino);
    assert_eq!(world.core.status().warnings, [""; 0]);
    let unseen = world.caller(0);
    world.open_by(unseen, ino, &Opener::default());
    assert_eq!(world.core.status().warnings.len(), 1);
}

#[test]
fn a_removed_file_is_kept_for_who_has_it_open_and_no_longer() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, writer) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"text");
    world.release(writer);
    world.pass(LINGER);
    let open = world.open(ino);
    let plain = world.handle(open);
    world.unlink("f");
    world.forget(ino, 1);
    assert_eq!(world.read_now(plain, 0, 4), bytes(b"text"));
    world.release(plain);
    assert!(world.core.names.get(ino).is_err());
}
