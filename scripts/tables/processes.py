"""Processes that never outlive their purpose.

Each is the leader of a session of its own. Each wait has a limit; at the end of a `Processes` block the remaining
ones are killed, with all their descendants.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

# How long a killed process may take to be gone. If it hangs in a mount, it ends with that.
KILLED_LIMIT_S = 5


@dataclass(frozen=True)
class Ended:
    """How a process ended; `status` is None if it had to be killed."""

    status: int | None
    message: str

    @property
    def well(self) -> bool:
        return self.status == 0

    @property
    def hung(self) -> bool:
        return self.status is None


class Processes:
    """Processes in one environment and working directory, with their standard errors in files in `logs`."""

    def __init__(self, environment: dict[str, str], working_directory: Path, logs: Path) -> None:
        self.environment = environment
        self.working_directory = working_directory
        self.logs = logs
        self.started: list[tuple[subprocess.Popen, Path]] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_) -> None:
        for process, _ in self.started:
            kill(process)

    def start(self, arguments: list, stdin=subprocess.DEVNULL, stdout=None, pass_fds=()) -> subprocess.Popen:
        """Starts one; its standard output goes to its log unless `stdout` says otherwise."""
        log = self.logs / f"{len(self.started)}.log"
        with open(log, "wb") as file:
            process = subprocess.Popen(
                arguments, stdin=stdin, stdout=stdout or file, stderr=file, env=self.environment,
                cwd=self.working_directory, pass_fds=pass_fds, start_new_session=True,
            )  # fmt: skip
        self.started.append((process, log))
        return process

    def finish(self, process: subprocess.Popen, seconds: float) -> Ended:
        """Waits until it ends, or kills it after so long."""
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        kill(process)
        log = next(log for started, log in self.started if started is process)
        return Ended(status, log.read_text(errors="replace").strip()[-600:])


def kill(process: subprocess.Popen) -> None:
    """Kills the rest of a process's session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    try:
        process.wait(KILLED_LIMIT_S)
    except subprocess.TimeoutExpired:
        pass


def wait_until(condition, seconds: float) -> bool:
    """Waits until `condition()` holds, and returns whether it ever did."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
