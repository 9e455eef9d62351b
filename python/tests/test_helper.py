"""The helper in five lines: a path for a program, and its contents or the right exception."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import zipfile
from typing import Any

import fifofs
import pytest
from conftest import TIMEOUT, python, until

BACKENDS = ["fuse", "fifo"]


def test_zip(notes: str) -> None:
    with fifofs.Capture("out.zip") as c:
        subprocess.run(["zip", "-q", c, notes], check=True)
        data = c.read()
    with zipfile.ZipFile(io.BytesIO(data)) as z:
        assert z.read(z.namelist()[0]) == open(notes, "rb").read()
    assert not os.path.exists(c)


def test_zip_by_run(notes: str) -> None:
    done = fifofs.run(["zip", "-q", fifofs.OUT("x.zip"), notes], check=True, timeout=TIMEOUT)
    assert done.returncode == 0
    assert done.outputs == {"x.zip": done.output}
    assert zipfile.ZipFile(io.BytesIO(done.output)).testzip() is None


def ffmpeg(output: Any) -> list[Any]:
    source = ["-f", "lavfi", "-i", "testsrc=duration=1:size=64x64:rate=10"]
    return ["ffmpeg", "-v", "error", "-nostdin", "-y", *source, output]


def test_ffmpeg_seeks_back_in_an_mp4() -> None:
    with fifofs.Capture("out.mp4") as c:
        with subprocess.Popen(ffmpeg(c)) as p:
            data = c.read(process=p, timeout=TIMEOUT)
    assert p.returncode == 0
    assert data[4:8] == b"ftyp" and b"moov" in data


def test_ffmpeg_is_refused_by_a_fifo() -> None:
    done = fifofs.run(
        ffmpeg(fifofs.OUT("out.mp4")), backend="fifo", stderr=subprocess.DEVNULL, timeout=TIMEOUT
    )
    assert done.returncode != 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_that_fails(backend: str) -> None:
    script = ["sh", "-c", 'printf half > "$1"; exit 3', "sh"]
    done = fifofs.run([*script, fifofs.OUT("x.txt")], backend=backend)
    assert (done.returncode, done.output) == (3, b"half")
    with pytest.raises(fifofs.CalledProcessError) as raised:
        fifofs.run([*script, fifofs.OUT("x.txt")], backend=backend, check=True)
    assert raised.value.output == b"half" and raised.value.outputs == {"x.txt": b"half"}
    assert isinstance(raised.value, subprocess.CalledProcessError)
    with fifofs.Capture("x.txt", backend=backend) as c:
        p = subprocess.Popen([*script, c])
        assert c.read(process=p) == b"half"
        assert p.wait() == 3


def test_a_program_that_is_killed() -> None:
    script = ["sh", "-c", 'exec 3> "$1"; echo half >&3; kill -9 $$', "sh"]
    with fifofs.Capture("x.txt") as c:
        p = subprocess.Popen([*script, c])
        with pytest.raises(fifofs.WriterFailed) as raised:
            c.read(process=p)
        p.wait()
    assert raised.value.output == b"half\n"
    done = fifofs.run([*script, fifofs.OUT("x.txt")])
    assert (done.returncode, done.output) == (-signal.SIGKILL, b"half\n")


def test_a_writer_that_is_killed_where_the_program_goes_on() -> None:
    script = 'sh -c \'exec 3> "$1"; echo half >&3; kill -9 $$\' sh "$1"; exit 0'
    with pytest.raises(fifofs.WriterFailed) as raised:
        fifofs.run(["sh", "-c", script, "sh", fifofs.OUT("x.txt")])
    assert raised.value.output == b"half\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_that_never_opens_its_output(backend: str) -> None:
    with fifofs.Capture(backend=backend) as c:
        subprocess.run(["true", c], check=True)
        with pytest.raises(fifofs.OutputMissing):
            c.read()
    with fifofs.Capture(backend=backend) as c:
        with subprocess.Popen(["sleep", "0.2"]):
            with pytest.raises(fifofs.OutputMissing):
                c.read()
    with pytest.raises(fifofs.OutputMissing):
        fifofs.run(["true", fifofs.OUT()], backend=backend)
    done = fifofs.run(["false", fifofs.OUT()], backend=backend)
    assert (done.returncode, done.output) == (1, b"")


REWRITES = """
import sys, time
with open(sys.argv[1], "w") as f:
    f.write("first\\n" * 1000); f.flush()
    open(sys.argv[2]).read()     # until it has been read
    f.seek(0); f.write("other\\n")
