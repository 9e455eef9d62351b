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

use super::format_table::{ROWS, Row, SIGNATURES, Signature, TEXT_SIGNATURES};

/// What is known of a format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Its name, for the reason that is shown to the user.
    pub(crate) name: &'static str,
    /// Whether programs change what they already wrote of it.
    pub(crate) patched: bool,
    /// Whether it ends in zeros that the next append overwrites: tar, whose
    /// end-of-archive blocks `tar --append` and `--concatenate` replace.
    pub(crate) trailing_zeros: bool,
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

/// How many bytes are looked at. Behind the first volume descriptor of an ISO
/// image (32,769) stands no sign of anything; 64 KiB of text cost 30 µs.
const MAX_LOOKED_AT: usize = 64 << 10;

/// The format of a file named `file_name` (no directories), by its last
/// extension; `x.tar.gz` is gzip. Endings of temporary and numbered files are
/// looked through: `x.mp4.part`, `x.zip~`, `x.log.1` and rsync's
/// `.x.iso.a1B2c3`.
pub(crate) fn by_extension(file_name: &OsStr) -> Option<&'static Format> {
    let mut name = file_name.as_bytes();
    // rsync writes `NAME` to `.NAME.XXXXXX` (mkstemp(3) letters and digits).
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
        // PDF, PostScript: text so far, and no less safe for being named.
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
        // Kinds of text are one to us.
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
    valid > 0
        && !bytes
            .iter()
            .any(|byte| byte.is_ascii_control() && !matches!(byte, 0x07..=0x0d | 0x1b))
}

