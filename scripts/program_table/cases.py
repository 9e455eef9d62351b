"""The cases. `make-inputs` makes their inputs; `$IDIOMS` is `idioms.py`, `$WEB` the web server.

A case without a `view` must give every byte that the program leaves in a plain file; the program is run into a plain
file twice to check that this can be required.
"""

from .case import (
    APPEND,
    FILES,
    LOCK,
    MMAP,
    OUT_OF_ORDER,
    PATCH,
    PREALLOCATE,
    PROCESSES,
    READ_BACK,
    RENAME,
    REOPEN,
    SLOW,
    SPARSE,
    TRUNCATE,
    TYPE,
    UNLINK,
    WRITERS,
    case,
)

# A film of two seconds and a megabyte, the same bytes each time; the extension of the output selects its container.
FILM = "-f lavfi -i testsrc2=duration=2:size=640x480:rate=25 -threads 1 -c:v mpeg4 -q:v 2 -flags +bitexact -fflags +bitexact"
FFMPEG = f"ffmpeg -nostdin -v error -y {FILM}"

ARCHIVES = [
    case("zip", "a tree", "zip -X -q -r {out:x.zip} docs", RENAME, PATCH, TYPE, quick=True),
    case("zip", "add to an archive", "zip -X -q {out:x.zip} table.csv && zip -X -q {out:x.zip} shuffled.txt", RENAME,
         PROCESSES, UNLINK),
    case("zip", "grow an archive in place", "zip -X -q {out:x.zip} table.csv && zip -X -q -g {out:x.zip} shuffled.txt",
         APPEND, PROCESSES, READ_BACK, PATCH),
    case("7z", "a tree", "7z a -bso0 -bsp0 {out:x.7z} docs", PATCH),
    case("7z", "update an archive", "7z a -bso0 -bsp0 {out:x.7z} docs && 7z u -bso0 -bsp0 {out:x.7z} table.csv", PATCH,
         RENAME, PROCESSES),
    case("bsdtar", "a zip archive", "bsdtar -c --format zip -f {out:x.zip} docs", TYPE),
    case("tar", "a tree", "tar -cf {out:x.tar} docs", quick=True),
    case("tar", "append, twice",
         "tar -cf {out:x.tar} docs && tar -rf {out:x.tar} table.csv && tar -rf {out:x.tar} random",
         APPEND, REOPEN, READ_BACK, PROCESSES, quick=True),
    case("cpio", "a tree", "find docs | sort | cpio --quiet --reproducible -o -H newc -O {out:x.cpio}"),
    case("gzip", "in place of the original",
         "F={out:n.txt.gz}; cp shuffled.txt ${F%.gz} && gzip -n ${F%.gz}", TYPE, UNLINK, quick=True),
    case("xz", "in place of the original",
         "F={out:n.txt.xz}; cp shuffled.txt ${F%.xz} && xz -1 -T1 ${F%.xz}", TYPE, UNLINK, quick=True),
    case("bzip2", "in place of the original", "F={out:n.txt.bz2}; cp shuffled.txt ${F%.bz2} && bzip2 ${F%.bz2}", TYPE,
         UNLINK),
    case("zstd", "over a file that is there", "echo old > {out:x.zst} && zstd -q -f -o {out:x.zst} docs/random", TYPE,
         UNLINK, PROCESSES, quick=True),
    case("lz4", "zeros, left as holes", "lz4 -q docs/zeros $TMPDIR/z.lz4 && lz4 -q -d --sparse $TMPDIR/z.lz4 {out:zeros}",
         SPARSE, TYPE),
    case("mksquashfs", "a tree",
         "mksquashfs docs {out:x.squashfs} -quiet -no-progress -processors 1", PATCH, TYPE, READ_BACK),
    case("mksquashfs", "append to an image",
         "mksquashfs docs {out:x.squashfs} -quiet -no-progress -processors 1 && "
         "mksquashfs table.csv {out:x.squashfs} -quiet -no-progress -processors 1",
         PATCH, READ_BACK, PROCESSES, REOPEN),
    case("genisoimage", "a tree", "genisoimage -quiet -R -o {out:x.iso} docs",
         view="bsdtar -xOf $FILE docs/deep/hello.txt | cat; bsdtar -xOf $FILE | sha256sum", needs=("bsdtar",)),
    case("xorriso", "a tree", "xorriso -abort_on FAILURE -outdev {out:x.iso} -map docs /docs 2> $TMPDIR/log", PATCH, TYPE,
         view="bsdtar -xOf $FILE | sha256sum", needs=("bsdtar",)),
]  # fmt: skip