"""


def test_a_program_that_rewrites(tmp_path: Any) -> None:
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    with fifofs.Capture("x.log") as c:
        p = subprocess.Popen([sys.executable, "-c", REWRITES, c, gate])
        with c.open(process=p) as f:
            assert f.read(6) == b"first\n"
            open(gate, "w").close()
            with pytest.raises(fifofs.OutputRewritten):
                f.read()
        assert p.wait() == 0


def test_settled_output_may_be_rewritten(tmp_path: Any) -> None:
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    command = [sys.executable, "-c", REWRITES, fifofs.OUT("x.log", deliver="settled"), gate]
    opener = subprocess.Popen(["sh", "-c", f"sleep 0.3; : > {gate}"])
    done = fifofs.run(command, check=True)
    opener.wait()
    assert done.output.startswith(b"other\nfirst\n")


def test_without_fuse_auto_takes_a_fifo(monkeypatch: pytest.MonkeyPatch) -> None:
    with fifofs.Capture("x.txt", backend="auto") as c:
        assert any(c.path.startswith(place) for place in mounted())
    # A process that has no /dev/fuse.
    code = """if 1:
        import fifofs, stat, os, subprocess
        with fifofs.Capture("x.txt", backend="auto") as c:
            assert stat.S_ISFIFO(os.stat(c).st_mode)
            p = subprocess.Popen(["sh", "-c", 'echo hello > "$1"', "sh", c])
            assert c.read(process=p) == b"hello\\n"
            p.wait()
        try:
            fifofs.Capture("x.txt")
        except fifofs.FifofsError as error:
            assert "/dev/fuse" in str(error), error
        else:
            assert False
    """
    hide = "mount --bind /dev/null /dev/fuse && exec \"$@\""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def mounted() -> list[str]:
    with open("/proc/self/mountinfo") as mounts:
        return [line.split()[4] for line in mounts]


def test_temporary_pipe_is_a_fifo() -> None:
    with fifofs.TemporaryPipe("x.txt") as c:
        p = subprocess.Popen(["sh", "-c", 'echo a > "$1"; echo b >> "$1"', "sh", c])
        assert c.open("r", process=p).readlines() == ["a\n", "b\n"]
        p.wait()


def test_several_programs_after_each_other_in_one_capture() -> None:
    with fifofs.Capture("x.txt") as c:
        for word in ["one", "two"]:
            p = subprocess.Popen(["sh", "-c", f'echo {word} > "$1"', "sh", c])
            with c.open(process=p) as f:
                assert f.read() == word.encode() + b"\n"
            p.wait()


def test_after_subprocess_run_nothing_is_waited_for_though_other_children_live() -> None:
    other = subprocess.Popen(["sleep", "600"])
    try:
        with fifofs.Capture("x.txt") as c:
            done = subprocess.run(["sh", "-c", 'echo a > "$1"', "sh", c], check=True)
            # Without the process it takes a second, or for ever if there is no file.
            assert c.read(process=done, timeout=TIMEOUT) == b"a\n"
        with fifofs.Capture("x.txt") as c:
            done = subprocess.run(["false"], check=False)
            with pytest.raises(fifofs.OutputMissing):
                c.read(process=done, timeout=TIMEOUT)
    finally:
        other.kill()
        other.wait()


def test_a_path_handed_to_a_thread_pool_process_and_a_plain_function(notes: str) -> None:
    def copy(path: str) -> None:
        with open(notes, "rb") as source, open(path, "wb") as target:
            target.write(source.read())

    with fifofs.Capture("x.bin") as c:
        copy(c.path)
        assert c.read() == open(notes, "rb").read()


def test_a_capture_is_a_path() -> None:
    with fifofs.Capture("x.txt") as c:
        assert os.fspath(c) == str(c) == c.path
        assert os.path.basename(c) == "x.txt"
        with open(c, "w") as f:
            f.write("hello")
        until("its writers have gone", lambda: not list(c.writers()))
        assert c.read() == b"hello"


def test_the_fixture(fifofs_capture: Any) -> None:
    c = fifofs_capture("out.txt")
    with open(c, "w") as f:
        f.write("by the fixture")
    assert c.read() == b"by the fixture"


def test_children_that_multiprocessing_keeps_are_not_waited_for() -> None:
    code = """if 1:
        import fifofs, multiprocessing
        from multiprocessing import resource_tracker
        if __name__ == "__main__":
            resource_tracker.ensure_running()
            with multiprocessing.get_context("forkserver").Pool(1) as pool:
                pool.map(abs, [1])
            pool.join()
            try:
                fifofs.Capture().read()
            except fifofs.OutputMissing:
                print("missing")
    """
    done = python(code)
    assert done.stdout == "missing\n", done.stderr
