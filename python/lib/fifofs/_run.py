"""Running programs whose outputs are captured."""

from __future__ import annotations

import copy
import os
import subprocess
import threading
import time
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Dict, List, Optional, Sequence, Tuple, Union, cast

from . import _fifofs
from ._capture import Capture, Process, open_reader
from ._errors import CalledProcessError, FifofsError, OutputMissing, TimeoutExpired, WriterFailed

if TYPE_CHECKING:
    from collections.abc import Mapping


class OUT:
    """Stands for an output in the arguments of `run` and `Popen`: becomes the path of a `Capture`.

    `name` is the file's; its extension counts, for the program and for fifofs. `deliver`, `fail_on` and
    `keep_at_most` are those of `Capture`. What stands before or after it in the same argument is added:

    >>> run(["dd", "if=/dev/zero", "of=" + OUT("x.img"), "count=1", "status=none"]).output == bytes(512)
    True
    """

    __slots__ = ("name", "deliver", "fail_on", "keep_at_most", "_prefix", "_suffix")

    def __init__(
        self,
        name: str = "out",
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

    def __format__(self, spec: str) -> str:
        raise TypeError(f"an OUT has no text yet: write 'of=' + {self!r}, and no f-string")

    def argument(self, path: str) -> str:
        """The argument that it stands for."""
        return self._prefix + path + self._suffix


Argument = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]", OUT]
"""One argument of a program."""


def _outs(args: Sequence[Argument]) -> List[OUT]:
    if isinstance(args, (str, bytes)) or not hasattr(args, "__iter__"):
        raise TypeError("give the program and its arguments as a list, such as ['zip', OUT('x.zip'), 'docs']")
    outs = [argument for argument in args if isinstance(argument, OUT)]
    if not outs:
        raise ValueError(
            "no argument is an output: put OUT('name') in the place of the path that the program is to write"
        )
    names = [out.name for out in outs]
    if len(set(names)) < len(names):
        raise ValueError(f"two outputs have the same name: give each its own, not {names}")
    return outs


def check_keywords(keywords: Mapping[str, Any]) -> None:
    if keywords.get("shell"):
        raise ValueError(
            "shell=True takes no list: give ['sh', '-c', 'zip \"$1\" docs', 'sh', OUT('x.zip')]"
        )


class Drain:
    """Reads one output to its end, in a thread of its own or in the one that asks for it."""

    def __init__(self, reader: _fifofs.Reader) -> None:
        self.reader = reader
        self.data = b""
        self.error: Optional[FifofsError] = None
        self._thread: Optional[threading.Thread] = None

    def start(self) -> None:
        """Reads in a thread of its own."""
        self._thread = threading.Thread(target=self.read, name="fifofs-drain", daemon=True)
        self._thread.start()

    def read(self, timeout: Optional[float] = None) -> None:
        """Reads to the end, here."""
        try:
            self.data = self.reader.read_all(timeout)
        except FifofsError as error:
            self.error, self.data = error, error.output

    def join(self, timeout: Optional[float]) -> bool:
        """Whether it has ended by then."""
        if self._thread is None:
            self.read(timeout)
            return not isinstance(self.error, TimeoutExpired)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def give_up(self) -> None:
        """Reads no more."""
        self.reader.cancel()
        if self._thread is not None:
            self._thread.join()


class Outputs:
    """The captures of one program, by name."""

    def __init__(self, args: Sequence[Argument], backend: str) -> None:
        self.captures: Dict[str, Capture] = {}
        try:
            for out in _outs(args):
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
            for argument in args
        ]

    def drains(self, process: Process) -> Dict[str, Drain]:
        """What reads each until the process has ended."""
        return {
            name: Drain(open_reader(capture, process)) for name, capture in self.captures.items()
        }

    def close(self) -> None:
        """Removes them."""
        for capture in self.captures.values():
            capture.close()


class Popen(subprocess.Popen[Any]):
    r"""`subprocess.Popen` of a program whose outputs, `OUT` in its arguments, are read as they are written.

    `output` is the first output as a binary file, `outputs` has all by their names; see `Capture.open`. They
    end with the program. The other arguments are those of `subprocess.Popen`, and `backend` as in `Capture`.

    Leaving the `with` before an output was read to its end gives the program SIGPIPE, as from a pipe, and
    waits for the program; then its outputs are gone.

    >>> with Popen(["sh", "-c", 'seq 1000000 > "$1"', "sh", OUT("numbers.txt")]) as p:
    ...     p.output.readline()
    b'1\n'
    """

    def __init__(self, args: Sequence[Argument], *, backend: str = "fuse", **keywords: Any) -> None:
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
                self.outputs[name] = capture.open(process=self)
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
        """Has the program get SIGPIPE for what was not read to its end."""
        for name, output in self.outputs.items():
            raw = cast("Any", output).raw if not output.closed else None
            if raw is not None and not raw.at_end:
                self._outputs.captures[name].hang_up()
            output.close()

    def __exit__(self, *details: Any) -> None:
        try:
            self.close_outputs()
            super().__exit__(*details)
        finally:
            self._outputs.close()


