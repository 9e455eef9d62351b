r"""The same for asyncio. Reads take no thread: the loop polls their descriptors.

>>> import asyncio
>>> from fifofs import OUT, aio
>>> async def main():
...     done = await aio.run(["sh", "-c", 'echo hello > "$1"', "sh", OUT("x.txt")], check=True)
...     return done.output
>>> asyncio.run(main())
b'hello\n'
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import subprocess
import threading
from typing import Any, AsyncIterator, Callable, Dict, List, Optional, Sequence, Tuple, TypeVar

from . import _fifofs
from ._capture import Capture, Process, open_reader, reading
from ._errors import FifofsError, TimeoutExpired
from ._run import (
    Argument,
    CompletedProcess,
    Drain,
    Outputs,
    check_keywords,
    completed,
    expired,
)

__all__ = ["lines", "read", "run", "stream"]

_T = TypeVar("_T")

_CHUNK_BYTES = 128 << 10


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Runs `work` in a thread of its own; one of a pool might wait for others that wait."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def tell(call: Callable[[Any], None], value: object) -> None:
        if not future.done():
            call(value)

    def body() -> None:
        try:
            result = work()
        except BaseException as error:
            call, value = future.set_exception, error
        else:
            call, value = future.set_result, result  # type: ignore[assignment]
        # The loop may be closed by now: nobody waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, call, value)

    threading.Thread(target=body, name="fifofs-aio", daemon=True).start()
    return await future


async def _readable(descriptor: int, timeout: Optional[float]) -> None:
    """Waits until there is something to read, or for so many seconds."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not future.done():
            future.set_result(None)

    # Of its own: who closes the reader meanwhile closes the other, and the loop would wait for ever.
    descriptor = os.dup(descriptor)
    loop.add_reader(descriptor, tell)
    timer = None if timeout is None else loop.call_later(timeout, tell)
    try:
        await future
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        if timer is not None:
            timer.cancel()


async def _next(
    reader: _fifofs.Reader, deadline: Optional[float] = None, path: Optional[str] = None
) -> bytes:
    """The next piece, empty at the end. The deadline is a time of the loop."""
    loop = asyncio.get_running_loop()
    while True:
        # Before it is tried: from then on it tells.
        descriptor, again = reader.poll_fd()
        piece = reader.try_read(_CHUNK_BYTES)
        if piece is not None:
            # There may be more at once, for longer than others would wait.
            await asyncio.sleep(0)
            return piece
        timeout = again
        if deadline is not None:
            left = deadline - loop.time()
            if left <= 0:
                message = f"not all of {path} came in the time that was given"
                raise TimeoutExpired(message, errno.ETIMEDOUT, path)
            timeout = left if again is None else min(left, again)
        await _readable(descriptor, timeout)


async def _read_all(
    reader: _fifofs.Reader, timeout: Optional[float] = None, path: Optional[str] = None
) -> bytes:
    """All there is until the end; what came is the `output` of an exception."""
    deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
    pieces: List[bytes] = []
    try:
        while piece := await _next(reader, deadline, path):
            pieces.append(piece)
    except FifofsError as error:
        error.output = b"".join(pieces)
        raise
    return b"".join(pieces)


async def read(
    capture: Capture, *, process: Process = None, timeout: Optional[float] = None
) -> bytes:
    """`Capture.read` that lets other tasks run."""
    with reading(capture, process, timeout) as (reader, before):
        return before + await _read_all(reader, timeout, capture.path)


async def stream(capture: Capture, *, process: Process = None) -> AsyncIterator[bytes]:
    """What is written, in pieces, as it is written."""
    reader = open_reader(capture, process)
    try:
        while piece := await _next(reader):
            yield piece
    finally:
        reader.close()


async def lines(capture: Capture, *, process: Process = None) -> AsyncIterator[bytes]:
    """What is written, line by line, as it is written."""
    rest = b""
    async for piece in stream(capture, process=process):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


async def run(
    args: Sequence[Argument],
    *,
    check: bool = False,
    timeout: Optional[float] = None,
    input: Optional[bytes] = None,
    capture_output: bool = False,
    backend: str = "fuse",
    **keywords: Any,
) -> CompletedProcess:
    """`fifofs.run` that lets other tasks run; the program is one of `asyncio.create_subprocess_exec`.

    If the task is cancelled, the program is killed.
    """
    check_keywords(keywords)
    if input is not None:
        keywords["stdin"] = subprocess.PIPE
    if capture_output:
        keywords["stdout"] = keywords["stderr"] = subprocess.PIPE
    outputs = await _in_thread(lambda: Outputs(args, backend))
    try:
        process = await asyncio.create_subprocess_exec(*outputs.args, **keywords)
        drains = outputs.drains(process)
        streams = await _finish(process, drains, input, timeout)
        if streams is None:
            raise expired(outputs.args, drains, timeout, (None, None))
        assert process.returncode is not None
        return completed(outputs.args, process.returncode, drains, check, streams)
    finally:
        outputs.close()


async def _drain(drain: Drain) -> None:
    """Reads one output to its end."""
    try:
        drain.data = await _read_all(drain.reader)
    except FifofsError as error:
        drain.error, drain.data = error, error.output


async def _finish(
    process: asyncio.subprocess.Process,
    drains: Dict[str, Drain],
    input: Optional[bytes],
    timeout: Optional[float],
) -> Optional[Tuple[Any, Any]]:
    """What a program writes to its pipes, once it has ended; none if it is killed after `timeout`.

    It is killed, too, if the task is cancelled.
    """
    streams = asyncio.ensure_future(process.communicate(input))
    reads = [asyncio.ensure_future(_drain(drain)) for drain in drains.values()]
    try:
        _, late = await asyncio.wait([streams, *reads], timeout=timeout)
        return None if late else streams.result()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for drain in drains.values():
            drain.reader.cancel()
        await asyncio.wait(reads)
        streams.cancel()
        await process.wait()
