"""What it costs to capture 1 KiB that `cp` writes, in each way, in alternation: medians in milliseconds.

    python bench/capture.py [ROUNDS]

And how many seconds 200 of them take on 16 threads: the best of three, in alternation.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Dict, List

import fifofs

SOURCE = os.path.join(tempfile.mkdtemp(), "1k")


def mkfifo() -> bytes:
    """The helper that people write."""
    directory = tempfile.mkdtemp()
    path = os.path.join(directory, "out")
    os.mkfifo(path)
    child = subprocess.Popen(["cp", SOURCE, path])
    with open(path, "rb") as f:
        data = f.read()
    child.wait()
    shutil.rmtree(directory)
    return data


def temporary_file() -> bytes:
    with tempfile.NamedTemporaryFile() as f:
        subprocess.run(["cp", SOURCE, f.name], check=True)
        with open(f.name, "rb") as again:
            return again.read()


def capture() -> bytes:
    with fifofs.Capture("out") as c:
        subprocess.run(["cp", SOURCE, c], check=True)
        return c.read()


def capture_of_a_process() -> bytes:
    with fifofs.Capture("out") as c:
        child = subprocess.Popen(["cp", SOURCE, c])
        data = c.read(process=child)
        child.wait()
        return data


def run() -> bytes:
    return fifofs.run(["cp", SOURCE, fifofs.OUT()], check=True).output


def temporary_pipe() -> bytes:
    with fifofs.TemporaryPipe() as c:
        child = subprocess.Popen(["cp", SOURCE, c])
        data = c.read(process=child)
        child.wait()
        return data


def command() -> bytes:
    program = os.environ.get("FIFOFS") or os.path.join(sysconfig.get_path("scripts"), "fifofs")
    return subprocess.run(
        [program, "run", "--", "cp", SOURCE, "{out}"], check=True, stdout=subprocess.PIPE
    ).stdout


WAYS: List[Callable[[], bytes]] = [
    mkfifo,
    temporary_file,
    capture,
    capture_of_a_process,
    run,
    temporary_pipe,
    command,
]

# Not those that wait until no child is left, whosever it is, nor the one that starts an interpreter.
PARALLEL_WAYS = [mkfifo, temporary_file, capture_of_a_process, run, temporary_pipe]


def at_once(way: Callable[[], bytes], expected: bytes) -> float:
    begun = time.perf_counter()
    with ThreadPoolExecutor(16) as pool:
        assert all(data == expected for data in pool.map(lambda _: way(), range(200))), way
    return time.perf_counter() - begun


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with open(SOURCE, "wb") as f:
        f.write(os.urandom(1024))
    expected = open(SOURCE, "rb").read()
    times: Dict[str, List[float]] = {way.__name__: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            begun = time.perf_counter()
            data = way()
            times[way.__name__].append(time.perf_counter() - begun)
            assert data == expected, way
    together: Dict[str, List[float]] = {way.__name__: [] for way in PARALLEL_WAYS}
    for _ in range(3):
        for way in PARALLEL_WAYS:
            together[way.__name__].append(at_once(way, expected))
    shutil.rmtree(os.path.dirname(SOURCE))
    floor = statistics.median(times["mkfifo"])
    print(f"{'way':24}{'median':>8}{'best':>8}{'of mkfifo':>11}{'200 on 16 threads':>19}")
    for name, measured in times.items():
        median = statistics.median(measured)
        line = f"{name:24}{median * 1e3:8.2f}{min(measured) * 1e3:8.2f}{median / floor:11.2f}"
        print(line + (f"{min(together[name]):17.2f} s" if name in together else ""))


if __name__ == "__main__":
    main()
