"""Judges the result of a case in one way, against what the program leaves in a plain file."""

import enum
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tables.processes import Processes

from .case import PROCESSES, REOPEN, Case
from .ways import CANNOT_MEND, DEFAULTS, PLAIN, Cell, Outcome

VIEW_LIMIT_S = 60


class Verdict(enum.Enum):
    """The word in a cell of the table."""

    RIGHT = "right"
    REFUSED = "refused"
    HANGS = "hangs"
    # A virtual FIFO with an output of several openings: each is a message, as with any FIFO.
    FIRST = "first message"
    WRONG = "WRONG"


def words(verdicts: Iterable[Verdict]) -> str:
    """The text of a cell with these verdicts: more than one if it depends on timing."""
    return " or ".join(sorted({verdict.value for verdict in verdicts}))


class Unfit(Exception):
    """A case that proves nothing: a bug of the table."""


@dataclass
class Standard:
    """The right result of a case: the files, or what its view shows of them."""

    case: Case
    processes: Processes
    expected: dict[str, object]

    def accepts(self, files: dict[str, Path]) -> bool:
        """Whether these files are what the program leaves in a plain directory."""
        if files.keys() != self.expected.keys():
            return False
        return all(seen(self.case, path, self.processes) == self.expected[name] for name, path in files.items())


def standard(case: Case, cell: Cell) -> Standard:
    """Runs the program into plain files, and makes sure that a wrong file would be noticed."""
    outcome = PLAIN.run(case, cell)
    if not outcome.program.well:
        raise Unfit(f"it fails in a plain directory: {outcome.message}")
    missing = [name for name in case.outputs if name not in outcome.got]
    if missing or not outcome.got:
        raise Unfit(f"it leaves no {missing or 'file'} in a plain directory")
    cell.names = list(outcome.got)
    cell.plain_s = outcome.seconds
    processes = cell.processes()
    expected = {name: seen(case, path, processes) for name, path in outcome.got.items()}
    for name, path in outcome.got.items():
        if expected[name] is None:
            raise Unfit(f"its view fails on the plain {name}")
        cut = cell.file("cut", name)
        cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        if path.stat().st_size and seen(case, cut, processes) == expected[name]:
            raise Unfit(f"its view takes half of {name} for the whole")
    again = PLAIN.run(case, cell, attempt=2)
    found = Standard(case, processes, expected)
    if not found.accepts(again.got):
        raise Unfit("it leaves something else in a plain directory each time, and needs a view")
    return found


def seen(case: Case, path: Path, processes: Processes) -> object:
    """The part of a file that must be the same; None if the view refuses the file."""
    if case.view is None:
        return path.read_bytes()
    environment = processes.environment | {"FILE": str(path)}
    try:
        view = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {case.view}"], env=environment, cwd=processes.working_directory,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=VIEW_LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    return view.stdout if view.returncode == 0 else None


def judge(found: Standard, outcome: Outcome) -> Verdict:
    """The word for an outcome. An error is an error even if the bytes are right."""
    ends = [outcome.program, *outcome.readers]
    program, *readers = ends
    if program.hung:
        return Verdict.HANGS
    if not program.well:
        return Verdict.REFUSED
    if any(reader.hung for reader in readers):
        return Verdict.HANGS
    right = found.accepts(outcome.left) if outcome.left else True
    if any(not reader.well for reader in readers):
        return Verdict.REFUSED if right else Verdict.WRONG
    return Verdict.RIGHT if right and found.accepts(outcome.got) else Verdict.WRONG


def in_messages(case: Case, verdict: Verdict) -> Verdict:
    """The word for a virtual FIFO, where each opening for writing is a message."""
    is_several = {PROCESSES, REOPEN} & set(case.classes)
    return Verdict.FIRST if verdict is Verdict.WRONG and is_several else verdict


def kept(case: Case, way: str, verdict: Verdict) -> bool:
    """Whether fifofs promises this. A kernel FIFO may give anything, and a virtual one anything but wrong bytes."""
    if way == "FIFO":
        return True
    if way == "virtual FIFO":
        return verdict is not Verdict.WRONG
    if way not in DEFAULTS:
        return verdict in (Verdict.RIGHT, Verdict.REFUSED)
    rewritten = case.rewritten and way in CANNOT_MEND and verdict is Verdict.REFUSED
    return rewritten or verdict is Verdict.RIGHT
