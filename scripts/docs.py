"""What scripts write into the documentation, each between its own marks.

python3 scripts/docs.py PAGE NAME < TEXT: puts the text between the marks of NAME in docs/PAGE.md.
"""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
END = "<!-- to here -->\n"


def write(page: str, name: str, text: str) -> None:
    path = DOCS / f"{page}.md"
    begin = f"<!-- {name} writes from here -->\n"
    before, rest = path.read_text().split(begin)
    _, after = rest.split(END, 1)
    path.write_text(f"{before}{begin}\n{text}\n{END}{after}")


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], sys.stdin.read())
