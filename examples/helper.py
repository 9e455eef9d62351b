#!/usr/bin/env python3
"""Captures through a FIFO what a program writes to a file, as people do who know nothing of fifofs. The kernel's FIFOs do
not do for programs that seek, insist on a regular file or replace it; those that `fifofs exec` makes do.

Usage: fifofs exec -- helper.py NAME CMD [ARG]... > OUTPUT
       TMPDIR=DIR helper.py NAME CMD [ARG]... > OUTPUT    (DIR mounted by `fifofs mount --fifos virtual DIR`)

{} as a word of the command stands for the path of the FIFO, which has the name NAME.
"""

import os
import shutil
import subprocess
import sys
import tempfile

if len(sys.argv) < 3:
    sys.exit(__doc__)
name, *command = sys.argv[1:]
d = tempfile.mkdtemp()
p = os.path.join(d, name)
os.mkfifo(p)
child = subprocess.Popen([p if word == "{}" else word for word in command])
data = open(p, "rb").read()
status = child.wait()
shutil.rmtree(d)
sys.stdout.buffer.write(data)
sys.exit(status)
