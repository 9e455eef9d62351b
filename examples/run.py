#!/usr/bin/env python3
"""Captures the one line that scripts/pipetest writes to the path it is given, by `fifofs run`."""

import subprocess

line = subprocess.run(
    ["fifofs", "run", "--", "scripts/pipetest", "{out}"], stdout=subprocess.PIPE, check=True
).stdout
print(line.decode(), end="")
