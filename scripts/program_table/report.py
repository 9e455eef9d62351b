"""The table as Markdown."""

from dataclasses import dataclass, field

from .case import Case
from .cases import CASES
from .explained import Explained
from .verdict import Verdict


@dataclass
class Row:
    """One case, and what came of it in each way."""

    case: Case
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    # Why the case proves nothing, if it does not.
    unfit: str = ""
    # What `fifofs explain` says of it.
    explained: Explained = field(default_factory=Explained)


def markdown(rows: list[Row], ways: list[str], recorded: str = "") -> str:
    """How often each verdict stands in each column, then a row for each case; of what was not run, what stands in the
    table that is `recorded`."""
    found = {tuple(cells[:2]): cells for cells in map(cells_of, recorded.splitlines()) if len(cells) == 3 + len(ways)}
    for row in rows:
        before = found.get(name_of(row.case), ["?"] * (3 + len(ways)))[3:]
        verdicts = [row.verdicts[way].value if way in row.verdicts else old for way, old in zip(ways, before)]
        found[name_of(row.case)] = [*name_of(row.case), ", ".join(row.case.classes), *verdicts]
    shown = [found[name_of(case)] for case in CASES if name_of(case) in found]
    text = line(["", *ways]) + line(["---"] * (1 + len(ways)))
    for verdict in Verdict:
        counts = (sum(cells[at] == verdict.value for cells in shown) for at in range(3, 3 + len(ways)))
        text += line([verdict.value, *(str(count) for count in counts)])
    text += "\n<details><summary>All programs</summary>\n\n"
    text += line(["program", "what it makes", "what it does to it", *ways]) + line(["---"] * (3 + len(ways)))
    return text + "".join(map(line, shown)) + "\n</details>\n"


def name_of(case: Case) -> tuple[str, str]:
    """The cells that say which case it is."""
    return case.program, case.what + (", *rewritten*" if case.rewritten else "")


def cells_of(text: str) -> list[str]:
    return [cell.strip() for cell in text.strip("|").split("|")]


def line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"
