"""Programs, their inputs, and the order of their writes: each is run once to plain files and once to objects."""

import os
import random
import subprocess
from pathlib import Path

PYTHON = "import os, random, sys; "
MIB = 1 << 20

# Name: the command, in which {out:NAME} are the outputs.
PROGRAMS = {
    "ffmpeg, mp4": "ffmpeg -v error -i clip.avi -c copy -fflags +bitexact -y {out:x.mp4}",
    "ffmpeg, mp4, faststart": "ffmpeg -v error -i clip.avi -c copy -movflags +faststart -fflags +bitexact -y {out:x.mp4}",
    "ffmpeg, mkv": "ffmpeg -v error -i clip.avi -c copy -fflags +bitexact -y {out:x.mkv}",
    "zip": "zip -q -X -r {out:x.zip} files",
    "7z": "7z a -bd -bso0 -mx=1 -mmt=1 {out:x.7z} files",
    "sqlite3": "sqlite3 {out:x.db} '.read rows.sql'",
    "sox, wav": "sox -R -n {out:x.wav} synth 120 sine 440",
    "samtools": "samtools view --no-PG -b -o {out:x.bam} reads.sam",
    "text, patched late": [
        PYTHON + "f = open(sys.argv[1], 'w+b'); f.write(b'a line of text\\n' * 2_000_000); f.seek(5); f.write(b'PATCHED'); "
        "f.seek(20_000_000); f.write(b'PATCHED'); f.close()",
        "{out:x.txt}",
    ],
    "blocks in any order": [
        PYTHON + "n = list(range(300)); random.Random(1).shuffle(n); f = open(sys.argv[1], 'wb', 0); "
        "[os.pwrite(f.fileno(), bytes([b % 251]) * 100_000, b * 100_000) for b in n]",
        "{out:x.bin}",
    ],
    "sparse, 1 GiB": [
        PYTHON + "f = open(sys.argv[1], 'wb'); f.truncate(1 << 30); f.seek(500_000_000); f.write(b'x' * 1_000_000)",
        "{out:x.img}",
    ],
    "renamed into place": [
        PYTHON + "p = sys.argv[1]; open(p, 'wb').write(b'old' * 5_000_000); t = open(p + '.t', 'wb'); "
        "t.write(b'new' * 8_000_000); t.close(); os.rename(p + '.t', p)",
        "{out:x.log}",
    ],
    "truncated": [
        PYTHON + "f = open(sys.argv[1], 'wb'); f.write(os.urandom(0) + b'y' * 30_000_000); f.flush(); "
        "f.truncate(9_000_000); f.seek(9_000_000); f.write(b'end'); f.close()",
        "{out:x.bin}",
    ],
    "three outputs": [
        PYTHON + "fs = [open(p, 'wb') for p in sys.argv[1:]]; "
        "[f.write(bytes([n + i % 200]) * 1_000_000) for i in range(20) for n, f in enumerate(fs)]",
        "{out:a.log}", "{out:b.zip}", "{out:c.bin}",
    ],
    "empty": [PYTHON + "open(sys.argv[1], 'wb')", "{out:x.bin}"],
    "1 byte": [PYTHON + "open(sys.argv[1], 'wb').write(b'1')", "{out:x.bin}"],
    "8 MiB": [PYTHON + "open(sys.argv[1], 'wb').write(b'8' * (8 << 20))", "{out:x.bin}"],
}  # fmt: skip
SHORT = ["ffmpeg, mp4", "zip", "text, patched late", "three outputs", "empty"]

# Programs and their packages in Debian.
PACKAGES = {"ffmpeg": "ffmpeg", "zip": "zip", "7z": "p7zip-full", "sqlite3": "sqlite3", "sox": "sox", "samtools": "samtools", "npm": "npm"}


def make_inputs(directory: Path) -> None:
    """Makes the inputs of the programs: some cannot be compressed."""
    chance = random.Random(1)
    files = directory / "files"
    files.mkdir()
    for number in range(12):
        path = files / str(number)
        path.write_bytes(chance.randbytes(2 * MIB + number))
        os.utime(path, (1_600_000_000, 1_600_000_000))
    os.utime(files, (1_600_000_000, 1_600_000_000))
    rows = "".join(f"insert into t values ({row}, hex(zeroblob(4000 + {row} % 97)));\n" for row in range(3000))
    (directory / "rows.sql").write_text(
        f"create table t (id integer primary key, x text);\nbegin;\n{rows}commit;\n"
        "update t set x = x || 'patched' where id % 50 = 0;\n"
    )
    reads = ["@HD\tVN:1.6\tSO:unsorted\n@SQ\tSN:1\tLN:100000000\n"]
    for number in range(150_000):
        bases = "".join(chance.choices("ACGT", k=100))
        reads.append(f"r{number}\t0\t1\t{chance.randrange(1, 99_000_000)}\t60\t100M\t*\t0\t0\t{bases}\t{'I' * 100}\n")
    (directory / "reads.sam").write_text("".join(reads))
    clip = "ffmpeg -v error -f lavfi -i testsrc2=d=8:s=640x480:r=25 -vf noise=alls=80:allf=t:all_seed=1 -c:v mpeg4 -q:v 2 -y"
    subprocess.run([*clip.split(), directory / "clip.avi"], check=True)
