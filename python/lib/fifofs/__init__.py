r"""Capture what programs write to files: without temporary files, and without the traps of FIFOs.

Many programs write their result only to a file whose name they are given. `Capture` makes such a name and reads what
is written there; `run` and `Popen` are those of `subprocess`, with outputs.

>>> import subprocess, fifofs
>>> with fifofs.Capture("out.txt") as c:
...     _ = subprocess.run(["sort", "-o", c, "/etc/hostname"], check=True)
...     data = c.read()
>>> data == open("/etc/hostname", "rb").read()
True
>>> fifofs.run(["sh", "-c", 'echo hello > "$1"', "sh", fifofs.OUT("x.txt")], check=True).output
b'hello\n'

What is read is what a plain file would hold, or an exception, always a `FifofsError`: `OutputRewritten`,
`WriterFailed`, `OutputMissing`, `TimeoutExpired`. Every wait lets other threads run, and ends by Ctrl-C.
"""

import atexit as _atexit
import os as _os

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import _fifofs
from ._arguments import Process
from ._capture import Capture, TemporaryPipe
from ._errors import (
    CalledProcessError,
    Cancelled,
    Closed,
    FifofsError,
    OutputMissing,
    OutputRewritten,
    TimeoutExpired,
    WriterFailed,
)
from ._events import Event, Events
from ._mount import Mount, mount, wait_path
from ._run import OUT, CompletedProcess, Popen, run

__all__ = [
    "OUT",
    "CalledProcessError",
    "Cancelled",
    "Capture",
    "Closed",
    "CompletedProcess",
    "Event",
    "Events",
    "FifofsError",
    "Mount",
    "OutputMissing",
    "OutputRewritten",
    "Popen",
    "Process",
    "TemporaryPipe",
    "TimeoutExpired",
    "WriterFailed",
    "aio",
    "mount",
    "run",
    "wait_path",
]

if _TYPE_CHECKING:
    from . import aio as aio


def __getattr__(name: str) -> _Any:
    # Importing asyncio takes longer than all else, and the command does not need it.
    if name == "aio":
        import importlib

        return importlib.import_module("fifofs.aio")
    raise AttributeError(f"module 'fifofs' has no attribute {name!r}")


_atexit.register(_fifofs.shut_down)
_os.register_at_fork(after_in_child=_fifofs.after_fork)
