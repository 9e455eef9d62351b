"""The exceptions of the package.

The extension raises the exceptions about reading; it finds them here by name.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class FifofsError(OSError):
    """An operation of fifofs failed; the text says what, on which path, why, and what to do.

    `errno` is the system's error number, and `filename` the path. `output` is what had been read by then, as far as
    it is known: it is not whole.
    """

    output: bytes = b""

    def __init__(
        self, message: str = "", errno: Optional[int] = None, filename: Optional[str] = None
    ) -> None:
        OSError.__init__(self, message)
        self.errno = errno
        self.filename = filename

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (str(self), self.errno, self.filename), self.__dict__


class OutputRewritten(FifofsError):
    """The program rewrote bytes that had been read already: `output` is not what the file holds."""


class WriterFailed(FifofsError):
    """A writing process was killed or failed, or bytes were lost: the output is not whole."""


class OutputMissing(FifofsError):
    """The program has ended, and there is no file at the path."""


class Cancelled(FifofsError):
    """This process ended the wait: by `cancel()`, or because the interpreter exits."""


class Closed(FifofsError, ValueError):
    """A capture, file or mount was used after its end, or in a fork of the process that made it."""


class TimeoutExpired(FifofsError, subprocess.TimeoutExpired, TimeoutError):
    """Not everything came within the timeout.

    `output` is what did come, of the first output, and `outputs` that of all by their names. If it is about a
    program, `stdout` and `stderr` are what it had written there, if that was captured. It can be caught as
    `subprocess.TimeoutExpired` and as `TimeoutError`, too.
    """

    def __init__(
        self, message: str = "", errno: Optional[int] = None, filename: Optional[str] = None
    ) -> None:
        FifofsError.__init__(self, message, errno, filename)
        self.cmd: Any = None
        self.timeout: Any = None
        self.outputs: Dict[str, bytes] = {}
        self._stdout: Any = None
        self.stderr: Any = None

    @property
    def stdout(self) -> Any:
        """What the program had written to its standard output, if that was captured."""
        return self._stdout

    @stdout.setter
    def stdout(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, value: Any
    ) -> None:
        self._stdout = value


class CalledProcessError(subprocess.CalledProcessError):
    """The program failed. In addition to the attributes of `subprocess` it has the outputs.

    `output` is the first output, `outputs` has all by their names: do not trust them, as the program failed. `stdout`
    and `stderr` are as in `subprocess`.
    """

    def __init__(
        self,
        returncode: int,
        cmd: Any,
        outputs: Mapping[str, bytes],
        stdout: Any = None,
        stderr: Any = None,
    ) -> None:
        super().__init__(returncode, cmd, None, stderr)
        self.outputs: Dict[str, bytes] = dict(outputs)
        self.output: Any = next(iter(self.outputs.values()), b"")
        self._stdout = stdout

    @property
    def stdout(self) -> Any:
        """What the program wrote to its standard output, if that was captured."""
        return self._stdout

    @stdout.setter
    def stdout(self, value: Any) -> None:
        self._stdout = value

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (self.returncode, self.cmd, self.outputs, self._stdout, self.stderr)


# Tracebacks show the public names.
for _exception in (FifofsError, *FifofsError.__subclasses__(), CalledProcessError):
    _exception.__module__ = "fifofs"
