"""How waits end: timeouts with partial output, KeyboardInterrupt, cancelling, and the interpreter's exit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import fifofs
import pytest
from conftest import TIMEOUT, is_gone, python, until

# Ends when its input ends.
ENDLESS = ["sh", "-c", 'echo begun > "$1"; read -r _; exit 0', "sh"]


def test_a_read_that_times_out_has_what_came() -> None:
    with fifofs.Capture("x.log") as c:
        with subprocess.Popen([*ENDLESS, c], stdin=subprocess.PIPE) as p:
            with pytest.raises(fifofs.TimeoutExpired) as raised:
                c.read(process=p, timeout=1)
            assert raised.value.output == b"begun\n" and raised.value.timeout == 1
            with pytest.raises(subprocess.TimeoutExpired):
                c.read(process=p, timeout=0.2)
            assert p.stdin is not None
            p.stdin.close()
            assert c.read(process=p) == b"begun\n"


@pytest.mark.parametrize("given_up", ["timeout", "close", "drop", "cancel"])
def test_a_reader_that_was_given_up_keeps_no_other_waiting(given_up: str) -> None:
    # Ends by a function, which only waiting readers call.
    has_ended = threading.Event()
    with fifofs.Capture("x.log") as c:
        Path(c).write_text("all\n")
        if given_up == "timeout":
            # It may be read again, and so still counts; the waiting reader asks for it.
            with pytest.raises(fifofs.TimeoutExpired):
                c.read(process=has_ended.is_set, timeout=0.2)
            has_ended.set()
        else:
            # These never end.
            f = c.open(process=has_ended.is_set, timeout=0.2)
            with pytest.raises(fifofs.TimeoutExpired):
                f.read()
            if given_up == "cancel":
                c.cancel()
                with pytest.raises(fifofs.Cancelled):
                    f.read()
            if given_up != "drop":
                f.close()
            del f
        assert c.open(timeout=TIMEOUT).read() == b"all\n"


def test_a_reader_of_a_process_that_was_given_up_keeps_no_other_waiting() -> None:
    with subprocess.Popen(["sleep", "600"]) as service:
        with fifofs.Capture("x.log") as c:
            with c.open(process=service, timeout=0.2) as f:
                with pytest.raises(fifofs.TimeoutExpired):
                    f.read()
            Path(c).write_text("all\n")
            assert c.open(timeout=TIMEOUT).read() == b"all\n"
        service.kill()


def test_one_process_may_be_named_again_before_and_after_its_end() -> None:
    script = ["sh", "-c", 'echo one > "$1"; read -r _; echo two >> "$1"', "sh"]
    with fifofs.Capture("x.log") as c:
        with subprocess.Popen([*script, c], stdin=subprocess.PIPE) as p:
            assert p.stdin is not None
            with c.open(process=p) as f:
                assert f.readline() == b"one\n"
            again = c.open(process=p, timeout=TIMEOUT)
            assert again.readline() == b"one\n"
            p.stdin.close()
            assert again.read() == b"two\n"
            os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOWAIT)
            with c.open(process=p) as f:
                assert f.read() == b"one\ntwo\n"
        assert c.read(process=p) == b"one\ntwo\n"
    with fifofs.TemporaryPipe() as c:
        with subprocess.Popen([*script, c], stdin=subprocess.PIPE) as p:
            with c.open(process=p) as f:
                assert f.readline() == b"one\n"
            assert p.stdin is not None
            p.stdin.close()
            # Each byte of a FIFO is read once, and writing to one without a reader fails.
            assert c.read(process=p, timeout=TIMEOUT) in (b"", b"two\n")


def test_a_file_that_times_out_goes_on() -> None:
    with fifofs.Capture("x.log") as c:
        with subprocess.Popen([*ENDLESS, c], stdin=subprocess.PIPE) as p:
            f = c.open(process=p, timeout=0.5)
            assert f.readline() == b"begun\n"
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    f.read()
            assert p.stdin is not None
            p.stdin.close()
            assert f.read() == b""


@pytest.mark.parametrize("backend", ["fuse", "fifo"])
@pytest.mark.parametrize("pipes", [False, True])
def test_run_that_times_out_kills_the_program_and_has_what_came(backend: str, pipes: bool) -> None:
    script = 'exec 3> "$1"; echo begun >&3; echo out; echo $$ > "$2"; exec sleep 600'
    command = ["sh", "-c", script, "sh", fifofs.OUT("x.log"), fifofs.OUT("pid.txt")]
    begun = time.monotonic()
    with pytest.raises(fifofs.TimeoutExpired) as raised:
        fifofs.run(command, timeout=1.5, backend=backend, capture_output=pipes)
    error = raised.value
    assert time.monotonic() - begun < TIMEOUT / 2
    assert error.output == error.outputs["x.log"] == b"begun\n"
    assert error.stdout == (b"out\n" if pipes else None)
    with pytest.raises(ProcessLookupError):
        os.kill(int(error.outputs["pid.txt"]), 0)


def test_run_that_times_out_is_not_held_up_by_a_grandchild() -> None:
    # It keeps the output and the pipes open, and is killed by SIGPIPE when it writes again.
    script = '(while echo on >&3; do echo on; sleep 0.1; done) 3> "$1" & exec sleep 600'
    begun = time.monotonic()
    with pytest.raises(fifofs.TimeoutExpired) as raised:
        fifofs.run(["sh", "-c", script, "sh", fifofs.OUT("x.log")], timeout=1, capture_output=True)
    assert raised.value.output.startswith(b"on\n")
    assert time.monotonic() - begun < TIMEOUT / 2


def test_cancel_ends_the_reads_of_other_threads() -> None:
    with fifofs.Capture() as c:
        errors: list[BaseException] = []

        def read() -> None:
            try:
                c.read(process=lambda: False)
            except fifofs.FifofsError as error:
                errors.append(error)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        until("all wait", lambda: len(c._readers) == 4)
        c.cancel()
        for thread in threads:
            thread.join(TIMEOUT)
        assert [type(error) for error in errors] == [fifofs.Cancelled] * 4


@pytest.mark.parametrize("text", [False, True])
def test_closing_a_file_ends_the_read_of_another_thread(text: bool) -> None:
    with fifofs.Capture() as c:
        f: Any = c.open("r" if text else "rb", process=os.getppid())
        errors: list[BaseException] = []

        def read() -> None:
            try:
                f.read()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        time.sleep(0.2)
        closes = threading.Thread(target=f.close, daemon=True)
        closes.start()
        thread.join(TIMEOUT)
        closes.join(TIMEOUT)
        assert not thread.is_alive() and not closes.is_alive()
        assert f.closed and len(errors) == 1
        assert isinstance(errors[0], (fifofs.Cancelled, fifofs.Closed))


def read_first_line_of(p: Any, how: str) -> None:
    if how == "yield from":
        # Giving it up closes what it reads.
        lines = (lambda: (yield from p.output))()
        assert next(lines) == b"1\n"
        lines.close()
        return
    assert p.output.readline() == b"1\n"
    if how == "close":
        p.output.close()


@pytest.mark.parametrize("backend", ["fuse", "fifo"])
@pytest.mark.parametrize("how", ["leave", "close", "yield from"])
def test_a_program_whose_output_is_closed_early_gets_sigpipe(how: str, backend: str) -> None:
    script = ["sh", "-c", 'exec seq 1 10000000000000 > "$1"', "sh", fifofs.OUT("x.txt")]
    with fifofs.Popen(script, backend=backend) as p:
        read_first_line_of(p, how)
        if how != "leave":
            assert p.wait(TIMEOUT) == -signal.SIGPIPE
    assert p.returncode == -signal.SIGPIPE


def test_other_threads_run_while_one_waits() -> None:
    with fifofs.Capture() as c:
        with subprocess.Popen(["sleep", "1"]) as p:
            reader = threading.Thread(target=lambda: _ignore(lambda: c.read(process=p)))
            reader.start()
            ticks = 0
            while reader.is_alive():
                time.sleep(0.001)
                ticks += 1
    assert ticks > 50


def _ignore(work: Any) -> None:
    try:
        work()
    except fifofs.FifofsError:
        pass


WAITS = {
    "read": "c.read(process=p)",
    "read of all children": "c.read()",
    "read of a function": "c.read(process=lambda: False)",
    "file": "c.open(process=p).read(10)",
    "line": "next(iter(c.open('r', process=p)))",
    "fifo": "fifofs.TemporaryPipe().read(process=p)",
    "events": "list(c.events())",
    "run": "fifofs.run(['sh', '-c', 'exec sleep 600', 'sh', fifofs.OUT()])",
    "run with pipes": "fifofs.run(['sh', '-c', 'exec sleep 600', 'sh', fifofs.OUT()], capture_output=True)",
    "Popen": "fifofs.Popen(['sh', '-c', 'exec sleep 600', 'sh', fifofs.OUT()], stdout=-3, stderr=-3).output.read()",
    "aio.run": "asyncio.run(fifofs.aio.run(['sh', '-c', 'exec sleep 600', 'sh', fifofs.OUT()]))",
    "aio.read": "asyncio.run(fifofs.aio.read(c, process=p))",
    "mount": "list(fifofs.mount().events())",
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_keyboard_interrupt(wait: str, tmp_path: Any) -> None:
    code = f"""if 1:
        import asyncio, fifofs, subprocess, sys
        c = fifofs.Capture("x.log")
        p = subprocess.Popen(["sleep", "600"])
        print("waits", flush=True)
        try:
            {wait}
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        finally:
            p.kill()
    """
    scratch = str(tmp_path)
    environment = {**os.environ, "TMPDIR": scratch}
    host = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,
    )
    try:
        assert host.stdout is not None and host.stdout.readline() == "waits\n"
        time.sleep(0.2)
        begun = time.monotonic()
        # Repeated: the wait may not have begun yet.
        while host.poll() is None and time.monotonic() - begun < TIMEOUT:
            host.send_signal(signal.SIGINT)
            if host.stdout.readline() == "interrupted\n":
                break
        assert host.wait(TIMEOUT) in (0, -signal.SIGINT)
    finally:
        host.kill()
        # Processes that it left running.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(host.pid, signal.SIGKILL)
        assert host.stdout is not None
        host.stdout.close()
    until("nothing is left", lambda: is_gone(scratch))


@pytest.mark.parametrize("wait", [w for n, w in WAITS.items() if "aio" not in n and "run" not in n])
def test_exit_with_a_live_capture_and_blocked_daemon_threads(wait: str, tmp_path: Any) -> None:
    code = f"""if 1:
        import asyncio, fifofs, subprocess, threading, time
        c = fifofs.Capture("x.log")
        p = subprocess.Popen(["sleep", "5"], stdout=-3, stderr=-3)
        def body():
            try:
                {wait.replace("600", "5")}
            except fifofs.Cancelled:
                pass
        for _ in range(8):
            threading.Thread(target=body, daemon=True).start()
        time.sleep(0.3)
        print("ends")
    """
    done = python(code, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", "")
    until("nothing is left", lambda: is_gone(str(tmp_path)))
