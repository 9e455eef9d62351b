"""Writes the output of scripts into the documentation, between marks with the script's name.

python3 scripts/docs.py PAGE NAME < TEXT: puts the text between the marks of NAME in docs/PAGE.md.
"""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
END = "<!-- to here -->\n"


def parts(page: str, name: str) -> tuple[str, str, str]:
    """The page before the text, the text, and the page after it, with the marks."""
    begin = f"<!-- {name} writes from here -->\n"
    before, rest = (DOCS / f"{page}.md").read_text().split(begin)
    text, after = rest.split(END, 1)
    return before + begin, text, END + after


def read(page: str, name: str) -> str:
    return parts(page, name)[1]


def write(page: str, name: str, text: str) -> None:
    before, _, after = parts(page, name)
    (DOCS / f"{page}.md").write_text(f"{before}\n{text}\n{after}")


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], sys.stdin.read())
