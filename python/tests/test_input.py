"""Bad input: each is an exception that says what to do."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import threading
from pathlib import Path
from typing import Any

import fifofs
import pytest
from conftest import python


@pytest.mark.parametrize("name", ["a/b", "", ".", "..", "/abs", "nul\0", b"a/b"])
@pytest.mark.parametrize("backend", ["fuse", "fifo"])
def test_an_invalid_name(name: Any, backend: str) -> None:
    with pytest.raises(ValueError, match="such as report.zip") as raised:
        fifofs.Capture(name, backend=backend)
    assert str(raised.value).startswith('"') and "\0" not in str(raised.value)


def test_a_capture_read_twice() -> None:
    with fifofs.Capture() as c:
        with open(c, "w") as f:
            f.write("x")
        assert c.read() == b"x"
        with pytest.raises(fifofs.Closed, match="keep what read.. gave, or make another"):
            c.read()


def test_a_capture_used_after_its_end() -> None:
    with fifofs.Capture() as c:
        pass
    for use in [c.read, c.open, c.events, c.writers, c.hang_up]:
        with pytest.raises(fifofs.Closed, match="use it inside its `with`, or make another"):
            use()
    c.close()
    with fifofs.Capture() as c:
        f = c.open()
    with pytest.raises((fifofs.Cancelled, fifofs.Closed)):
        f.read(1)


def test_an_ended_capture_or_mount_is_not_entered_again() -> None:
    with fifofs.Capture() as c:
        pass
    with pytest.raises(fifofs.Closed, match="make another"), c:
        pass
    with fifofs.mount() as m:
        pass
    with pytest.raises(fifofs.Closed, match="mount it again"), m:
        pass


def test_an_error_names_its_file_as_text() -> None:
    for timeout in [0.1, None]:
        with fifofs.Capture() as c:
            with pytest.raises(fifofs.FifofsError) as raised:
                c.read(process=os.getppid() if timeout else None, timeout=timeout)
            assert type(raised.value.filename) is str and raised.value.filename == c.path


def test_a_missing_output_that_a_thread_may_write_asks_for_the_thread() -> None:
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait)
    thread.start()
    try:
        with fifofs.Capture() as c:
            for read in [c.read, c.open().read, lambda: c.open().read(1)]:
                with pytest.raises(fifofs.OutputMissing, match="name it: process=thread"):
                    read()
    finally:
        ends.set()
        thread.join()


def test_a_fifo_has_no_events() -> None:
    with fifofs.TemporaryPipe() as c:
        with pytest.raises(fifofs.FifofsError, match="capture by FUSE") as raised:
            c.events()
        # The error does not claim that it is closed.
        assert not isinstance(raised.value, fifofs.Closed)
        assert (raised.value.errno, raised.value.filename) == (errno.EOPNOTSUPP, c.path)


def test_paths_of_every_type(tmp_path: Path) -> None:
    for as_type in [str, os.fsencode, Path]:
        name = as_type("x.txt")
        with fifofs.Capture(name) as c, fifofs.TemporaryPipe(name) as pipe:
            assert c.path.endswith("/x.txt") and pipe.path.endswith("/x.txt")
        with fifofs.mount(as_type(f"{tmp_path}/m")) as m, m.capture(name) as c:
            assert c.path == f"{tmp_path}/m/x.txt"
            assert fifofs.wait_path(as_type(c.path)) == fifofs.wait_path(c)


def test_one_output_may_stand_for_several_arguments() -> None:
    out = fifofs.OUT("x.txt")
    script = ["sh", "-c", 'echo a > "$1"; echo b >> "${2#of=}"', "sh", out, "of=" + out]
    assert fifofs.run(script).outputs == {"x.txt": b"a\nb\n"}
    assert fifofs.run(word for word in script).output == b"a\nb\n"
    with pytest.raises(ValueError, match="the same OUT twice"):
        fifofs.run(["true", out, fifofs.OUT("x.txt")])


def test_a_command_without_an_output() -> None:
    for call in [fifofs.run, fifofs.Popen]:
        with pytest.raises(ValueError, match=r"put OUT\('name'\) in the place of the path"):
            call(["true"])
        with pytest.raises(TypeError, match="as a list"):
            call("true")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="have the name 'a'"):
            call(["true", fifofs.OUT("a"), fifofs.OUT("a")])
        with pytest.raises(ValueError, match="'sh', '-c'"):
            call(["true", fifofs.OUT("a")], shell=True)
        for text in [lambda a: f"of={a}", lambda a: "of=%s" % a, lambda a: "of={}".format(a), str]:
            with pytest.raises(TypeError, match=r"'of=' \+ OUT\('a'\), and no f-string"):
                call(["dd", text(fifofs.OUT("a"))])
        with pytest.raises(FileNotFoundError, match="no-such-program"):
            call(["no-such-program", fifofs.OUT("a")])


def test_an_invalid_backend_mode_or_process() -> None:
    with pytest.raises(ValueError, match="give fuse, fifo or auto"):
        fifofs.Capture(backend="pipe")
    with fifofs.Capture() as c:
        with pytest.raises(ValueError, match="give r or rb"):
            c.open("w")  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="give the mode r"):
            c.open("rb", encoding="utf-8")  # type: ignore[call-overload]
        for wrong in ["zip", 1.5, True, object()]:
            with pytest.raises(TypeError, match="process"):
                c.read(process=wrong)
        with pytest.raises(TypeError, match="True or False, not 0"):
            c.read(process=lambda: 0)
        for wrong in [0, -1, 1 << 31, 1 << 40]:
            with pytest.raises(ValueError, match="no process id"):
                c.read(process=wrong)
        with pytest.raises(ValueError, match="start it"):
            c.read(process=threading.Thread())


def test_invalid_options_of_a_mount(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="auto, exit or a number"):
        fifofs.mount(linger="soon")
    with pytest.raises(ValueError, match="fail_on"):
        fifofs.mount(fail_on="x")
    with pytest.raises(ValueError, match="quickly"):
        fifofs.mount(deliver="quickly")
    for text in ["fail_on", "fifos"]:
        with pytest.raises(TypeError, match=f"{text} must be a str, not 5"):
            fifofs.mount(**{text: 5})  # type: ignore[arg-type]
    for flag in ["allow_other", "consume", "require_visible"]:
        with pytest.raises(TypeError, match=f"{flag} must be True or False, not 'no'"):
            fifofs.mount(**{flag: "no"})  # type: ignore[arg-type]
    for text in ["deliver", "fail_on"]:
        with pytest.raises(TypeError, match=f"{text} must be a str, not 5"):
            fifofs.Capture(**{text: 5})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="number of bytes"):
        fifofs.Capture(keep_at_most=1 << 64)
    with pytest.raises(TypeError, match="a way or a mapping"):
        fifofs.mount(deliver=["*.log=follow"])  # type: ignore[arg-type]
    for size in ["window", "memory", "max_size"]:
        with pytest.raises(TypeError, match=f"{size} must be a number of bytes"):
            fifofs.mount(**{size: "1G"})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"{size} must be a number of bytes"):
            fifofs.mount(**{size: -1})
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(fifofs.FifofsError):
        fifofs.mount(file)
    with fifofs.mount() as m:
        with pytest.raises(ValueError, match="relative to the mount"):
            m.capture("/etc/passwd")
    with pytest.raises(fifofs.Closed, match="mount it again"):
        m.capture("x")


def test_a_capture_is_not_sent_to_another_process_its_path_is() -> None:
    with fifofs.Capture() as c, fifofs.TemporaryPipe() as pipe, fifofs.mount() as m:
        for it in [c, pipe, m]:
            with pytest.raises(TypeError, match="send another its path"):
                pickle.dumps(it)


@pytest.mark.parametrize(
    "error",
    [
        fifofs.OutputMissing("no file", 2, "/x"),
        fifofs.TimeoutExpired("late", 110, "/x"),
        fifofs.Cancelled("gone"),
    ],
)
def test_exceptions_survive_pickling(error: fifofs.FifofsError) -> None:
    error.output = b"half"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)
    assert (again.errno, again.filename, again.output) == (error.errno, error.filename, b"half")


def test_a_traceback_shows_the_public_names_of_exceptions() -> None:
    done = python("import fifofs; fifofs.Capture().read()")
    assert "\nfifofs.OutputMissing: " in done.stderr, done.stderr


def test_what_the_exceptions_are() -> None:
    for kind in [
        fifofs.OutputRewritten,
        fifofs.WriterFailed,
        fifofs.OutputMissing,
        fifofs.TimeoutExpired,
        fifofs.Cancelled,
        fifofs.Closed,
    ]:
        assert issubclass(kind, fifofs.FifofsError) and issubclass(kind, OSError)
    assert issubclass(fifofs.TimeoutExpired, (subprocess.TimeoutExpired))
    assert issubclass(fifofs.TimeoutExpired, TimeoutError)
    failed = fifofs.CalledProcessError(3, ["x"], {"o": b"half"}, b"out", b"err")
    again = pickle.loads(pickle.dumps(failed))
    assert (again.returncode, again.outputs, again.stdout, again.stderr) == (
        3,
        {"o": b"half"},
        b"out",
        b"err",
    )
