//! The limits of `/dev/fuse` itself, next to a FIFO and tmpfs: speeds that no daemon which reads and writes it can
//! exceed.
//!
//! The measured daemon decides nothing and keeps nothing: it answers each WRITE as soon as it has read it, into memory
//! that it reuses. `fifofs` makes all the same system calls, and then does its own work.
//!
//! - *direct I/O, nothing decided*: bypasses the page cache, as writes to a stream do. Each write(2) is a request.
//!   Writer and daemon are bound to one processor, where that is fastest: on two processors each has to wake the other.
//! - *write-back cache, nobody reads*: as all other files are written. Only the calls of write(2) are timed, not the
//!   close: what the kernel's page cache accepts, while it writes back in the background. No process is bound to a
//!   processor.
//! - The FIFO has a pipe of 1 MiB and a reader, in this process, that asks for 1 MiB at a time; its time ends with the
//!   last byte. The file in tmpfs (`/dev/shm`) is new each time, and timed like the write-back cache.
//!
//! Speeds are in units of 10^6 bytes per second. All sides take turns; the table shows the median of the turns, and for
//! ratios the least and the greatest. All buffers that are written from or read into are page-aligned.
//!
//! Messages are those of `include/uapi/linux/fuse.h` of Linux, protocol 7.40. The daemon is this program again, with an
//! argument; its mount is attached nowhere, so nothing can be left behind: see [`mount`].

mod baselines;
mod daemon;
mod mount;

use std::thread;
use std::time::Duration;

use clap::Args;

use crate::Outcome;
use baselines::Load;
use daemon::Cache;
use mount::Mount;

/// Show what `/dev/fuse` itself allows, beside a FIFO and tmpfs
///
/// As root; half a minute.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Be a daemon of a measurement
    #[arg(long, hide = true)]
    daemon: Option<Cache>,
}

/// How many turns count.
const TURNS: usize = 11;

/// The time limit for everything: nothing may hang.
const LIMIT: Duration = Duration::from_secs(180);

/// The loads, of the same sizes as the rows of `compare`.
const LOADS: [Load; 3] = [
    Load::new("4 KiB", 4 << 10, 64 << 20),
    Load::new("64 KiB", 64 << 10, 256 << 20),
    Load::new("1 MiB", 1 << 20, 512 << 20),
];

pub(crate) fn run(arguments: &Arguments) -> Outcome<()> {
    match arguments.daemon {
        Some(cache) => daemon::serve(cache),
        None => measure(),
    }
}

fn measure() -> Outcome<()> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root may make the file systems that are measured".to_owned());
    }
    // The end of the main thread ends the daemons, which frees a thread that waits for one.
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("floor: not done within {LIMIT:?}");
        std::process::exit(1);
    });
    let release = rustix::system::uname();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    println!(
        "Linux {}, {processors} processors, medians of {TURNS} turns; MB/s, and the ratios (least–greatest)",
        release.release().to_string_lossy()
    );
    println!(
        "{:<33} {:>6} {:>7} {:>7} {:>7}  {:<22} of tmpfs",
        "what", "block", "daemon", "FIFO", "tmpfs", "of the FIFO"
    );
    LOADS.iter().try_for_each(|load| lines(*load))
}

/// Measures and prints the lines of one block size.
fn lines(load: Load) -> Outcome<()> {
    let direct = Mount::new(Cache::Past)?;
    let cached = Mount::new(Cache::WriteBack)?;
    let turn = || -> Outcome<[f64; 4]> {
        Ok([
            direct.rate(load)?,
            baselines::fifo(load)?,
            cached.rate(load)?,
            baselines::tmpfs(load)?,
        ])
    };
    // The first turn pays for fresh memory.
    turn()?;
    let turns = (0..TURNS).map(|_| turn()).collect::<Outcome<Vec<_>>>()?;
    let all = |side: usize| turns.iter().map(move |turn| turn[side]);
    let ratio = |side: usize, to: usize| {
        let ratios = sorted(turns.iter().map(|turn| turn[side] / turn[to]));
        let (least, most) = (ratios[0], ratios[TURNS - 1]);
        format!("{:.3} ({least:.3}–{most:.3})", ratios[TURNS / 2])
    };
    let median = |side: usize| sorted(all(side))[TURNS / 2];
    for (what, side) in [
        ("direct I/O, nothing decided", 0),
        ("write-back cache, nobody reads", 2),
    ] {
        println!(
            "{what:<33} {:>6} {:>7.0} {:>7.0} {:>7.0}  {:<22} {}",
            load.name,
            median(side),
            median(1),
            median(3),
            ratio(side, 1),
            ratio(side, 3)
        );
    }
    Ok(())
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}
