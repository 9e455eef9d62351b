"""Checks whether `fifofs explain` predicts what the ways of capturing then give.

Its verdict on a way and the word in that column of the table must agree: captured with right, and rewritten or
failing with anything else. A verdict that depends on timing, or on a program that may look for a regular file, agrees
with both.
"""

import json
from dataclasses import dataclass, field

from tables.processes import Processes

from .case import Case
from .verdict import Verdict, words
from .ways import Cell

# The columns that it covers, and its names for them.
WAYS = {"FIFO": "fifo", "run, pipe": "auto", "run, stream": "stream", "run, follow": "follow", "run, settled": "settled"}
OPEN = ("probably", "depends", "unlikely")
# On a busy machine a program may take ten times as long as when it was captured, and its reader may get an error for
# that. A result that is wrong for another reason is so each time.
ATTEMPTS = 3


@dataclass
class Explained:
    """The result for one case."""

    # By column: captured, fails, or left open.
    said: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def left_open(self) -> list[str]:
        return [way for way, word in self.said.items() if word in OPEN]


def check(case: Case, cell: Cell, verdicts: dict[str, set[Verdict]]) -> Explained:
    """Explains a case, and compares that with the verdicts on it."""
    if not WAYS.keys() & verdicts.keys():
        return Explained()
    for _ in range(ATTEMPTS):
        with cell.processes() as processes:
            explained = held_against(case, explain(case, cell, processes), verdicts)
        if not explained.wrong:
            break
    return explained


def held_against(case: Case, outputs: list[dict] | str, verdicts: dict[str, set[Verdict]]) -> Explained:
    if isinstance(outputs, str):
        return Explained(wrong=[f"{case.name}, explain: {outputs}"])
    explained = Explained()
    for way in (way for way in WAYS if way in verdicts):
        found = [output["verdicts"][WAYS[way]] for output in outputs]
        explained.said[way] = together([one["chance"] for one in found])
        if not any(agrees(explained.said[way], found) for found in verdicts[way]):
            reasons = "; ".join(f"{output['path']}: {one['chance']}, {one['reason']}" for output, one in zip(outputs, found))
            explained.wrong.append(f"{case.name}, {way}: {words(verdicts[way])}, but explain says {reasons}")
    return explained


def explain(case: Case, cell: Cell, processes: Processes) -> list[dict] | str:
    """The explanation of each output, or its error."""
    report = cell.file("explained", "report.json")
    with open(report, "wb") as file:
        command = [cell.fifofs, "explain", "--json", "--", "bash", "-c", case.command]
        ended = processes.finish(processes.start(command, stdout=file), 60 + 20 * cell.plain_s)
    if not ended.well:
        return f"ended with {ended.status}: {ended.message}"
    outputs = json.loads(report.read_bytes())["outputs"]
    if sorted(output["path"] for output in outputs) != sorted(cell.names):
        return f"it speaks of {[output['path'] for output in outputs]} instead of {cell.names}"
    return outputs


def together(chances: list[str]) -> str:
    """The worst of several outputs counts."""
    for word in ("fails", "rewritten", "unlikely", "depends", "probably"):
        if word in chances:
            return word
    return "captured"


def agrees(said: str, found: Verdict) -> bool:
    return said in OPEN or (said == "captured") == (found is Verdict.RIGHT)