/// The row that an extension, in whatever case, stands in.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn name(file_name: &str) -> Option<&'static str> {
        by_extension(OsStr::new(file_name)).map(|format| format.name)
    }

    fn content(bytes: &[u8]) -> Option<(&'static str, bool)> {
        by_content(bytes).map(|format| (format.name, format.patched))
    }

    #[test]
    fn a_file_name_tells_its_format_by_the_last_extension() {
        for (file, expected) in [
            ("x.zip", Some("zip")),
            ("X.ZIP", Some("zip")),
            ("x.tar.gz", Some("gzip")),
            ("x.tar", Some("tar")),
            ("x.mp4.part", Some("mp4")),
            ("x.mp4.tmp.part", Some("mp4")),
            ("x.wav~", Some("wav")),
            ("x.wav.bak~", Some("wav")),
            ("x.log.1", Some("text")),
            ("x.7z.001", Some("7z")),
            ("x.264", Some("video stream")),
            (".x.iso.a1B2c3", Some("iso")),
            (".report.docx", Some("zip")),
            ("libz.so.1.3", Some("elf")),
            ("x.db-journal", Some("sqlite")),
            ("reads.bam", Some("gzip")),
            ("x.h5", Some("hdf")),
            ("x.apng", Some("apng")),
            ("ls.1", None),
            ("tmp", None),
            ("x.tmp", None),
            (".zip", None),
            (".bashrc.bak", None),
            ("a.", None),
            ("~", None),
            ("", None),
            ("a.out", None),
            ("x.dat", None),
            (".a1B2c3", None),
            (".é.a1B2c3", None),
        ] {
            assert_eq!(name(file), expected, "{file:?}");
        }
    }

    #[test]
    fn every_example_of_the_contract_is_delivered_as_it_says() {
        let settled = "zip 7z mp4 mov wav aiff avi mkv flac mp3 tiff apng o so a sqlite h5 nc \
                       qcow2 img squashfs webp rpm deb exe flv asf heic las iso";
        for extension in settled.split_whitespace() {
            assert!(lookup(extension.as_bytes()).unwrap().patched, "{extension}");
        }
        let followed = "gz zst xz bz2 lz4 ts ogg jpg png pdf bam vcf pcap tar parquet npy gif ps \
                        txt csv json log xml fastq cram opus m2ts";
        for extension in followed.split_whitespace() {
            assert!(
                !lookup(extension.as_bytes()).unwrap().patched,
                "{extension}"
            );
        }
    }

    #[test]
    fn only_tar_holds_back_its_trailing_zeros() {
        let with: Vec<_> = ROWS
            .iter()
            .filter(|row| row.format.trailing_zeros)
            .collect();
        assert_eq!(with.len(), 1);
        assert_eq!(with[0].format.name, "tar");
    }

    #[test]
    fn first_bytes_tell_the_format() {
        let mut tar = vec![0u8; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let mut ts = vec![0xffu8; 188 * 3];
        (0..3).for_each(|packet| ts[packet * 188] = 0x47);
        let mut ext4 = vec![0u8; 2048];
        ext4[1080..1082].copy_from_slice(b"\x53\xef");
        type Case<'a> = (&'a [u8], Option<(&'a str, bool)>);
        let cases: &[Case<'_>] = &[
            (b"PK\x03\x04\x14\0\0\0\x08\0", Some(("zip", true))),
            (b"\x7fELF\x02\x01\x01\0", Some(("elf", true))),
            (b"\0\0\0\x20ftypisom\0\0\x02\0", Some(("mp4", true))),
            (b"\0\0\0\x01ftyp\0\0\0\0\0\0\0\0", Some(("mp4", true))),
            (b"RIFF\xff\xff\xff\xffWAVEfmt ", Some(("wav", true))),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some(("wav", true))),
            (b"ID3\x04\0\0\0\0\0\0", Some(("mp3", true))),
            (b"\xff\xfb\x90\x64\0\0", Some(("mp3", true))),
            (b"fLaC\0\0\0\x22", Some(("flac", true))),
            (b"\x89HDF\r\n\x1a\n\0", Some(("hdf", true))),
            (b"QFI\xfb\0\0\0\x03", Some(("disk image", true))),
            (b"\x1a\x45\xdf\xa3\xa3\x42", Some(("matroska", true))),
            (b"SQLite format 3\0", Some(("sqlite", true))),
            (b"!<arch>\ndebian-binary   ", Some(("ar", true))),
            (b"SIMPLE  =                    T", Some(("fits", true))),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", Some(("png", false))),
            (b"\x89PNG\r\n\x1a\n\0\0\0\x08acTL\0", Some(("apng", true))),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", Some(("jpeg", false))),
            (b"GIF89a\x01\0\x01\0", Some(("gif", false))),
            (b"\x1f\x8b\x08\x04\0\0\0\0", Some(("gzip", false))),
            (b"\xfd7zXZ\0\0\x04", Some(("xz", false))),
            (b"\x28\xb5\x2f\xfd\x04\x58", Some(("zstd", false))),
            (b"BZh91AY&SY\x01", Some(("bzip2", false))),
            (b"OggS\0\x02\0\0", Some(("ogg", false))),
            (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", Some(("pdf", false))),
            (b"%PDF-1.7\n", Some(("pdf", false))),
            (b"\xd4\xc3\xb2\xa1\x02\0\x04\0", Some(("pcap", false))),
            (b"P6\n640 480\n255\n\xff\0\x80", Some(("pnm", false))),
            (b"<?xml version=\"1.0\"?>", Some(("text", false))),
            (b"#!/bin/sh\necho\n", Some(("text", false))),
            (b"hello\n", Some(("text", false))),
            (b"a", Some(("text", false))),
            ("gr\u{fc}n\n".as_bytes(), Some(("text", false))),
            (b"gr\xc3", Some(("text", false))),
            (b"\x1b[31mred\x1b[0m\r\n", Some(("text", false))),
            (&tar, Some(("tar", false))),
            (&ts, Some(("mpegts", false))),
            (&ext4, Some(("disk image", true))),
            (b"", None),
            (b"\xc3", None),
            (b"\0", None),
            (b"gr\xfcn\n", None),
            (b"text and \0", None),
            (b"\x01\x02\x03\x04\x05\x06\x07\x08", None),
            (b"\x30\x82\x04\x00\xff\xff", None),
            (b"\x99\x98 something around a %PDF-1.4", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(
                content(bytes),
                *expected,
                "{:?}",
                bytes.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn text_that_begins_like_a_binary_format_is_text_once_there_is_enough_of_it() {
        for text in [
            "BMW, Audi and others\n",
            "BCE 44: Caesar is killed\n",
            "MZ is the start of an EXE\n",
            "root:x:0:0:root:/root:/bin/bash\n",
            "FORMAT of the file is text\n",
            "ID3 is a tag of audio files\n",
            "RIFFRAFF is a word as well\n",
            "0 1 2 3 4 5 6 7 8 9 10\n",
        ] {
            assert_eq!(content(text.as_bytes()), Some(("text", false)), "{text}");
        }
    }

    #[test]
    fn a_piece_of_a_patched_format_s_magic_number_waits() {
        for piece in [
            &b"PK"[..],
            b"RIFF",
            b"RI",
            b"FORM",
            b"fLaC",
            b"\x7fE",
            b"!<arch",
            b"CDF",
            b"BM",
        ] {
            assert!(
                by_content(piece).unwrap().patched,
                "{}",
                piece.escape_ascii()
            );
        }
    }

    #[test]
    fn no_extension_stands_in_two_rows_and_each_is_lower_case() {
        let mut seen = HashMap::new();
        for row in ROWS {
            for extension in row.extensions {
                assert_eq!(*extension, extension.to_ascii_lowercase());
                if let Some(other) = seen.insert(extension, row.format.name) {
                    panic!("{extension} is both {other} and {}", row.format.name);
                }
            }
        }
        for (temporary, format) in TEMPORARY.iter().map(|t| (t, lookup(t))) {
            assert_eq!(format, None, "{}", temporary.escape_ascii());
        }
    }

    #[test]
    fn every_signature_names_a_row_and_is_found_by_its_own_bytes() {
        let mut appended_seen = false;
        for sign in TEXT_SIGNATURES.iter().chain(SIGNATURES) {
            let format = lookup(sign.extension.as_bytes()).expect(sign.extension);
            let mut bytes = vec![0x80; sign.offset];
            bytes.extend_from_slice(sign.bytes);
            bytes.extend_from_slice(b"\x80\0");
            let found = signature(std::slice::from_ref(sign), &bytes);
            assert_eq!(found, Some(format), "{}", sign.extension);
        }
        for sign in SIGNATURES {
            let patched = lookup(sign.extension.as_bytes()).unwrap().patched;
            assert!(
                !(patched && appended_seen),
                "{}: patched formats first",
                sign.extension
            );
            appended_seen |= !patched;
        }
    }

    #[test]
    fn every_extension_that_infer_returns_is_in_the_table() {
        let returned = "wasm elf exe dll class bc mach dex dey der obj pem qcow2 epub mobi jpg jp2 \
            png gif webp cr2 tif bmp jxr psd ico heif avif jxl ora djvu dwg mp4 m4v mkv webm mov \
            avi wmv mpg flv midi mp3 m4a opus ogg flac wav amr aac aiff dsf ape woff woff2 ttf otf \
            eot doc docx xls xlsx ppt pptx odt ods odp zip tar par2 rar gz bz2 bz3 7z xz pdf swf \
            rtf ps sqlite nes crx cab deb ar Z lz rpm dcm zst lz4 msi cpio html xml sh";
        let infer = infer::Infer::new();
        for extension in returned.split_whitespace() {
            assert!(infer.is_supported(extension), "infer dropped {extension}");
            assert!(lookup(extension.as_bytes()).is_some(), "{extension}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_sniffing_panic(
            sign in 0..SIGNATURES.len(),
            junk in proptest::collection::vec(any::<u8>(), 0..2048),
        ) {
            let _ = by_content(&junk);
            let mut bytes = SIGNATURES[sign].bytes.to_vec();
            bytes.extend_from_slice(&junk);
            let _ = by_content(&bytes);
        }
    }
}
