"""Runs programs whose outputs are captured."""

from __future__ import annotations

import copy
import os
import subprocess
import threading
import time
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Dict, Iterable, List, Optional, Tuple, Union

from . import _fifofs
from ._arguments import Path, Process
from ._capture import Capture, open_pipe, open_reader
from ._errors import CalledProcessError, FifofsError, OutputMissing, TimeoutExpired, WriterFailed

if TYPE_CHECKING:
    from collections.abc import Mapping


# How long the pipes of a killed program are still read: other processes may have them open for ever.
LAST_SECONDS = 0.2


class OUT:
    """An output in the arguments of `run` and `Popen`: becomes the path of a `Capture`.

    `name` is the file's; its extension matters, to the program and to fifofs. `deliver`, `fail_on` and `keep_at_most`
    are those of `Capture`. Text before or after it in the same argument is added:

    >>> run(["dd", "if=/dev/zero", "of=" + OUT("x.img"), "count=1", "status=none"]).output == bytes(512)
    True
    """

    __slots__ = ("name", "deliver", "fail_on", "keep_at_most", "_prefix", "_suffix", "_identity")

    def __init__(
        self,
        name: Path = "out",
        *,
        deliver: Optional[str] = None,
        fail_on: Optional[str] = None,
        keep_at_most: Optional[int] = None,
    ) -> None:
        self.name = os.fsdecode(name)
        self.deliver = deliver
        self.fail_on = fail_on
        self.keep_at_most = keep_at_most
        self._prefix = ""
        self._suffix = ""
        # The same for all objects made from it by adding text.
        self._identity = object()

    def _with(self, prefix: str, suffix: str) -> OUT:
        made = copy.copy(self)
        made._prefix, made._suffix = prefix + self._prefix, self._suffix + suffix
        return made

    def __radd__(self, prefix: str) -> OUT:
        return self._with(prefix, "")

    def __add__(self, suffix: str) -> OUT:
        return self._with("", suffix)

    def __repr__(self) -> str:
        return f"OUT({self.name!r})"

    def __str__(self) -> str:
        # Otherwise the program would make a file with a strange name somewhere.
        raise TypeError(f"an OUT has no text yet: write 'of=' + {self!r}, and no f-string or %s")

    def __format__(self, spec: str) -> str:
        return str(self)

    def is_same(self, other: OUT) -> bool:
        """Whether both are the same output."""
        return self._identity is other._identity

    def argument(self, path: str) -> str:
        """The argument with this path in its place."""
        return self._prefix + path + self._suffix


Argument = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]", OUT]
"""One argument of a program."""


def _listed(args: Iterable[Argument]) -> List[Argument]:
    if isinstance(args, (str, bytes)) or not hasattr(args, "__iter__"):
        raise TypeError("give the program and its arguments as a list, such as ['zip', OUT('x.zip'), 'docs']")
    return list(args)


def _outs(args: List[Argument]) -> List[OUT]:
    """The outputs among the arguments, each once."""
    outs = [argument for argument in args if isinstance(argument, OUT)]
    if not outs:
        raise ValueError(
            "no argument is an output: put OUT('name') in the place of the path that the program is to write"
        )
    by_name: Dict[str, OUT] = {}
    for out in outs:
        if not by_name.setdefault(out.name, out).is_same(out):
            raise ValueError(
                f"two outputs have the name {out.name!r}: give each its own, or for one output the same OUT twice"
            )
    return list(by_name.values())


def check_keywords(keywords: Mapping[str, Any]) -> None:
    """Raises an exception unless these make sense for a program with outputs."""
    if keywords.get("shell"):
        raise ValueError(
            "shell=True takes no list: give ['sh', '-c', 'zip \"$1\" docs', 'sh', OUT('x.zip')]"
        )


def with_pipes(keywords: Mapping[str, Any], input: Any, capture_output: bool) -> Dict[str, Any]:
    """The keywords for a program with `input`, and with captured standard output and error."""
    check_keywords(keywords)
    pipes: Dict[str, Any] = {}
    if input is not None:
        if keywords.get("stdin") is not None:
            raise ValueError("give stdin or input, not both")
        pipes["stdin"] = subprocess.PIPE
    if capture_output:
        if keywords.get("stdout") is not None or keywords.get("stderr") is not None:
            raise ValueError("give capture_output, or stdout and stderr, not both")
        pipes["stdout"] = pipes["stderr"] = subprocess.PIPE
    return {**keywords, **pipes}


