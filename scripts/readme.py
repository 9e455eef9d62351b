"""What scripts write into the README, each between its own marks.

python3 scripts/readme.py NAME < TEXT: puts the text between the marks of NAME.
"""

import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
END = "<!-- to here -->\n"


def write(name: str, text: str) -> None:
    begin = f"<!-- {name} writes from here -->\n"
    before, rest = README.read_text().split(begin)
    _, after = rest.split(END, 1)
    README.write_text(f"{before}{begin}\n{text}\n{END}{after}")


if __name__ == "__main__":
    write(sys.argv[1], sys.stdin.read())
