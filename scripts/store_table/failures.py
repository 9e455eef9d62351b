"""Failures during an upload, and what must be left in the store then."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import servers

SIZE = 24 << 20
S3 = ("s3s-fs", "moto")
LIMIT = 400  # seconds for a case; a server that is gone is asked for up to 3 minutes


@dataclass(frozen=True)
class Case:
    """A failure that happens when half of the output is written and a part has been sent."""

    # The status, the content of the store, and a part of the message.
    status: int
    published: str
    says: str = ""
    # What the program does, and what happens meanwhile.
    how: str = "well"
    act: str = "nothing"
    options: tuple[str, ...] = ()
    size: int = SIZE
    # The servers that it can be tried with, if not all.
    servers: tuple[str, ...] | None = None
    # Different with moto, which keeps nothing when it is killed, and accepts any secret.
    moto: tuple[int, str, str] | None = None
    # Different with azurite, whose entity tags do not depend on the content.
    azurite: tuple[int, str, str] | None = None
    # Whether an unfinished upload is left: the server is not there to remove it.
    left: bool = False


CASES = {
    "all is well": Case(0, "whole"),
    "exit 3": Case(3, "nothing", "is left as it was", how="exit 3"),
    "SIGKILL of the program at 50 %": Case(137, "nothing", "is left as it was", how="SIGKILL"),
    "an object was there, exit 3": Case(3, "as it was", "is left as it was", how="exit 3", act="put before"),
    "TERM of fifofs": Case(143, "nothing", "is left as it was", how="wait", act="TERM"),
    "TERM of fifofs, which the program ignores": Case(3, "nothing", "is left as it was", how="exit 3", act="TERM, ignored"),
    "INT of fifofs": Case(130, "nothing", "is left as it was", how="wait", act="INT"),
    "HUP of fifofs": Case(129, "nothing", "is left as it was", how="wait", act="HUP"),
    # (More than the bytes in flight in the kernel, which are accepted all the same.)
    "disk full": Case(1, "nothing", "is left as it was", options=("--max-size", "4M"), size=SIZE * 6),
    "larger than --max-size, its beginning patched": Case(0, "whole", options=("--max-size", "64M"), size=SIZE * 6),
    # (The program gets an error, and fails.)
    "patched where it is not kept any more": Case(
        1, "nothing", "--max-size", options=("--max-size", "64M"), size=SIZE * 6, how="patch early"
    ),
    "cut off where it is not kept any more": Case(
        74, "nothing", "--max-size", options=("--max-size", "64M"), size=SIZE * 6, how="cut early"
    ),
    "no output": Case(74, "nothing", "", how="missing"),
    "TERM of fifofs while the object is completed": Case(143, "whole", "too late to take it back", act="TERM at completion"),
    "completed, and the answer is lost": Case(
        0, "whole", act="lost answer", azurite=(74, "whole", "not known")
    ),
    "SIGKILL of fifofs, then `fifofs doctor --remove`": Case(137, "nothing", act="SIGKILL of fifofs", how="wait", servers=S3),
    "server killed, and back": Case(0, "whole", act="restart", moto=(74, "nothing", "cannot write to"), servers=S3),
    "server killed for good": Case(74, "nothing", "cannot be reached", act="kill", left=True),
    "each third request is answered 503": Case(0, "whole", act="503 now and then"),
    "every part is answered 503": Case(74, "nothing", "fewer requests", act="503 always"),
    "the credentials expire": Case(74, "nothing", "have expired", act="expire", servers=S3),
    "no permission": Case(74, "nothing", "do not permit", act="deny"),
    "no such bucket": Case(74, "nothing", "there is no bucket", act="other bucket"),
    "wrong secret": Case(74, "nothing", "does not accept the credentials", act="wrong secret", moto=(0, "whole", ""), servers=(*S3, "azurite (az)")),
    "no server": Case(74, "nothing", "cannot be reached", act="other server"),
}  # fmt: skip
SHORT = ["all is well", "exit 3", "SIGKILL of the program at 50 %", "TERM of fifofs", "no such bucket"]

# Writes half, waits for the flag, and ends as HOW says.
WRITER = """
import os, signal, sys, time
path, size, how, flags, ignores = sys.argv[1:]
size = int(size)
if ignores == "ignores":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if how != "missing":
    f = open(path, "w+b")
    f.write(b"\\0" * 16 + os.urandom(0) + b"x" * (size // 2 - 16))
    f.flush()
open(flags + "/half", "w")
while not os.path.exists(flags + "/go"):
    time.sleep(0.02)
if how == "exit 3":
    os._exit(3)
if how == "SIGKILL":
    os.kill(os.getpid(), signal.SIGKILL)
if how != "missing":
    f.write(b"y" * (size - size // 2))
    if how == "patch early":
        f.seek(20 << 20)
        f.write(b"late")
    if how == "cut early":
        f.truncate(20 << 20)
    f.seek(0)
    f.write(b"HEAD")
    f.close()
"""


def content(size: int) -> bytes:
    return b"HEAD" + b"\0" * 12 + b"x" * (size // 2 - 16) + b"y" * (size - size // 2)


def run(fifofs: Path, server: servers.Server, name: str, directory: Path, key: str) -> str:
    """The result of a case; equal to the expected one if all is well."""
    case = CASES[name]
    flags = directory / f"flags-{server.name}-{key}"
    flags.mkdir()
    bucket = "no-such-bucket" if case.act == "other bucket" else servers.BUCKET
    port = 1 if case.act == "other server" else None
    secret = "d3Jvbmc=" if case.act == "wrong secret" else None
    # Records of unfinished uploads are in HOME: each case has its own.
    environment = servers.clean_environment(directory) | {"HOME": str(flags)} | server.environment(port, secret)
    if case.act == "put before":
        server.put(key, b"before")
    if case.act == "deny":
        server.proxy.fault = lambda method, path: servers.DENIED if method in ("PUT", "POST") else None
    ignores = "ignores" if case.act == "TERM, ignored" else "no"
    command = [
        fifofs, "run", *case.options, "-o", server.url(key, bucket), "--", sys.executable, "-c", WRITER, "{out:x.mp4}",
        str(case.size), case.how, flags, ignores,
    ]  # fmt: skip
    parts = server.proxy.parts
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        waits = case.act not in ("deny", "other bucket", "wrong secret", "other server") and case.how != "missing"
        deadline = time.monotonic() + 60
        while waits and process.poll() is None and server.proxy.parts == parts and time.monotonic() < deadline:
            time.sleep(0.02)
        act(case.act, server, process)
        (flags / "go").touch()
        if case.act == "restart":
            time.sleep(3)
            server.start()
            if not server.remembers:
                server.make_bucket()
        _, said = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return "HANGS"
    finally:
        server.proxy.fault = server.proxy.answered = None
        if process.poll() is None:
            process.kill()
            process.wait()
    if case.act == "kill":
        server.start()
        if not server.remembers:
            server.make_bucket()
    said = said.decode(errors="replace")
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    seen = ""
    if case.act == "SIGKILL of fifofs":
        seen = doctor(fifofs, server, environment)
    left = server.unfinished()
    server.forget()
    expected = expect(case, server)
    seen = f"{status}, {published(server, key, case.size)}{seen}"
    if left:
        seen += f", {len(left)} LEFT"
    if expected[2] not in said:
        seen += ", NOT SAID"
    if seen != f"{expected[0]}, {expected[1]}" or os.environ.get("STORES_VERBOSE"):
        print(said, file=sys.stderr)
    if case.left and server.remembers and left and "an unfinished upload is left in the store" in said:
        # Nothing can be removed from a server that is gone.
        seen = seen.replace(f", {len(left)} LEFT", "")
    server.delete(key)
    return seen


def expect(case: Case, server: servers.Server) -> tuple[int, str, str]:
    if case.moto and isinstance(server, servers.Moto):
        return case.moto
    if case.azurite and isinstance(server, servers.Azurite):
        return case.azurite
    return case.status, case.published, case.says


def act(what: str, server: servers.Server, process: subprocess.Popen) -> None:
    signals = {"TERM": signal.SIGTERM, "TERM, ignored": signal.SIGTERM, "INT": signal.SIGINT, "HUP": signal.SIGHUP}
    if what in signals:
        process.send_signal(signals[what])
    elif what in ("restart", "kill"):
        server.kill()
    elif what == "SIGKILL of fifofs":
        process.kill()
    elif what == "lost answer":
        lost = []

        def lose_one(method, path):
            if not servers.is_completion(method, path) or lost:
                return True
            return lost.append(path)

        server.proxy.answered = lose_one
    elif what == "TERM at completion":

        def terminate(method, path):
            if servers.is_completion(method, path):
                process.send_signal(signal.SIGTERM)
                time.sleep(2)
            return True

        server.proxy.answered = terminate
    elif what == "503 now and then":
        server.proxy.fault = lambda method, path: servers.BUSY if server.proxy.requests % 3 == 0 else None
    elif what == "503 always":
        server.proxy.fault = lambda method, path: servers.BUSY if servers.is_part(method, path) else None
    elif what == "expire":
        server.proxy.fault = lambda method, path: servers.EXPIRED if servers.is_part(method, path) else None


def doctor(fifofs: Path, server: servers.Server, environment: dict) -> str:
    """What is wrong with its report of the upload that is left, if anything is."""
    bucket = server.url("").rstrip("/")
    ids = len(server.uploads())
    for arguments, expected in (([], "unfinished: upload"), (["--remove"], "removed: upload"), ([], "no upload to")):
        command = [fifofs, "doctor", *arguments, bucket]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
        if ran.returncode or not ran.stdout.startswith(expected):
            return f", doctor {arguments} ends with {ran.returncode}: {ran.stdout}{ran.stderr}"
    return "" if ids else ", there was no upload to remove"


def published(server: servers.Server, key: str, size: int) -> str:
    got = server.content(key)
    if got is None:
        return "nothing"
    if got == content(size):
        return "whole"
    return "as it was" if got == b"before" else f"WRONG ({len(got)} bytes)"
