r"""The same for asyncio. Reads take no thread: the event loop polls their descriptors.

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
import threading
from typing import Any, AsyncGenerator, Callable, Iterable, List, Mapping, Optional, Tuple, TypeVar, cast

from . import _fifofs
from ._arguments import Process
from ._capture import Capture, hint, open_reader, reading
from ._errors import FifofsError, OutputMissing, TimeoutExpired
from ._readable import readable
from ._run import (
    LAST_SECONDS,
    Argument,
    CompletedProcess,
    Drain,
    Outputs,
    completed,
    expired,
    with_pipes,
)

__all__ = ["lines", "read", "run", "stream"]

_T = TypeVar("_T")

_CHUNK_BYTES = 128 << 10


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Runs `work` in a thread of its own; in a pool it might wait for others that wait."""
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
        # The loop may be closed by now: then nothing waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, call, value)

    threading.Thread(target=body, name="fifofs-aio", daemon=True).start()
    return await future


async def _next(
    reader: _fifofs.Reader, deadline: Optional[float] = None, path: Optional[str] = None
) -> bytes:
    """The next piece, empty at the end. The deadline is a time of the loop."""
    loop = asyncio.get_running_loop()
    while True:
        # Asked for before trying: from then on it signals new bytes.
        descriptor, again = reader.poll_fd()
        piece = reader.try_read(_CHUNK_BYTES)
        if piece is not None:
            # There may be more at once, for longer than other tasks would wait.
            await asyncio.sleep(0)
            return piece
        timeout = again
        if deadline is not None:
            left = deadline - loop.time()
            if left <= 0:
                message = f"not all of {path} came in the time that was given"
                raise TimeoutExpired(message, errno.ETIMEDOUT, path)
            timeout = left if again is None else min(left, again)
        await readable(descriptor, timeout)


async def _read_all(
    reader: _fifofs.Reader, timeout: Optional[float] = None, path: Optional[str] = None
) -> bytes:
    """Everything until the end; what came is the `output` of an exception."""
    deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
    # A bytearray grows in parts: lack of memory shows before all of it is used up.
    data = bytearray()
    try:
        while piece := await _next(reader, deadline, path):
            data += piece
        return bytes(data)
    except FifofsError as error:
        error.output = bytes(data)
        raise
    except MemoryError:
        # The traceback would keep the bytes.
        data.clear()
        raise


async def read(
    capture: Capture, *, process: Process = None, timeout: Optional[float] = None
) -> bytes:
    """`Capture.read` that lets other tasks run."""
    with reading(capture, process, timeout) as (reader, before):
        return before + await _read_all(reader, timeout, capture.path)


async def stream(capture: Capture, *, process: Process = None) -> AsyncGenerator[bytes, None]:
    """Yields the output in pieces, as it is written."""
    reader = open_reader(capture, process)
    try:
        while piece := await _next(reader):
            yield piece
    except OutputMissing as error:
        hint(error, process)
        raise
    finally:
        reader.close()


async def lines(capture: Capture, *, process: Process = None) -> AsyncGenerator[bytes, None]:
    """Yields the output line by line, as it is written."""
    begun: List[bytes] = []
    pieces = stream(capture, process=process)
    try:
        async for piece in pieces:
            first, *others = piece.split(b"\n")
            begun.append(first)
            for other in others:
                yield b"".join(begun) + b"\n"
                begun = [other]
    finally:
        await pieces.aclose()
    if rest := b"".join(begun):
        yield rest


async def run(
    args: Iterable[Argument],
    *,
    check: bool = False,
    timeout: Optional[float] = None,
    input: Optional[bytes] = None,
    capture_output: bool = False,
    backend: str = "fuse",
    **keywords: Any,
) -> CompletedProcess:
    """`fifofs.run` that lets other tasks run; starts the program by `asyncio.create_subprocess_exec`.

    If the task is cancelled, the program is killed.
    """
    _check_text(input, keywords)
    keywords = with_pipes(keywords, input, capture_output)
    outputs = await _in_thread(lambda: Outputs(args, backend))
    try:
        process = await asyncio.create_subprocess_exec(*outputs.args, **keywords)
        try:
            return await _finish(process, outputs, input, check, timeout)
        except BaseException:
            # Processes that still write must see that nothing reads.
            outputs.hang_up()
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            _close_pipes(process)
            await process.wait()
    finally:
        outputs.close()


def _check_text(input: Any, keywords: Mapping[str, Any]) -> None:
    """Raises an exception if input or output is to be text."""
    if not isinstance(input, (bytes, bytearray, memoryview, type(None))):
        raise TypeError(f"input must be bytes, not {input!r}: asyncio has no text")
    if any(keywords.get(name) for name in ("text", "universal_newlines", "encoding", "errors")):
        raise ValueError("asyncio has no text: leave out text and encoding, and decode what there is")


def _close_pipes(process: asyncio.subprocess.Process) -> None:
    """Closes the pipes of a program, which its children may keep open: its `wait` waits for their end, too."""
    transport = cast("Any", process)._transport
    for pipe in map(transport.get_pipe_transport, range(3)):
        if pipe is not None:
            # Unwritten input is of no use. A pipe that has ended cannot be aborted.
            with contextlib.suppress(AttributeError):
                getattr(pipe, "abort", pipe.close)()


async def _drain(drain: Drain) -> None:
    """Reads one output to its end."""
    try:
        drain.data = await _read_all(drain.reader)
    except FifofsError as error:
        drain.error, drain.data = error, error.output


async def _read_pipe(pipe: asyncio.StreamReader, into: bytearray) -> None:
    while piece := await pipe.read(_CHUNK_BYTES):
        into += piece


async def _write_pipe(pipe: asyncio.StreamWriter, input: Optional[bytes]) -> None:
    # The program need not read it.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        if input is not None:
            pipe.write(input)
            await pipe.drain()
    pipe.close()


async def _finish(
    process: asyncio.subprocess.Process,
    outputs: Outputs,
    input: Optional[bytes],
    check: bool,
    timeout: Optional[float],
) -> CompletedProcess:
    drains = outputs.drains(process)
    stdout, stderr = bytearray(), bytearray()

    def streams() -> Tuple[Optional[bytes], Optional[bytes]]:
        return (
            None if process.stdout is None else bytes(stdout),
            None if process.stderr is None else bytes(stderr),
        )

    reads = [asyncio.ensure_future(_drain(drain)) for drain in drains.values()]
    pipes: List[asyncio.Future[None]] = []
    if process.stdin is not None:
        pipes.append(asyncio.ensure_future(_write_pipe(process.stdin, input)))
    for pipe, into in ((process.stdout, stdout), (process.stderr, stderr)):
        if pipe is not None:
            pipes.append(asyncio.ensure_future(_read_pipe(pipe, into)))
    ended = asyncio.ensure_future(process.wait())
    tasks: List[asyncio.Future[Any]] = [*reads, *pipes, ended]
    try:
        done, late = await asyncio.wait(
            tasks, timeout=timeout, return_when=asyncio.FIRST_EXCEPTION
        )
        for task in done:
            task.result()
        if not late:
            return completed(outputs.args, ended.result(), drains, check, streams())
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        outputs.hang_up()
        for drain in drains.values():
            drain.reader.cancel()
        await asyncio.wait(reads)
        if pipes:
            # Other processes may have them open still.
            await asyncio.wait(pipes, timeout=LAST_SECONDS)
        raise expired(outputs.args, drains, timeout, streams())
    finally:
        for drain in drains.values():
            drain.reader.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
