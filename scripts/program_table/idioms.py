"""What Python programs do with their output, one function for each idiom: `python3 idioms.py NAME PATH`."""

import fcntl
import logging.handlers
import mmap
import os
import random
import sys
import tempfile
import threading
import time
import wave
import zipfile


def content(length: int) -> bytes:
    return random.Random(4).randbytes(length)


def mapped(path):
    """Sets the length and writes through a mapping, the end first."""
    data = content(3_000_000)
    with open(path, "w+b") as file:
        file.truncate(len(data))
        with mmap.mmap(file.fileno(), len(data)) as memory:
            memory[1_500_000:] = data[1_500_000:]
            time.sleep(0.15)
            memory[:1_500_000] = data[:1_500_000]


def replaced(path):
    """Writes a file beside it and renames it into place, as programs that want all or nothing do."""
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), delete=False) as file:
        for _ in range(10):
            file.write(content(200_000))
            time.sleep(0.03)
    os.replace(file.name, path)


def replaced_again(path):
    """A state file that is replaced twice; the first one stays long enough to be seen."""
    for state in ("step 1\n", "step 1\nstep 2\n"):
        with open(path + ".new", "w") as file:
            file.write(state)
        os.replace(path + ".new", path)
        time.sleep(0.3)


def locked(path):
    """A lock for each line, on the file itself, which is opened anew each time."""
    for number in range(20):
        with open(path, "a") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            file.write(f"entry {number}\n")
            file.flush()
            fcntl.lockf(file, fcntl.LOCK_UN)
        time.sleep(0.01)


def shuffled(path):
    """Pieces in random order from four threads."""
    data = content(8_000_000)
    pieces = list(range(0, len(data), 50_000))
    random.Random(5).shuffle(pieces)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def work(mine):
        for start in mine:
            os.pwrite(file, data[start : start + 50_000], start)
            time.sleep(0.002)

    threads = [threading.Thread(target=work, args=(pieces[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(file)


def processes(path):
    """Four processes, each writes its own part of one file, the last part first."""
    data = content(4_000_000)
    children = []
    for part in range(4):
        child = os.fork()
        if child == 0:
            time.sleep(0.1 * (3 - part))
            with open(os.open(path, os.O_WRONLY | os.O_CREAT), "wb") as file:
                file.seek(part * 1_000_000)
                file.write(data[part * 1_000_000 :][:1_000_000])
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


def verified(path):
    """Writes, then reads its bytes back and compares."""
    data = content(2_000_000)
    with open(path, "wb") as file:
        file.write(data)
    with open(path, "rb") as file:
        assert file.read() == data


def preallocated(path):
    """Reserves more than it needs, and truncates at the end."""
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 5_000_000)
        for _ in range(6):
            file.write(content(700_000))
        file.truncate()


def rotated(path):
    """A log that is renamed away when it is full."""
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=2_000, backupCount=3)
    for number in range(150):
        handler.emit(logging.makeLogRecord({"msg": f"line {number:03} of a log that is rotated"}))
    handler.close()


def sound(path):
    """A wave file of unknown length: the module patches its header at the end."""
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        for _ in range(8):
            file.writeframes(content(8_000))
            time.sleep(0.05)


def zipped(path):
    """An archive member by member; each header is patched once its member is written."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(4):
            with archive.open(zipfile.ZipInfo(f"{number}.bin"), "w") as member:
                member.write(content(500_000))
            time.sleep(0.05)


def dumb_database(path):
    """dbm.dumb: an index beside its data, both rewritten in place."""
    import dbm.dumb

    with dbm.dumb.open(path.removesuffix(".dat"), "c") as database:
        for number in range(20):
            database[f"key {number}"] = b"x" * number
        database["key 7"] = b"longer than it was before" * 40


def sections(path):
    """A table whose lines come slowly."""
    with open(path, "w", buffering=1) as file:
        print("time,value", file=file)
        for number in range(8):
            time.sleep(0.1)
            print(f"{number},{number * number}", file=file)


def count_first(path):
    """A text whose first line is the number of its lines, known only at the end."""
    with open(path, "w") as file:
        file.write("lines: 000\n")
        for number in range(50):
            file.write(f"line {number}\n")
            file.flush()
            time.sleep(0.01)
        file.seek(0)
        file.write("lines: 050\n")


def total_first(path):
    """The same in a log that is opened a second time to be patched."""
    with open(path, "w") as file:
        file.write("status: running\nbegun\n")
    time.sleep(0.4)
    with open(path, "r+") as file:
        file.write("status: ended!!")


def array(path):
    import numpy

    numpy.save(path, numpy.arange(1_000_000).reshape(1000, 1000))


def mapped_array(path):
    import numpy

    values = numpy.lib.format.open_memmap(path, mode="w+", dtype="int32", shape=(1000, 1000))
    values[500:] = 7
    values[:500] = numpy.arange(500_000).reshape(500, 1000)
    values.flush()


def data_set(path):
    import h5py
    import numpy

    with h5py.File(path, "w") as file:
        for number in range(5):
            file.create_dataset(f"set {number}", data=numpy.arange(200_000) * number, track_times=False)
            file.flush()
            time.sleep(0.05)


def growing_data_set(path):
    import h5py
    import numpy

    for number in range(3):
        with h5py.File(path, "a") as file:
            file.create_dataset(f"set {number}", data=numpy.arange(100_000), compression="gzip", track_times=False)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
