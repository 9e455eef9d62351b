"""A process that holds a mount dies of any signal at once, whatever it does there, and leaves nothing.

FIFOFS_PYTHON_RUNS says how often each is tried.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import is_gone, long_runs, mounts_below, python, until

# It takes a second at most on a machine that is not busy.
TIMEOUT = 20.0

# What a host does in a loop.
HOSTS = {
    "inside a write": """
        c = fifofs.Capture("x.bin")
        f = open(c, "wb", buffering=0)
        tell()
        while True:
            f.seek(0)
            for _ in range(16): f.write(b"x" * 65536)
    """,
    "inside a read": """
        c = fifofs.Capture("x.txt")
        p = subprocess.Popen(["sh", "-c", 'exec yes > "$1"', "sh", c], stderr=-3)
        f = c.open(process=p)
        f.read(10)
        tell()
        while True: f.read(100_000)
    """,
    "waiting": """
        c = fifofs.Capture("x.txt")
        for _ in range(4):
            threading.Thread(target=lambda: c.read(process=lambda: False)).start()
        tell()
        c.read(process=lambda: False)
    """,
    "in a flush of its own file": """
        c = fifofs.Capture("x.bin")
        tell()
        while True:
            with open(c, "wb") as f:
                f.write(b"x" * 300_000)
                f.flush()
                os.fsync(f.fileno())
    """,
    "making captures": """
        tell()
        while True:
            with fifofs.Capture() as c, fifofs.mount() as m: pass
    """,
    "in the first capture": """
        tell()
        c = fifofs.Capture()
        while True: time.sleep(1)
    """,
    "forking": """
        c = fifofs.Capture()
        tell()
        while True:
            pid = os.fork()
            if pid == 0:
                fifofs.run(["sh", "-c", 'echo hello > "$1"', "sh", fifofs.OUT()])
                os._exit(0)
            os.waitpid(pid, 0)
    """,
}

PROLOGUE = """
import fifofs, os, subprocess, sys, threading, time
def tell(): print("up", flush=True)
"""


def die(host: str, ending: int, scratch: str) -> None:
    body = "\n".join(line[8:] for line in host.splitlines())
    process = subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + body],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": scratch},
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"up\n"
        time.sleep(random.random() * 0.02)
        process.send_signal(ending)
        assert process.wait(TIMEOUT) == -ending
        until(f"nothing is mounted in {scratch}", lambda: not mounts_below(scratch), TIMEOUT)
    finally:
        # And the processes that it started; not before, as one of them may be the helper that cleans up after it.
        process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()

    def is_cleared() -> bool:
        if os.listdir(scratch):
            # The directory of a host that was killed together with its helper, or before it had one; the next process
            # clears it away once the host's children are dead, which may take a moment.
            host = python("import fifofs; fifofs.Capture()", env={**os.environ, "TMPDIR": scratch})
            assert host.returncode == 0, host.stderr
        return is_gone(scratch)

    until(f"nothing is left in {scratch}", is_cleared, TIMEOUT)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS.keys())
def test_a_host_that_is_killed(host: str, ending: signal.Signals, tmp_path: Any) -> None:
    def once(number: int) -> None:
        scratch = tmp_path / str(number)
        scratch.mkdir()
        die(host, ending, str(scratch))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(once, range(long_runs(1))))