MEDIA = [
    case("ffmpeg", "mp4", f"{FFMPEG} {{out:x.mp4}}", PATCH, quick=True),
    case("ffmpeg", "mp4, index moved to the front", f"{FFMPEG} -movflags +faststart {{out:x.mp4}}", PATCH, READ_BACK,
         REOPEN, quick=True),
    case("ffmpeg", "mkv", f"{FFMPEG} {{out:x.mkv}}", PATCH, quick=True),
    case("ffmpeg", "avi", f"{FFMPEG} {{out:x.avi}}", PATCH),
    case("ffmpeg", "mpegts, as slowly as it plays", f"ffmpeg -nostdin -v error -re -y {FILM} {{out:x.ts}}", SLOW),
    case("ffmpeg", "wav, as slowly as it plays",
         "ffmpeg -nostdin -v error -re -t 1.5 -i tone.wav -ac 2 -ar 96000 -flags +bitexact -fflags +bitexact {out:x.wav}", PATCH, SLOW),
    case("ffmpeg", "a playlist and its parts", f"{FFMPEG} -g 10 -hls_time 0.4 {{dir}}/x.m3u8", FILES, RENAME),
    case("sox", "wav", "sox -R -D -n -r 44100 -b 16 {out:x.wav} synth 20 sine 440", PATCH, quick=True),
    case("sox", "aiff", "sox -R -D tone.wav {out:x.aiff} speed 1.1", PATCH),
    case("flac", "encode", "flac -s -o {out:x.flac} tone.wav", PATCH, READ_BACK),
    case("lame", "encode", "lame --quiet tone.wav {out:x.mp3}", PATCH),
    case("oggenc", "encode", "oggenc -Q -s 1 -o {out:x.ogg} tone.wav"),
    case("mkvmerge", "remux", "mkvmerge -q --deterministic 1 -o {out:x.mkv} film.mkv", PATCH, READ_BACK),
    case("convert", "tiff", "convert picture.ppm {out:x.tiff}", PATCH),
    case("convert", "png", "convert picture.ppm -define png:exclude-chunks=date,time {out:x.png}"),
    case("cwebp", "encode", "cwebp -quiet picture.jpg -o {out:x.webp}"),
    case("tiffcp", "append a page", "convert picture.ppm $TMPDIR/1.tif; tiffcp $TMPDIR/1.tif {out:x.tif} && "
         "tiffcp -a $TMPDIR/1.tif {out:x.tif}", PATCH, READ_BACK, PROCESSES, needs=("convert",)),
    case("exiftool", "a copy", "exiftool -q -Artist=me -o {out:x.jpg} picture.jpg"),
    case("exiftool", "in place", "cp picture.tif {out:x.tif} && exiftool -q -overwrite_original -Artist=me {out:x.tif}",
         RENAME, READ_BACK, PROCESSES),
]  # fmt: skip