class CompletedProcess(subprocess.CompletedProcess[Any]):
    """A program that has ended. Beside what `subprocess` has, `outputs` has what it left, by name.

    If `returncode` is not 0, what it left may be anything, or nothing.
    """

    def __init__(
        self, args: Any, returncode: int, outputs: Mapping[str, bytes], stdout: Any, stderr: Any
    ) -> None:
        super().__init__(args, returncode, stdout, stderr)
        self.outputs: Dict[str, bytes] = dict(outputs)

    @property
    def output(self) -> bytes:
        """What the first output holds."""
        return next(iter(self.outputs.values()))

    def check_returncode(self) -> None:
        """Raises `CalledProcessError` if the program failed."""
        if self.returncode:
            raise CalledProcessError(
                self.returncode, self.args, self.outputs, self.stdout, self.stderr
            )


def run(
    args: Sequence[Argument],
    *,
    check: bool = False,
    timeout: Optional[float] = None,
    input: Any = None,
    capture_output: bool = False,
    backend: str = "fuse",
    **keywords: Any,
) -> CompletedProcess:
    r"""`subprocess.run` of a program whose outputs, `OUT` in its arguments, are captured.

    If the program succeeds, what it left is whole, or this raises `OutputRewritten`, `WriterFailed` or
    `OutputMissing`. If it fails, that is in `returncode`, or, with `check`, a `CalledProcessError`.

    After `timeout` seconds the program is killed, those who still write its outputs get SIGPIPE, and
    `TimeoutExpired` has what came. The other arguments are those of `subprocess.run`, and `backend` as in
    `Capture`.

    >>> done = run(["sh", "-c", 'echo hello > "$1"; echo well', "sh", OUT("x.txt")], capture_output=True)
    >>> done.output, done.stdout
    (b'hello\n', b'well\n')
    >>> run(["sh", "-c", "exit 3", "sh", OUT()], check=True)
    Traceback (most recent call last):
        ...
    fifofs.CalledProcessError: Command ... returned non-zero exit status 3.
    """
    check_keywords(keywords)
    if input is not None:
        if keywords.get("stdin") is not None:
            raise ValueError("give stdin or input, not both")
        keywords["stdin"] = subprocess.PIPE
    if capture_output:
        if keywords.get("stdout") is not None or keywords.get("stderr") is not None:
            raise ValueError("give capture_output, or stdout and stderr, not both")
        keywords["stdout"] = keywords["stderr"] = subprocess.PIPE
    deadline = None if timeout is None else time.monotonic() + timeout
    outputs = Outputs(args, backend)
    try:
        process: subprocess.Popen[Any] = subprocess.Popen(outputs.args, **keywords)
        try:
            return _finish(process, outputs, input, check, timeout, deadline)
        except BaseException:
            process.kill()
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
        # The program may wait for any one of several to be read.
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
        for name, drain in drains.items():
            outputs.captures[name].hang_up()
            drain.give_up()
        raise expired(process.args, drains, timeout, (stdout, stderr)) from None
    finally:
        for drain in drains.values():
            drain.give_up()
    return completed(process.args, process.returncode, drains, check, (stdout, stderr))


def _rest(process: subprocess.Popen[Any], error: subprocess.TimeoutExpired) -> Tuple[Any, Any]:
    """What a program that is killed had written to its pipes; others may have them open still."""
    if process.stdout is None and process.stderr is None:
        process.wait()
        return None, None
    try:
        return process.communicate(timeout=0.2)
    except subprocess.TimeoutExpired as later:
        process.wait()
        return later.stdout or error.stdout, later.stderr or error.stderr


def expired(
    args: Any,
    drains: Mapping[str, Drain],
    timeout: Optional[float],
    streams: Tuple[Any, Any],
) -> TimeoutExpired:
    """That a program was killed, with what came."""
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
    # Of a program that failed, its status says so.
    excused = (WriterFailed, OutputMissing) if returncode else ()
    outputs = {name: drain.data for name, drain in drains.items()}
    done = CompletedProcess(args, returncode, outputs, *streams)
    for drain in drains.values():
        if drain.error is not None and not isinstance(drain.error, excused):
            raise drain.error
    if check:
        done.check_returncode()
    return done
