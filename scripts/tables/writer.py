"""A program whose output is captured: writer.py PATH DATA HOW FLAGS writes DATA to PATH, half of it first; then it
raises the flag `half`, waits for the flag `go`, and ends as HOW says."""

import os
import signal
import sys
import time
from pathlib import Path

CHANGE = b"-- changed"


def main() -> None:
    path, data, how, flags = sys.argv[1:]
    content, flags = Path(data).read_bytes(), Path(flags)
    if how == "missing":
        return
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    if how == "empty":
        return
    half = len(content) // 2
    write(output, content[:half])
    (flags / "half").touch()
    while not (flags / "go").exists():
        time.sleep(0.02)
    if how == "exit 3":
        sys.exit(3)
    if how == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    write(output, content[half:])
    if how == "rewritten":
        os.pwrite(output, CHANGE, 0)


def write(output: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        try:
            view = view[os.write(output, view) :]
        except BrokenPipeError:
            # As if the signal had killed the program.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGPIPE)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()