TOOLCHAIN = [
    case("gcc", "link with bfd", "gcc -g -fuse-ld=bfd -o {out:hello} hello.o helper.o", PATCH, READ_BACK, quick=True),
    case("gcc", "link with gold", "gcc -g -fuse-ld=gold -o {out:hello} hello.o helper.o", MMAP, PREALLOCATE,
         needs=("ld.gold",)),
    case("gcc", "link with lld", "gcc -g -fuse-ld=lld -o {out:hello} hello.o helper.o", MMAP, RENAME, TRUNCATE, UNLINK,
         needs=("ld.lld",), quick=True),
    case("gcc", "link with mold", "gcc -g -B/usr/libexec/mold -o {out:hello} hello.o helper.o", MMAP, RENAME,
         TRUNCATE, needs=("mold",), quick=True),
    case("gcc", "compile", "gcc -g -c -o {out:hello.o} hello.c", PATCH, READ_BACK, quick=True),
    case("gcc", "all that it makes on the way", "gcc -save-temps=obj -o {dir}/hello hello.c helper.c", FILES, PROCESSES,
         READ_BACK),
    case("nasm", "assemble", "nasm -f elf64 -o {out:hello.o} hello.asm"),
    case("ar", "make and extend a library",
         "ar rcsD {out:libx.a} hello.o && ar rsD {out:libx.a} helper.o", PATCH, REOPEN, READ_BACK, PROCESSES, quick=True),
    case("objcopy", "drop the symbols", "objcopy --strip-debug hello {out:hello}", PATCH),
    case("strip", "in place", "cp hello {out:hello} && strip {out:hello}", READ_BACK, PROCESSES, TYPE),
]  # fmt: skip

DATA = [
    case("sqlite3", "fill a database", "sqlite3 {out:x.db} < dump.sql", LOCK, PATCH, TYPE, READ_BACK,
         view="sqlite3 $FILE 'pragma integrity_check' .dump", quick=True),
    case("sqlite3", "write-ahead log", "(echo 'pragma journal_mode=wal;'; cat dump.sql) | sqlite3 {out:x.db}", LOCK, MMAP,
         FILES, view="sqlite3 $FILE 'pragma integrity_check' .dump"),
    case("sqlite3", "vacuum into", "sqlite3 < <(cat dump.sql; echo \"vacuum into '{out:x.db}';\")", LOCK, PATCH,
         view="sqlite3 $FILE 'pragma integrity_check' .dump"),
    case("rrdtool", "create, then update", "rrdtool create {out:x.rrd} --start 1000000000 DS:a:GAUGE:600:0:100 "
         "RRA:AVERAGE:0.5:1:5000 && rrdtool update {out:x.rrd} 1000000300:1 1000000600:2", MMAP, RENAME, LOCK, PROCESSES,
         view="rrdtool dump $FILE"),
    case("samtools", "BAM", "samtools view --no-PG -b -o {out:x.bam} reads.sam"),
    case("samtools", "sort", "samtools sort --no-PG -m 2M -T $TMPDIR/s -o {out:x.bam} reads.sam"),
    case("samtools", "an index", "samtools index sorted.bam {out:x.bai}"),
    case("bcftools", "BCF", "bcftools view --no-version -O b -o {out:x.bcf} calls.vcf"),
    case("gdal_translate", "GeoTIFF", "gdal_translate -q -co COMPRESS=DEFLATE picture.ppm {out:x.tif}", PATCH, READ_BACK),
    case("gdal_translate", "cloud-optimised GeoTIFF", "gdal_translate -q -of COG picture.ppm {out:x.tif}", PATCH, READ_BACK),
    case("ogr2ogr", "GeoPackage", "ogr2ogr -f GPKG {out:x.gpkg} points.csv -oo X_POSSIBLE_NAMES=lon "
         "-oo Y_POSSIBLE_NAMES=lat -nln points", LOCK, PATCH, view="ogrinfo -q $FILE points", needs=("ogrinfo",)),
    case("ogr2ogr", "a shapefile", "ogr2ogr {dir}/points points.csv -oo X_POSSIBLE_NAMES=lon -oo Y_POSSIBLE_NAMES=lat "
         "-nln points -f 'ESRI Shapefile'", FILES, PATCH),
    case("ncgen", "netCDF", "ncgen -k nc3 -o {out:x.nc} cube.cdl", PATCH),
    case("h5repack", "HDF5", "ncgen -k nc4 -o $TMPDIR/x.nc cube.cdl && h5repack -f GZIP=5 $TMPDIR/x.nc {out:x.h5}", PATCH,
         LOCK, needs=("ncgen", "h5dump"), view="h5dump $FILE | tail -n +2"),
    case("qemu-img", "qcow2", "qemu-img convert -O qcow2 sparse.img {out:x.qcow2}", PATCH, SPARSE, LOCK),
    case("qemu-img", "raw", "qemu-img convert -f raw -O raw sparse.img {out:x.img}", SPARSE, TRUNCATE, LOCK,
         OUT_OF_ORDER),
    case("mke2fs", "a tree", "mke2fs -q -t ext4 -d docs -E root_owner=0:0 {out:x.ext4} 16M", TRUNCATE, SPARSE, READ_BACK,
         OUT_OF_ORDER, view="e2fsck -fn $FILE >&2 && for f in numbers.txt deep/hello.txt zeros random; do "
         "debugfs -R \"cat $f\" $FILE 2>/dev/null | sha256sum; done"),
    case("mkfs.vfat", "and mcopy", "mkfs.vfat --invariant -C {out:x.img} 4096 >&2 && mcopy -i {out:x.img} docs/random "
         "table.csv ::", SPARSE, TRUNCATE, PROCESSES, REOPEN, view="(mtype -i $FILE ::random && mtype -i $FILE ::table.csv) | sha256sum",
         needs=("mcopy",)),
    case("sfdisk", "partition an image", "truncate -s 8M {out:x.img} && printf 'label: dos\\nlabel-id: 0x1\\n,2M\\n,,\\n' | "
         "sfdisk -q {out:x.img}", READ_BACK, SPARSE, TRUNCATE, PROCESSES),
]  # fmt: skip

