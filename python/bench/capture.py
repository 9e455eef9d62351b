"""Measures what it costs to capture 1 KiB that `cp` writes, in each way, in alternation.

    python bench/capture.py [--docs FILE] [--quick]

For each way: the median of 200; how long 200 take on 16 threads, and 1,000 on 8, the best of three. FIFOFS names the
command `fifofs` that is not Python's. With --docs the table is written into that page, between the two comments that
name this program. `scripts/python --measure` does all of it.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional

import fifofs

SOURCE = os.path.join(tempfile.mkdtemp(), "1k")

BEGIN = "<!-- python/bench/capture.py writes from here -->\n"
END = "<!-- to here -->\n"


def mkfifo() -> bytes:
    """The usual helper around a FIFO."""
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


def by_command(program: str) -> bytes:
    command = [program, "run", "--", "cp", SOURCE, "{out}"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


class Way(NamedTuple):
    name: str
    once: Callable[[], bytes]
    # Not those that wait until no child is left, whichever it is, nor the one that starts an interpreter.
    is_parallel: bool = True


def ways() -> List[Way]:
    wheel = os.path.join(sysconfig.get_path("scripts"), "fifofs")
    found = [
        Way("a helper with `os.mkfifo`", mkfifo),
        Way("`tempfile`, and reading it", temporary_file),
        Way("`Capture`, read after the program", capture, False),
        Way("`Capture`, `read(process=p)`", capture_of_a_process),
        Way("`fifofs.run`", run),
        Way("`TemporaryPipe`", temporary_pipe),
        Way("the command `fifofs run` of the wheel", lambda: by_command(wheel), False),
    ]
    native = os.environ.get("FIFOFS")
    if native is not None:
        found.append(Way("the command `fifofs run` of cargo", lambda: by_command(native)))
    return found


def together(way: Way, count: int, threads: int, expected: bytes) -> float:
    """The seconds that `count` captures take on `threads` threads."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        assert all(data == expected for data in pool.map(lambda _: way.once(), range(count))), way
    return time.perf_counter() - begun


class Measured(NamedTuple):
    seconds: float
    """The median for one capture."""
    many: List[float]
    """The results of each group; none if the way is not measured in groups."""


def measure(
    measured: List[Way], rounds: int, groups: Dict[int, int], expected: bytes
) -> Dict[str, Measured]:
    """Measures each way, in alternation. The groups: how many captures on how many threads."""
    single: Dict[str, List[float]] = {way.name: [] for way in measured}
    for _ in range(rounds):
        for way in measured:
            begun = time.perf_counter()
            data = way.once()
            single[way.name].append(time.perf_counter() - begun)
            assert data == expected, way
    many: Dict[str, List[float]] = {way.name: [] for way in measured}
    for count, threads in groups.items():
        parallel = [way for way in measured if way.is_parallel]
        times: Dict[str, List[float]] = {way.name: [] for way in parallel}
        for _ in range(3):
            for way in parallel:
                times[way.name].append(together(way, count, threads, expected))
        for name, all_times in times.items():
            many[name].append(min(all_times))
    return {name: Measured(statistics.median(times), many[name]) for name, times in single.items()}


def table(measured: Dict[str, Measured], groups: Dict[int, int], load: float) -> str:
    """The table of the page, and the machine that it was measured on."""
    heads = ["way", "ms", "relative to `os.mkfifo`"]
    heads += [f"{count:,} on {threads} threads" for count, threads in groups.items()]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    floor = next(iter(measured.values()))
    for name, of in measured.items():
        cells = [name, f"{of.seconds * 1e3:.2g}", f"{of.seconds / floor.seconds:.2f}"]
        cells += [f"{s:.2f} s ({s / least:.2f})" for s, least in zip(of.many, floor.many)]
        cells += [""] * (len(heads) - len(cells))
        lines.append(f"| {' | '.join(cells)} |")
    machine = (
        f"Linux {platform.release()}, {os.cpu_count()} processors (load {load:.1f} before it began), "
        f"Python {platform.python_version()}, fifofs {version('fifofs')}:"
    )
    return f"{machine}\n\n" + "\n".join(lines) + "\n"


def write(page: Path, text: str) -> None:
    """Puts it between the comments of the page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{page} has no place for the table: put {BEGIN.strip()} and {END.strip()} there")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main(arguments: Optional[List[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--docs", type=Path, metavar="FILE", help="the page to write the table into")
    parser.add_argument("--quick", action="store_true", help="few of each, to try this program")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    with open(SOURCE, "wb") as f:
        f.write(os.urandom(1024))
    expected = Path(SOURCE).read_bytes()
    rounds, groups = (2, {4: 2, 8: 4}) if options.quick else (200, {200: 16, 1000: 8})
    text = table(measure(ways(), rounds, groups, expected), groups, load)
    shutil.rmtree(os.path.dirname(SOURCE))
    print(text, end="")
    if options.docs is not None:
        write(options.docs, text)


if __name__ == "__main__":
    main()
