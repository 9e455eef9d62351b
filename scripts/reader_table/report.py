"""The table as Markdown: one for each door."""

from .cell import Case, Verdict
from .readers import Reader

HEADINGS = {
    "own": "By its own path, `DIR/PATH`",
    "wait": "Through `DIR/.fifofs/wait/PATH`",
    "pipe": "Through `DIR/.fifofs/pipe/PATH`",
}
COLUMNS = {
    ("before", "well"): "before", ("while", "well"): "while it is written", ("after", "well"): "after",
    ("before", "killed"): "before, killed", ("while", "killed"): "while, killed", ("after", "killed"): "after, killed",
    ("before", "never"): "never written",
}  # fmt: skip

Seen = dict[tuple[str, Case], Verdict | None]


def markdown(readers: list[Reader], seen: Seen) -> str:
    text = ""
    for door, heading in HEADINGS.items():
        text += f"## {heading}\n\n" + line(["", *COLUMNS.values()]) + line(["---"] * (1 + len(COLUMNS)))
        for reader in readers:
            text += line([reader.name, *(cell(reader, door, *column, seen) for column in COLUMNS)])
        text += "\n"
    return text.rstrip("\n")


def cell(reader: Reader, door: str, when: str, end: str, seen: Seen) -> str:
    """The results for a file that follows and for a settled one."""
    found = {case.way: verdict for (name, case), verdict in seen.items()
             if (name, case.door, case.when, case.end) == (reader.name, door, when, end)}  # fmt: skip
    words = {way: verdict.value if verdict else "not run" for way, verdict in found.items()}
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return "; ".join(f"{way}: {word}" for way, word in words.items()) or "not run"


def line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"
