//! Which kind of file is being written, as far as that says whether its bytes
//! may be handed out before it is finished.
//!
//! Knows the names and first bytes of formats ([`super::format_table`] holds
//! them); does not know what is done with the answer. A format is *patched* if
//! programs go back and change what they wrote of it, and then its readers
//! must wait for the end. `None` means that nothing is known: the caller waits
//! too, for the same reason.
//!
//! Invariant: an error is on the side of waiting. Bytes that are too few to
//! tell a patched format from another are taken for the patched one; text is
//! called text only if no format that begins with text and is patched fits.
//!
//! The sniffing is [`infer`]'s, behind a table of what it lacks. Those of its
//! matchers that parse (ZIP members, OLE streams, ISO media brands) never see
//! a byte: the table knows the outer format, which is all that matters here.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::format_table::{ROWS, Row, SIGNATURES, Signature, TEXT, TEXT_SIGNATURES};
use super::generation::{NO_KNOWN_KIND, Way};

pub(crate) use super::format_table::Format;

impl Format {
    /// Whether these first bytes show that a file named as text is none.
    pub(crate) fn is_denied_by(&self, first_bytes: &[u8]) -> bool {
        const MARKS: [&[u8]; 3] = [b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"];
        let first = &first_bytes[..first_bytes.len().min(MAX_LOOKED_AT_FOR_NUL)];
        let is_wide = MARKS.iter().any(|mark| first.starts_with(mark));
        self.name == TEXT && !is_wide && first.contains(&0)
    }
}

/// Extensions that say "not finished" or "kept aside" and stand behind the
/// real one: of downloaders, browsers, editors and of programs that write a
/// temporary file and rename it.
const TEMPORARY: &[&[u8]] = &[
    b"tmp",
    b"temp",
    b"part",
    b"partial",
    b"crdownload",
    b"download",
    b"filepart",
    b"opdownload",
    b"incomplete",
    b"inprogress",
    b"unfinished",
    b"bak",
    b"backup",
    b"old",
    b"orig",
    b"new",
    b"save",
    b"lock",
];

/// From this many bytes on, what reads as text is text, even if its first
/// letters are also some binary format's magic number (`BM`, `FORM`): binary
/// headers have control bytes in their first 16.
const ENOUGH_TO_BE_TEXT: usize = 16;

/// How many bytes are looked at. The farthest signature is the first volume descriptor of an ISO image
/// (32,769); 64 KiB of text cost 6 µs.
const MAX_LOOKED_AT: usize = 64 << 10;

/// How many bytes of text are searched for a NUL.
const MAX_LOOKED_AT_FOR_NUL: usize = 512;

/// The format of a file named `file_name` (no directories), by its last
/// extension; `x.tar.gz` is gzip. Endings of temporary and numbered files are
/// looked through: `x.mp4.part`, `x.zip~`, `x.log.1` and rsync's
/// `.x.iso.a1B2c3`.
pub(crate) fn by_extension(file_name: &OsStr) -> Option<&'static Format> {
    let mut name = file_name.as_bytes();
    // rsync writes `NAME` to `.NAME.` and six letters or digits of mkstemp(3).
    if let Some((stem, last)) = split_extension(name) {
        let random = last.len() == 6 && last.iter().all(u8::is_ascii_alphanumeric);
        if name.starts_with(b".") && random && lookup(last).is_none() {
            name = &stem[1..];
        }
    }
    loop {
        if let Some(stem) = name.strip_suffix(b"~") {
            name = stem;
            continue;
        }
        let (stem, extension) = split_extension(name)?;
        // A known extension is believed before it is looked through: `264`.
        if let Some(format) = lookup(extension) {
            return Some(format);
        }
        let temporary = TEMPORARY.iter().any(|t| extension.eq_ignore_ascii_case(t));
        let numbered = extension.iter().all(u8::is_ascii_digit);
        if !temporary && !numbered {
            return None;
        }
        name = stem;
    }
}

/// The format of a file that begins with `first_bytes`, which may be few.
/// `None` if they are of no known kind, or none at all.
pub(crate) fn by_content(first_bytes: &[u8]) -> Option<&'static Format> {
    let first_bytes = &first_bytes[..first_bytes.len().min(MAX_LOOKED_AT)];
    if first_bytes.is_empty() {
        return None;
    }
    if !is_text(first_bytes) {
        return binary(first_bytes);
    }
    if let Some(format) = signature(TEXT_SIGNATURES, first_bytes) {
        return Some(format);
    }
    match binary(first_bytes) {
        // PDF, PostScript: text so far, and as safe to deliver early.
        Some(format) if !format.patched => Some(format),
        Some(format) if first_bytes.len() < ENOUGH_TO_BE_TEXT => Some(format),
        _ => lookup(b"txt"),
    }
}

