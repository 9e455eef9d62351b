"""asyncio: a cancelled or timed-out wait loses nothing and leaves nothing running."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import multiprocessing.pool
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import fifofs
import pytest
from conftest import TIMEOUT, until

# Writes on after its parent is killed, as long as there is a reader.
GRANDCHILD = '(while echo on >&3; do echo on; sleep 0.05; done) 3> "$1" & echo $! > "$2"; exec sleep 60'


def fifofs_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("fifofs")]


@pytest.mark.parametrize("of", ["mount", "capture"])
def test_a_wait_for_events_that_is_cancelled_loses_none_and_takes_no_thread(of: str) -> None:
    async def main() -> None:
        with fifofs.mount() as m, m.capture("x.log") as c:
            events = m.events() if of == "mount" else c.events()
            for _ in range(20):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(events.__anext__(), 0.01)
            assert not fifofs_threads()
            Path(c).write_text("all\n")
            kinds = [(await asyncio.wait_for(events.__anext__(), TIMEOUT)).kind for _ in range(3)]
            assert kinds == ["opened", "chosen", "wrote"]

    asyncio.run(main())


@pytest.mark.parametrize("end", ["close", "unmount"])
def test_a_wait_for_events_ends_with_them(end: str) -> None:
    async def main() -> list[Any]:
        with fifofs.mount() as m:
            events = m.events()

            async def collect() -> list[Any]:
                return [event async for event in events]

            waits = asyncio.ensure_future(collect())
            await asyncio.sleep(0.1)
            events.close() if end == "close" else m.unmount()
            return await asyncio.wait_for(waits, TIMEOUT)

    assert asyncio.run(main()) == []


async def until_gone(pid: int) -> None:
    def is_gone() -> bool:
        try:
            return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
        except FileNotFoundError:
            return True

    deadline = time.monotonic() + TIMEOUT
    while not is_gone():
        assert time.monotonic() < deadline, f"{pid} writes on"
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("pipes", [False, True])
@pytest.mark.parametrize("end", ["timeout", "cancel"])
def test_a_process_that_writes_on_after_a_run_is_ended_and_delays_nothing(
    end: str, pipes: bool, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    script = ["sh", "-c", GRANDCHILD, "sh", fifofs.OUT("x.log"), str(pid_file)]

    async def main() -> None:
        run = fifofs.aio.run(
            script, capture_output=pipes, timeout=1.0 if end == "timeout" else None
        )
        task = asyncio.ensure_future(run)
        if end == "timeout":
            with pytest.raises(fifofs.TimeoutExpired) as raised:
                await asyncio.wait_for(task, TIMEOUT)
            assert raised.value.output.startswith(b"on\n")
            if pipes:
                assert raised.value.stdout.startswith(b"on\n") and raised.value.stderr == b""
            else:
                assert (raised.value.stdout, raised.value.stderr) == (None, None)
        else:
            while not (pid_file.exists() and pid_file.read_text()):
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, TIMEOUT)
        await until_gone(int(pid_file.read_text()))

    asyncio.run(main())


def test_a_process_that_writes_on_after_an_interrupted_run_is_ended(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = ["sh", "-c", GRANDCHILD, "sh", fifofs.OUT("x.log"), str(pid_file)]

    class Interrupted(BaseException):
        pass

    def reader_thread_ends_it() -> None:
        until("it writes", lambda: pid_file.exists() and pid_file.read_text())
        # A Popen that is interrupted while it is made leaves its child.
        time.sleep(0.5)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def interrupt(*_: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        threading.Thread(target=reader_thread_ends_it).start()
        with pytest.raises(Interrupted):
            fifofs.run(script)
    finally:
        signal.signal(signal.SIGUSR1, before)
    asyncio.run(until_gone(int(pid_file.read_text())))


def test_wrong_input_of_a_run_is_an_exception_and_ends_the_program() -> None:
    script = ["sh", "-c", 'cat > "$1"', "sh", fifofs.OUT("x.txt")]

    async def main() -> None:
        with pytest.raises(TypeError, match="bytes"):
            await asyncio.wait_for(fifofs.aio.run(script, input="text"), TIMEOUT)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="stdin or input"):
            await fifofs.aio.run(script, input=b"", stdin=-3)
        with pytest.raises(ValueError, match="decode what there is"):
            await fifofs.aio.run(script, text=True)
        done = await fifofs.aio.run(script, input=b"all", capture_output=True)
        assert (done.output, done.stdout, done.stderr) == (b"all", b"", b"")
        # As with `subprocess.run`, which closes a pipe without input.
        done = await asyncio.wait_for(fifofs.aio.run(script, stdin=-1), TIMEOUT)
        assert done.output == b""

    asyncio.run(main())


def test_a_long_line_is_read_in_linear_time() -> None:
    length = 64 << 20
    script = f'head -c {length} /dev/zero > "$1"; printf "\\nshort\\nno end" >> "$1"'

    async def main() -> list[int]:
        with fifofs.Capture("x.log", deliver="follow") as c:
            p = await asyncio.create_subprocess_exec("sh", "-c", script, "sh", c)
            lines = [len(line) async for line in fifofs.aio.lines(c, process=p)]
            await p.wait()
            return lines

    # Half a minute if each piece were added to all before it.
    assert asyncio.run(asyncio.wait_for(main(), TIMEOUT)) == [length + 1, 6, 6]


def write_late(path: str) -> None:
    time.sleep(0.2)
    Path(path).write_text("late\n")


@pytest.mark.parametrize("by", ["task", "executor"])
def test_a_task_or_a_future_of_the_loop_may_write(by: str) -> None:
    async def main() -> bytes:
        with fifofs.Capture("x.txt") as c:
            if by == "task":
                writer: Any = asyncio.ensure_future(asyncio.to_thread(write_late, c.path))
            else:
                loop = asyncio.get_running_loop()
                writer = loop.run_in_executor(None, write_late, c.path)
            with pytest.raises(ValueError, match="await fifofs.aio.read"):
                c.read(process=writer)
            return await fifofs.aio.read(c, process=writer, timeout=TIMEOUT)

    assert asyncio.run(main()) == b"late\n"


def test_an_object_with_done_or_ready_may_write() -> None:
    with concurrent.futures.ThreadPoolExecutor() as executor, fifofs.Capture("x.txt") as c:
        future = executor.submit(write_late, c.path)
        assert c.read(process=future, timeout=TIMEOUT) == b"late\n"
    with multiprocessing.pool.ThreadPool(1) as pool, fifofs.Capture("x.txt") as c:
        result = pool.apply_async(write_late, (c.path,))
        assert c.read(process=result, timeout=TIMEOUT) == b"late\n"


def test_runs_that_are_cancelled_at_any_moment_leave_nothing() -> None:
    script = ["sh", "-c", 'echo a > "$1"', "sh", fifofs.OUT("x.txt")]

    async def main() -> None:
        # These stay: the mount, and descriptors of the loop.
        await fifofs.aio.run(script, capture_output=True)
        before = len(os.listdir("/proc/self/fd"))
        tasks = [
            asyncio.ensure_future(fifofs.aio.run(script, capture_output=True)) for _ in range(60)
        ]
        for number, task in enumerate(tasks):
            asyncio.get_running_loop().call_later(number * 0.01, task.cancel)
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                assert (await task).output == b"a\n"
        deadline = time.monotonic() + TIMEOUT
        while fifofs_threads() or len(os.listdir("/proc/self/fd")) > before:
            assert time.monotonic() < deadline, (fifofs_threads(), os.listdir("/proc/self/fd"))
            await asyncio.sleep(0.01)

    asyncio.run(main())