EDITING = [
    case("sort", "-o", "sort -n -o {out:sorted.txt} shuffled.txt", TRUNCATE, quick=True),
    case("sort", "over its own input", "cp short.txt {out:s.txt} && sort -n -o {out:s.txt} {out:s.txt}", READ_BACK,
         TRUNCATE, PROCESSES),
    case("shuf", "-o", "shuf --random-source=random -o {out:x.txt} old.txt"),
    case("iconv", "-o", "iconv -f latin1 -t utf8 -o {out:x.txt} latin1.txt", quick=True),
    case("sed", "in place", "cp short.txt {out:x.txt} && sed -i s/7/seven/g {out:x.txt}", RENAME, PROCESSES, TYPE,
         quick=True),
    case("perl", "in place", "cp short.txt {out:x.txt} && perl -i -pe s/7/seven/g {out:x.txt}", RENAME, PROCESSES,
         READ_BACK, quick=True),
    case("perl", "a line at a time", "perl -e '$| = 1; for (1..8) { print qq(line $_\\n); select undef, undef, undef, .1 }' "
         "> {out:x.log}", SLOW),
    case("vim", "write a new file", "vim -N -u NONE -i NONE -es -c '%s/7/seven/g' -c 'w! {out:x.txt}' -c 'q!' old.txt", TRUNCATE),
    case("vim", "edit in place", "cp short.txt {out:x.txt} && vim -N -u NONE -i NONE -es -c '%s/7/seven/g' -c 'wq!' {out:x.txt}",
         READ_BACK, TRUNCATE, UNLINK, PROCESSES),
    case("ed", "edit in place", "cp short.txt {out:x.txt} && printf ',s/7/seven/g\\nw\\nq\\n' | ed -s {out:x.txt}",
         REOPEN, TRUNCATE, PROCESSES, READ_BACK),
    case("patch", "-o", "patch -s -o {out:x.txt} old.txt change.patch", UNLINK),
    case("patch", "in place", "cp old.txt {out:x.txt} && patch -s {out:x.txt} change.patch", RENAME, READ_BACK, PROCESSES),
    case("tee", "append, from two programs", "seq 100 | tee {out:x.log} >&2 && seq 200 | tee -a {out:x.log} >&2", APPEND,
         REOPEN, PROCESSES),
    case("dd", "the end before the start", "dd status=none if=random of={out:x.bin} bs=64k seek=8 count=8 conv=notrunc && "
         "dd status=none if=random of={out:x.bin} bs=64k count=8 conv=notrunc", OUT_OF_ORDER, PROCESSES, REOPEN, quick=True),
    case("dd", "holes", "dd status=none if=sparse.img of={out:x.img} bs=64k conv=sparse", SPARSE, TRUNCATE),
    case("cp", "holes", "cp --sparse=always sparse.img {out:x.img}", SPARSE, quick=True),
    case("install", "over a file that is there", "cp hello.o {out:hello} && sleep 0.1 && install -m 755 hello {out:hello}", UNLINK,
         PROCESSES),
    case("truncate", "then write", "truncate -s 1M {out:x.bin} && dd status=none if=random of={out:x.bin} bs=1k count=100 "
         "seek=500 conv=notrunc", TRUNCATE, SPARSE, PROCESSES),
    case("fallocate", "then write", "fallocate -l 1M {out:x.bin} && dd status=none if=random of={out:x.bin} bs=1k count=100 "
         "conv=notrunc", PREALLOCATE, PROCESSES, REOPEN, quick=True),
    case("split", "in pieces", "split -b 300K random {dir}/part-", FILES, quick=True),
    case("csplit", "at lines", "csplit -s -f {dir}/piece- old.txt 100 2000 4000", FILES),
    case("xxd", "patches, in no order", "cp table.csv {out:x.bin} && printf '00001000: 41\\n00000010: 42\\n' | xxd -r - {out:x.bin}",
         PATCH, OUT_OF_ORDER, PROCESSES),
    case("jq", "and sponge, over its own input", "cp short.json {out:x.json} && jq -c '.[]' {out:x.json} | sponge {out:x.json}",
         READ_BACK, RENAME, PROCESSES, needs=("sponge",)),
    case("flock", "twenty processes, one line each",
         "seq 20 | xargs -P 4 -I @ flock {out:x.log} sh -c 'echo entry @ >> {out:x.log}; sleep 0.02'", LOCK, WRITERS, APPEND,
         SLOW, view="sort $FILE", quick=True),
    case("bash", "four processes, each its own part", "for n in 3 1 0 2; do (sleep 0.$n; dd status=none if=random "
         "of={out:x.bin} bs=256k skip=$n seek=$n count=1 conv=notrunc) & done; wait", WRITERS, OUT_OF_ORDER, SLOW),
    case("bash", "lines, a second apart", "for n in 1 2 3; do echo line $n; sleep 1; done > {out:x.txt}", SLOW, quick=True),
    case("bash", "a log that each step appends to", "echo start > {out:x.log}; for n in 1 2 3; do sleep 0.3; "
         "(echo step $n; echo done $n) >> {out:x.log}; done", REOPEN, APPEND, SLOW, PROCESSES, quick=True),
    case("bash", "two outputs", "(for n in 1 2 3; do echo $n; echo problem $n >&2; sleep 0.1; done) > {out:x.txt} 2> {out:x.err}",
         FILES, SLOW),
    case("logrotate", "copy and truncate", "seq 1000 > {out:x.log} && sed s,LOG,{out:x.log}, logrotate.conf > $TMPDIR/conf && "
         "chmod 644 $TMPDIR/conf && logrotate -s $TMPDIR/state $TMPDIR/conf && echo again >> {out:x.log}", TRUNCATE, READ_BACK, FILES, APPEND, PROCESSES),
]  # fmt: skip

