"""One cell: one reader, at one door, at one time, with one end of its writer. Returns the result."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tables import writer
from tables.processes import Ended, Processes, wait_until
from tables.services import Services

from .readers import Reader

DOORS = {"own": "", "wait": ".fifofs/wait", "pipe": ".fifofs/pipe"}
WHENS = ("before", "while", "after")
ENDS = ("well", "killed", "never")
# How the file is delivered, by its extension under auto.
WAYS = {"follow": {"text": "log", "parquet": "parquet"}, "settled": {"text": "zip", "parquet": "zip"}}

# How long a program may take to start (a JVM, on a loaded machine), in seconds.
START_LIMIT = 30
# How long it may take to read a megabyte.
READ_LIMIT = 60
# A reader that still waits after this counts as waiting for ever.
WAITING = 1.5
# An endless reader (which may look only once a second) that prints nothing for so long has read everything.
ENDLESS_QUIET = 3
# By now written bytes are delivered (after 100 ms), and waiting readers have read them.
HANDED_OUT = 0.4


ERRORS = re.compile(rb"Input/output error|No such file or directory|[Rr]ead error")


class Verdict(Enum):
    RIGHT = "right"
    # Not whole, with an error.
    ERROR = "error"
    WAITS = "waits"
    # A part, with a clean end.
    SHORT = "short"
    # Nothing, with a clean end.
    NOTHING = "nothing"
    HANGS = "HANGS"
    WRONG = "WRONG"


@dataclass(frozen=True)
class Case:
    door: str
    when: str
    end: str
    way: str

    def __str__(self) -> str:
        return f"{self.door}, {self.way}, {self.when}, {self.end}"


def cases() -> list[Case]:
    found = [Case(door, when, end, way) for door in DOORS for when in WHENS for end in ENDS[:2] for way in WAYS]
    # If the file never comes, there is only one time and one delivery mode.
    return found + [Case(door, "before", "never", "follow") for door in DOORS]


class Status:
    """The mount's status, asked once for all cells that want it."""

    FRESH = 0.05

    def __init__(self, mount: Path):
        self.mount = mount
        self.lock = threading.Lock()
        self.at = 0.0
        self.last: dict = {}

    def get(self) -> dict:
        with self.lock:
            if time.monotonic() - self.at > self.FRESH:
                self.last = json.loads((self.mount / ".fifofs/status").read_bytes())
                self.at = time.monotonic()
            return self.last

    def has_reader(self, path: str) -> bool:
        status = self.get()
        readers = [*status["waiting"], *(reader for file in status["files"] for reader in file["readers"])]
        return any(reader["path"] == path for reader in readers)

    def is_done(self, path: str) -> bool:
        return any(file["path"] == path and file["state"] in ("done", "failed") for file in self.get()["files"])


@dataclass
class Bench:
    """What all cells need."""

    mount: Path
    scratch: Path
    services: Services
    contents: dict[str, Path]
    environment: dict[str, str]
    status: Status


