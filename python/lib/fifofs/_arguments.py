"""Checks of arguments."""

from __future__ import annotations

import concurrent.futures
import os
import sys
import threading
from typing import Any, Callable, Optional, Tuple, Union, cast

Process = Union[int, "threading.Thread", "concurrent.futures.Future[Any]", Callable[[], bool], Any]
"""The writer: a `subprocess.Popen` or the result of `subprocess.run`, a `multiprocessing.Process`, any other object
with a `pid`, a process id, a `threading.Thread`, a future or task with `done()`, like those of `concurrent.futures`
and `asyncio`, a result of a `multiprocessing.Pool` or any other object with `ready()`, or a function that returns
`True` once the writer has ended: `lambda: all(p.poll() is not None for p in programs)`, for several."""

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
"""A path of the filesystem, or a name in it."""


def check_bytes(what: str, value: Any) -> None:
    """Raises an exception unless `value` is a number of bytes."""
    if not isinstance(value, int):
        raise TypeError(f"{what} must be a number of bytes, such as 64 << 20, not {value!r}")
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{what} must be a number of bytes, such as 64 << 20, not {value}")


def check_texts(**values: Any) -> None:
    """Raises an exception unless all are text, or left out."""
    for what, value in values.items():
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{what} must be a str, not {value!r}")


def check_flags(**values: Any) -> None:
    """Raises an exception unless all are `True` or `False`."""
    for what, value in values.items():
        if not isinstance(value, bool):
            raise TypeError(f"{what} must be True or False, not {value!r}")


def ending(process: Process) -> Tuple[Optional[int], Optional[Callable[[], bool]]]:
    """What ends the output: a process id (0: it has ended already), or a function that returns whether it has
    ended."""
    if isinstance(process, bool):
        raise TypeError("process must be a process, a thread or a function, not a bool")
    if isinstance(process, int):
        if not 0 < process < 1 << 31:
            raise ValueError(f"{process} is no process id")
        return process, None
    if isinstance(process, threading.Thread):
        thread = process
        if thread.ident is None:
            raise ValueError(f"{thread} was not started: start it before you read what it writes")
        return None, lambda: not thread.is_alive()
    # A process that was waited for has one of these, and so does the result of `subprocess.run`; `multiprocessing`
    # waits by itself.
    if any(getattr(process, name, None) is not None for name in ("returncode", "exitcode")):
        return 0, None
    if hasattr(process, "pid"):
        pid: Any = getattr(process, "pid")
        if not isinstance(pid, int):
            raise ValueError(f"{process} was not started: start it before you read what it writes")
        return pid, None
    for name in ("done", "ready"):
        tells: Any = getattr(process, name, None)
        if callable(tells):
            return None, cast("Callable[[], bool]", tells)
    if callable(process):
        return None, cast("Callable[[], bool]", process)
    raise TypeError(
        f"{process!r} is no process, process id, thread, future or function that says by True that it has ended"
    )


def check_loop(process: Any) -> None:
    """Raises an exception if waiting for it in this thread would keep it from going on."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not asyncio.isfuture(process):
        return
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    if process.get_loop() is loop:
        raise ValueError(
            f"{process!r} cannot end while this thread waits for it: give await fifofs.aio.read(capture, process=...)"
        )
