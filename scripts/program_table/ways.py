"""The ways of getting a program's output: into a plain file, through a kernel FIFO, by `fifofs run`, out of a mount.

A way runs one case and returns how all processes ended and the files. It judges nothing.
"""

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tables.processes import Ended, Processes, wait_until

from .case import Case

# A reader of a FIFO that gets no end soon after its program has ended will get none.
FIFO_GRACE_S = 2
MOUNT_LIMIT_S = 20


@dataclass
class Cell:
    """The place where one case is run in one way."""

    root: Path
    inputs: Path
    fifofs: Path
    environment: dict[str, str]
    # What the program leaves in a plain directory, and how long that takes.
    names: list[str] = field(default_factory=list)
    plain_s: float = 0

    def directory(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def file(self, directory: str, name: str) -> Path:
        """A path for a file, whose directory is made."""
        path = self.root / directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def processes(self) -> Processes:
        """Processes with a directory of their own for temporary files and logs."""
        own = Path(tempfile.mkdtemp(prefix="tmp-", dir=self.directory(".")))
        logs = own / "logs"
        logs.mkdir()
        return Processes(self.environment | {"TMPDIR": str(own)}, self.inputs, logs)


@dataclass
class Outcome:
    """The result of one way of running a case."""

    program: Ended
    readers: list[Ended]
    # The readers' files, by the name of the output.
    got: dict[str, Path]
    # The files that the filesystem itself has afterwards, where it should.
    left: dict[str, Path] = field(default_factory=dict)
    seconds: float = 0

    @property
    def message(self) -> str:
        """The errors, as the processes reported them."""
        ends = [("program", self.program), *(("reader", reader) for reader in self.readers)]
        return "\n".join(f"{name} ended with {end.status}: {end.message}" for name, end in ends if not end.well)


def script(case: Case, directory: Path) -> list[str]:
    return ["bash", "-c", case.command_in(str(directory))]


def files_below(directory: Path) -> dict[str, Path]:
    found = (path for path in sorted(directory.rglob("*")) if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(directory)): path for path in found}


class Plain:
    """Into a plain directory: this is the right result."""

    def run(self, case: Case, cell: Cell, attempt: int = 1) -> Outcome:
        directory = cell.directory(f"plain{attempt}")
        with cell.processes() as processes:
            start = time.monotonic()
            program = processes.finish(processes.start(script(case, directory)), 120)
            seconds = time.monotonic() - start
        made = files_below(directory)
        got = {name: made[name] for name in case.outputs or made if name in made}
        return Outcome(program, [], got, seconds=seconds)


class Fifo:
    """A FIFO, with a reader that has it open already."""

    def run(self, case: Case, cell: Cell) -> Outcome:
        limit = 3 + 4 * cell.plain_s
        for name in cell.names:
            os.mkfifo(cell.file("fifo", name))
        with cell.processes() as processes:
            got = {name: cell.file("got", name) for name in cell.names}
            readers = []
            for name, path in got.items():
                with open(path, "wb") as file:
                    readers.append(processes.start(["cat", cell.root / "fifo" / name], stdout=file))
            program = processes.finish(processes.start(script(case, cell.root / "fifo")), limit)
            ends = [processes.finish(reader, FIFO_GRACE_S) for reader in readers]
        return Outcome(program, ends, got)


@dataclass
class Run:
    """`fifofs run`, into pipes or into files."""

    options: tuple[str, ...] = ()
    into_files: bool = False

    def run(self, case: Case, cell: Cell) -> Outcome:
        limit = 30 + 10 * cell.plain_s
        tree = not case.outputs
        names = ["tree.tar"] if tree else case.outputs
        got = {name: cell.file("got", name) for name in names}
        command = [cell.fifofs, "run", *self.options]
        ends: list[Ended] = []
        with cell.processes() as processes:
            readers, passed, stdout = [], [], None
            for name, path in got.items():
                if self.into_files and len(names) > 1:
                    command += ["--to", f"{name}={path}"]
                    continue
                to = os.open(path, os.O_WRONLY | os.O_CREAT)
                if not self.into_files:
                    out, end = os.pipe()
                    readers.append(processes.start(["cat"], stdin=out, stdout=to))
                    os.close(out)
                    os.close(to)
                    to = end
                passed.append(to)
                if len(names) > 1:
                    command += ["--to", f"{name}=fd:{to}"]
                else:
                    stdout = to
            command += ["--tar"] * tree + ["--", "bash", "-c", case.command]
            running = processes.start(command, stdout=stdout, pass_fds=passed)
            for descriptor in passed:
                os.close(descriptor)
            program = processes.finish(running, limit)
            ends = [processes.finish(reader, FIFO_GRACE_S) for reader in readers]
        if tree and program.well:
            got = unpacked(got["tree.tar"], cell.directory("unpacked"))
        return Outcome(program, ends, got)