class Drain:
    """Reads one output to its end, in a thread of its own or in the one that asks for it."""

    def __init__(self, reader: _fifofs.Reader) -> None:
        self.reader = reader
        self.data = b""
        self.error: Optional[BaseException] = None
        self._thread: Optional[threading.Thread] = None

    def start(self) -> None:
        """Reads in a thread of its own."""
        self._thread = threading.Thread(target=self._read, name="fifofs-drain", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            self.read()
        except BaseException as error:
            # Without memory an output must not pass for an empty one.
            self.error = error

    def read(self, timeout: Optional[float] = None) -> None:
        """Reads to the end, in this thread."""
        try:
            self.data = self.reader.read_all(timeout)
        except FifofsError as error:
            self.error, self.data = error, error.output

    def join(self, timeout: Optional[float]) -> bool:
        """Whether it has ended within the timeout."""
        if self._thread is None:
            self.read(timeout)
            return not isinstance(self.error, TimeoutExpired)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def give_up(self) -> None:
        """Stops reading."""
        self.reader.cancel()
        if self._thread is not None:
            self._thread.join()


class Outputs:
    """The captures of one program, by name."""

    def __init__(self, args: Iterable[Argument], backend: str) -> None:
        self.captures: Dict[str, Capture] = {}
        arguments = _listed(args)
        try:
            for out in _outs(arguments):
                self.captures[out.name] = Capture(
                    out.name,
                    deliver=out.deliver,
                    fail_on=out.fail_on,
                    keep_at_most=out.keep_at_most,
                    backend=backend,
                )
        except BaseException:
            self.close()
            raise
        self.args: List[Any] = [
            argument.argument(self.captures[argument.name].path)
            if isinstance(argument, OUT)
            else argument
            for argument in arguments
        ]

    def drains(self, process: Process) -> Dict[str, Drain]:
        """Readers of each output until the process has ended."""
        return {
            name: Drain(open_reader(capture, process)) for name, capture in self.captures.items()
        }

    def hang_up(self) -> None:
        """Ends the reading of all outputs."""
        for capture in self.captures.values():
            capture.hang_up()

    def close(self) -> None:
        """Removes all outputs."""
        for capture in self.captures.values():
            capture.close()


class Popen(subprocess.Popen[Any]):
    r"""`subprocess.Popen` of a program whose outputs, `OUT` in its arguments, are read as they are written.

    `output` is the first output as a binary file, `outputs` has all by their names; see `Capture.open`. They end with
    the program. The other arguments are those of `subprocess.Popen`, and `backend` is that of `Capture`.

    If the `with` ends before an output was read to its end, the program gets SIGPIPE, as from a pipe, and is waited
    for; then its outputs are gone.

    >>> with Popen(["sh", "-c", 'seq 1000000 > "$1"', "sh", OUT("numbers.txt")]) as p:
    ...     p.output.readline()
    b'1\n'
    """

    def __init__(self, args: Iterable[Argument], *, backend: str = "fuse", **keywords: Any) -> None:
        check_keywords(keywords)
        self._outputs = Outputs(args, backend)
        self.outputs: Dict[str, BinaryIO] = {}
        try:
            super().__init__(self._outputs.args, **keywords)
        except BaseException:
            self._outputs.close()
            raise
        try:
            for name, capture in self._outputs.captures.items():
                self.outputs[name] = open_pipe(capture, self)
        except BaseException:
            self.kill()
            self.wait()
            self._outputs.close()
            raise

    @property
    def output(self) -> BinaryIO:
        """The first output."""
        return next(iter(self.outputs.values()))

    def close_outputs(self) -> None:
        """Makes the program get SIGPIPE for outputs that were not read to their end."""
        for output in self.outputs.values():
            output.close()

    def __exit__(self, *details: Any) -> None:
        try:
            self.close_outputs()
            super().__exit__(*details)
        finally:
            self._outputs.close()


class CompletedProcess(subprocess.CompletedProcess[Any]):
    """A program that has ended. In addition to the attributes of `subprocess`, `outputs` has the outputs by name.

    If `returncode` is not 0, the outputs may be anything, or empty.
    """

    def __init__(
        self, args: Any, returncode: int, outputs: Mapping[str, bytes], stdout: Any, stderr: Any
    ) -> None:
        super().__init__(args, returncode, stdout, stderr)
        self.outputs: Dict[str, bytes] = dict(outputs)

    @property
    def output(self) -> bytes:
        """The contents of the first output."""
        return next(iter(self.outputs.values()))

    def check_returncode(self) -> None:
        """Raises `CalledProcessError` if the program failed."""
        if self.returncode:
            raise CalledProcessError(
                self.returncode, self.args, self.outputs, self.stdout, self.stderr
            )


def run(
    args: Iterable[Argument],
    *,
    check: bool = False,
    timeout: Optional[float] = None,
    input: Any = None,
    capture_output: bool = False,
    backend: str = "fuse",
    **keywords: Any,
) -> CompletedProcess:
    r"""`subprocess.run` of a program whose outputs, `OUT` in its arguments, are captured.

    If the program succeeds, the outputs are whole, or this raises `OutputRewritten`, `WriterFailed` or
    `OutputMissing`. If it fails, `returncode` says so, or, with `check`, a `CalledProcessError`.

    After `timeout` seconds the program is killed, processes that still write its outputs get SIGPIPE, and
    `TimeoutExpired` has what came. The other arguments are those of `subprocess.run`, and `backend` is that of
    `Capture`.

    >>> done = run(["sh", "-c", 'echo hello > "$1"; echo well', "sh", OUT("x.txt")], capture_output=True)
    >>> done.output, done.stdout
    (b'hello\n', b'well\n')
    >>> run(["sh", "-c", "exit 3", "sh", OUT()], check=True)
    Traceback (most recent call last):
        ...
    fifofs.CalledProcessError: Command ... returned non-zero exit status 3.
    """
    keywords = with_pipes(keywords, input, capture_output)
    deadline = None if timeout is None else time.monotonic() + timeout
    outputs = Outputs(args, backend)
    try:
        process: subprocess.Popen[Any] = subprocess.Popen(outputs.args, **keywords)
        try:
            return _finish(process, outputs, input, check, timeout, deadline)
        except BaseException:
            process.kill()
            # Processes that still write must see that nothing reads.
            outputs.hang_up()
            process.wait()
            raise
        finally:
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None and not stream.closed:
                    _close(stream)
    finally:
        outputs.close()


def _close(stream: IO[Any]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        pass


def _left(deadline: Optional[float]) -> Optional[float]:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _finish(
    process: subprocess.Popen[Any],
    outputs: Outputs,
    input: Any,
    check: bool,
    timeout: Optional[float],
    deadline: Optional[float],
) -> CompletedProcess:
    drains = outputs.drains(process)
    has_pipes = any(stream is not None for stream in (process.stdin, process.stdout, process.stderr))
    stdout = stderr = None
    try:
        # The program may wait until any one of several is read.
        if has_pipes or len(drains) > 1:
            for drain in drains.values():
                drain.start()
        if has_pipes:
            stdout, stderr = process.communicate(input, _left(deadline))
        if not all([drain.join(_left(deadline)) for drain in drains.values()]):
            raise subprocess.TimeoutExpired(process.args, timeout or 0)
        process.wait(_left(deadline))
    except subprocess.TimeoutExpired as error:
        process.kill()
        stdout, stderr = _rest(process, error)
        outputs.hang_up()
        for drain in drains.values():
            drain.give_up()
        raise expired(process.args, drains, timeout, (stdout, stderr)) from None
    finally:
        for drain in drains.values():
            drain.give_up()
    return completed(process.args, process.returncode, drains, check, (stdout, stderr))


def _rest(process: subprocess.Popen[Any], error: subprocess.TimeoutExpired) -> Tuple[Any, Any]:
    """What a killed program had written to its pipes; other processes may have them open still."""
    if process.stdout is None and process.stderr is None:
        process.wait()
        return None, None
    try:
        return process.communicate(timeout=LAST_SECONDS)
    except subprocess.TimeoutExpired as later:
        process.wait()
        return later.stdout or error.stdout, later.stderr or error.stderr


def expired(
    args: Any,
    drains: Mapping[str, Drain],
    timeout: Optional[float],
    streams: Tuple[Any, Any],
) -> TimeoutExpired:
    """The exception for a killed program, with what came."""
    error = TimeoutExpired(f"{args!r} was killed after {timeout} seconds")
    error.cmd, error.timeout = args, timeout
    error.outputs = {name: drain.data for name, drain in drains.items()}
    error.output = next(iter(error.outputs.values()))
    error.stdout, error.stderr = streams
    return error


def completed(
    args: Any,
    returncode: int,
    drains: Mapping[str, Drain],
    check: bool,
    streams: Tuple[Any, Any],
) -> CompletedProcess:
    # If the program failed, its status says so.
    excused = (WriterFailed, OutputMissing) if returncode else ()
    outputs = {name: drain.data for name, drain in drains.items()}
    done = CompletedProcess(args, returncode, outputs, *streams)
    for drain in drains.values():
        if drain.error is not None and not isinstance(drain.error, excused):
            raise drain.error
    if check:
        done.check_returncode()
    return done
