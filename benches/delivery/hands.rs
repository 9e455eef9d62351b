//! What this program does when it is started again as a reader or a writer.
//!
//! A hand says `ready` on standard output once the next thing it does is to wait, and in the end one line with what it
//! saw. Moments are nanoseconds of the monotonic clock, which all processes share.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::Outcome;

/// The first argument of a hand.
pub(crate) const MARK: &str = "--hand";

/// How much a reader asks for at a time.
const READ_BYTES: usize = 1 << 20;

/// How much each of a thousand readers asks for, and the writer writes, at a time.
const PART_BYTES: usize = 64 << 10;

/// Enough for a thread that opens and reads.
const STACK_BYTES: usize = 64 << 10;

/// Now, in nanoseconds.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Runs the hand that the arguments name.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["read", path, pipe_bytes] => read(path, pipe_bytes),
        ["hash", path] => hash(path),
        ["read-lines", path] => read_lines(path),
        ["write-lines", path, count] => write_lines(path, count),
        ["scatter", template, files, total] => scatter(template, files, total),
        ["gather", template, files] => gather(template, files),
        ["wait", template, count] => wait(template, count),
        ["hold", path] => hold(path),
        _ => Err(format!("there is no hand {arguments:?}")),
    };
    match done {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> Outcome<T> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn failed(what: &'static str, path: &str) -> impl Fn(io::Error) -> String {
    move |error| format!("cannot {what} {path}: {error}")
}

fn ready() -> Outcome<()> {
    println!("ready");
    io::stdout().flush().map_err(failed("write to", "stdout"))
}

/// One of many paths.
fn nth(template: &str, index: usize) -> String {
    template.replace('%', &index.to_string())
}

/// `MOMENT BYTES`: when the last byte came, and how many there were. With a pipe size above 0 the pipe is set to that.
fn read(path: &str, pipe_bytes: &str) -> Outcome<String> {
    let pipe_bytes: usize = parse(pipe_bytes)?;
    let mut buffer = vec![0; READ_BYTES];
    ready()?;
    let mut file = File::open(path).map_err(failed("open", path))?;
    if pipe_bytes > 0 {
        rustix::pipe::fcntl_setpipe_size(&file, pipe_bytes)
            .map_err(|errno| format!("cannot set the size of the pipe {path}: {errno}"))?;
    }
    let (moment, bytes) = read_all(&mut file, &mut buffer).map_err(failed("read", path))?;
    Ok(format!("{moment} {bytes}"))
}

fn read_all(file: &mut File, buffer: &mut [u8]) -> io::Result<(u64, u64)> {
    let (mut moment, mut bytes) = (0, 0);
    loop {
        match file.read(buffer)? {
            0 => return Ok((moment, bytes)),
            length => {
                moment = now();
                bytes += length as u64;
            }
        }
    }
}

/// `HASH BYTES` of all that came.
fn hash(path: &str) -> Outcome<String> {
    let mut buffer = vec![0; READ_BYTES];
    ready()?;
    let mut file = File::open(path).map_err(failed("open", path))?;
    let (mut hasher, mut bytes) = (DefaultHasher::new(), 0);
    loop {
        match file.read(&mut buffer).map_err(failed("read", path))? {
            0 => return Ok(format!("{:016x} {bytes}", hasher.finish())),
            length => {
                hasher.write(&buffer[..length]);
                bytes += length as u64;
            }
        }
    }
}

/// The nanoseconds that each line took, of which each says when it was written.
fn read_lines(path: &str) -> Outcome<String> {
    let mut buffer = vec![0; 64 << 10];
    let mut taken = Vec::new();
    let mut rest = String::new();
    ready()?;
    let mut file = File::open(path).map_err(failed("open", path))?;
    loop {
        let length = file.read(&mut buffer).map_err(failed("read", path))?;
        let moment = now();
        if length == 0 {
            let taken: Vec<String> = taken.iter().map(u64::to_string).collect();
            return Ok(taken.join(" "));
        }
        rest.push_str(&String::from_utf8_lossy(&buffer[..length]));
        while let Some((line, tail)) = rest.split_once('\n') {
            taken.push(moment - parse::<u64>(line)?);
            rest = tail.to_owned();
        }
    }
}

/// Writes lines, each saying when. The pauses (7 to 13 ms) are not all the same: the flusher has a beat, with which
/// they must not fall in step.
fn write_lines(path: &str, count: &str) -> Outcome<String> {
    let mut file = File::create(path).map_err(failed("create", path))?;
    let mut pause_us = 10_000;
    for _ in 0..parse(count)? {
        thread::sleep(Duration::from_micros(pause_us));
        pause_us = 7_000 + (pause_us * 7_919 + 1_237) % 6_000;
        file.write_all(format!("{}\n", now()).as_bytes())
            .map_err(failed("write to", path))?;
    }
    Ok(String::new())
}

/// Opens many files, writes them in turn, 64 KiB each, and closes them. `MOMENT MOMENT`: before and after.
fn scatter(template: &str, files: &str, total: &str) -> Outcome<String> {
    raise_descriptor_limit();
    let count: usize = parse(files)?;
    let part = vec![b'x'; PART_BYTES];
    let rounds = parse::<usize>(total)? / count / PART_BYTES;
    let start = now();
    let mut files = Vec::new();
    for index in 0..count {
        let path = nth(template, index);
        files.push(File::create(&path).map_err(failed("create", &path))?);
    }
    for _ in 0..rounds {
        for file in &mut files {
            file.write_all(&part)
                .map_err(failed("write to", template))?;
        }
    }
    drop(files);
    Ok(format!("{start} {}", now()))
}

/// Reads many files at once, a thread for each. `MOMENT BYTES`, as of one.
fn gather(template: &str, files: &str) -> Outcome<String> {
    raise_descriptor_limit();
    let readers = many(template, files, |path| {
        let mut buffer = vec![0; PART_BYTES];
        let mut file = File::open(path)?;
        read_all(&mut file, &mut buffer)
    })?;
    ready()?;
    let (mut last, mut sum) = (0, 0);
    for reader in readers {
        let read = reader.join().map_err(|_| "a reader panicked")?;
        let (moment, bytes) = read.map_err(failed("read", template))?;
        last = last.max(moment);
        sum += bytes;
    }
    Ok(format!("{last} {sum}"))
}

/// Waits in many threads until it is killed.
fn wait(template: &str, count: &str) -> Outcome<String> {
    raise_descriptor_limit();
    let readers = many(template, count, |path| {
        let mut buffer = [0; 4096];
        let mut file = File::open(path)?;
        read_all(&mut file, &mut buffer)
    })?;
    ready()?;
    for reader in readers {
        let read = reader.join().map_err(|_| "a reader panicked")?;
        read.map_err(failed("wait for", template))?;
    }
    Err(format!("nobody waits for {template} any more"))
}

type Readers = Vec<JoinHandle<io::Result<(u64, u64)>>>;

fn many(
    template: &str,
    count: &str,
    read: fn(String) -> io::Result<(u64, u64)>,
) -> Outcome<Readers> {
    let start = |index| {
        let path = nth(template, index);
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        thread
            .spawn(move || read(path))
            .map_err(failed("start a thread for", template))
    };
    (0..parse(count)?).map(start).collect()
}

/// Writes a line and keeps the file open until it is killed.
fn hold(path: &str) -> Outcome<String> {
    let mut file = File::create(path).map_err(failed("create", path))?;
    file.write_all(b"a line\n")
        .map_err(failed("write to", path))?;
    ready()?;
    loop {
        thread::park();
    }
}

fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Without it the files that are one too many say so.
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
}
