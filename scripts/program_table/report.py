"""The table as Markdown."""

from dataclasses import dataclass, field

from .case import Case
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


def markdown(rows: list[Row], ways: list[str]) -> str:
    """How often each verdict stands in each column, then a row for each case."""
    text = line(["", *ways]) + line(["---"] * (1 + len(ways)))
    for verdict in Verdict:
        counts = (sum(row.verdicts.get(way) is verdict for row in rows) for way in ways)
        text += line([verdict.value, *(str(count) for count in counts)])
    text += "\n<details><summary>All programs</summary>\n\n"
    text += line(["program", "what it makes", "what it does to it", *ways]) + line(["---"] * (3 + len(ways)))
    for row in rows:
        told = ", *told*" if row.case.told else ""
        text += line([row.case.program, row.case.what + told, ", ".join(row.case.classes), *(row.verdicts[way].value if way in row.verdicts else "?" for way in ways)])
    return text + "\n</details>\n"


def line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"

