//! The table of formats: which names and which first bytes belong to which
//! format, and whether programs go back and patch what they wrote of it.
//!
//! Knows nothing of delivery; [`super::format`] searches it. One row is one
//! answer to "may a reader have the bytes as they come?", so formats that
//! answer alike share a row where a user would not miss the difference.
//!
//! A row is `patched` if *some* common writer of the format seeks back, even
//! if another does not: to wait without need costs a delay, to hand out bytes
//! that are then patched costs a rewritten stream.
//!
//! Invariant (tested): no extension stands in two rows, and every extension
//! that a signature names, or that `infer` may return, stands in one.

/// The name of text.
pub(crate) const TEXT: &str = "text";

/// Properties of a format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Its name, for the reason that is shown to the user.
    pub(crate) name: &'static str,
    /// Whether programs change what they already wrote of it.
    pub(crate) patched: bool,
    /// Whether it ends in zeros that the next append overwrites: tar, whose
    /// end-of-archive blocks `tar --append` and `--concatenate` replace.
    pub(crate) trailing_zeros: bool,
    /// Whether programs read it from its end, where its directory stands: they need the whole file,
    /// though nothing of it is ever changed.
    pub(crate) read_from_end: bool,
}

/// One format and the names it goes by.
pub(crate) struct Row {
    /// The format.
    pub(crate) format: Format,
    /// Last extensions of file names, in lower case, without the dot.
    pub(crate) extensions: &'static [&'static str],
}

/// A format that is never patched and is read from its beginning.
const PLAIN: Format = Format {
    name: "",
    patched: false,
    trailing_zeros: false,
    read_from_end: false,
};

