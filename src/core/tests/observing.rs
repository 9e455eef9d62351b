//! What can be observed of a file without reading it: events, metrics, warnings and times.

use std::time::Duration;

use rustix::io::Errno;

use super::super::CONTROL_NAME;
use super::super::generation::Ending;
use super::super::namespace::ROOT;
use super::super::request::{Request, User};
use super::super::rules::Deliver;
use super::super::spool::Spool;
use super::{Answer, LINGER, WRITER, World};

impl World {
    fn open_control(&mut self, name: &str) -> u64 {
        let directory = self.look_up(ROOT, CONTROL_NAME);
        let ino = self.look_up(directory, name);
        let open = self.open(ino);
        self.handle(open)
    }

    /// The kinds of events that were not read yet.
    fn kinds(&mut self, events: u64) -> Vec<String> {
        let mut kinds = Vec::new();
        while let Answer::Bytes(text) = self.read_now(events, 0, 1 << 16) {
            for line in String::from_utf8(text).unwrap().lines() {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                kinds.push(event["event"].as_str().unwrap().to_owned());
            }
        }
        kinds
    }

    /// A counter of the metrics.
    fn counted(&mut self, name: &str) -> u64 {
        let metrics = self.open_control("metrics");
        let Answer::Bytes(text) = self.read_now(metrics, 0, 1 << 20) else {
            panic!("no metrics");
        };
        let text = String::from_utf8(text).unwrap();
        let value = |line: &str| line.strip_prefix(&format!("{name}_total "))?.parse().ok();
        text.lines()
            .find_map(value)
            .unwrap_or_else(|| panic!("{name}: {text}"))
    }

    fn warning(&self, ino: u64) -> &str {
        self.core.files[&ino].warning().map_or("", String::as_str)
    }
}

#[test]
fn everything_that_happens_to_a_file_is_an_event() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let events = world.open_control("events");
    let (ino, writer) = world.create("f", libc::O_WRONLY);
    assert_eq!(world.kinds(events), ["opened"]);
    world.write(ino, 0, b"1234");
    assert_eq!(world.kinds(events), ["chosen", "wrote"]);
    world.truncate(ino, 4).unwrap();
    assert_eq!(world.kinds(events), [""; 0], "its length is the same");
    let open = world.open(ino);
    let reader = world.handle(open);
    world.read(reader, 0, 4);
    world.kinds(events);
    world.write(ino, 0, b"x");
    assert_eq!(world.kinds(events), ["rewritten", "warning", "wrote"]);
    assert!(world.warning(ino).contains("bytes 0 to 1 were rewritten"));
    world.truncate(ino, 2).unwrap();
    assert_eq!(world.kinds(events), ["truncated"]);
    world.release(writer);
    assert_eq!(world.kinds(events), ["closed"]);
    world.pass(LINGER);
    assert_eq!(world.kinds(events), ["done"]);
    let counts = ["done", "failed", "rewritten"];
    let counted = counts.map(|name| world.counted(&format!("fifofs_{name}")));
    assert_eq!(counted, [1, 0, 1]);
}

#[test]
fn a_failure_is_an_event_and_counted() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let events = world.open_control("events");
    let (ino, writer) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"1234");
    world.end(WRITER, Ending::Signal(libc::SIGKILL));
    world.release(writer);
    world.pass(LINGER);
    let kinds = world.kinds(events);
    assert_eq!(kinds, ["opened", "chosen", "wrote", "closed", "failed"]);
    assert_eq!(world.counted("fifofs_failed"), 1);
    assert_eq!(world.counted("fifofs_done"), 0);
}

#[test]
fn bytes_that_a_stream_lost_are_warned_of_once() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let events = world.open_control("events");
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"1234");
    world.read(reader, 0, 4);
    world.kinds(events);
    for _ in 0..2 {
        let back = world.write(ino, 1, b"x");
        assert!(world.error(back).is_some());
    }
    assert_eq!(world.kinds(events), ["warning"]);
    assert!(world.warning(ino).contains("bytes from 1 on"));
}

#[test]
fn every_change_of_content_changes_the_times() {
    type Act = fn(&mut World, u64);
    let copy: Act = |world, ino| {
        let (from, handle) = world.create("from", libc::O_RDWR);
        world.truncate(from, 4).unwrap();
        let copy = Request::Copy {
            from: (from, handle, 0),
            to: (ino, 0),
            length: 4,
            by: User { uid: 0, gid: 0 },
        };
        world.ask(copy).unwrap();
    };
    let acts: [(&str, Act); 3] = [
        ("emptied when opened", |world, ino| {
            world.reopen_for_writing(ino, libc::O_WRONLY | libc::O_TRUNC);
        }),
        ("allocated", |world, ino| {
            world.try_to_allocate(ino, (0, 9), 0).unwrap();
        }),
        ("copied", copy),
    ];
    for (what, act) in acts {
        let mut world = World::new(Deliver::Follow, |_| {});
        let (ino, _) = world.create("f", libc::O_RDWR);
        world.write(ino, 0, b"12");
        world.pass(LINGER);
        act(&mut world, ino);
        let modified = world.core.attributes(ino).unwrap().mtime;
        assert_eq!(modified, super::moment(world.now).wall, "{what}");
    }
}

