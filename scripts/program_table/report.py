"""The table as Markdown."""

from dataclasses import dataclass, field

from .case import Case
from .cases import CASES
from .explained import Explained
from .verdict import Verdict, words


@dataclass
class Row:
    """One case, and its results in each way."""

    case: Case
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    # All results of a way that was run again and gave different ones.
    seen: dict[str, set[Verdict]] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    # Why the case proves nothing, if so.
    unfit: str = ""
    # The files that it leaves in a plain directory.
    names: list[str] = field(default_factory=list)
    # The result of `fifofs explain`.
    explained: Explained = field(default_factory=Explained)

    def came(self) -> dict[str, set[Verdict]]:
        """The results by column."""
        return {way: self.seen.get(way, {verdict}) for way, verdict in self.verdicts.items()}


def recorded_cells(recorded: str, ways: list[str]) -> dict[tuple[str, str], list[str]]:
    """The cells of each row of the table `recorded`."""
    return {tuple(cells[:2]): cells for cells in map(cells_of, recorded.splitlines()) if len(cells) == 3 + len(ways)}


def markdown(rows: list[Row], ways: list[str], recorded: str = "") -> str:
    """The number of each verdict in each column, then a row for each case; rows that were not run are taken from the
    table `recorded`."""
    found = recorded_cells(recorded, ways)
    for row in rows:
        before = found.get(name_of(row.case), ["?"] * (3 + len(ways)))[3:]
        came = row.came()
        verdicts = [words(came[way]) if way in came else old for way, old in zip(ways, before)]
        found[name_of(row.case)] = [*name_of(row.case), ", ".join(row.case.classes), *verdicts]
    shown = [found[name_of(case)] for case in CASES if name_of(case) in found]
    text = line(["", *ways]) + line(["---"] * (1 + len(ways)))
    several = sorted({cell for cells in shown for cell in cells[3:] if " or " in cell})
    for word in [*(verdict.value for verdict in Verdict), *several]:
        counts = (sum(cells[at] == word for cells in shown) for at in range(3, 3 + len(ways)))
        text += line([word, *(str(count) for count in counts)])
    text += "\n<details><summary>All programs</summary>\n\n"
    text += line(["program", "what it makes", "what it does to it", *ways]) + line(["---"] * (3 + len(ways)))
    return text + "".join(map(line, shown)) + "\n</details>\n"


def name_of(case: Case) -> tuple[str, str]:
    """The cells that name the case."""
    return case.program, case.what + (", *rewritten*" if case.rewritten else "")


def cells_of(text: str) -> list[str]:
    return [cell.strip() for cell in text.strip("|").split("|")]


def line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"
