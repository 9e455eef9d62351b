//! Parses text files of `/proc`; proc(5) describes their formats.
//!
//! Nothing here allocates or takes a lock, so it can be used after a fork.

use std::str::FromStr;

/// The value on the line that begins with `key`, trimmed.
pub(crate) fn field<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    text.split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(key))
        .map(<[u8]>::trim_ascii)
}

pub(crate) fn number<T: FromStr>(digits: &[u8]) -> Option<T> {
    str::from_utf8(digits).ok()?.parse().ok()
}

pub(crate) fn hexadecimal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}
