//! All times of the core, each with its reason.

use std::time::Duration;

// The end of a file.

/// How long after its last close, by a writer or a step of its script, a file may be reopened before it is done.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The same once all its writers have exited: how long other steps may still have it.
pub(super) const LINGER_EXITED: Duration = Duration::from_millis(200);

/// With a fixed linger, how much longer a writer that still runs is waited for, since it may be dying.
pub(super) const DYING: Duration = Duration::from_millis(20);

/// How often the process groups of the writers are checked at first: the kernel does not report when the last
/// member of a group has exited.
pub(super) const GROUP_CHECK: Duration = Duration::from_millis(10);

/// How often they are checked later, while an empty file waits for its content, maybe for hours.
pub(super) const CONTENT_CHECK: Duration = Duration::from_secs(1);

/// How long the processes that a holder left behind have to open the captured path, if the holder did not.
pub(crate) const LEFT_BEHIND: Duration = Duration::from_millis(200);

/// How long steps hold up other readers at most after they were admitted: a step may go on reading for ever.
pub(super) const STEPS_MOST: Duration = Duration::from_secs(5);

// Delivery of bytes.

/// Under auto, how long the first byte of a generation that follows is held back, so that bytes of a short run
/// that patches its output are never handed out too early.
pub(super) const FIRST_BYTES_HELD: Duration = Duration::from_millis(100);

/// How long a read that could be answered in part waits for the rest, if its reader got bytes within
/// [`READER_BUSY`]: after each answer the kernel writes back the pages that the next read covers, and many
/// small answers make a fast writer slow.
pub(super) const READ_FILL: Duration = Duration::from_millis(3);

/// A reader that got bytes within this is busy. It is longer than the time from one flush to the next.
pub(super) const READER_BUSY: Duration = Duration::from_millis(7);

/// A writer whose readers got bytes within this writes again and again: it is answered before they are woken.
pub(super) const READER_RECENT: Duration = Duration::from_millis(1);

/// How long a write to a captured file that follows is held, to slow the writer down. The write is one of the
/// kernel's; the program notices when it may not dirty more memory.
pub(super) const THROTTLE: Duration = Duration::from_millis(200);

// Writeback.

/// How long after a reader began to wait for a file that is being written the flusher starts: many small files
/// are done by then.
pub(super) const FLUSH_AFTER: Duration = Duration::from_millis(2);

/// How long after the flusher has refused a file it is asked again: it can only take a certain number at a time.
pub(super) const FLUSHER_ASKED_AGAIN: Duration = Duration::from_secs(1);

// Threads that were sent back to look a path up again.

/// How long a thread that was sent back is expected.
pub(super) const SENT_BACK_EXPECTED: Duration = Duration::from_secs(5);

/// A lookup within this belongs to the call that was sent back.
pub(super) const SAME_CALL: Duration = Duration::from_secs(1);

/// How long after a rename the kernel may still find the file by its old name: until the thread that renamed it
/// runs again, which may take a while on a busy machine.
pub(super) const RENAMING: Duration = Duration::from_secs(1);

/// How long the OPEN of a writer is expected after it has looked up its message of a virtual FIFO.
pub(super) const QUEUED_WRITER_COMES: Duration = Duration::from_secs(5);

// A full disk.

/// How long after the spill file took nothing more spilling is tried again: there may be room on the disk by
/// then. It is not tried more often, as a write that fails may take long: the file system looks for space that it
/// can free (ext4 waits for its journal).
pub(super) const SPILLS_AGAIN: Duration = Duration::from_secs(1);

// Clocks and recordings.

/// The unit in which the kernel says when a process began (`USER_HZ`).
pub(super) const CLOCK_TICK: Duration = Duration::from_millis(10);

/// Writes that each begin where the last one ended are one entry of a recording if they come within this time: no
/// reader could see a difference.
pub(super) const ONE_ENTRY: Duration = Duration::from_millis(1);
