"""Writers in this very process: the right bytes, or a clear error, and never a deadlock on the interpreter's lock."""

from __future__ import annotations

import concurrent.futures
import io
import os
import threading
import zipfile
from typing import Any, Callable

import fifofs
import pytest
from conftest import TIMEOUT


def write_zip(path: str) -> None:
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("a.txt", "hello " * 100_000)


def write_again(path: str) -> None:
    """Opened twice."""
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("a.txt", "hello " * 100_000)
    with zipfile.ZipFile(path, "a") as z:
        z.writestr("b.txt", "more")


def write_in_pieces(path: str) -> None:
    """One system call for each piece; each releases the interpreter's lock."""
    with open(path, "wb", buffering=0) as f:
        for _ in range(1000):
            f.write(b"x" * 1000)


def savefig(path: str) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([1, 3, 2])
    figure.savefig(path)


def write_hdf5(path: str) -> None:
    """h5py holds the interpreter's lock, and one of its own, while the library writes and maps."""
    import h5py
    import numpy

    with h5py.File(path, "w") as f:
        f["x"] = numpy.arange(1_000_000)
        f["y"] = [1, 2, 3]


WRITERS = [
    ("x.zip", write_zip),
    ("x.zip", write_again),
    ("x.bin", write_in_pieces),
    ("x.log", write_in_pieces),
    pytest.param("x.png", savefig, marks=pytest.mark.heavy),
    pytest.param("x.pdf", savefig, marks=pytest.mark.heavy),
    pytest.param("x.h5", write_hdf5, marks=pytest.mark.heavy),
]

Write = Callable[[str], None]


def check(name: str, write: Write, data: bytes) -> None:
    if write is write_hdf5:
        import h5py

        assert h5py.File(io.BytesIO(data))["x"][-1] == 999_999
    elif write in (write_zip, write_again):
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
        assert names == (["a.txt"] if write is write_zip else ["a.txt", "b.txt"])
    elif write is write_in_pieces:
        assert data == b"x" * 1_000_000
    else:
        assert data[:4] in (b"\x89PNG", b"%PDF")


@pytest.mark.parametrize(("name", "write"), WRITERS)
def test_written_and_then_read(name: str, write: Write) -> None:
    with fifofs.Capture(name) as c:
        write(c.path)
        check(name, write, c.read(timeout=TIMEOUT))


@pytest.mark.parametrize(("name", "write"), WRITERS)
def test_read_by_another_thread(name: str, write: Write) -> None:
    with fifofs.Capture(name) as c, concurrent.futures.ThreadPoolExecutor() as pool:
        writer = threading.Thread(target=write, args=[c.path])
        writer.start()
        reader = pool.submit(c.read, process=writer, timeout=TIMEOUT)
        check(name, write, reader.result(TIMEOUT))
        writer.join()


@pytest.mark.parametrize(("name", "write"), WRITERS)
def test_written_by_another_thread(name: str, write: Write) -> None:
    with fifofs.Capture(name) as c, concurrent.futures.ThreadPoolExecutor() as pool:
        writing = pool.submit(write, c.path)
        check(name, write, c.read(process=writing, timeout=TIMEOUT))


def test_a_reader_without_any_writer_gets_an_error_that_says_so() -> None:
    with fifofs.Capture() as c:
        with pytest.raises(fifofs.OutputMissing):
            c.read()
    may_end = threading.Event()
    thread = threading.Thread(target=may_end.wait)
    thread.start()
    try:
        with fifofs.Capture() as c:
            with pytest.raises(fifofs.OutputMissing, match=r"name it: process=thread"):
                c.read()
    finally:
        may_end.set()
        thread.join()


def test_a_fifo_does_not_deadlock_either() -> None:
    with fifofs.TemporaryPipe("x.bin") as c, concurrent.futures.ThreadPoolExecutor() as pool:
        writing = pool.submit(write_in_pieces, c.path)
        assert c.read(process=writing, timeout=TIMEOUT) == b"x" * 1_000_000


def test_a_stream_of_which_this_process_is_writer_and_reader() -> None:
    with fifofs.mount(deliver="stream", window=4096) as m, m.capture("x.bin") as c:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            writing = pool.submit(write_in_pieces, c.path)
            assert c.read(process=writing, timeout=TIMEOUT) == b"x" * 1_000_000


def test_a_multiprocessing_process_writes() -> None:
    import multiprocessing

    for method in ["fork", "spawn"]:
        with fifofs.Capture("x.zip") as c:
            context: Any = multiprocessing.get_context(method)
            process = context.Process(target=write_again, args=[os.fspath(c)])
            process.start()
            check("x.zip", write_again, c.read(process=process, timeout=TIMEOUT))
            process.join()