DOCUMENTS = [
    case("openssl", "encrypt", "openssl enc -aes-256-ctr -pbkdf2 -S 0102030405060708 -k secret -in docs/random "
         "-out {out:x.enc}"),
    case("openssl", "a key", "openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {out:x.pem}",
         view="openssl pkey -in $FILE -noout"),
    case("gpg", "encrypt", "gpg --homedir $TMPDIR --batch --yes --passphrase x --symmetric -o {out:x.gpg} docs/random",
         view="H=$(mktemp -d) && gpg --homedir $H --batch -q --passphrase x -d $FILE; s=$?; gpgconf --homedir $H --kill all; "
         "rm -rf $H; exit $s"),
    case("git", "bundle", "git -C repository bundle create -q {out:x.bundle} HEAD", RENAME, quick=True),
    case("git", "archive", "git -C repository archive -o {out:x.zip} HEAD", quick=True),
    case("git", "patches", "git -C repository format-patch -q -o {dir} --root HEAD", FILES),
    case("pdftoppm", "a picture of each page", "pdfunite page1.pdf page2.pdf page3.pdf $TMPDIR/x.pdf && "
         "pdftoppm -r 40 -png $TMPDIR/x.pdf {dir}/page", FILES, needs=("pdfunite",)),
    case("pdfunite", "join", "pdfunite page1.pdf page2.pdf page3.pdf {out:x.pdf}", view="pdftotext $FILE -", needs=("pdftotext",)),
    case("qpdf", "linearize", "qpdf --deterministic-id --linearize page1.pdf {out:x.pdf}"),
    case("gs", "PDF", "gs -q -dBATCH -dNOPAUSE -sDEVICE=pdfwrite -o {out:x.pdf} page1.ps page2.ps",
         view="pdftotext $FILE -", needs=("pdftotext",)),
    case("gs", "a picture of each page", "gs -q -dBATCH -dNOPAUSE -sDEVICE=png16m -r40 -o {dir}/page%d.png page1.ps page2.ps",
         FILES),
    case("pandoc", "docx", "pandoc notes.md -o {out:x.docx}"),
    case("dot", "svg", "dot -Tsvg -o {out:x.svg} graph.dot"),
    case("dot", "png", "dot -Tpng -o {out:x.png} graph.dot"),
    case("gnuplot", "svg", "gnuplot -e \"set terminal svg; set output '{out:x.svg}'; plot sin(x)\""),
]  # fmt: skip

