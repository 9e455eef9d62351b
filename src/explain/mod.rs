//! What a program does to its output, and which ways of capturing it work.
//!
//! A [`Study`] is a directory in which every operation is recorded. When the program has ended, the recording is
//! replayed for each delivery mode, with a reader like that of `fifofs run`, and the bytes that this reader gets
//! are compared with the file that the program left. The program is not run again, and the verdicts do not depend
//! on the clock.

// recording (core) ─► replay ─┬─► observer ─► facts ─┬─► words     what it did
//                     reader ─┘                      └─► verdict   what that means
//
// Invariant: an output is called captured only if the core itself gave a reader all its bytes.

mod facts;
mod observer;
mod outcome;
mod paths;
mod reader;
mod replay;
#[cfg(test)]
mod tests;
mod verdict;
mod words;

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::Serialize;

pub use facts::{Facts, Opened, Rewritten, Worker};
pub use verdict::{Chance, Verdict};

use crate::core::Core;
use crate::core::recording::Recording;
use crate::core::rules::Deliver;
use crate::core::spool::Pool;
use crate::error::{Error, Result};
use crate::limits;
use crate::mount::{Mount, MountView};
use observer::Observer;
use outcome::{End, Outcome};
use paths::components;
use replay::{Pace, Replay};

/// A directory in which all file operations of programs are recorded.
///
/// It is a mount of its own, in which no reader waits. Every write comes at once and unmerged, which is slower
/// than in other mounts. The written bytes are kept twice, up to 256 MiB in memory and the rest in the spill
/// directory, as for the files of a mount; each operation takes some hundred bytes besides.
///
/// `Send` and `Sync`. Dropping it unmounts.
///
/// ```
/// use std::process::Command;
///
/// use fifofs::explain::{Chance, Study};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let study = Study::new()?;
/// let script = "printf 'lines: 0\n' > $0; sleep 0.3; seq 9 >> $0; printf 9 | dd of=$0 seek=7 bs=1 conv=notrunc";
/// let mut child = Command::new("sh").arg("-c").arg(script).arg(study.path().join("x.txt"))
///     .stderr(std::process::Stdio::null())
///     .spawn()?;
/// study.watch(&mut child)?;
/// child.wait()?;
/// let explanation = study.finish()?.explain(&["x.txt"])?.remove(0);
/// assert_eq!(explanation.verdicts.follow.chance, Chance::Rewritten);
/// assert_eq!(explanation.verdicts.settled.chance, Chance::Captured);
/// for line in &explanation.did {
///     println!("- {line}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Study {
    mount: Mount,
    watched: std::sync::Mutex<Watched>,
}

/// The watched program, and when it was started.
#[derive(Debug, Clone, Copy, Default)]
struct Watched {
    child: Option<i32>,
    /// Whether the core will get an event for its end.
    will_end: bool,
    start: Duration,
}

impl Study {
    /// Makes a fresh directory, of mode 0700, that is mounted until [`Study::finish`].
    ///
    /// # Errors
    ///
    /// Those of [`MountBuilder::mount_temporary`](crate::MountBuilder::mount_temporary).
    ///
    /// ```
    /// let study = fifofs::explain::Study::new()?;
    /// assert!(study.path().is_absolute());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn new() -> Result<Study> {
        let memory = limits::default_memory().min(MEMORY_BYTES);
        let builder = Mount::builder().readers_wait(false).memory(memory);
        let mount = builder.records().mount_temporary()?;
        let watched = std::sync::Mutex::default();
        Ok(Study { mount, watched })
    }

    /// The path below which the program is to write.
    ///
    /// ```
    /// let study = fifofs::explain::Study::new()?;
    /// let output = study.path().join("x.zip");
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn path(&self) -> &Path {
        self.mount.path()
    }

    /// The files in it.
    ///
    /// ```
    /// let study = fifofs::explain::Study::new()?;
    /// assert!(study.view().entries().is_empty());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn view(&self) -> MountView {
        self.mount.view()
    }

    /// Watches the program: times count from now, and its outputs are not done before it has exited. Call this
    /// once, right after starting it.
    ///
    /// # Errors
    ///
    /// If this process may not open any more files.
    ///
    /// ```
    /// let study = fifofs::explain::Study::new()?;
    /// let mut child = std::process::Command::new("true").spawn().unwrap();
    /// study.watch(&mut child)?;
    /// child.wait().unwrap();
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn watch(&self, child: &mut Child) -> Result<()> {
        let router = self.mount.router();
        let pid = child.id().cast_signed();
        let start = router.monotonic();
        // If it has exited and was waited for, its process id is free or another's.
        let will_end = matches!(child.try_wait(), Ok(None));
        let watched = Watched {
            child: Some(pid),
            will_end,
            start,
        };
        *self.watched.lock().unwrap_or_else(|e| e.into_inner()) = watched;
        if will_end {
            router.watch(pid).map_err(|errno| {
                Error::io("watch the process that writes", self.path(), errno.into())
            })?;
        }
        Ok(())
    }

    /// Ends the recording, and unmounts. Call this when no process writes any more.
    ///
    /// # Errors
    ///
    /// If not everything could be recorded, mostly for lack of space.
    ///
    /// ```
    /// let study = fifofs::explain::Study::new()?;
    /// std::fs::write(study.path().join("out.txt"), "hello\n").unwrap();
    /// let found = study.finish()?;
    /// assert_eq!(found.files(), [std::path::Path::new("out.txt")]);
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn finish(self) -> Result<Findings> {
        let directory = self.path().to_owned();
        let watched = *self.watched.lock().unwrap_or_else(|e| e.into_inner());
        self.settle(watched.child.filter(|_| watched.will_end));
        let router = self.mount.router();
        let (pool, files) = router.look(|core| {
            let names = core.names();
            let path = |ino| names.path(ino).map(|path| paths::joined(&path));
            let mut files: Vec<PathBuf> = names.files().filter_map(path).collect();
            files.sort();
            (core.pool().clone(), files)
        });
        let recording = router.take_recording();
        if let Err(error) = self.mount.unmount() {
            log::warn!("{error}");
        }
        let failed = |errno: Errno| Error::io("record what is done in", &directory, errno.into());
        let mut recording = recording.ok_or_else(|| failed(Errno::NODATA))?;
        if let Some(errno) = recording.lost {
            return Err(failed(errno).with_remedy(NO_ROOM));
        }
        for entry in &mut recording.entries {
            entry.at = entry.at.saturating_sub(watched.start);
        }
        Ok(Findings {
            recording,
            pool,
            files,
            child: watched.child,
            directory,
        })
    }
}

