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
    # In a process group of its own: when that is empty, the file is done at once.
    program = subprocess.Popen(["scripts/pipetest", path], start_new_session=True)
    # Opening this waits until the file is there and done.
    with open(os.path.join(mount, ".fifofs/wait", os.path.relpath(path, mount))) as output:
        print(output.read(), end="")
    sys.exit(program.wait())
