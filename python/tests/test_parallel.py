"""200 captures at once: threads, processes of each start method, asyncio, joblib, Jupyter."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import fifofs
import pytest
from conftest import TIMEOUT, long_runs, python

COUNT = 200
SCRIPT = ["sh", "-c", 'echo "$2" > "$1"; exec seq 1000 >> "$1"', "sh"]
NUMBERS = "".join(f"{n}\n" for n in range(1, 1001)).encode()


def expected(number: int) -> bytes:
    return f"{number}\n".encode() + NUMBERS


def by_run(number: int) -> bool:
    done = fifofs.run([*SCRIPT, fifofs.OUT("x.txt"), str(number)], check=True, timeout=TIMEOUT)
    return done.output == expected(number)


def by_capture(number: int) -> bool:
    with fifofs.Capture("x.txt") as c:
        p = subprocess.Popen([*SCRIPT, c, str(number)])
        data = c.read(process=p, timeout=TIMEOUT)
        return p.wait() == 0 and data == expected(number)


def after_the_program(number: int) -> bool:
    """The helper in its simplest form: other children run meanwhile."""
    with fifofs.Capture("x.txt") as c:
        subprocess.run([*SCRIPT, c, str(number)], check=True)
        return c.read(timeout=TIMEOUT) == expected(number)


@pytest.mark.parametrize("way", [by_run, by_capture])
def test_threads(way: Any) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(way, range(COUNT)))


def test_threads_that_read_after_their_program() -> None:
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(after_the_program, range(48)))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes(method: str) -> None:
    # Forked processes inherit a live capture.
    with fifofs.Capture("kept.txt") as kept:
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(4, context) as pool:
            count = long_runs(COUNT if method == "fork" else 20)
            assert all(pool.map(by_run, range(count), chunksize=5))
        with open(kept, "w") as f:
            f.write("still there")
        assert kept.read() == b"still there"


def test_asyncio() -> None:
    async def one(number: int) -> bool:
        done = await fifofs.aio.run(
            [*SCRIPT, fifofs.OUT("x.txt"), str(number)], check=True, timeout=TIMEOUT
        )
        return done.output == expected(number)

    async def main() -> bool:
        return all(await asyncio.gather(*map(one, range(COUNT))))

    assert asyncio.run(main())


def test_asyncio_streams_while_other_tasks_run() -> None:
    async def main() -> tuple[list[bytes], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.ensure_future(tick())
        script = 'for i in 1 2 3; do echo $i >> "$1"; sleep 0.2; done'
        with fifofs.Capture("x.log") as c:
            p = await asyncio.create_subprocess_exec("sh", "-c", script, "sh", c)
            lines = [line async for line in fifofs.aio.lines(c, process=p)]
            await p.wait()
        ticking.cancel()
        return lines, ticks

    lines, ticks = asyncio.run(main())
    assert lines == [b"1\n", b"2\n", b"3\n"]
    assert ticks >= 3


def test_asyncio_reads_take_no_thread_and_end_in_every_way() -> None:
    async def main() -> None:
        with contextlib.ExitStack() as stack:
            captures = [stack.enter_context(fifofs.Capture("x.log")) for _ in range(20)]
            pipe = stack.enter_context(fifofs.TemporaryPipe())
            over = False
            reads = [
                asyncio.ensure_future(fifofs.aio.read(c, process=lambda: over)) for c in captures
            ]
            p = await asyncio.create_subprocess_exec("sh", "-c", 'echo pipe > "$1"', "sh", pipe)
            assert await fifofs.aio.read(pipe, process=p) == b"pipe\n"
            await p.wait()
            assert not [t for t in threading.enumerate() if t.name.startswith("fifofs")]
            late = stack.enter_context(fifofs.Capture())
            with pytest.raises(fifofs.TimeoutExpired) as raised:
                await fifofs.aio.read(late, process=lambda: over, timeout=0.1)
            assert (raised.value.timeout, raised.value.output) == (0.1, b"")
            for number, c in enumerate(captures[:10]):
                with open(c, "w") as f:
                    f.write(f"{number}")
            captures[10].cancel()
            captures[11].close()
            over = True
            ended = await asyncio.gather(*reads, return_exceptions=True)
        assert ended[:10] == [b"%d" % number for number in range(10)]
        assert isinstance(ended[10], fifofs.Cancelled)
        assert isinstance(ended[11], (fifofs.Cancelled, fifofs.Closed))
        assert all(isinstance(error, fifofs.OutputMissing) for error in ended[12:])

    asyncio.run(main())


def test_asyncio_timeouts_and_cancelled_tasks() -> None:
    script = ["sh", "-c", 'echo begun > "$1"; exec sleep 600', "sh", fifofs.OUT("x.log")]

    async def main() -> None:
        with pytest.raises(fifofs.TimeoutExpired) as raised:
            await fifofs.aio.run(script, timeout=1)
        assert raised.value.output == b"begun\n"
        task = asyncio.ensure_future(fifofs.aio.run(script))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with fifofs.Capture() as c:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(fifofs.aio.read(c, process=lambda: False), 0.3)

    asyncio.run(main())


@pytest.mark.heavy
@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_joblib(backend: str) -> None:
    import joblib

    with joblib.parallel_config(backend=backend, n_jobs=8):
        assert all(joblib.Parallel()(joblib.delayed(by_run)(n) for n in range(COUNT)))


def test_a_prefork_server() -> None:
    """The parent has used captures, forks workers, and goes on; the workers use their own."""
    code = """if 1:
        import fifofs, os, sys
        def once(): return fifofs.run(["sh", "-c", 'echo hello > "$1"', "sh", fifofs.OUT("x")]).output
        assert once() == b"hello\\n"
        kept = fifofs.Capture("kept")
        workers = []
        for _ in range(8):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    try:
                        kept.read()
                    except fifofs.FifofsError as error:
                        assert "fork" in str(error), error
                        kept.close()
                        code = 0 if all(once() == b"hello\\n" for _ in range(5)) else 2
                finally:
                    os._exit(code)
            workers.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in workers] == [0] * 8
        open(kept, "w").write("mine")
        assert kept.read() == b"mine"
    """
    done = python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.heavy
def test_jupyter() -> None:
    import nbclient
    import nbformat

    cells = [
        "import asyncio, fifofs, subprocess",
        "fifofs.run(['sh', '-c', 'echo sync > \"$1\"', 'sh', fifofs.OUT('x')]).output",
        "(await fifofs.aio.run(['sh', '-c', 'echo async > \"$1\"', 'sh', fifofs.OUT('x')])).output",
        "with fifofs.Capture('x.txt') as c:\n"
        "    !echo shell > {c}\n"
        "    data = c.read()\n"
        "data",
    ]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}},
    )
    nbclient.NotebookClient(notebook, timeout=60).execute()
    results = [cell.outputs[0]["data"]["text/plain"] for cell in notebook.cells[1:]]
    assert results == [r"b'sync\n'", r"b'async\n'", r"b'shell\n'"]


def test_a_library_that_is_imported_in_a_fresh_interpreter_starts_no_thread() -> None:
    code = "import fifofs, os; assert len(os.listdir('/proc/self/task')) == 1"
    assert python(code).returncode == 0, sys.executable