def unpacked(archive: Path, directory: Path) -> dict[str, Path]:
    """The files of an archive; none if it is malformed."""
    subprocess.run(["tar", "-xf", archive, "-C", directory], stderr=subprocess.DEVNULL, timeout=60)
    return files_below(directory)


@dataclass
class Mount:
    """A mount, with a `fifofs cat` for each output that waits before there is a file."""

    options: tuple[str, ...] = ()
    # Whether the mount has the whole file afterwards: a stream is gone once it is read.
    keeps: bool = True
    # The reader, if not `fifofs cat`.
    reader: tuple[str | Path, ...] = ()

    def run(self, case: Case, cell: Cell) -> Outcome:
        limit = 30 + 10 * cell.plain_s
        mount = cell.directory("mount")
        with cell.processes() as processes:
            daemon = processes.start([cell.fifofs, "mount", *self.options, mount])
            device = cell.root.stat().st_dev
            if not wait_until(lambda: mount.stat().st_dev != device, MOUNT_LIMIT_S):
                return Outcome(processes.finish(daemon, 0), [], {})
            try:
                return self.run_in(mount, case, cell, processes, limit)
            finally:
                unmount(mount, daemon, cell, processes)

    def prepare(self, mount: Path, names: list[str]) -> None:
        """Called before there are readers."""

    def run_in(self, mount: Path, case: Case, cell: Cell, processes: Processes, limit: float) -> Outcome:
        self.prepare(mount, cell.names)
        got = {name: cell.file("got", name) for name in cell.names}
        readers = []
        for name, path in got.items():
            with open(path, "wb") as file:
                readers.append(processes.start([*(self.reader or (cell.fifofs, "cat")), mount / name], stdout=file))
        if not wait_until(lambda: waiting(mount) == len(readers), MOUNT_LIMIT_S):
            return Outcome(Ended(None, "its readers never came to wait"), [], {})
        program = processes.finish(processes.start(script(case, mount)), limit)
        # If a program failed, nothing shows whether its output will ever come.
        grace = limit if program.well else FIFO_GRACE_S
        ends = [processes.finish(reader, grace) for reader in readers]
        left = {}
        if self.keeps and program.well:
            for name in cell.names:
                left[name] = cell.file("left", name)
                with open(left[name], "wb") as file:
                    processes.finish(processes.start(["cat", mount / name], stdout=file), limit)
        return Outcome(program, ends, got, left)


@dataclass
class VirtualFifo(Mount):
    """A virtual FIFO, with a reader that waits at it, as at a kernel FIFO."""

    options: tuple[str, ...] = ("--fifos", "virtual")
    keeps: bool = False
    reader: tuple[str | Path, ...] = ("cat",)

    def prepare(self, mount: Path, names: list[str]) -> None:
        for name in names:
            (mount / name).parent.mkdir(parents=True, exist_ok=True)
            os.mkfifo(mount / name)


def waiting(mount: Path) -> int:
    """The number of readers that wait for a missing file, or at a FIFO."""
    status = json.loads((mount / ".fifofs/status").read_bytes())
    return len(status["waiting"]) + sum(len(file["readers"]) for file in status["files"])


def unmount(mount: Path, daemon: subprocess.Popen, cell: Cell, processes: Processes) -> None:
    """Ends a mount, by force if necessary."""
    processes.finish(processes.start([cell.fifofs, "unmount", mount]), MOUNT_LIMIT_S)
    processes.finish(daemon, MOUNT_LIMIT_S)
    if os.path.ismount(mount):
        subprocess.run(["umount", "-l", mount], timeout=10)


PLAIN = Plain()

# By the headings of their columns. `run` and `mount` alone have default options.
WAYS = {
    "FIFO": Fifo(),
    "virtual FIFO": VirtualFifo(),
    "run, pipe": Run(),
    "run, file": Run(into_files=True),
    "run, stream": Run(("--deliver", "stream")),
    "run, follow": Run(("--deliver", "follow")),
    "run, settled": Run(("--deliver", "settled")),
    "mount": Mount(),
    "mount, stream": Mount(("--deliver", "stream"), keeps=False),
    "mount, follow": Mount(("--deliver", "follow")),
    "mount, settled": Mount(("--deliver", "settled")),
}
DEFAULTS = ("run, pipe", "run, file", "mount")
# Ways in which a reader can only get an error if its bytes were rewritten.
CANNOT_MEND = ("run, pipe", "mount")