impl Study {
    /// Waits for the last close and the program's end, which the kernel reports a moment later.
    fn settle(&self, child: Option<i32>) {
        let deadline = Instant::now() + SETTLING_TIME;
        let is_over = || {
            let ended = |core: &Core| child.is_none_or(|pid| core.has_seen_end(pid));
            let router = self.mount.router();
            router.look(|core| !core.is_written() && ended(core))
        };
        while !is_over() && Instant::now() < deadline {
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

/// The most memory for recorded bytes: each is needed only once, so they may be on disk.
const MEMORY_BYTES: u64 = 256 << 20;

/// How long the kernel may take to report the last close of a file.
const SETTLING_TIME: Duration = Duration::from_secs(1);

/// How often to check meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Advice where not everything can be recorded or replayed.
const NO_ROOM: &str = "give it a smaller input, which will be treated alike, or name a directory \
    with more room in $TMPDIR";

/// A finished recording, which explains files. `Send` and `Sync`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let study = fifofs::explain::Study::new()?;
/// std::fs::write(study.path().join("out.txt"), "hello\n")?;
/// let found = study.finish()?;
/// for explanation in found.explain(found.files())? {
///     println!("{}: {}", explanation.path.display(), explanation.did.join(", "));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Findings {
    recording: Recording,
    pool: Pool,
    files: Vec<PathBuf>,
    child: Option<i32>,
    directory: PathBuf,
}

/// The explanation of one output.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let study = fifofs::explain::Study::new()?;
/// std::fs::write(study.path().join("out.txt"), "hello\n")?;
/// let explained = study.finish()?.explain(&["out.txt"])?.remove(0);
/// assert_eq!(explained.did.len(), 2);
/// println!("{}", serde_json::to_string_pretty(&explained)?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The output, relative to the directory.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// Its length in bytes, if the program left it.
    pub size: Option<u64>,
    /// What was done to it, in sentences.
    pub did: Vec<String>,
    /// The same in numbers.
    pub facts: Facts,
    /// Which ways of capturing it work.
    pub verdicts: Verdicts,
}

/// One verdict for each way of capturing an output into a pipe.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let study = fifofs::explain::Study::new()?;
/// std::fs::write(study.path().join("out.txt"), "hello\n")?;
/// let explained = study.finish()?.explain(&["out.txt"])?.remove(0);
/// assert_eq!(explained.verdicts.settled.chance, fifofs::explain::Chance::Captured);
/// assert_eq!(explained.verdicts.fifo.chance, fifofs::explain::Chance::Probably);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verdicts {
    /// A plain FIFO, with a reader that has it open already.
    pub fifo: Verdict,
    /// A virtual one: of `fifofs exec`, or `fifofs mount --fifos virtual`.
    pub virtual_fifo: Verdict,
    /// `fifofs run --deliver stream`.
    pub stream: Verdict,
    /// `fifofs run --deliver follow`.
    pub follow: Verdict,
    /// `fifofs run --deliver settled`.
    pub settled: Verdict,
    /// `fifofs run` with the default delivery.
    pub auto: Verdict,
}

