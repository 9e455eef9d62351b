//! Names below `wait` and `next` that stand for paths.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The components of a name below `wait` or `next`, where `%2F` stands for a
/// slash and `%25` for a per cent sign.
pub(in crate::core) fn decode(name: &OsStr) -> Vec<OsString> {
    let bytes = name.as_bytes();
    let mut components = vec![Vec::new()];
    let mut at = 0;
    while at < bytes.len() {
        let (byte, step) = match &bytes[at..] {
            [b'%', b'2', b'F' | b'f', ..] => {
                components.push(Vec::new());
                at += 3;
                continue;
            }
            [b'%', b'2', b'5', ..] => (b'%', 3),
            [byte, ..] => (*byte, 1),
            [] => break,
        };
        if let Some(last) = components.last_mut() {
            last.push(byte);
        }
        at += step;
    }
    // A final slash means a directory, as a final `/.` does.
    if let [_, .., last] = &mut components[..]
        && last.is_empty()
    {
        last.push(b'.');
    }
    components
        .into_iter()
        .filter(|component| !component.is_empty())
        .map(OsString::from_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_and_per_cent_signs_are_decoded() {
        let decoded = decode(OsStr::new("a%2Fb%25c%2f%41"));
        assert_eq!(decoded, ["a", "b%c", "%41"]);
        // Several slashes count as one, and a final one means a directory.
        assert_eq!(decode(OsStr::new("%2Fa%2F%2Fb%2F")), ["a", "b", "."]);
    }
}
