//! Copies from the reader of an output to its destination.
//!
//! Knows bytes and how both sides can end; has no thread and waits only for the two sides.
//! Invariant: an output that is called whole is at the destination, to the last byte.

use std::io::{self, BufRead};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fifofs::Error;

use super::end::{End, named};
use super::sink::{Sink, Stopped};

impl From<Stopped> for End {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Closed => End::Closed,
            Stopped::Failed(error) => End::Unwritten(error),
        }
    }
}

/// Copies until one side ends. `delivered` counts the bytes; errors name the output `name`.
pub(super) fn copy(
    reader: &mut impl BufRead,
    name: &Path,
    sink: &mut Sink,
    delivered: &AtomicU64,
) -> End {
    loop {
        let bytes = match reader.fill_buf() {
            Ok([]) => break,
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return End::Unread(named(Error::io("read", name, error), name)),
        };
        let length = bytes.len();
        if let Err(stopped) = sink.write(bytes) {
            return stopped.into();
        }
        reader.consume(length);
        delivered.fetch_add(length as u64, Ordering::Relaxed);
    }
    match sink.finish() {
        Ok(()) => End::Whole,
        Err(stopped) => stopped.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor, Read};

    use super::super::destinations::Destination;
    use super::*;

    /// Gives some bytes, an interruption, and then an error.
    struct Broken {
        bytes: Cursor<Vec<u8>>,
        interrupted: bool,
        error: Option<Error>,
    }

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if !std::mem::replace(&mut self.interrupted, true) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match self.bytes.read(buffer)? {
                0 => self.error.take().map_or(Ok(0), |error| Err(error.into())),
                length => Ok(length),
            }
        }
    }

    fn copied(error: Option<Error>, to: &Path) -> (End, Sink, u64) {
        let source = Broken {
            bytes: Cursor::new(b"bytes".to_vec()),
            interrupted: false,
            error,
        };
        let mut sink = Sink::open(&Destination::File(to.into())).expect("a sink");
        let delivered = AtomicU64::new(0);
        let mut reader = BufReader::with_capacity(2, source);
        let end = copy(&mut reader, Path::new("x.zip"), &mut sink, &delivered);
        (end, sink, delivered.into_inner())
    }

    #[test]
    fn a_whole_output_is_at_the_destination() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("x");
        let (end, sink, delivered) = copied(None, &path);
        assert!(matches!(end, End::Whole) && delivered == 5);
        sink.appear(None).expect("a file");
        assert_eq!(std::fs::read(path).expect("read"), b"bytes");
    }

    #[test]
    fn an_error_of_the_reader_comes_after_the_bytes_before_it_and_names_the_output() {
        let place = tempfile::tempdir().expect("a directory");
        let error = Error::rewritten("/run/fifofs-1/x.zip");
        let (end, _, delivered) = copied(Some(error), &place.path().join("x"));
        assert_eq!(delivered, 5);
        let End::Unread(error) = end else {
            panic!("{end:?}")
        };
        let said = error.to_string();
        assert!(
            said.starts_with("x.zip: the program rewrote bytes"),
            "{said}"
        );
    }

    #[test]
    fn a_destination_that_fails_is_named() {
        let (end, _, _) = copied(None, Path::new("/dev/full"));
        let End::Unwritten(error) = end else {
            panic!("{end:?}")
        };
        let said = error.to_string();
        assert!(
            said.contains("cannot write to /dev/full: No space left"),
            "{said}"
        );
    }
}
