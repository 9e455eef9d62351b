//! Points in time, handed in from outside: nothing in `core` reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since some fixed start, from a clock that never steps back.
pub(crate) type Monotonic = Duration;

/// A moment, by both clocks that matter: one for waiting, one for file times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// For deadlines.
    pub(crate) monotonic: Monotonic,
    /// For file times.
    pub(crate) wall: Timestamp,
}

/// A file time: seconds and nanoseconds since 1970, the seconds possibly
/// negative. `SystemTime` would do, but for the arithmetic around 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timestamp {
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub(crate) seconds: i64,
    /// 0 to 999,999,999, counted forward from `seconds`.
    pub(crate) nanoseconds: u32,
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let nanoseconds = Duration::from_nanos(u64::from(time.nanoseconds));
        if time.seconds >= 0 {
            UNIX_EPOCH + Duration::from_secs(time.seconds as u64) + nanoseconds
        } else {
            UNIX_EPOCH - Duration::from_secs(time.seconds.unsigned_abs()) + nanoseconds
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_count_forward_before_1970_too() {
        let time = Timestamp {
            seconds: -6,
            nanoseconds: 999_999_700,
        };
        assert_eq!(SystemTime::from(time), UNIX_EPOCH - Duration::new(5, 300));
    }
}
