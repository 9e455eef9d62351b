//! Formats by names and first bytes, and properties of the whole table.

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
fn the_last_extension_of_a_file_name_tells_its_format() {
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
fn formats_that_are_patched_are_settled_and_those_that_are_not_followed() {
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
fn a_file_named_as_text_that_has_a_nul_is_no_text_unless_it_is_wide() {
    let log = lookup(b"log").unwrap();
    let mut late = vec![b'x'; 513];
    late[512] = 0;
    for (bytes, denied) in [
        (&b"plain\n"[..], false),
        (b"", false),
        (b"\0", true),
        (b"a line\n\0\x01", true),
        (b"\xff\xfeh\0i\0", false),
        (b"\xfe\xff\0h\0i", false),
        (b"\xff\xfe\0\0h\0\0\0", false),
        (b"\0\0\xfe\xff\0\0\0h", false),
        (&late, false),
    ] {
        assert_eq!(log.is_denied_by(bytes), denied, "{bytes:?}");
        assert!(!lookup(b"gz").unwrap().is_denied_by(bytes));
    }
}

#[test]
fn formats_with_their_directory_at_the_end_are_read_from_there() {
    for (extension, expected) in [
        ("parquet", true),
        ("orc", true),
        ("feather", true),
        ("pdf", true),
        ("arrows", false),
        ("gz", false),
        ("txt", false),
    ] {
        let format = lookup(extension.as_bytes()).unwrap();
        assert_eq!(format.read_from_end, expected, "{extension}");
        assert!(!format.patched);
    }
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
