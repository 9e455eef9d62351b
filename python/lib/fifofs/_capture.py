"""A path to give to a program, and what the program writes there."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from typing import (
    IO,
    TYPE_CHECKING,
    Any,
    BinaryIO,
    Callable,
    ContextManager,
    Generator,
    Iterator,
    List,
    Optional,
    TextIO,
    Tuple,
    cast,
    overload,
)

from . import _fifofs
from ._arguments import Path, Process, check_bytes, check_loop, check_texts, ending
from ._errors import Closed, FifofsError, OutputMissing, TimeoutExpired
from ._events import Events

if TYPE_CHECKING:
    from typing import Literal

    if sys.version_info >= (3, 11):
        from typing import Self
    else:
        from typing_extensions import Self

_BUFFER_BYTES = 128 << 10


def _no_child_is_left() -> bool:
    """Whether no child of this process is left that might write."""
    return not _fifofs.has_running_child(_helpers())


def _helpers() -> List[int]:
    """Children that `multiprocessing` keeps until this process ends, and that run nothing now."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is None:
        return []
    modules = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
    tracker, server = (sys.modules.get(module) for module in modules)
    pids = [getattr(getattr(tracker, "_resource_tracker", None), "_pid", None)]
    if not multiprocessing.active_children():
        # Processes that it forks are not children of this process.
        pids.append(getattr(getattr(server, "_forkserver", None), "_forkserver_pid", None))
    return [pid for pid in pids if pid is not None]


def hint(error: FifofsError, process: Process) -> None:
    """Adds advice to an error of a reader that was given no process."""
    if process is None and isinstance(error, OutputMissing) and threading.active_count() > 1:
        error.args = (f"{error}; if a thread writes it, name it: process=thread",)


def open_reader(capture: Capture, process: Process) -> _fifofs.Reader:
    """A reader of the extension, which the caller closes."""
    return capture._reader(process)  # pyright: ignore[reportPrivateUsage]


def reading(
    capture: Capture, process: Process, timeout: Optional[float]
) -> ContextManager[Tuple[_fifofs.Reader, bytes]]:
    """A reader for the whole output, and what it returned before it timed out."""
    return capture._reading(process, timeout)  # pyright: ignore[reportPrivateUsage]


def open_pipe(capture: Capture, process: Process) -> BinaryIO:
    """The output as a file; closing it before its end makes further writes fail with SIGPIPE."""
    file = capture._open("rb", process, hang_up=capture.hang_up)  # pyright: ignore[reportPrivateUsage]
    return cast("BinaryIO", file)


def capture_of(inner: _fifofs.Capture) -> Capture:
    """A capture that a mount made."""
    return Capture._of(inner)  # pyright: ignore[reportPrivateUsage]


class _Raw(io.RawIOBase):
    """A reader of the extension as an unbuffered file."""

    def __init__(
        self,
        reader: _fifofs.Reader,
        name: str,
        process: Process,
        timeout: Optional[float],
        hang_up: Optional[Callable[[], None]],
    ) -> None:
        super().__init__()
        self._reader = reader
        self._process = process
        self._timeout = timeout
        # Called if it is closed before its end.
        self._hang_up = hang_up
        self._at_end = False
        self.name = name

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        raise io.UnsupportedOperation(
            "a captured output has no descriptor: copy it, by shutil.copyfileobj(output, program.stdin)"
        )

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        try:
            data = self._reader.read(len(view), self._timeout)
        except OutputMissing as error:
            hint(error, self._process)
            raise
        self._at_end = not data and len(view) > 0
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        try:
            data = self._reader.read_all(self._timeout)
        except OutputMissing as error:
            hint(error, self._process)
            raise
        self._at_end = True
        return data

    def give_up(self) -> None:
        """Ends a read that waits in another thread."""
        self._reader.cancel()

    def close(self) -> None:
        if not self.closed:
            self._reader.close()
            if self._hang_up is not None and not self._at_end:
                # The capture may have been closed before.
                with contextlib.suppress(FifofsError):
                    self._hang_up()
            super().close()


class _File(io.BufferedReader):
    """A reader of the extension as a file."""

    def close(self) -> None:
        if not self.closed:
            # A read that waits in another thread holds the lock that `close` takes.
            cast("_Raw", self.raw).give_up()
        super().close()


