//! Promises that were once broken.

use std::time::Duration;

use rustix::io::Errno;

use super::super::generation::Ending;
use super::super::namespace::{ROOT, Rename};
use super::super::request::{Opener, Request};
use super::super::rules::Deliver;
use super::{Answer, LINGER, WRITER, World, bytes};

fn rename(world: &mut World, from: &str, to: &str, how: Rename) {
    world.try_to_rename(from, to, how).unwrap();
}

#[test]
fn a_waiting_write_is_answered_when_its_file_is_no_longer_captured() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let capture = world.capture("f");
    let (ino, _) = world.create("f", libc::O_WRONLY);
    world.tell(Request::KeepAtMost {
        id: capture,
        bytes: 8,
    });
    let ahead = world.write_back(ino, 0, &[1; 32]);
    assert_eq!(world.answer(ahead), None);
    world.unlink("f");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.answer(ahead), Some(&Answer::Written(32)));
}

#[test]
fn a_waiting_write_to_a_stream_is_answered_when_its_file_is_no_longer_captured() {
    let mut world = World::new(Deliver::Stream, |settings| {
        settings.readers_wait = false;
        settings.patience = Duration::MAX;
    });
    let capture = world.capture("f");
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let ahead = world.write(ino, 0, &[1; 32]);
    assert_eq!(world.answer(ahead), None);
    world.tell(Request::EndCapture {
        id: capture,
        directory: None,
    });
    assert_eq!(world.answer(ahead), Some(&Answer::Written(32)));
}

#[test]
fn a_late_nonblocking_reader_of_a_stream_is_refused_and_does_not_hold_up_its_writer() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, &[1; 32]);
    world.read(reader, 0, 32);
    let late = world.open_with(ino, libc::O_NONBLOCK, &Opener::default());
    assert_eq!(world.answer(late), Some(&Answer::Error(Errno::STALE)));
    let within = world.write(ino, 32, &[2; 16]);
    assert_eq!(world.answer(within), Some(&Answer::Written(16)));
}

#[test]
fn a_file_that_is_emptied_lacks_nothing_any_more() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let lost = world.write_back(ino, 0, &vec![1; 2 << 20]);
    assert_eq!(world.answer(lost), Some(&Answer::Error(Errno::NOSPC)));
    world.truncate(ino, 0).unwrap();
    world.write_back(ino, 0, b"anew");
    world.release(handle);
    world.pass(LINGER);
    let open = world.open(ino);
    let reader = world.handle(open);
    let all = world.read(reader, 0, 10);
    assert_eq!(world.answer(all), Some(&bytes(b"anew")));
}

#[test]
fn pages_of_a_mapping_come_from_the_file_that_was_opened() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"first");
    let open = world.open(ino);
    let reader = world.handle(open);
    let (other, _) = world.create("temporary", libc::O_WRONLY);
    world.write(other, 0, b"other");
    rename(&mut world, "temporary", "f", Rename::Replace);
    world.release(handle);
    world.forget(ino, 1);
    assert_eq!(world.fill_pages(ino, reader, 4096), bytes(b"first"));
    world.release(reader);
    assert!(
        !world.core.files.contains_key(&ino),
        "no process can reach it"
    );
}

#[test]
fn pages_of_a_pipe_are_refused_so_that_splice_reads_it() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let control = world.look_up(ROOT, ".fifofs");
    let pipe = world.look_up(control, "pipe");
    let name = world.look_up(pipe, "f");
    let (ino, _) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"first");
    let open = world.open(name);
    let reader = world.handle(open);
    let refused = Answer::Error(Errno::INVAL);
    assert_eq!(world.fill_pages(name, reader, 4096), refused);
    let read = world.read(reader, 0, 10);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.answer(read), Some(&bytes(b"first")));
}

#[test]
fn a_file_that_an_exchange_moves_away_from_a_held_path_is_done_too() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let capture = world.capture("held");
    world.tell(Request::Hold {
        id: capture,
        again: false,
    });
    let (ino, handle) = world.create("held", libc::O_WRONLY);
    world.write(ino, 0, b"x");
    world.release(handle);
    world.end(WRITER, Ending::Status(0));
    world.pass(LINGER);
    world.create("other", libc::O_WRONLY);
    rename(&mut world, "other", "held", Rename::Exchange);
    world.pass(LINGER);
    // It was just renamed, so the kernel looks its path up again.
    world.open(ino);
    let open = world.open(ino);
    let reader = world.handle(open);
    let all = world.read(reader, 0, 10);
    assert_eq!(world.answer(all), Some(&bytes(b"x")));
}

#[test]
fn a_reader_that_was_sent_back_and_then_waits_long_is_not_sent_back_again() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let first = world.open(ino);
    let (other, other_handle) = world.create("temporary", libc::O_WRONLY);
    rename(&mut world, "temporary", "f", Rename::Replace);
    world.release(handle);
    world.release(other_handle);
    world.pass(LINGER);
    assert_eq!(world.answer(first), Some(&Answer::Error(Errno::STALE)));
    // Meanwhile it is written once more, and for long, and replaced again.
    let again = world.reopen_for_writing(other, libc::O_WRONLY);
    let second = world.open(other);
    world.pass(Duration::from_secs(6));
    assert_eq!(world.answer(second), None);
    let (_, last) = world.create("temporary", libc::O_WRONLY);
    rename(&mut world, "temporary", "f", Rename::Replace);
    world.release(again);
    world.release(last);
    world.pass(LINGER);
    world.handle(second);
}

/// Several threads of the kernel write its cache back, and one may overtake another.
#[test]
fn the_kernel_may_write_back_later_bytes_first() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let (ino, handle) = world.create("x.log", libc::O_WRONLY);
    world.write_back(ino, 4096, b"second\n");
    assert_eq!(world.core.files[&ino].way(), None);
    world.write_back(ino, 0, &[b'a'; 4096]);
    assert_eq!(world.core.files[&ino].way(), Some(crate::Way::Follow));
    world.release(handle);

    let (ino, handle) = world.create("y.log", libc::O_WRONLY);
    world.write_back(ino, 4096, b"with a gap before it\n");
    world.release(handle);
    assert_eq!(world.core.files[&ino].way(), Some(crate::Way::Settled));
}