/// A format whose headers get patched.
const fn patched(name: &'static str, extensions: &'static [&'static str]) -> Row {
    let patched = true;
    row(name, Format { patched, ..PLAIN }, extensions)
}

/// A format that is only ever appended to.
const fn appended(name: &'static str, extensions: &'static [&'static str]) -> Row {
    row(name, PLAIN, extensions)
}

/// A format that is only ever appended to, and read from its end.
const fn indexed(name: &'static str, extensions: &'static [&'static str]) -> Row {
    let read_from_end = true;
    let format = Format {
        read_from_end,
        ..PLAIN
    };
    row(name, format, extensions)
}

const fn row(name: &'static str, format: Format, extensions: &'static [&'static str]) -> Row {
    Row {
        format: Format { name, ..format },
        extensions,
    }
}

/// Every format known by name. The comment says what is patched, where it is
/// not plain; `lookup` goes through it in order.
#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    // --- Archives and packages -------------------------------------------
    // Local file headers get their sizes and checksum once a member is done.
    patched("zip", &[
        "zip", "zipx", "jar", "war", "ear", "aar", "jmod", "apk", "aab", "xapk", "ipa", "whl",
        "egg", "xpi", "crx", "vsix", "nupkg", "appx", "msix", "epub", "cbz", "docx", "docm",
        "dotx", "xlsx", "xlsm", "xlsb", "xltx", "pptx", "pptm", "ppsx", "potx", "vsdx", "odt",
        "ods", "odp", "odg", "odf", "odb", "ott", "ots", "otp", "ora", "kra", "kmz", "3mf",
        "usdz", "sketch", "npz", "pt", "pth", "keras", "mscz", "pk3", "love", "mcpack", "qgz",
    ]),
    // The signature header points at the end, and is written last.
    patched("7z", &["7z", "cb7"]),
    patched("rar", &["rar", "cbr"]),
    patched("cab", &["cab"]),
    patched("lha", &["lha", "lzh", "arj", "ace", "zoo"]),
    // The length of the header and its checksum come first.
    patched("xar", &["xar", "pkg"]),
    // Symbol tables and members are rewritten in place; dpkg patches sizes.
    patched("ar", &["a", "ar", "lib", "deb", "udeb", "ipk", "opk"]),
    // Signature and header hold digests of the payload behind them.
    patched("rpm", &["rpm", "srpm"]),
    patched("wim", &["wim", "swm", "esd"]),
    patched("par2", &["par2"]),
    patched("lrzip", &["lrz"]),
    patched("zim", &["zim"]),
    // `git index-pack` and `git fetch` mend the object count.
    patched("git pack", &["pack"]),
    patched("aria2", &["aria2"]),
    row("tar", Format { trailing_zeros: true, ..PLAIN }, &["tar", "ova", "gem", "cbt"]),
    appended("cpio", &["cpio", "initrd", "initramfs"]),
    appended("gzip", &[
        "gz", "tgz", "taz", "svgz", "emz", "gzip", "crate", "bgz", "bgzf", "bam", "cram", "bcf",
        "rds", "rda", "rdata",
    ]),
    appended("bzip2", &["bz2", "tbz", "tbz2", "bz", "bz3"]),
    appended("xz", &["xz", "txz", "lzma", "tlz", "lz"]),
    appended("zstd", &["zst", "tzst", "zstd"]),
    appended("lz4", &["lz4"]),
    appended("lzop", &["lzo", "tzo"]),
    appended("compress", &["z"]),
    appended("brotli", &["br"]),
    appended("snappy", &["sz", "snappy"]),
    appended("zpaq", &["zpaq"]),
    appended("encrypted", &["gpg", "pgp", "age", "p7m", "p7s", "sig"]),
    appended("git bundle", &["bundle"]),
    appended("warc", &["warc", "arc"]),

    // --- Video -----------------------------------------------------------
    // Sizes of boxes, and where the index is, are known at the end.
    patched("mp4", &[
        "mp4", "m4a", "m4v", "m4b", "m4r", "m4s", "mp4v", "mov", "qt", "3gp", "3gpp", "3g2",
        "f4v", "f4a", "mj2", "ismv", "cmaf", "insv",
    ]),
    // Duration, cues and the size of the segment.
    patched("matroska", &["mkv", "mka", "mks", "mk3d", "webm"]),
    patched("avi", &["avi", "divx"]),
    patched("asf", &["asf", "wmv", "wma", "wtv"]),
    // Duration and file size in the metadata tag.
    patched("flv", &["flv"]),
    patched("swf", &["swf"]),
    patched("realmedia", &["rm", "rmvb", "ra"]),
    patched("mxf", &["mxf", "gxf"]),
    // The frame count.
    patched("ivf", &["ivf"]),
    appended("mpegts", &["ts", "m2ts", "mts", "m2t", "trp"]),
    appended("mpeg", &["mpg", "mpeg", "vob", "m1v", "m2v", "mpv", "evo"]),
    appended("video stream", &[
        "h261", "h263", "h264", "264", "avc", "h265", "265", "hevc", "h266", "vvc", "obu", "av1",
        "mjpeg", "mjpg", "dv", "y4m", "yuv",
    ]),

    // --- Audio -----------------------------------------------------------
    // The RIFF and data sizes.
    patched("wav", &["wav", "wave", "bwf", "w64", "rf64"]),
    patched("aiff", &["aiff", "aif", "aifc"]),
    patched("caf", &["caf"]),
    patched("au", &["au", "snd"]),
    // STREAMINFO: sample count and MD5.
    patched("flac", &["flac", "fla"]),
    // The Xing/LAME frame and the ID3v2 tag stand first.
    patched("mp3", &["mp3", "mp2", "mpga"]),
    patched("audio with a length", &[
        "ape", "wv", "tta", "tak", "dsf", "dff", "voc", "sph", "nist", "ircam", "sf", "mpc",
        "8svx", "htk", "smp",
    ]),
    // The length of each track.
    patched("midi", &["mid", "midi", "kar", "rmi"]),
    appended("ogg", &["ogg", "oga", "ogv", "ogx", "ogm", "opus", "spx"]),
    appended("audio stream", &[
        "aac", "adts", "ac3", "eac3", "ec3", "dts", "thd", "mlp", "amr", "gsm", "pcm", "s8", "s16",
        "s24", "s32", "u8", "u16", "u24", "u32", "f32", "f64", "al", "ul", "sln",
    ]),

    // --- Images ----------------------------------------------------------
    // Directory offsets; the strips come before the directory.
    patched("tiff", &[
        "tiff", "tif", "btf", "tf8", "dng", "cr2", "nef", "arw", "orf", "rw2", "pef", "srw",
        "svs", "ndpi", "lsm",
    ]),
    patched("heif", &["heif", "heic", "heics", "heifs", "hif", "avif", "avifs", "avci"]),
    // The RIFF size.
    patched("webp", &["webp"]),
    // The number of frames in acTL.
    patched("apng", &["apng"]),
    patched("bmp", &["bmp", "dib"]),
    patched("ico", &["ico", "cur", "icns"]),
    patched("psd", &["psd", "psb"]),
    patched("xcf", &["xcf"]),
    // Box lengths, and the length of each tile.
    patched("jpeg2000", &["jp2", "j2k", "j2c", "jpc", "jpf", "jpx", "jxl", "jxr", "wdp"]),
    // The table of line offsets.
    patched("exr", &["exr"]),
    patched("image with a length", &[
        "dds", "tga", "pcx", "sgi", "rgb", "dpx", "cin", "djvu", "djv", "jng", "mng", "wmf", "emf",
        "dwg", "cr3",
    ]),
    // cfitsio mends NAXISn of a header that is text.
    patched("fits", &["fits", "fit", "fts"]),
    appended("png", &["png"]),
    appended("jpeg", &["jpg", "jpeg", "jpe", "jfif"]),
    appended("gif", &["gif"]),
    appended("pnm", &["pnm", "pbm", "pgm", "ppm", "pam", "pfm", "qoi", "ff", "xwd", "ras"]),

    // --- Programs and fonts ----------------------------------------------
    patched("elf", &["o", "so", "ko", "elf", "axf", "lo", "ld", "appimage"]),
    patched("executable", &[
        "exe", "dll", "sys", "efi", "scr", "ocx", "cpl", "com", "obj", "mach", "dylib", "pdb", "lnk",
    ]),
    patched("wasm", &["wasm"]),
    patched("bytecode", &["class", "dex", "dey", "bc", "pyc", "pyo", "elc", "beam", "luac"]),
    patched("font", &["ttf", "otf", "ttc", "woff", "woff2", "eot", "pfb"]),
    patched("uimage", &["uimage", "itb"]),
    patched("rom", &["nes"]),

    // --- Databases and scientific data -----------------------------------
    patched("sqlite", &[
        "sqlite", "sqlite3", "db", "db3", "s3db", "sl3", "gpkg", "mbtiles", "db-journal", "db-wal",
        "db-shm", "sqlite-journal", "sqlite-wal", "sqlite-shm",
    ]),
    patched("database", &[
        "mdb", "accdb", "dbf", "gdbm", "dbm", "bdb", "duckdb", "ddb", "kdbx", "fdb", "lmdb", "pst",
    ]),
    patched("hdf", &[
        "hdf5", "h5", "hdf", "h4", "hdf4", "he5", "h5ad", "loom", "cool", "mcool", "mnc", "nxs",
    ]),
    patched("netcdf", &["nc", "nc4", "cdf", "netcdf"]),
    patched("mat", &["mat"]),
    patched("geodata", &["shp", "shx", "las", "laz", "fgb", "pmtiles", "sbn", "sbx"]),
    patched("genome index", &["bw", "bigwig", "bb", "bigbed", "2bit"]),
    patched("statistics", &["sav", "zsav", "sas7bdat", "dta"]),
    patched("measurement", &["root", "tdms", "mdf", "mf4", "edf", "bdf", "gdf", "dcm", "dicom"]),
    patched("volume", &["nii", "mrc", "trk", "tck", "dcd"]),
    // The writer returns to fill in the offsets of the appended data.
    patched("vtk xml", &["vtu", "vtp", "vti", "vtr", "vts"]),
    patched("mesh", &["stl", "ply", "glb", "fbx", "usdc"]),
    patched("model", &["gguf", "ggml"]),
    indexed("parquet", &["parquet", "pq"]),
    indexed("orc", &["orc"]),
    indexed("arrow", &["arrow", "feather", "ipc"]),
    appended("arrow stream", &["arrows"]),
    appended("avro", &["avro"]),
    appended("npy", &["npy"]),
    appended("records", &[
        "pkl", "pickle", "joblib", "msgpack", "bson", "cbor", "ubj", "grib", "grb", "grib2", "grb2",
        "xtc", "trr", "bai", "csi", "tbi",
    ]),
    appended("pcap", &["pcap", "pcapng", "cap", "snoop", "erf"]),

    // --- Disk images -----------------------------------------------------
    patched("disk image", &[
        "qcow2", "qcow", "qed", "vmdk", "vdi", "vhd", "vhdx", "hdd", "vfd", "img", "raw", "ima",
        "luks", "dmg", "ext2", "ext3", "ext4", "vmem", "vma", "nrg", "mdx",
    ]),
    patched("iso", &["iso", "udf", "toast"]),
    patched("squashfs", &["squashfs", "sqsh", "sqfs", "snap", "sfs", "cramfs", "romfs", "erofs"]),

    // --- Documents -------------------------------------------------------
    // The allocation table of a compound file stands first.
    patched("ole", &["doc", "xls", "xlt", "ppt", "pps", "msi", "msp", "msg", "vsd", "pub"]),
    patched("ebook", &["mobi", "azw", "azw3", "prc", "chm"]),
    patched("journal", &["journal", "evtx", "perf"]),
    indexed("pdf", &["pdf", "fdf"]),
    appended("postscript", &["ps", "eps", "ai", "epsf"]),
    appended("rtf", &["rtf"]),
    appended("dvi", &["dvi", "xdv"]),

    // --- Text ------------------------------------------------------------
    appended(TEXT, &[
        "txt", "text", "log", "err", "lst", "list", "nfo", "md", "markdown", "mkd", "rst", "adoc",
        "asciidoc", "org", "tex", "ltx", "latex", "bib", "cls", "sty", "aux", "toc", "lof", "bbl",
        "csv", "tsv", "psv", "tab", "json", "jsonl", "ndjson", "json5", "jsonc", "jsonld",
        "geojson", "topojson", "har", "ipynb", "xml", "xsl", "xslt", "xsd", "dtd", "html", "htm",
        "xhtml", "shtml", "rss", "atom", "svg", "gpx", "kml", "gml", "graphml", "gexf", "opml",
        "fb2", "yaml", "yml", "toml", "ini", "cfg", "conf", "properties", "env", "desktop",
        "service", "plist", "po", "pot", "sql", "ddl", "srt", "vtt", "ass", "ssa", "sub", "sbv",
        "lrc", "m3u", "m3u8", "pls", "cue", "mpd", "c", "h", "i", "ii", "cc", "cpp", "cxx", "hh",
        "hpp", "hxx", "m", "mm", "rs", "go", "py", "pyi", "rb", "pl", "pm", "php", "java", "kt",
        "scala", "groovy", "js", "mjs", "cjs", "jsx", "tsx", "vue", "css", "scss", "sass", "less",
        "sh", "bash", "zsh", "fish", "bat", "cmd", "ps1", "lua", "r", "jl", "swift", "dart", "vb",
        "cs", "fs", "hs", "ml", "mli", "clj", "ex", "exs", "erl", "el", "lisp", "scm", "asm", "s",
        "ll", "wat", "v", "sv", "vhdl", "f90", "f95", "d", "dep", "mk", "cmake", "gradle", "bzl",
        "nix", "diff", "patch", "rej", "eml", "mbox", "ics", "ldif", "vcf", "sam", "fasta", "fa",
        "fna", "faa", "ffn", "fas", "fastq", "fq", "gff", "gff3", "gtf", "bed", "bedgraph", "wig",
        "maf", "gfa", "paf", "psl", "nwk", "newick", "phy", "aln", "sto", "cif", "mol", "mol2",
        "sdf", "xyz", "gro", "dot", "gv", "puml", "wkt", "prj", "cpg", "vrt", "qgs", "dxf", "step",
        "stp", "iges", "igs", "off", "gltf", "scad", "gcode", "ttl", "nt", "nq", "n3", "trig",
        "rdf", "owl", "ris", "pem", "crt", "cer", "der", "csr", "key", "asc", "ovpn", "hcl", "tf",
        "proto", "thrift", "graphql", "tap", "lcov", "info", "folded", "abc", "ly", "mei", "xpm",
        "xbm", "vtk", "uue", "shar",
    ]),
];

/// A run of bytes at a fixed place, and the extension of the format it marks.
///
/// The sources are the format's own specification or, where there is none,
/// the magic file of file(1) (<https://github.com/file/file/tree/master/magic>).
pub(crate) struct Signature {
    /// Offset of the bytes in the file.
    pub(crate) offset: usize,
    /// The bytes.
    pub(crate) bytes: &'static [u8],
    /// An extension of its row in [`ROWS`].
    pub(crate) extension: &'static str,
}

const fn at(offset: usize, bytes: &'static [u8], extension: &'static str) -> Signature {
    Signature {
        offset,
        bytes,
        extension,
    }
}

/// Formats that begin with text although they are patched. Each is long enough
/// not to be met in other text.
#[rustfmt::skip]
pub(crate) const TEXT_SIGNATURES: &[Signature] = &[
    at(0, b"!<arch>\n", "ar"),
    at(0, b"!<thin>\n", "ar"),
    at(0, b"# Disk DescriptorFile", "vmdk"),
    at(0, b"<<< Oracle VM VirtualBox", "vdi"),
    at(0, b"<<< QEMU VM Virtual Disk", "vdi"),
    at(0, b"MATLAB 5.0 MAT-file", "mat"),
    at(0, b"SIMPLE  =", "fits"),
    at(0, b"NIST_1A\n", "sph"),
    at(0, b"<stata_dta>", "dta"),
    at(0, b"<VTKFile ", "vtu"),
    at(0, b"mrtrix tracks", "tck"),
    // The version of an EDF header is `0` padded to eight bytes; what follows
    // is a name, so that a table of numbers is rarely met.
    at(0, b"0       ", "edf"),
    at(0, b"ply\n", "ply"),
];

/// What `infer` lacks, knows only from a longer piece than a first write may
/// be, or parses in more depth than unknown bytes deserve (ZIP, OLE and ISO
/// media). Patched formats stand first: a piece too short to tell two formats
/// apart is then taken for the one that waits.
#[rustfmt::skip]
pub(crate) const SIGNATURES: &[Signature] = &[
    at(0, b"PK\x03\x04", "zip"),
    at(0, b"PK\x05\x06", "zip"),
    at(0, b"PK\x07\x08", "zip"),
    at(0, b"7z\xbc\xaf\x27\x1c", "7z"),
    at(0, b"Rar!\x1a\x07", "rar"),
    at(0, b"MSCF\0\0\0\0", "cab"),
    at(0, b"xar!", "xar"),
    at(0, b"\xed\xab\xee\xdb", "rpm"),
    at(0, b"MSWIM\0\0\0", "wim"),
    at(0, b"LRZI", "lrz"),
    at(0, b"ZIM\x04", "zim"),
    at(0, b"PACK\0\0\0", "pack"),
    at(0, b"\x7fELF", "elf"),
    at(0, b"\0asm", "wasm"),
    at(0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "doc"),
    at(4, b"ftyp", "mp4"),
    at(0, b"\x1a\x45\xdf\xa3", "mkv"),
    at(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    at(0, b"FLV\x01", "flv"),
    at(0, b".RMF\0", "rm"),
    at(0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "mxf"),
    at(0, b"DKIF\0\0", "ivf"),
    // RIFF holds wav, avi, webp and more, and patches its size in all of them.
    at(0, b"RIFF", "wav"),
    at(0, b"RIFX", "wav"),
    at(0, b"RF64", "rf64"),
    at(0, b"BW64", "rf64"),
    at(0, b"riff\x2e\x91\xcf\x11", "w64"),
    at(0, b"FORM", "aiff"),
    at(0, b"caff\0\x01", "caf"),
    at(0, b".snd\0\0", "au"),
    at(0, b"fLaC", "flac"),
    at(0, b"wvpk", "wv"),
    at(0, b"TTA1", "tta"),
    at(0, b"tBaK", "tak"),
    at(0, b"MPCK", "mpc"),
    at(0, b"Creative Voice File\x1a", "voc"),
    at(0, b"MThd\0\0\0\x06", "mid"),
    at(0, b"II\x2a\0", "tiff"),
    at(0, b"MM\0\x2a", "tiff"),
    // BigTIFF.
    at(0, b"II\x2b\0", "tiff"),
    at(0, b"MM\0\x2b", "tiff"),
    at(0, b"gimp xcf ", "xcf"),
    at(0, b"icns\0", "icns"),
    at(0, b"\xff\x4f\xff\x51", "j2k"),
    at(0, b"\0\0\0\x0cjP  ", "jp2"),
    at(0, b"\x76\x2f\x31\x01", "exr"),
    at(0, b"DDS \x7c\0\0\0", "dds"),
    at(0, b"SDPX\0", "dpx"),
    at(0, b"XPDS", "dpx"),
    at(0, b"\xd7\xcd\xc6\x9a", "wmf"),
    at(0, b"\x8aMNG\r\n\x1a\n", "mng"),
    at(0, b"\x8bJNG\r\n\x1a\n", "jng"),
    at(0, b"SQLite format 3\0", "sqlite"),
    at(8, b"DUCK", "duckdb"),
    at(4, b"Standard Jet DB\0", "mdb"),
    at(4, b"Standard ACE DB\0", "accdb"),
    at(0, b"\x89HDF\r\n\x1a\n", "h5"),
    // HDF5 behind a user block of the smallest size.
    at(512, b"\x89HDF\r\n\x1a\n", "h5"),
    at(0, b"\x0e\x03\x13\x01", "hdf4"),
    at(0, b"CDF\x01", "nc"),
    at(0, b"CDF\x02", "nc"),
    at(0, b"CDF\x05", "nc"),
    at(0, b"\0\0\x27\x0a\0\0\0\0", "shp"),
    at(0, b"LASF\0", "las"),
    at(0, b"fgb\x03fgb", "fgb"),
    at(0, b"PMTiles\x03", "pmtiles"),
    at(0, b"\x26\xfc\x8f\x88", "bw"),
    at(0, b"\xeb\xf2\x89\x87", "bb"),
    at(0, b"\x43\x27\x41\x1a", "2bit"),
    at(0, b"root\0", "root"),
    at(0, b"TDSm", "tdms"),
    at(0, b"MDF     ", "mdf"),
    at(0, b"\xffBIOSEMI", "bdf"),
    at(0, b"TRACK\0", "trk"),
    at(0, b"$FL2", "sav"),
    at(0, b"$FL3", "zsav"),
    at(0, b"glTF\x02", "glb"),
    at(0, b"Kaydara FBX Binary  \0", "fbx"),
    at(0, b"PXR-USDC", "usdc"),
    at(0, b"GGUF\x03", "gguf"),
    at(0, b"QFI\xfb", "qcow2"),
    at(0, b"QED\0", "qed"),
    at(0, b"KDMV", "vmdk"),
    at(0, b"COWD", "vmdk"),
    at(64, b"\x7f\x10\xda\xbe", "vdi"),
    at(0, b"conectix", "vhd"),
    at(0, b"vhdxfile", "vhdx"),
    at(0, b"LUKS\xba\xbe", "luks"),
    at(0, b"hsqs", "squashfs"),
    at(0, b"sqsh", "squashfs"),
    at(0, b"\x45\x3d\xcd\x28", "cramfs"),
    at(0, b"-rom1fs-", "romfs"),
    at(1024, b"\xe2\xe1\xf5\xe0", "erofs"),
    at(1080, b"\x53\xef", "ext4"),
    at(0, b"XFSB", "img"),
    at(512, b"EFI PART", "img"),
    at(510, b"\x55\xaa", "img"),
    at(32769, b"CD001", "iso"),
    at(0, b"\x27\x05\x19\x56", "uimage"),
    at(0, b"ITSF", "chm"),
    at(60, b"BOOKMOBI", "mobi"),
    at(0, b"LPKSHHRH", "journal"),
    at(0, b"ElfFile\0", "evtx"),
    at(0, b"PERFILE2", "perf"),
    // From here on: only ever appended to.
    at(257, b"ustar", "tar"),
    at(0, b"\x1f\x8b", "gz"),
    at(0, b"BZh", "bz2"),
    at(0, b"\xfd7zXZ\0", "xz"),
    at(0, b"\x5d\0\0", "lzma"),
    at(0, b"\x28\xb5\x2f\xfd", "zst"),
    at(0, b"\x04\x22\x4d\x18", "lz4"),
    at(0, b"\x02\x21\x4c\x18", "lz4"),
    at(0, b"\x89LZO\0\r\n\x1a\n", "lzo"),
    at(0, b"\xff\x06\0\0sNaPpY", "sz"),
    at(0, b"Salted__", "gpg"),
    at(0, b"OggS", "ogg"),
    at(0, b"YUV4MPEG2 ", "y4m"),
    at(0, b"PAR1", "parquet"),
    at(0, b"ORC", "orc"),
    at(0, b"ARROW1\0\0", "arrow"),
    at(0, b"FEA1", "feather"),
    at(0, b"Obj\x01", "avro"),
    at(0, b"\x93NUMPY", "npy"),
    at(0, b"CRAM\x02", "cram"),
    at(0, b"CRAM\x03", "cram"),
    at(0, b"BCF\x02", "bcf"),
    at(0, b"GRIB", "grib"),
    at(0, b"\xd4\xc3\xb2\xa1", "pcap"),
    at(0, b"\xa1\xb2\xc3\xd4", "pcap"),
    at(0, b"\x4d\x3c\xb2\xa1", "pcap"),
    at(0, b"\xa1\xb2\x3c\x4d", "pcap"),
    at(0, b"\x0a\x0d\x0d\x0a", "pcapng"),
    at(0, b"snoop\0\0\0", "snoop"),
    at(0, b"qoif", "qoi"),
    at(0, b"P4\n", "pbm"),
    at(0, b"P5\n", "pgm"),
    at(0, b"P6\n", "ppm"),
    at(0, b"P7\n", "pam"),
    at(0, b"P5 ", "pgm"),
    at(0, b"P6 ", "ppm"),
    at(0, b"PF\n", "pfm"),
    at(0, b"Pf\n", "pfm"),
    at(0, b"farbfeld", "ff"),
    at(0, b"%PDF-", "pdf"),
    at(0, b"%!PS", "ps"),
];
