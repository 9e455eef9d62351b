"""How long it takes until an object exists, for a program that writes as fast as the network: by position while it is
written, and through a temporary file that is uploaded afterwards."""

import os
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from . import servers

MIB = 1 << 20
SIZE_MIB = 512
RATE_MIB = 40
# The goal: the share of the time that a temporary file takes.
GOAL = 0.65

THE_OTHER = "temporary file, then `aws s3 cp`"
# How much of an output of any length is kept at once.
BOUNDED = ("--memory=64M", "--max-size=128M")

# Writes so many MiB at so many MiB a second, and patches its beginning at the end.
WRITER = """
import os, sys, time
f = open(sys.argv[1], "w+b")
size, rate = int(sys.argv[2]), int(sys.argv[3])
block, start = os.urandom(1 << 20), time.monotonic()
for number in range(size):
    f.write(block)
    time.sleep(max(0, start + (number + 1) / rate - time.monotonic()))
f.seek(0)
f.write(b"HEAD")
f.close()
"""


def compare(fifofs: Path, server: servers.Server, directory: Path, tools: Path, turns: int) -> tuple[str, bool]:
    """The table, and whether the goal was reached."""
    server.proxy.rate = RATE_MIB * MIB
    environment = servers.clean_environment(directory) | server.environment()
    url, temporary = f"s3://{servers.BUCKET}/speed", directory / "x.mp4"
    writer = [sys.executable, "-c", WRITER]
    load = [str(SIZE_MIB), str(RATE_MIB)]
    upload = ["-o", url, "--", *writer, "{out:x.mp4}", *load]
    aws = [tools / "aws/bin/aws", "s3", "cp", "--quiet", temporary, url]
    ways = {
        "`fifofs run -o s3://…`": [[fifofs, "run", *upload]],
        f"the same, `{' '.join(BOUNDED)}`": [[fifofs, "run", *BOUNDED, *upload]],
        THE_OTHER: [[*writer, temporary, *load], aws],
    }
    seen = {way: [] for way in ways}
    for turn in range(turns):
        for way, commands in ways.items():
            seen[way].append(measure(commands, environment, directory))
            check(server)
            temporary.unlink(missing_ok=True)
            print(f"turn {turn + 1}, {way}: " + "{:.1f} s, {:.0f} and {:.0f} MiB".format(*seen[way][-1]), flush=True)
    server.proxy.rate = None
    median = {way: statistics.median(seconds for seconds, *_ in rows) for way, rows in seen.items()}
    share = {way: seconds / median[THE_OTHER] for way, seconds in median.items()}
    lines = ["| | whole time | | memory | disk |", "|---|---|---|---|---|"]
    for way, rows in seen.items():
        _, memory, disk = (max(column) for column in zip(*rows))
        lines.append(f"| {way} | {median[way]:.1f} s | {share[way]:.2f} | {memory:.0f} MiB | {disk:.0f} MiB |")
    lines += ["", f"{SIZE_MIB} MiB at {RATE_MIB} MiB/s; medians of {turns}, memory and disk at most."]
    return "\n".join(lines), share[next(iter(ways))] <= GOAL


def check(server: servers.Server) -> None:
    head = server.client().head_object(Bucket=servers.BUCKET, Key="speed")
    if head["ContentLength"] != SIZE_MIB * MIB:
        sys.exit(f"stores: the object has {head['ContentLength']} bytes")
    server.delete("speed")


def measure(commands: list, environment: dict, directory: Path) -> tuple[float, float, float]:
    """Seconds, and the most MiB of memory and of disk."""
    most = {"memory": 0.0, "disk": 0.0}
    started = time.monotonic()
    for command in commands:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        over = threading.Event()
        watcher = threading.Thread(target=watch, args=(process.pid, directory, most, over))
        watcher.start()
        status = process.wait()
        over.set()
        watcher.join()
        if status:
            sys.exit(f"stores: {command[0]} ended with {status}")
    return time.monotonic() - started, most["memory"], most["disk"]


def watch(pid: int, directory: Path, most: dict, over: threading.Event) -> None:
    while not over.wait(0.1):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            if match := re.search(r"VmHWM:\s+(\d+) kB", status):
                most["memory"] = max(most["memory"], int(match[1]) / 1024)
            files = {}
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                path = f"/proc/{pid}/fd/{descriptor}"
                if os.readlink(path).startswith(str(directory)):
                    status = os.stat(path)
                    files[status.st_ino] = status.st_blocks
            files |= {path.stat().st_ino: path.stat().st_blocks for path in directory.glob("x.mp4")}
            most["disk"] = max(most["disk"], sum(files.values()) * 512 / MIB)
        except OSError:
            continue