class Cell:
    def __init__(self, bench: Bench, reader: Reader, case: Case, key: str):
        self.bench, self.reader, self.case, self.key = bench, reader, case, key
        self.scratch = bench.scratch / key
        self.scratch.mkdir()
        self.got = self.scratch / "got"
        # A directory for each cell: some readers read everything in it.
        (bench.mount / key).mkdir()
        self.path = f"{key}/x.{WAYS[case.way][reader.kind]}"
        self.message = ""

    def run(self) -> Verdict:
        environment = self.bench.environment | self.reader.environment | {"KEY": self.key, "TMPDIR": str(self.scratch)}
        with Processes(environment, self.scratch, self.scratch) as processes:
            self.processes = processes
            verdict = getattr(self, self.case.when)()
        path = self.bench.mount / self.path
        path.unlink(missing_ok=True)
        path.parent.rmdir()
        return verdict

    def start_reader(self) -> None:
        directory = self.bench.mount / DOORS[self.case.door]
        path = directory / self.path
        if self.reader.directory and self.case.door == "own":
            path = path.parent
        self.process = self.processes.start(["bash", "-c", self.reader.command, "bash", path, self.got])

    def start_writer(self) -> subprocess.Popen:
        how = {"well": "well", "killed": "SIGKILL"}[self.case.end]
        data = self.bench.contents[self.reader.kind]
        command = [sys.executable, writer.__file__, self.bench.mount / self.path, data, how, self.scratch]
        return self.processes.start(command)

    def finish_writer(self, process: subprocess.Popen) -> None:
        (self.scratch / "go").touch()
        ended = self.processes.finish(process, READ_LIMIT)
        if ended.status != {"well": 0, "killed": -signal.SIGKILL}[self.case.end]:
            raise RuntimeError(f"{self.reader.name}, {self.case}: the writer ended with {ended.status}: {ended.message}")

    def is_halfway(self) -> bool:
        return wait_until((self.scratch / "half").exists, START_LIMIT)

    def has_ended_or_waits(self) -> bool:
        """Whether the reader has come to a door, or has ended, or both. A reader that only looks at the name again
        and again has done neither (`tail -F`)."""
        limit = 3 if self.reader.retries and self.case.door == "own" else START_LIMIT
        return wait_until(lambda: self.process.poll() is not None or self.bench.status.has_reader(self.path), limit)

    def before(self) -> Verdict:
        self.start_reader()
        self.has_ended_or_waits()
        if self.case.end == "never":
            return self.is_left_waiting()
        process = self.start_writer()
        self.is_halfway()
        time.sleep(HANDED_OUT)
        self.finish_writer(process)
        return self.verdict()

    # (`while` is a keyword.)
    def while_(self) -> Verdict:
        process = self.start_writer()
        self.is_halfway()
        time.sleep(HANDED_OUT)
        self.start_reader()
        self.has_ended_or_waits()
        time.sleep(HANDED_OUT)
        self.finish_writer(process)
        return self.verdict()

    def after(self) -> Verdict:
        process = self.start_writer()
        self.is_halfway()
        self.finish_writer(process)
        wait_until(lambda: self.bench.status.is_done(self.path), READ_LIMIT)
        self.start_reader()
        return self.verdict()

    def is_left_waiting(self) -> Verdict:
        """Without a file the reader waits until a signal ends it, and then it ends."""
        try:
            self.process.wait(WAITING)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(READ_LIMIT)
            return Verdict.WAITS
        return self.verdict()

    def verdict(self) -> Verdict:
        ended = self.end_endless() if self.reader.endless else self.processes.finish(self.process, READ_LIMIT)
        self.message = ended.message
        if ended.hung:
            return Verdict.HANGS
        if not ended.well:
            return Verdict.ERROR
        expected = self.reader.expected()
        got = self.reader.result(self.bench.services, self.got, self.key) or b""
        if got == expected:
            return Verdict.RIGHT
        if not got:
            return Verdict.NOTHING
        self.message = f"{len(got)} of {len(expected)} bytes"
        if self.reader.says and ERRORS.search(got):
            return Verdict.ERROR
        return Verdict.SHORT if expected.startswith(got) else Verdict.WRONG

    def end_endless(self) -> Ended:
        """For an endless reader: whether it ends or reports an error while there is nothing new."""
        seen, since = -1, time.monotonic()
        while self.process.poll() is None and time.monotonic() - since < ENDLESS_QUIET:
            size = self.got.stat().st_size if self.got.exists() else 0
            if size != seen:
                seen, since = size, time.monotonic()
            time.sleep(0.05)
        goes_on = self.process.poll() is None
        ended = self.processes.finish(self.process, 0)
        told = not goes_on or "error" in ended.message
        return Ended(1 if told else 0, ended.message)


setattr(Cell, "while", Cell.while_)
