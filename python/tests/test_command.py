"""The command `fifofs` of the wheel, and `python -m fifofs`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
from typing import Any

import pytest
from conftest import TIMEOUT, mounts_below, until

SCRIPT = os.path.join(sysconfig.get_path("scripts"), "fifofs")


@pytest.fixture(params=[[SCRIPT], [sys.executable, "-m", "fifofs"]], ids=["script", "module"])
def command(request: Any) -> list[str]:
    return list(request.param)


def test_run(command: list[str]) -> None:
    done = subprocess.run(
        [*command, "run", "--", "zip", "-q", "{out:x.zip}", "/etc/hostname"],
        stdout=subprocess.PIPE,
        check=True,
        timeout=TIMEOUT,
    )
    assert done.stdout[:2] == b"PK"


def test_statuses_and_messages(command: list[str]) -> None:
    def status(*arguments: str) -> int:
        done = subprocess.run([*command, *arguments], capture_output=True, timeout=TIMEOUT)
        return done.returncode

    assert status("run", "--", "sh", "-c", 'echo x > "$1"; exit 7', "sh", "{out}") == 7
    assert status("run", "--", "true", "{out}") == 74
    assert status("no-such-command") == 125
    assert status("--version") == 0
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "Usage: fifofs <COMMAND>" in done.stdout
    done = subprocess.run([*command, "doctor"], capture_output=True, text=True)
    assert (done.returncode, "ok    mounts: " in done.stdout) == (0, True), done.stdout


def test_the_program_has_the_signals_of_a_shell(command: list[str]) -> None:
    script = "grep -E '^Sig(Ign|Cgt)' /proc/self/status > \"$1\""
    # The C library keeps these two for itself: posix_spawn(3), as in Python 3.13, starts programs with them ignored.
    internal = 1 << 31 | 1 << 32

    def signals(*start: str) -> list[int]:
        said = subprocess.run(start, stdout=subprocess.PIPE, check=True, text=True).stdout
        return [int(line.split()[1], 16) & ~internal for line in said.splitlines()]

    of_fifofs = signals(*command, "run", "--", "sh", "-c", script, "sh", "{out}")
    assert of_fifofs == signals("sh", "-c", script, "sh", "/dev/stdout")
    assert len(of_fifofs) == 2


def test_ctrl_c_ends_it(command: list[str]) -> None:
    process = subprocess.Popen(
        [*command, "run", "--", "sh", "-c", "echo up >&2; exec sleep 600", "sh", "{out}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None and process.stderr.readline() == b"up\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(TIMEOUT) in (130, -signal.SIGINT)
    process.stderr.close()


def test_a_daemon(command: list[str], tmp_path: Any) -> None:
    place = str(tmp_path / "cap")
    subprocess.run([*command, "mount", "-d", place], check=True, timeout=TIMEOUT)
    try:
        reader = subprocess.Popen([*command, "cat", f"{place}/a.txt"], stdout=subprocess.PIPE)
        subprocess.run(["sh", "-c", f"sleep 0.2; echo hello > {place}/a.txt"], check=True)
        assert reader.communicate(timeout=TIMEOUT)[0] == b"hello\n"
    finally:
        subprocess.run([*command, "unmount", place], check=True, timeout=TIMEOUT)
    until("it is gone", lambda: not mounts_below(str(tmp_path)))


