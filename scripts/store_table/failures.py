"""What can go wrong with an upload, and what must be left in the store then."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import servers

SIZE = 24 << 20
LIMIT = 400  # seconds for a case; a server that is gone is asked for up to 3 minutes


@dataclass(frozen=True)
class Case:
    """Something that happens when half of the output is written and a part has been sent."""

    # The status, what is in the store, and what is said.
    status: int
    published: str
    says: str = ""
    # What the program does, and what is done meanwhile.
    how: str = "well"
    act: str = "nothing"
    options: tuple[str, ...] = ()
    # Of moto, which keeps nothing when it is killed, and takes any secret.
    moto: tuple[int, str, str] | None = None
    # Unfinished uploads that are left: the server is not there to remove them.
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
    "disk full": Case(1, "nothing", "is left as it was", options=("--max-size", "16M")),
    "no output": Case(74, "nothing", "", how="missing"),
    "server killed, and back": Case(0, "whole", act="restart", moto=(74, "nothing", "cannot write to")),
    "server killed for good": Case(74, "nothing", "cannot be reached", act="kill", left=True, moto=(74, "nothing", "cannot be reached")),
    "each third request is answered 503": Case(0, "whole", act="503 now and then"),
    "every part is answered 503": Case(74, "nothing", "fewer requests", act="503 always"),
    "the credentials expire": Case(74, "nothing", "have expired", act="expire"),
    "no permission": Case(74, "nothing", "do not permit", act="deny"),
    "no such bucket": Case(74, "nothing", "there is no bucket", act="other bucket"),
    "wrong secret": Case(74, "nothing", "does not accept the credentials", act="wrong secret", moto=(0, "whole", "")),
    "no server": Case(74, "nothing", "cannot be reached", act="other server"),
}  # fmt: skip
SHORT = ["all is well", "exit 3", "SIGKILL of the program at 50 %", "TERM of fifofs", "no such bucket"]

# writes half, waits for the flag, and ends as it is told.
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
    f.seek(0)
    f.write(b"HEAD")
    f.close()
"""
CONTENT = b"HEAD" + b"\0" * 12 + b"x" * (SIZE // 2 - 16) + b"y" * (SIZE - SIZE // 2)


def run(fifofs: Path, server: servers.Server, name: str, directory: Path, key: str) -> str:
    """What was seen of a case; the same as what is expected if all is well."""
    case = CASES[name]
    flags = directory / f"flags-{server.name}-{key}"
    flags.mkdir()
    bucket = "no-such-bucket" if case.act == "other bucket" else servers.BUCKET
    environment = servers.clean_environment(directory) | server.environment()
    if case.act == "wrong secret":
        environment["AWS_SECRET_ACCESS_KEY"] = "wrong"
    if case.act == "other server":
        environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
    if case.act == "put before":
        server.client().put_object(Bucket=servers.BUCKET, Key=key, Body=b"before")
    if case.act == "deny":
        server.proxy.fault = lambda method, path: servers.DENIED if method in ("PUT", "POST") else None
    ignores = "ignores" if case.act == "TERM, ignored" else "no"
    command = [
        fifofs, "run", *case.options, "-o", f"s3://{bucket}/{key}", "--", sys.executable, "-c", WRITER, "{out:x.mp4}",
        str(SIZE), case.how, flags, ignores,
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
        server.proxy.fault = None
        if process.poll() is None:
            process.kill()
            process.wait()
    if case.act == "kill":
        server.start()
        if not server.remembers:
            server.make_bucket()
    said = said.decode(errors="replace")
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    left = server.unfinished()
    server.forget()
    expected = expect(case, server)
    seen = f"{status}, {published(server, key)}"
    if left:
        seen += f", {len(left)} LEFT"
    if expected[2] not in said:
        seen += ", NOT SAID"
    if seen != f"{expected[0]}, {expected[1]}" or os.environ.get("STORES_VERBOSE"):
        print(said, file=sys.stderr)
    if case.left and server.remembers and left and "an unfinished upload is left in the store" in said:
        # Nobody can remove anything from a server that is not there.
        seen = seen.replace(f", {len(left)} LEFT", "")
    server.delete(key)
    return seen


def expect(case: Case, server: servers.Server) -> tuple[int, str, str]:
    if case.moto and server.name == "moto":
        return case.moto
    return case.status, case.published, case.says


def act(what: str, server: servers.Server, process: subprocess.Popen) -> None:
    signals = {"TERM": signal.SIGTERM, "TERM, ignored": signal.SIGTERM, "INT": signal.SIGINT, "HUP": signal.SIGHUP}
    if what in signals:
        process.send_signal(signals[what])
    elif what in ("restart", "kill"):
        server.kill()
    elif what == "503 now and then":
        server.proxy.fault = lambda method, path: servers.BUSY if server.proxy.requests % 3 == 0 else None
    elif what == "503 always":
        server.proxy.fault = lambda method, path: servers.BUSY if servers.is_part(method, path) else None
    elif what == "expire":
        server.proxy.fault = lambda method, path: servers.EXPIRED if servers.is_part(method, path) else None


def published(server: servers.Server, key: str) -> str:
    content = server.content(key)
    if content is None:
        return "nothing"
    if content == CONTENT:
        return "whole"
    return "as it was" if content == b"before" else f"WRONG ({len(content)} bytes)"