TRANSFERS = [
    case("curl", "-o, slowly", "curl -sS -o {out:x.bin} $WEB/slow/random", SLOW),
    case("curl", "resume", "head -c 2000000 random > {out:x.bin} && curl -sS -C - -o {out:x.bin} $WEB/random", APPEND, REOPEN,
         TYPE, PROCESSES, quick=True),
    case("wget", "-O", "wget -q -O {out:x.bin} $WEB/random"),
    case("wget", "resume", "head -c 2000000 random > {out:random} && cd {dir} && wget -q -c $WEB/random", APPEND, REOPEN, TYPE,
         PROCESSES),
    case("aria2c", "four segments at once", "aria2c -q -x 4 -s 4 -k 1M --file-allocation=none -d {dir} -o x.bin $WEB/slow/random && "
         ": {out:x.bin}", OUT_OF_ORDER, SPARSE, FILES),
    case("aria2c", "preallocated", "aria2c -q -x 4 -s 4 -k 1M --file-allocation=falloc -d {dir} -o x.bin $WEB/random && "
         ": {out:x.bin}", PREALLOCATE, OUT_OF_ORDER),
    case("rsync", "beside, then renamed", "rsync -a docs/random {out:random}", RENAME, TYPE, quick=True),
    case("rsync", "in place", "head -c 1000000 random > {out:random} && rsync --inplace --no-whole-file docs/random {out:random}",
         READ_BACK, PROCESSES),
    case("rsync", "append", "head -c 1000000 random > {out:random} && rsync --append docs/random {out:random}", APPEND, PROCESSES,
         REOPEN, TYPE),
    case("rsync", "preallocated, with holes", "rsync --preallocate --sparse sparse.img {out:x.img}", PREALLOCATE, SPARSE,
         RENAME, TYPE),
    case("rsync", "a tree", "rsync -a docs {dir}", FILES, RENAME),
]  # fmt: skip


def idiom(function, what, name, *classes, **more):
    """A Python program of `idioms`."""
    return case("python3", what, f"python3 $IDIOMS {function} {{out:{name}}}", *classes, **more)