class Capture(os.PathLike[str]):
    r"""A path to give to a program; what the program writes there is read here.

    To the program it is a regular file called `name` in a directory of its own: it may seek back, map it, rename over
    it. It does not exist until the program makes it, and is removed at the end of the `with`.

    >>> import subprocess
    >>> with Capture("out.tar") as c:
    ...     _ = subprocess.run(["tar", "-C", "/etc", "-cf", c, "hostname"], check=True)
    ...     data = c.read()
    >>> data[:8]
    b'hostname'

    `deliver` is how it is read: `"follow"` as it is written, `"settled"` once it is done, or `"auto"`, which chooses
    by name and content. `fail_on` selects the ends of a writer after which the output is not whole. Both are as in
    `fifofs mount`. `backend` is `"fuse"`, `"fifo"` (see `TemporaryPipe`), or `"auto"`: FUSE if this machine has it,
    else a FIFO.

    Everything is kept, so that it can be opened again, and goes to disk beyond the memory that a mount may use. For
    endless output that is read as it is written, each byte once, `keep_at_most` is the number of bytes that are kept
    after every reader has got them; a program that is further ahead is slowed down.

    A fork of this process can neither use nor end the capture; it can make its own.
    """

    def __init__(
        self,
        name: Path = "out",
        *,
        deliver: Optional[str] = None,
        fail_on: Optional[str] = None,
        keep_at_most: Optional[int] = None,
        backend: str = "fuse",
    ) -> None:
        if keep_at_most is not None:
            check_bytes("keep_at_most", keep_at_most)
        check_texts(deliver=deliver, fail_on=fail_on)
        if backend not in ("fuse", "fifo", "auto"):
            raise ValueError(f"invalid backend {backend!r}: give fuse, fifo or auto")
        options = {"deliver": deliver, "fail_on": fail_on}
        try:
            inner = _fifofs.Capture(os.fsdecode(name), backend == "fifo", options)
        except FifofsError:
            if backend != "auto":
                raise
            inner = _fifofs.Capture(os.fsdecode(name), True, options)
        if keep_at_most is not None:
            inner.keep_at_most(keep_at_most)
        self._begin(inner)

    def _begin(self, inner: _fifofs.Capture) -> None:
        self._inner = inner
        self._path = inner.path
        self._readers: List[_fifofs.Reader] = []
        self._was_read = False
        self._late: Optional[Tuple[_fifofs.Reader, bytes]] = None

    @classmethod
    def _of(cls, inner: _fifofs.Capture) -> Capture:
        capture = cls.__new__(cls)
        capture._begin(inner)
        return capture

    @property
    def path(self) -> str:
        """The path, absolute."""
        return self._path

    def __fspath__(self) -> str:
        return self._path

    def __str__(self) -> str:
        return self._path

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._path!r}>"

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} stays in its process: send another its path, by str(c) or c.path")

    def _reader(self, process: Process = None) -> _fifofs.Reader:
        if process is None:
            over = _no_child_is_left()
            reader = self._inner.reader(0) if over else self._inner.reader(None, _no_child_is_left)
        else:
            pid, until = ending(process)
            if until is not None:
                reader = self._inner.reader(None, until, True)
            else:
                # 0 means that the process before has ended.
                reader = self._inner.reader(pid)
        self._readers.append(reader)
        return reader

    def read(self, *, process: Process = None, timeout: Optional[float] = None) -> bytes:
        """Waits for the end of the output and returns all of it.

        The end is when no process has the file open for writing and `process` has ended: the program that writes, or
        whatever `Process` allows. Without `process`, it is when no child of this process is left, or, while one is,
        when the file has been closed for about a second: give the process if it has siblings, or if it closes its
        output and opens it again later.

        Raises `OutputMissing` if the process has ended, or no child is left, and there is no file (processes that
        `process` left behind have 0.2 s to make it); `WriterFailed` or `OutputRewritten` if the output is not whole;
        `TimeoutExpired` after `timeout` seconds, with what came as its `output`. After that, and only then, it may be
        read again, and returns everything until the end of the `process` that was given first.

        >>> import subprocess
        >>> with Capture() as c:
        ...     with subprocess.Popen(["sh", "-c", 'echo a > "$1"; echo b >> "$1"', "sh", c]) as p:
        ...         c.read(process=p, timeout=60)
        b'a\\nb\\n'
        >>> with Capture() as c:
        ...     c.read()
        Traceback (most recent call last):
            ...
        fifofs.OutputMissing: ...
        """
        check_loop(process)
        with self._reading(process, timeout) as (reader, before):
            return before + reader.read_all(timeout)

    @contextlib.contextmanager
    def _reading(
        self, process: Process, timeout: Optional[float]
    ) -> Generator[Tuple[_fifofs.Reader, bytes], None, None]:
        """The reader for `read`, and what it has returned before."""
        if self._was_read:
            raise Closed(
                f"{self._path} was read to its end: keep what read() gave, or make another Capture",
                filename=self._path,
            )
        # A reader that timed out continues where it was.
        reader, before = self._late or (self._reader(process), b"")
        self._late = None
        try:
            yield reader, before
        except TimeoutExpired as error:
            error.timeout, error.output = timeout, before + error.output
            self._late = reader, error.output
            raise
        except FifofsError as error:
            self._was_read, error.output = True, before + error.output
            hint(error, process)
            raise
        else:
            self._was_read = True
        finally:
            if self._late is None:
                # Unless the capture was closed meanwhile.
                if reader in self._readers:
                    self._readers.remove(reader)
                reader.close()

    @overload
    def open(
        self,
        mode: Literal["rb"] = "rb",
        *,
        process: Process = None,
        timeout: Optional[float] = None,
    ) -> BinaryIO: ...

    @overload
    def open(
        self,
        mode: Literal["r", "rt"],
        *,
        process: Process = None,
        timeout: Optional[float] = None,
        encoding: Optional[str] = None,
        errors: Optional[str] = None,
        newline: Optional[str] = None,
    ) -> TextIO: ...

    def open(
        self,
        mode: str = "rb",
        *,
        process: Process = None,
        timeout: Optional[float] = None,
        encoding: Optional[str] = None,
        errors: Optional[str] = None,
        newline: Optional[str] = None,
    ) -> IO[Any]:
        """The output as a file that is read as it is written, as far as its format allows.

        `process` is as in `read`. A read that gets nothing for `timeout` seconds raises `TimeoutExpired`; after that
        it may be tried again. The output can be opened several times, and each file gets everything (not with a
        FIFO). It cannot seek; `io.BytesIO(c.read())` can.

        >>> import subprocess
        >>> with Capture("count.txt") as c:
        ...     with subprocess.Popen(["sh", "-c", 'seq 3 > "$1"', "sh", c]) as p:
        ...         for line in c.open("r", process=p):
        ...             print(line.strip())
        1
        2
        3
        """
        if mode not in ("rb", "r", "rt"):
            raise ValueError(f"invalid mode {mode!r}: give r or rb, as it is the program that writes")
        if mode == "rb" and (encoding, errors, newline) != (None, None, None):
            raise ValueError("bytes have no encoding, errors or newline: give the mode r")
        return self._open(mode, process, timeout, encoding, errors, newline)

    def _open(
        self,
        mode: str,
        process: Process,
        timeout: Optional[float] = None,
        encoding: Optional[str] = None,
        errors: Optional[str] = None,
        newline: Optional[str] = None,
        hang_up: Optional[Callable[[], None]] = None,
    ) -> IO[Any]:
        raw = _Raw(self._reader(process), self._path, process, timeout, hang_up)
        buffered = _File(raw, _BUFFER_BYTES)
        if mode == "rb":
            return buffered
        return io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)

    def events(self) -> Events:
        """The events of the file from now on, as an iterator of `Event`.

        >>> with Capture("log.txt") as c:
        ...     events = c.events()
        ...     with open(c, "w") as f:
        ...         _ = f.write("hello")
        ...     next(events).kind
        'opened'
        """
        return Events(self._inner.events())

    def writers(self) -> Iterator[Tuple[int, str]]:
        """Process ids and names of the processes that have the file open for writing now."""
        return iter(self._inner.writers())

    def hang_up(self) -> None:
        """Ends all reading: writers get SIGPIPE, as from a pipe."""
        self._inner.hang_up()

    def cancel(self) -> None:
        """Makes all waiting reads, in any thread, raise `Cancelled`."""
        for reader in list(self._readers):
            reader.cancel()

    def close(self) -> None:
        """Removes the file; bytes that were not read are lost. `with` does it."""
        for reader in list(self._readers):
            reader.close()
        self._readers.clear()
        self._inner.close()

    def __enter__(self) -> Self:
        self._inner.check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TemporaryPipe(Capture):
    """A FIFO behind the interface of `Capture`, for places without FUSE.

    It does what a FIFO can: opening it never hangs, and it ends with the program. But a program that seeks, looks for
    a regular file, or renames over it, fails or behaves differently, and a program that is killed looks like one that
    finishes. It has one reader at a time.

    >>> import subprocess
    >>> with TemporaryPipe() as c:
    ...     with subprocess.Popen(["sh", "-c", 'echo hello > "$1"', "sh", c]) as p:
    ...         c.read(process=p)
    b'hello\\n'
    """

    def __init__(self, name: Path = "out") -> None:
        super().__init__(name, backend="fifo")