/// Serializes a path; bytes that are not text are shown as `ls` would.
fn as_text<S: serde::Serializer>(
    path: &Path,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// The same for several paths.
fn as_texts<S: serde::Serializer>(
    paths: &[PathBuf],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.display().to_string()))
}

impl Findings {
    /// The files that exist in the end, relative to the directory.
    ///
    /// ```
    /// let found = fifofs::explain::Study::new()?.finish()?;
    /// assert!(found.files().is_empty());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Explains what was done at some paths, and how all of them can be captured together.
    ///
    /// # Errors
    ///
    /// If there is no room for the replay.
    ///
    /// ```
    /// use fifofs::explain::{Chance, Study};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let study = Study::new()?;
    /// std::fs::write(study.path().join("out.txt"), "hello\n")?;
    /// let found = study.finish()?;
    /// let explanations = found.explain(&["out.txt", "other"])?;
    /// assert_eq!(explanations[0].size, Some(6));
    /// assert_eq!(explanations[0].verdicts.stream.chance, Chance::Captured);
    /// assert_eq!(explanations[1].verdicts.stream.chance, Chance::Fails);
    /// # Ok(())
    /// # }
    /// ```
    pub fn explain(&self, paths: &[impl AsRef<Path>]) -> Result<Vec<Explanation>> {
        let paths: Vec<PathBuf> = paths.iter().map(|path| path.as_ref().to_owned()).collect();
        self.explain_all(&paths).map_err(|errno| {
            Error::io("do again what was done in", &self.directory, errno.into())
                .with_remedy(NO_ROOM)
        })
    }

    fn explain_all(&self, paths: &[PathBuf]) -> std::result::Result<Vec<Explanation>, Errno> {
        let mut observer = Observer::new(paths);
        let settled = self.play(paths, Deliver::Settled, Pace::Slow, Some(&mut observer))?;
        let facts = observer.facts();
        let judge = |deliver| self.judge(paths, deliver, &settled, &facts);
        let (_, stream) = judge(Deliver::Stream)?;
        let (_, follow) = judge(Deliver::Follow)?;
        let (by_auto, auto) = judge(Deliver::Auto)?;
        let explanation = |(number, path): (usize, &PathBuf)| {
            let (outcome, facts) = (&settled[number], facts[number].clone());
            let size = self.files.contains(path).then_some(outcome.digest.bytes);
            Explanation {
                path: path.clone(),
                size,
                did: words::describe(path, &facts, size),
                verdicts: Verdicts {
                    fifo: verdict::of_fifo(&facts, size.is_some()),
                    virtual_fifo: verdict::of_virtual_fifo(
                        path,
                        &facts,
                        size.is_some(),
                        by_auto[number].way.as_ref(),
                        &stream[number],
                    ),
                    stream: stream[number].clone(),
                    follow: follow[number].clone(),
                    settled: verdict::of_way(outcome, None, None, &facts),
                    auto: auto[number].clone(),
                },
                facts,
            }
        };
        Ok(paths.iter().enumerate().map(explanation).collect())
    }

    /// The outcomes of one delivery mode on a slow machine, and the verdicts on it. `left` is what the program
    /// left once all its writes were done.
    fn judge(
        &self,
        paths: &[PathBuf],
        deliver: Deliver,
        settled: &[Outcome],
        facts: &[Facts],
    ) -> std::result::Result<(Vec<Outcome>, Vec<Verdict>), Errno> {
        let slow = self.play(paths, deliver, Pace::Slow, None)?;
        let all_well = slow.iter().all(|outcome| matches!(outcome.end, End::Whole));
        let fast = match all_well {
            true => None,
            false => Some(self.play(paths, deliver, Pace::Fast, None)?),
        };
        let verdict = |number: usize| {
            let fast = fast.as_ref().map(|fast| &fast[number]);
            let is_whole = matches!(settled[number].end, End::Whole);
            let left = is_whole.then_some(settled[number].digest);
            verdict::of_way(&slow[number], fast, left, &facts[number])
        };
        let verdicts = (0..paths.len()).map(verdict).collect();
        Ok((slow, verdicts))
    }

    fn play(
        &self,
        paths: &[PathBuf],
        deliver: Deliver,
        pace: Pace,
        observer: Option<&mut Observer>,
    ) -> std::result::Result<Vec<Outcome>, Errno> {
        let outputs: Vec<_> = paths.iter().map(|path| components(path)).collect();
        let replay = Replay::new(&self.recording, &self.pool, deliver, pace, &outputs)?;
        replay.play(self.child, observer)
    }
}