IDIOMS = [
    idiom("mapped", "a mapping", "x.bin", MMAP, TRUNCATE, OUT_OF_ORDER, quick=True),
    idiom("replaced", "tempfile and os.replace", "x.bin", RENAME, SLOW, quick=True),
    idiom("replaced_again", "a state replaced twice", "state.txt", RENAME, SLOW),
    idiom("locked", "a lock for each line", "x.log", LOCK, REOPEN, APPEND, quick=True),
    idiom("shuffled", "pieces in no order from four threads", "x.bin", OUT_OF_ORDER, SPARSE, WRITERS, quick=True),
    idiom("processes", "four processes, the last part first", "x.bin", WRITERS, OUT_OF_ORDER, SPARSE, SLOW),
    idiom("verified", "written, then verified", "x.bin", READ_BACK),
    idiom("preallocated", "posix_fallocate, cut at the end", "x.bin", PREALLOCATE, TRUNCATE, quick=True),
    case("python3", "a log that is rotated", "python3 $IDIOMS rotated {dir}/x.log", RENAME, FILES, APPEND, REOPEN),
    idiom("sound", "wave", "x.wav", PATCH, SLOW),
    idiom("zipped", "zipfile", "x.zip", PATCH, quick=True),
    case("python3", "dbm.dumb", "python3 $IDIOMS dumb_database {out:x.dat} && : {out:x.dir}", PATCH, FILES, REOPEN, RENAME),
    idiom("sections", "lines, a tenth of a second apart", "x.csv", SLOW),
    idiom("count_first", "a text whose first line is patched late", "x.txt", PATCH, SLOW, rewritten=True, quick=True),
    idiom("total_first", "a log opened again to be patched", "x.log", PATCH, REOPEN, SLOW, rewritten=True),
    idiom("array", "numpy.save", "x.npy", needs=("numpy",)),
    idiom("mapped_array", "numpy memmap", "x.npy", MMAP, OUT_OF_ORDER, needs=("numpy",)),
    idiom("data_set", "h5py", "x.h5", PATCH, LOCK, SLOW, needs=("h5py",)),
    idiom("growing_data_set", "h5py, opened three times", "x.h5", PATCH, LOCK, REOPEN, READ_BACK,
          needs=("h5py",)),
]  # fmt: skip

CASES = ARCHIVES + MEDIA + TOOLCHAIN + DATA + EDITING + DOCUMENTS + TRANSFERS + IDIOMS

# The Debian package of each command whose package has another name, or that is not installed everywhere.
PACKAGES = {
    "7z": "p7zip-full", "bsdtar": "libarchive-tools", "xz": "xz-utils", "mksquashfs": "squashfs-tools",
    "oggenc": "vorbis-tools", "mkvmerge": "mkvtoolnix", "convert": "imagemagick", "cwebp": "webp",
    "tiffcp": "libtiff-tools", "exiftool": "libimage-exiftool-perl", "ld.gold": "binutils", "ld.lld": "lld",
    "ar": "binutils", "objcopy": "binutils", "strip": "binutils", "gdal_translate": "gdal-bin", "ogr2ogr": "gdal-bin",
    "ogrinfo": "gdal-bin", "ncgen": "netcdf-bin", "h5repack": "hdf5-tools", "h5dump": "hdf5-tools",
    "qemu-img": "qemu-utils", "mke2fs": "e2fsprogs", "mkfs.vfat": "dosfstools", "mcopy": "mtools", "sfdisk": "fdisk",
    "sort": "coreutils", "shuf": "coreutils", "dd": "coreutils", "cp": "coreutils", "tee": "coreutils",
    "install": "coreutils", "truncate": "coreutils", "split": "coreutils", "csplit": "coreutils", "iconv": "libc-bin",
    "fallocate": "util-linux", "flock": "util-linux", "sponge": "moreutils", "gpg": "gnupg", "pdftoppm": "poppler-utils",
    "pdfunite": "poppler-utils", "pdftotext": "poppler-utils", "gs": "ghostscript", "dot": "graphviz",
    "gnuplot": "gnuplot-nox", "aria2c": "aria2",
}  # fmt: skip
# Python modules that idioms use, and their packages.
MODULES = {"numpy": "python3-numpy", "h5py": "python3-h5py"}
