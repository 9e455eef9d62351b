#!/usr/bin/env python3
"""Captures the one line that scripts/pipetest writes to the path it is given, through a mount.

Usage: wait.py MOUNT, where `fifofs mount MOUNT` serves.
"""

import os
import subprocess
import sys
import tempfile

mount = sys.argv[1]
with tempfile.TemporaryDirectory(dir=mount) as directory:
    path = os.path.join(directory, "out.txt")
    program = subprocess.Popen(["scripts/pipetest", path])
    # Opening this waits until the program has ended and the file is done; if it has left none, that
    # is an error.
    door = os.path.join(mount, ".fifofs/pid", str(program.pid), "wait")
    with open(os.path.join(door, os.path.relpath(path, mount))) as output:
        print(output.read(), end="")
    sys.exit(program.wait())
