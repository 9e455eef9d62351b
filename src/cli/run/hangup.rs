//! Destinations whose other end goes away while nothing is written to them.
//!
//! Knows descriptors and their numbers; what is done about it is up to `supervise`.

use std::os::fd::OwnedFd;

use crossbeam_channel::Sender;
use fifofs::{Error, Result};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::supervise::Event;

/// Has `tell` told, once for each, when nobody reads a destination any more. Each is the number of
/// an output and its destination.
pub(super) fn watch(mut watched: Vec<(usize, OwnedFd)>, tell: Sender<Event>) -> Result<()> {
    if watched.is_empty() {
        return Ok(());
    }
    std::thread::Builder::new()
        .name("fifofs-hangup".into())
        .spawn(move || {
            while !watched.is_empty() {
                let Ok(closed) = wait(&watched) else {
                    // Writing will tell.
                    return;
                };
                for output in closed {
                    watched.retain(|(other, _)| *other != output);
                    if tell.send(Event::HungUp { output }).is_err() {
                        return;
                    }
                }
            }
        })
        .map_err(|error| Error::io("watch", "destinations", error))?;
    Ok(())
}

/// Waits until some are closed, and says which.
fn wait(watched: &[(usize, OwnedFd)]) -> rustix::io::Result<Vec<usize>> {
    // Errors and hangups are reported though nothing is asked for.
    let mut polled: Vec<PollFd<'_>> = watched
        .iter()
        .map(|(_, descriptor)| PollFd::new(descriptor, PollFlags::empty()))
        .collect();
    loop {
        match rustix::event::poll(&mut polled, None) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    let closed = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    Ok(watched
        .iter()
        .zip(&polled)
        .filter(|(_, polled)| polled.revents().intersects(closed))
        .map(|((output, _), _)| *output)
        .collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_pipe_is_told_of_when_its_reader_goes_and_not_before() {
        let (tell, told) = crossbeam_channel::unbounded();
        let (first_reader, first) = rustix::pipe::pipe().expect("a pipe");
        let (second_reader, second) = rustix::pipe::pipe().expect("a pipe");
        watch(vec![(3, first), (5, second)], tell).expect("a thread");
        assert!(told.recv_timeout(Duration::from_millis(20)).is_err());
        for (output, reader) in [(5, second_reader), (3, first_reader)] {
            drop(reader);
            match told.recv_timeout(Duration::from_secs(10)) {
                Ok(Event::HungUp { output: got }) => assert_eq!(got, output),
                _ => panic!("output {output} was not told of"),
            }
        }
        assert!(
            told.recv_timeout(Duration::from_secs(10)).is_err(),
            "the thread has ended"
        );
    }
}
