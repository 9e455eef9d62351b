"""Helpers that the tests share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable

import pytest

# Nothing here takes that long, even on a busy machine.
TIMEOUT = 60.0

# A shell starts background commands with this signal ignored, and all programs started here would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def until(what: str, condition: Callable[[], Any], timeout: float = TIMEOUT) -> Any:
    """Waits for a condition and returns its value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout} s: {what}\n{world()}")
        time.sleep(0.005)
    return value


def world() -> str:
    """What is mounted and left in temporary directories."""
    with open("/proc/self/mountinfo") as mounts:
        lines = [line for line in mounts if "fifofs" in line]
    return "".join(lines) + str(os.listdir(tempfile.gettempdir()))


def python(code: str, *args: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
    """Runs a Python program to its end."""
    keywords.setdefault("timeout", TIMEOUT)
    return subprocess.run(
        [sys.executable, "-c", code, *args], text=True, capture_output=True, check=False, **keywords
    )


def mounts_below(directory: str) -> list[str]:
    """The mounts below a directory."""
    with open("/proc/self/mountinfo") as mounts:
        places = [line.split()[4] for line in mounts]
    return [place for place in places if place.startswith(directory + "/")]


def is_gone(directory: str) -> bool:
    """Whether nothing is mounted or left below a directory."""
    return not mounts_below(directory) and not os.listdir(directory)


def long_runs(default: int) -> int:
    """How often tests of random timing are repeated: FIFOFS_PYTHON_RUNS, or the default."""
    return int(os.environ.get("FIFOFS_PYTHON_RUNS", default))


@pytest.fixture
def notes(tmp_path: Any) -> str:
    """A file with something in it."""
    path = tmp_path / "notes.txt"
    path.write_text("a note\n" * 1000)
    return str(path)
