"""Mounts of this process, their events, and the paths that wait."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from typing import Any

import fifofs
import pytest
from conftest import TIMEOUT, is_gone, until


def kinds(events: list[fifofs.Event], path: str) -> list[str]:
    return [event.kind for event in events if event.path == path]


def test_a_mount_and_its_events(tmp_path: Any) -> None:
    with fifofs.mount(tmp_path / "cap", deliver={"*.log": "follow", "*.dat": "settled"}) as m:
        events = m.events()
        subprocess.run(["sh", "-c", f"echo hello > {m.path}/x.log"], check=True)
        seen = []
        for event in events:
            seen.append(event)
            if event.kind == "done":
                break
        assert kinds(seen, "x.log") == ["opened", "chosen", "wrote", "closed", "done"]
        assert (seen[1].way, seen[2].bytes, seen[-1].bytes) == ("follow", 6, 6)
        assert seen[0].name == "sh" and seen[0].time is not None
        closed = f"Event(kind='closed', path='x.log', time={seen[3].time})"
        assert repr(seen[3]) == closed
        assert [file["path"] for file in m.status()["files"]] == ["x.log"]
        with pytest.raises(fifofs.TimeoutExpired):
            events.next(timeout=0.05)
    assert list(events) == []
    until("it is gone", lambda: is_gone(str(tmp_path)))


def test_the_rule_that_is_last_counts() -> None:
    with fifofs.mount(deliver={"*": "settled", "*.log": "follow"}) as m:
        for name in ["a.log", "a.txt"]:
            with open(os.path.join(m, name), "w") as f:
                f.write("hello")
        ways = {file["path"]: file["way"] for file in m.status()["files"]}
        assert ways == {"a.log": "follow", "a.txt": "settled"}


def test_events_of_a_capture_that_fails_or_is_rewritten() -> None:
    with fifofs.Capture("x.log") as c:
        with c.events() as events:
            script = 'exec 3> "$1"; echo half >&3; kill -9 $$'
            subprocess.run(["sh", "-c", script, "sh", c], check=False)
            seen = []
            while not seen or seen[-1].kind != "failed":
                event = events.next(TIMEOUT)
                assert event is not None
                seen.append(event)
            assert (seen[-1].signal, seen[-1].status) == (9, None)


def test_events_by_async_for() -> None:
    async def main() -> list[str]:
        with fifofs.mount() as m:
            events = m.events()
            process = await asyncio.create_subprocess_exec("sh", "-c", f"echo a > {m.path}/a.txt")
            seen = []
            async for event in events:
                seen.append(event.kind)
                if event.kind == "closed":
                    break
            await process.wait()
            return seen

    assert asyncio.run(main()) == ["opened", "chosen", "wrote", "closed"]


def test_captures_of_a_mount() -> None:
    with fifofs.mount(deliver="settled") as m:
        with m.capture("run-17/out.log") as c:
            assert c.path == os.path.join(m, "run-17/out.log")
            p = subprocess.Popen(["sh", "-c", 'echo a > "$1"; echo b >> "$1"', "sh", c])
            assert c.read(process=p) == b"a\nb\n"
            p.wait()
            with pytest.raises(fifofs.FifofsError, match="once at a time"):
                m.capture("run-17/out.log")


def test_a_path_that_waits() -> None:
    with fifofs.mount() as m:
        target = os.path.join(m, "x.zip")
        got: list[bytes] = []

        def read() -> None:
            with open(fifofs.wait_path(target), "rb") as f:
                got.append(f.read())

        reader = threading.Thread(target=read)
        reader.start()
        subprocess.run(["zip", "-q", target, "/etc/hostname"], check=True, start_new_session=True)
        reader.join(TIMEOUT)
        assert got == [open(target, "rb").read()] and got[0][:2] == b"PK"
        assert fifofs.wait_path(target, next=True) != fifofs.wait_path(target)


@pytest.mark.parametrize("fail_on", [None, "signal"])
def test_a_writer_that_gets_a_signal_after_it_has_closed(fail_on: Any) -> None:
    keywords = {} if fail_on is None else {"fail_on": fail_on}
    with fifofs.mount(**keywords) as m:
        script = ["sh", "-c", 'echo x > "$1"; kill -TERM $$', "sh", os.path.join(m, "a.log")]
        subprocess.run(script, start_new_session=True, check=False)
        reader = ["cat", fifofs.wait_path(os.path.join(m, "a.log"))]
        done = subprocess.run(reader, capture_output=True, timeout=TIMEOUT, check=False)
        assert (done.returncode == 0) == (fail_on is None), done


def test_a_fifo_in_a_mount_that_bears_a_program_which_seeks() -> None:
    with fifofs.mount(fifos="virtual") as m:
        path = os.path.join(m, "x.zip")
        os.mkfifo(path)
        with subprocess.Popen(["zip", "-q", path, "/etc/hostname"]):
            with open(path, "rb") as f:
                assert f.read(2) == b"PK"
    with pytest.raises(ValueError, match="virtual, kernel"):
        fifofs.mount(fifos="some")


def test_a_mount_that_others_read_and_write() -> None:
    with fifofs.mount(linger=0.05) as m:
        reader = subprocess.Popen(
            ["cat", fifofs.wait_path(os.path.join(m, "a.txt"))], stdout=subprocess.PIPE
        )
        subprocess.run(["sh", "-c", f"seq 1000 > {m.path}/a.txt"], check=True)
        assert reader.communicate(timeout=TIMEOUT)[0].count(b"\n") == 1000
