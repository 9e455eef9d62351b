r"""The same for asyncio.

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
import subprocess
import threading
from typing import Any, AsyncIterator, Callable, Dict, Optional, Sequence, Tuple, TypeVar

from ._capture import Capture, Process, open_reader
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


async def _in_thread(work: Callable[[], _T], cancel: Optional[Callable[[], None]] = None) -> _T:
    """Runs `work` in a thread of its own; one of a pool might wait for others that wait.

    If the task is cancelled, `cancel` is to end the work.
    """
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
    try:
        return await future
    except asyncio.CancelledError:
        if cancel is not None:
            cancel()
        raise


async def read(
    capture: Capture, *, process: Process = None, timeout: Optional[float] = None
) -> bytes:
    """`Capture.read` that lets other tasks run."""
    return await _in_thread(
        lambda: capture.read(process=process, timeout=timeout), capture.cancel
    )


async def stream(capture: Capture, *, process: Process = None) -> AsyncIterator[bytes]:
    """What is written, in pieces, as it is written."""
    reader = open_reader(capture, process)
    try:
        while piece := await _in_thread(lambda: reader.read(_CHUNK_BYTES), reader.cancel):
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
    reads = [
        asyncio.ensure_future(_in_thread(drain.read, drain.reader.cancel))
        for drain in drains.values()
    ]
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
