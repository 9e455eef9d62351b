"""Streaming into common readers."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from typing import Any

import fifofs
import pytest
from conftest import TIMEOUT, python

ROWS = 20_000
CSV = r'echo a,b > "$1"; seq 20000 | sed "s/.*/&,x&/" >> "$1"'
JSON_LINES = r'seq 20000 | sed "s/.*/{\"n\": &}/" > "$1"'


def popen(script: str, name: str, **keywords: Any) -> fifofs.Popen:
    return fifofs.Popen(["sh", "-c", script, "sh", fifofs.OUT(name)], **keywords)


def test_csv() -> None:
    with popen(CSV, "x.csv") as p:
        rows = list(csv.DictReader(io.TextIOWrapper(p.output, newline="")))
    assert p.returncode == 0
    assert len(rows) == ROWS and rows[-1] == {"a": "20000", "b": "x20000"}


def test_lines_of_json() -> None:
    with popen(JSON_LINES, "x.jsonl") as p:
        assert [json.loads(line)["n"] for line in p.output] == list(range(1, ROWS + 1))


def test_lines_come_as_they_are_written(tmp_path: Any) -> None:
    script = 'for i in 1 2 3; do echo $i >> "$1"; read -r _; done'
    with popen(script, "x.log", stdin=subprocess.PIPE) as p:
        assert p.stdin is not None
        for number in [b"1\n", b"2\n", b"3\n"]:
            assert p.output.readline() == number
            p.stdin.write(b"on\n")
            p.stdin.flush()
        assert p.output.read() == b""


def test_hashlib_and_copyfileobj() -> None:
    plain = subprocess.run(["seq", "1000000"], capture_output=True, check=True).stdout
    with popen('seq 1000000 > "$1"', "x.txt") as p:
        digest = hashlib.sha256()
        while piece := p.output.read(65536):
            digest.update(piece)
    assert digest.digest() == hashlib.sha256(plain).digest()
    with popen('seq 1000000 > "$1"', "x.txt") as p:
        sink = io.BytesIO()
        shutil.copyfileobj(p.output, sink)
    assert sink.getvalue() == plain


def test_the_input_of_another_program() -> None:
    with popen('seq 100000 > "$1"', "x.txt") as p:
        counter = subprocess.Popen(["wc", "-l"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert counter.stdin is not None
        with counter.stdin:
            shutil.copyfileobj(p.output, counter.stdin)
        assert counter.stdout is not None and counter.stdout.read() == b"100000\n"
        counter.stdout.close()
        assert counter.wait() == 0


def test_an_output_itself_is_no_input_of_a_program() -> None:
    with popen('seq 3 > "$1"', "x.txt") as p:
        with pytest.raises(io.UnsupportedOperation, match="shutil.copyfileobj"):
            subprocess.Popen(["wc", "-l"], stdin=p.output)
        p.output.read()


def test_output_without_end_is_not_kept() -> None:
    kept = fifofs.OUT("x.txt", keep_at_most=65536)
    with fifofs.Popen(["sh", "-c", 'exec yes > "$1"', "sh", kept]) as p:
        for _ in range(64):
            assert len(p.output.read(1 << 20)) == 1 << 20
    assert p.returncode == -13, "SIGPIPE"
    with fifofs.Capture("x.txt", keep_at_most=4096) as c:
        writer = subprocess.Popen(["sh", "-c", 'seq 100000 > "$1"', "sh", c])
        assert c.open(process=writer).read().count(b"\n") == 100_000
        writer.wait()
        with pytest.raises(fifofs.FifofsError):
            c.open().read()
    with pytest.raises(TypeError, match="number of bytes"):
        fifofs.Capture(keep_at_most="1M")  # type: ignore[arg-type]


def test_gzip_and_tar_as_streams() -> None:
    with popen('seq 100000 | gzip > "$1"', "x.gz") as p:
        assert gzip.open(p.output).read().count(b"\n") == 100_000
    with popen('cd /etc && tar -cf "$1" passwd group', "x.tar") as p:
        with tarfile.open(fileobj=p.output, mode="r|") as tar:
            assert [member.name for member in tar] == ["passwd", "group"]
        p.output.read()


def test_two_outputs_one_of_them_long() -> None:
    script = 'seq 1000000 > "$1"; echo well > "$2"'
    for backend in ["fuse", "fifo"]:
        outputs = [fifofs.OUT("data.txt"), fifofs.OUT("run.log")]
        done = fifofs.run(["sh", "-c", script, "sh", *outputs], backend=backend, timeout=TIMEOUT)
        assert done.outputs["data.txt"].count(b"\n") == 1_000_000
        assert (done.outputs["run.log"], done.output) == (b"well\n", done.outputs["data.txt"])


def test_outputs_beside_both_pipes_and_an_input() -> None:
    script = 'cat > "$1"; seq 100000; seq 100000 >&2; seq 100000 > "$2"'
    done = fifofs.run(
        ["sh", "-c", script, "sh", fifofs.OUT("in.txt"), fifofs.OUT("n.txt")],
        input=b"x" * 1_000_000,
        capture_output=True,
        check=True,
        timeout=TIMEOUT,
    )
    assert done.outputs["in.txt"] == b"x" * 1_000_000
    assert done.stdout == done.stderr == done.outputs["n.txt"]
    done = fifofs.run(["sh", "-c", 'cat > "$1"', "sh", fifofs.OUT()], input="ü", text=True)
    assert done.output == "ü".encode()


def test_leaving_early_ends_the_program() -> None:
    with popen('exec yes > "$1"', "x.txt") as p:
        assert p.output.readline() == b"y\n"
    assert p.returncode == -13, "SIGPIPE"


def test_an_output_that_is_not_read() -> None:
    with popen('echo hello > "$1"', "x.txt") as p:
        pass
    assert p.returncode in (0, -13)


def test_one_output_opened_by_two() -> None:
    with fifofs.Capture("x.txt") as c:
        with subprocess.Popen(["sh", "-c", 'seq 1000 > "$1"', "sh", c]) as p:
            with c.open(process=p) as one, c.open(process=p) as two:
                assert one.read() == two.read() == b"".join(b"%d\n" % n for n in range(1, 1001))


@pytest.mark.heavy
def test_pandas() -> None:
    import pandas

    with popen(CSV, "x.csv") as p:
        frame = pandas.read_csv(p.output)
    assert len(frame) == ROWS and frame["a"].sum() == ROWS * (ROWS + 1) // 2
    with popen(JSON_LINES, "x.jsonl") as p:
        assert len(pandas.read_json(p.output, lines=True)) == ROWS


@pytest.mark.heavy
def test_pyarrow() -> None:
    import pyarrow
    import pyarrow.csv
    import pyarrow.ipc
    import pyarrow.parquet

    with popen(CSV, "x.csv") as p:
        table = pyarrow.csv.open_csv(p.output).read_all()
    assert table.num_rows == ROWS
    with fifofs.Capture("x.parquet") as c:
        pyarrow.parquet.write_table(table, c.path)
        assert pyarrow.parquet.read_table(io.BytesIO(c.read())).equals(table)
    with fifofs.Capture("x.arrows") as c:
        with pyarrow.OSFile(c.path, "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as w:
            w.write_table(table)
        assert pyarrow.ipc.open_stream(c.open()).read_all().equals(table)


@pytest.mark.heavy
def test_pil() -> None:
    from PIL import Image

    source = ["-f", "lavfi", "-i", "testsrc=size=64x48", "-frames:v", "1"]
    done = fifofs.run(["ffmpeg", "-v", "error", *source, fifofs.OUT("x.png")], check=True)
    image = Image.open(io.BytesIO(done.output))
    image.load()
    assert image.size == (64, 48)


@pytest.mark.parametrize("how", ["run", "pipes", "read", "aio"])
def test_without_memory_it_is_an_exception_and_the_interpreter_lives(how: str) -> None:
    code = """if 1:
        import asyncio, resource, sys
        import fifofs
        def script(size):
            return ["sh", "-c", f'head -c {size} /dev/zero > "$1"', "sh"]
        async def by_aio(size):
            return (await fifofs.aio.run([*script(size), fifofs.OUT("x.bin")])).output
        def by(how, size):
            if how == "aio":
                return asyncio.run(by_aio(size))
            if how == "read":
                with fifofs.Popen([*script(size), fifofs.OUT("x.bin")]) as p:
                    return p.output.read()
            return fifofs.run([*script(size), fifofs.OUT("x.bin")], capture_output=how == "pipes").output
        # Which the mount heeds: what it keeps goes to disk past a part of that.
        resource.setrlimit(resource.RLIMIT_AS, (400 << 20,) * 2)
        for _ in range(3):
            try:
                size = len(by(sys.argv[1], 300 << 20))
            except MemoryError:
                print("no memory")
            else:
                print(size)
        print(len(by(sys.argv[1], 1000)))
    """
    done = python(code, how)
    assert done.stdout == "no memory\n" * 3 + "1000\n", (done.stdout, done.stderr)
