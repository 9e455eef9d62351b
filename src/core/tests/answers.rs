//! Answers to all kinds of callers, also those that need not wait: the writer itself, a step of its script,
//! this process, a mapping, a reader that has had the end.

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

/// An opener that has the file open for writing, too, and so gets it as it is.
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

    /// Opens a file of the control directory.
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

/// A stream whose only reader has had `0123` and not `4567`; with the inode and the handles of the reader and of
/// a child of the writer.
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
fn a_writer_of_a_stream_reads_back_only_bytes_that_no_reader_has_had() {
    let (mut world, _, _, early) = streamed();
    assert_eq!(world.read_now(early, 4, 4), bytes(b"4567"));
    let back = world.read_now(early, 0, 8);
    assert_eq!(back, Answer::Error(Errno::SPIPE));
    // The program wanted to read those bytes back, so the file has failed.
    let (mut world, ino, reader, early) = streamed();
    world.read_now(early, 0, 8);
    let more = world.read(reader, 4, 4);
    assert_eq!(world.error(more), Some(Errno::IO));
    let write = world.write(ino, 8, b"8");
    assert_eq!(world.error(write), Some(Errno::PIPE));
}

#[test]
fn a_stream_that_has_dropped_bytes_is_opened_only_by_the_flusher() {
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
    // An open by a stranger changes nothing; one by a step of the script fails the file.
    let write = world.write(ino, 8, b"8");
    assert_eq!(world.answer(write), Some(&Answer::Written(1)));
    let step = world.opens_with(ino, &child_of_writer());
    assert_eq!(step, Some(Errno::SPIPE));
    let write = world.write(ino, 9, b"9");
    assert_eq!(world.error(write), Some(Errno::PIPE));
}

#[test]
fn only_a_stream_bypasses_the_page_cache_of_callers_that_need_not_wait() {
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
fn a_reader_that_has_had_the_end_may_read_again_and_gets_the_error_of_a_later_crash_only_at_the_end()
 {
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
fn the_status_is_read_from_any_offset() {
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
fn reads_of_events_wait_unless_they_are_nonblocking_or_the_mount_ends() {
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
fn a_reader_that_asks_beyond_the_end_has_not_had_the_bytes_before_it() {
    let mut world = World::new(Deliver::Follow, |settings| settings.consume = true);
    let (ino, writer) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"1234");
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(world.read_now(reader, 100, 4), bytes(b""));
    assert_eq!(world.read_now(reader, 0, 4), bytes(b"1234"));
    // It is removed when the reader knows that this was the end.
    assert!(world.try_to_look_up(ROOT, "f").is_ok());
    assert_eq!(world.read_now(reader, 4, 4), bytes(b""));
    assert_eq!(world.try_to_look_up(ROOT, "f").err(), Some(Errno::NOENT));
}

#[test]
fn a_reader_of_a_path_waits_for_the_next_file_there_when_its_own_is_removed() {
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
fn a_removed_file_is_missing_once_no_holder_is_left_to_make_it_again() {
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
fn processes_that_a_holder_left_behind_have_a_moment_to_open_what_it_did_not() {
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
fn a_reader_of_a_finished_file_keeps_it_when_another_takes_its_place() {
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
fn writing_a_file_again_warns_if_a_reader_was_told_that_it_was_done() {
    type Act = fn(&mut World, u64) -> Option<Unique>;
    let acts: [(&str, Deliver, Act, bool); 4] = [
        ("no reader", Deliver::Settled, |_, _| None, false),
        (
            "one that opened it",
            Deliver::Settled,
            |world, ino| Some(world.open(ino)),
            true,
        ),
        (
            "one that waited for it",
            Deliver::Settled,
            |world, _| Some(world.open_door("wait", "f")),
            true,
        ),
        (
            "one that has had the end",
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
    for (reader, deliver, act, expected) in acts {
        let mut world = World::new(deliver, |_| {});
        let (ino, writer) = world.create("f", libc::O_WRONLY);
        world.write(ino, 0, b"text");
        let answered = act(&mut world, ino);
        world.release(writer);
        world.pass(LINGER);
        assert!(
            answered.is_none_or(|answered| world.answer(answered).is_some()),
            "{reader}"
        );
        world.reopen_for_writing(ino, libc::O_WRONLY | libc::O_APPEND);
        let warns = world.core.files[&ino].warning().is_some();
        assert_eq!(warns, expected, "{reader}");
    }
}

#[test]
fn the_kernel_drops_the_attributes_of_a_file_once_a_reader_has_it() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"x");
    world.open(ino);
    let is_of_file =
        |effect: &Effect| matches!(effect, Effect::ForgetAttributes { ino: of, .. } if *of == ino);
    assert!(
        world.other_effects.iter().any(is_of_file),
        "{:?}",
        world.other_effects
    );
}

#[test]
fn a_reader_that_has_waited_and_opened_is_sent_back_again_the_next_time() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, writer) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"text");
    let waits = world.open_door("wait", "f");
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(world.error(waits), Some(Errno::STALE), "to look again");
    let open = world.open(ino);
    world.handle(open);
    // It finds a name that leads to another file when it opens that.
    world.create("new", libc::O_WRONLY);
    world.rename("new", "f");
    assert_eq!(
        world.opens_with(ino, &Opener::default()),
        Some(Errno::STALE)
    );
}

#[test]
fn a_reader_that_has_waited_for_a_file_waits_on_if_it_is_written_again_just_then() {
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
fn a_file_that_is_read_from_its_end_is_whole_when_opened_by_its_path_and_flows_through_a_pipe() {
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
fn only_a_reader_that_cannot_be_seen_causes_a_warning() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    world.open(ino);
    assert_eq!(world.core.status().warnings, [""; 0]);
    let unseen = world.caller(0);
    world.open_by(unseen, ino, &Opener::default());
    assert_eq!(world.core.status().warnings.len(), 1);
}

#[test]
fn a_removed_file_is_kept_as_long_as_it_is_open() {
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