/// The format of bytes by their magic numbers alone.
fn binary(bytes: &[u8]) -> Option<&'static Format> {
    if bytes.starts_with(b"\x89PNG") {
        // An animation's frame count is patched; acTL stands before the image
        // data (<https://www.w3.org/TR/png-3/#acTL-chunk>).
        let animated = bytes.windows(4).any(|chunk| chunk == b"acTL");
        return lookup(if animated { b"apng" } else { b"png" });
    }
    if let Some(format) = signature(SIGNATURES, bytes) {
        return Some(format);
    }
    if is_mpegts(bytes) {
        return lookup(b"ts");
    }
    let extension = infer::get(bytes)?.extension();
    match extension {
        // infer accepts a PDF header anywhere in 1024 bytes, and one that
        // stands at the start is found above: this is another format around it.
        "pdf" => None,
        // Two bytes that say only "an ASN.1 sequence"; not worth an answer
        // that lets bytes out.
        "der" => None,
        // All kinds of text count as one.
        "html" | "xml" | "sh" | "pem" => lookup(b"txt"),
        other => lookup(other.as_bytes()),
    }
}

/// The first signature that `bytes` begin with, or that begins with them.
fn signature(table: &[Signature], bytes: &[u8]) -> Option<&'static Format> {
    let fits = |signature: &&Signature| {
        let Some(found) = bytes.get(signature.offset..) else {
            return false;
        };
        let whole = found.starts_with(signature.bytes);
        // A first write may be no more than a part of the magic number. One
        // byte of it is no evidence.
        let cut_off =
            signature.offset == 0 && bytes.len() >= 2 && signature.bytes.starts_with(bytes);
        whole || cut_off
    };
    lookup(table.iter().find(fits)?.extension.as_bytes())
}

/// Packets of 188 bytes that begin with 0x47 (ISO/IEC 13818-1, 2.4.3.2), or
/// of 192 behind a time stamp of four (Blu-ray's m2ts).
fn is_mpegts(bytes: &[u8]) -> bool {
    let syncs = |start: usize, step: usize| {
        bytes.len() > start + step
            && bytes[start..]
                .iter()
                .step_by(step)
                .take(4)
                .all(|byte| *byte == 0x47)
    };
    syncs(0, 188) || syncs(4, 192)
}

/// Whether all of it reads as UTF-8 text. A last character may be cut off. The
/// control characters allowed are those that file(1) allows (`text_chars` in
/// its `src/encoding.c`): BEL, BS, HT, LF, VT, FF, CR and ESC.
fn is_text(bytes: &[u8]) -> bool {
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => 0,
    };
    let is_control = |byte: u8| byte.is_ascii_control() && !matches!(byte, 0x07..=0x0d | 0x1b);
    // No early exit, so that the loop is vectorized.
    valid > 0
        && !bytes
            .iter()
            .fold(false, |any, byte| any | is_control(*byte))
}

/// The row of an extension, in any case.
fn lookup(extension: &[u8]) -> Option<&'static Format> {
    let has = |row: &&Row| {
        row.extensions
            .iter()
            .any(|known| known.as_bytes().eq_ignore_ascii_case(extension))
    };
    ROWS.iter().find(has).map(|row| &row.format)
}

/// `name.ext` as (`name`, `ext`). A leading dot hides a file, it does not
/// begin an extension.
fn split_extension(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    let extension = &name[dot + 1..];
    (dot > 0 && !extension.is_empty()).then_some((&name[..dot], extension))
}

/// The way that auto chooses by name and content, and the reason.
pub(super) fn choose(
    by_name: Option<&'static Format>,
    by_content: Option<&'static Format>,
    name: Option<&OsStr>,
    first_bytes: &[u8],
) -> (Way, String) {
    if let Some(format) = by_content.filter(|format| format.patched) {
        return (
            Way::Settled,
            format!("begins like {}, which gets patched", format.name),
        );
    }
    match (by_name, by_content) {
        (Some(format), _) => {
            let extension =
                name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            if format.patched {
                (
                    Way::Settled,
                    format!("named {extension}: {} gets patched", format.name),
                )
            } else if format.is_denied_by(first_bytes) {
                (
                    Way::Settled,
                    format!("named {extension}, but its first bytes are not text"),
                )
            } else {
                (
                    Way::Follow,
                    format!("named {extension}: {} is only appended to", format.name),
                )
            }
        }
        (None, Some(format)) => (
            Way::Follow,
            format!("begins like {}, which is only appended to", format.name),
        ),
        (None, None) => (Way::Settled, NO_KNOWN_KIND.to_owned()),
    }
}

#[cfg(test)]
mod tests;
