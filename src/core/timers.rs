//! How long the core waits for what: all of its times, each with its reason.

use std::time::Duration;

// When a file is done.

/// How long after its last close, by a writer or a step of its script, a reopening is waited for.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The same once all who wrote have exited: for how long other steps may have it then.
pub(super) const LINGER_EXITED: Duration = Duration::from_millis(200);

/// With a fixed linger, how much longer one who still runs is given, since it may be dying.
pub(super) const DYING: Duration = Duration::from_millis(20);

/// How often, at first, the process groups of the writers are looked at meanwhile: nothing tells when the
/// last member of one has exited.
pub(super) const GROUP_CHECK: Duration = Duration::from_millis(10);

/// How often they are looked at in the end, while an empty file waits for its content, maybe for hours.
pub(super) const CONTENT_CHECK: Duration = Duration::from_secs(1);

/// How long those whom a process left behind are given to open the path that it was to write, if it did not.
pub(crate) const LEFT_BEHIND: Duration = Duration::from_millis(200);

/// How long after steps were admitted they hold up others at most: one may go on reading for ever.
pub(super) const STEPS_MOST: Duration = Duration::from_secs(5);

// When bytes are handed out.

/// Under auto, how long the first byte of a generation that follows is held back, so that a short run that
/// patches its output is never handed out early.
pub(super) const FIRST_BYTES_HELD: Duration = Duration::from_millis(100);

/// How long a read that could be answered in part waits for the rest, if its reader was given something within
/// [`READER_BUSY`]: each answer has the kernel write back the pages that the next read covers, so that many
/// small ones make a fast writer slow.
pub(super) const READ_FILL: Duration = Duration::from_millis(3);

/// Longer than from one flush to the next.
pub(super) const READER_BUSY: Duration = Duration::from_millis(7);

/// Whose readers were given something so recently writes again and again.
pub(super) const READER_RECENT: Duration = Duration::from_millis(1);

/// By how much a write to a captured file that follows is slowed down. It is the kernel's, not the program's,
/// which notices once it may not dirty more memory.
pub(super) const THROTTLE: Duration = Duration::from_millis(200);

// When the kernel is made to write back.

/// How long after somebody came to wait for a file that is being written the flusher takes it in hand: many a
/// small one is done by then.
pub(super) const FLUSH_AFTER: Duration = Duration::from_millis(2);

/// How long after the flusher has refused a file it is asked again: it takes so many at a time only.
pub(super) const FLUSHER_ASKED_AGAIN: Duration = Duration::from_secs(1);

// When callers come back that were told to look a path up again.

/// For how long a thread that was sent back is expected to come.
pub(super) const SENT_BACK_EXPECTED: Duration = Duration::from_secs(5);

/// Within this the kernel looks up again for the same call.
pub(super) const SAME_CALL: Duration = Duration::from_secs(1);

/// For how long after a file was renamed the kernel may still find it by its old name: until whoever renamed it
/// runs again, which may take a while on a busy machine.
pub(super) const RENAMING: Duration = Duration::from_secs(1);

/// Within this the OPEN comes of whoever found its message of a virtual FIFO.
pub(super) const QUEUED_WRITER_COMES: Duration = Duration::from_secs(5);

// When there is no room.

/// How long after the spill file has taken nothing more it is tried again. Somebody may have made room on the
/// disk; a write that is refused may take a file system some time, as it looks for what it can free (ext4 waits
/// for its journal).
pub(super) const SPILLS_AGAIN: Duration = Duration::from_secs(1);

// Of clocks and recordings.

/// The kernel says when a process began in these (`USER_HZ`).
pub(super) const CLOCK_TICK: Duration = Duration::from_millis(10);

/// Writes that go on where the last one ended are one entry of a recording if they come within this time: what
/// they did apart could not have been seen.
pub(super) const ONE_ENTRY: Duration = Duration::from_millis(1);
