"""The program that measures the cost of a capture, and writes the table of docs/python.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import TIMEOUT

PROJECT = Path(__file__).parents[2]


def test_the_table_of_the_page_is_written(tmp_path: Any) -> None:
    page = PROJECT / "docs/python.md"
    copy = tmp_path / "python.md"
    copy.write_text(page.read_text())
    program = [sys.executable, PROJECT / "python/bench/capture.py", "--quick", "--docs", copy]
    done = subprocess.run(program, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    place = "<!-- python/bench/capture.py writes from here -->", "<!-- to here -->"
    before, _, rest = copy.read_text().partition(place[0])
    table, _, after = rest.partition(place[1])
    assert table == f"\n\n{done.stdout}\n"
    # One line for each way except cargo's command, which may not be there.
    assert len([line for line in table.splitlines() if line.startswith("| ")]) == 1 + 7
    assert page.read_text().startswith(before) and page.read_text().endswith(after)