#[test]
fn a_copy_of_several_steps_is_whole_or_says_how_far_it_came() {
    const STEP: u64 = 1 << 20;
    let copied = |max_size: u64| {
        let mut world = World::with_room(max_size, Deliver::Follow, |_| {});
        let (from, handle) = world.create("from", libc::O_RDWR);
        let (to, _) = world.create("to", libc::O_RDWR);
        let length = 2 * STEP + 10;
        for (offset, text) in [(0, b"one"), (STEP + 5, b"two"), (2 * STEP + 7, b"end")] {
            world.write_back(from, offset, text);
        }
        let mut copy = |from_offset, to_offset| {
            let copy = Request::Copy {
                from: (from, handle, from_offset),
                to: (to, to_offset),
                length: length + 100,
                by: User { uid: 0, gid: 0 },
            };
            world.ask(copy)
        };
        let answer = copy(0, 0);
        let spool = |world: &World| world.core.spool(to).unwrap().read(0, length as usize);
        let again = (max_size < length).then(|| copy(0, 4 * STEP));
        let content = spool(&world).to_vec().unwrap();
        (answer, content, again)
    };
    let (answer, content, _) = copied(8 * STEP);
    assert_eq!(answer, Ok(Answer::Written((2 * STEP + 10) as u32)));
    let at = |offset: u64| &content[offset as usize..offset as usize + 3];
    assert_eq!(
        [at(0), at(STEP + 5), at(2 * STEP + 7)],
        [b"one", b"two", b"end"]
    );
    let zeros = content.iter().filter(|byte| **byte == 0).count() as u64;
    assert_eq!(zeros, 2 * STEP + 10 - 9);
    // With room for one step only.
    let (answer, content, again) = copied(STEP + 5 * 4096);
    assert_eq!(answer, Ok(Answer::Written(STEP as u32)));
    assert_eq!(content.len() as u64, STEP);
    assert_eq!(again, Some(Err(Errno::NOSPC)));
}

#[test]
fn zeros_make_a_file_longer_unless_they_are_to_keep_its_size_and_a_hole_never_does() {
    let (zero, hole) = (libc::FALLOC_FL_ZERO_RANGE, libc::FALLOC_FL_PUNCH_HOLE);
    let keep = libc::FALLOC_FL_KEEP_SIZE;
    for (mode, expected) in [(zero, 9), (zero | keep, 4), (hole | keep, 4)] {
        let mut world = World::new(Deliver::Follow, |_| {});
        let (ino, _) = world.create("f", libc::O_RDWR);
        world.write(ino, 0, b"1234");
        let open = world.open(ino);
        let reader = world.handle(open);
        world.read(reader, 0, 4);
        let waits = world.read(reader, 4, 4);
        world.try_to_allocate(ino, (2, 7), mode).unwrap();
        assert_eq!(
            world.core.spool(ino).map(Spool::len),
            Some(expected),
            "{mode}"
        );
        assert_eq!(world.error(waits), Some(Errno::STALE), "{mode}");
    }
}

#[test]
fn only_readers_that_had_the_rewritten_bytes_get_an_error() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let opens = [world.open(ino), world.open(ino)];
    let [slow, quick] = opens.map(|open| world.handle(open));
    world.write(ino, 0, b"01234567");
    world.read(slow, 0, 4);
    world.read(quick, 0, 8);
    world.write(ino, 4, b"x");
    assert_eq!(world.read_now(slow, 4, 4), Answer::Bytes(b"x567".to_vec()));
    let more = world.read_now(quick, 8, 4);
    assert_eq!(more, Answer::Error(Errno::STALE));
}

#[test]
fn a_file_that_the_flusher_refused_is_asked_for_again_a_second_later() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.read(reader, 0, 4);
    let flushes = |world: &World| {
        let flushes = world.flushes.iter().filter(|flush| flush.ino == ino);
        flushes.map(|flush| flush.on).collect::<Vec<bool>>()
    };
    world.pass(Duration::from_millis(2));
    assert_eq!(flushes(&world), [true]);
    world.tell(Request::NotFlushed { ino });
    assert_eq!(flushes(&world), [false]);
    world.pass(Duration::from_millis(999));
    assert_eq!(flushes(&world), [false; 0]);
    world.pass(Duration::from_millis(1));
    assert_eq!(flushes(&world), [true]);
}
