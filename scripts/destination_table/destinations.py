"""The destinations: the argument of -o, and how to look up what was published."""

import shlex
import sqlite3
import subprocess
from pathlib import Path

from tables.services import Services
from tables.writer import CHANGE

# The number of lines of each kind of output, of which a command may read only the first part.
LINES = 3000


class Destination:
    """A destination. `key` is the name under which it publishes, a new one for each cell."""

    name = ""
    # The kind of program output: bytes, sql, tar.
    kind = "bytes"
    # A command that reads only the first part, and succeeds.
    early = "head -c 65536 | {}"
    # Cases in which the right result differs from that of other destinations.
    differs: dict[str, tuple[int, str]] = {}

    def __init__(self, services: Services, directory: Path):
        self.services, self.directory = services, directory

    def command(self, key: str) -> str:
        raise NotImplementedError

    def failing(self, key: str) -> str:
        """A command of the same program that fails."""
        raise NotImplementedError

    def begun(self) -> bool:
        """Whether it shows that something was sent; if it cannot, the caller waits a moment instead."""
        return False

    def unfinished(self) -> list[str]:
        return []

    def forget(self) -> None:
        """Removes unfinished uploads, so that they do not count again."""

    def content(self, key: str) -> bytes | None:
        """What is published, if anything is."""
        raise NotImplementedError

    def arguments(self, key: str, case: str) -> tuple[str, dict[str, str]]:
        """The destination for a case, and environment variables."""
        command = self.command(key)
        if case == "CMD fails":
            command = self.failing(key)
        elif case == "CMD is slow":
            command = f"sleep 3; {command}"
        elif case == "CMD ends early":
            command = self.early.format(command)
        elif case == "CMD is a pipeline":
            command = f"cat | {command}"
        return f"|{command}", {}

    def state(self, key: str, data: bytes) -> str:
        content = self.content(key)
        if content is None:
            return "nothing"
        return describe(content, data)


def describe(content: bytes, data: bytes) -> str:
    if content == data:
        return "whole"
    if not content:
        return "empty"
    if content == CHANGE + data[len(CHANGE) :]:
        return "patched"
    return "first part" if content == data[:65536] else f"PART of {len(content)} bytes"


def settings(environment: dict[str, str]) -> str:
    """Variables before a command, as a shell writes them."""
    return " ".join(f"{name}={value}" for name, value in environment.items())


class Shell(Destination):
    name = "`cat > t && mv t f`"

    def command(self, key):
        path = shlex.quote(str(self.directory / key))
        return f"cat > {path}.t && mv {path}.t {path}"

    def failing(self, key):
        return "cat > /no/such/directory/f"

    def content(self, key):
        path = self.directory / key
        return path.read_bytes() if path.exists() else None


class S3(Destination):
    def begun(self):
        return bool(self.unfinished())

    def unfinished(self):
        return [path.name for path in self.services.s3.rglob("*") if "upload" in path.name]

    def forget(self):
        for name in self.unfinished():
            (self.services.s3 / name).unlink()

    def content(self, key):
        path = self.services.s3 / "bucket" / key
        return path.read_bytes() if path.exists() else None


class Aws(S3):
    name = "`aws s3 cp -`"

    def run(self, secret: str, key: str) -> str:
        environment, aws = self.services.aws(secret)
        return f"{settings(environment)} {aws} s3 cp --quiet - s3://bucket/{key}"

    def command(self, key):
        return self.run("secret", key)

    def failing(self, key):
        return self.run("wrong", key)


class Rclone(S3):
    name = "`rclone rcat`"

    def run(self, secret: str, key: str) -> str:
        return f"{settings(self.services.rclone(secret))} rclone rcat -q --retries 1 --low-level-retries 1 s:bucket/{key}"

    def command(self, key):
        return self.run("secret", key)

    def failing(self, key):
        return self.run("wrong", key)


class Sql(Destination):
    """Publishes rows: an empty script makes no row, just like none."""

    kind = "sql"
    early = "head -n 100 | {}"
    differs = {"empty output": (0, "nothing")}

    def rows(self, key: str) -> list[int]:
        raise NotImplementedError

    def state(self, key, data):
        rows = self.rows(key)
        for state, expected in ("nothing", 0), ("whole", LINES), ("first part", 100):
            if rows == list(range(expected)):
                return state
        return f"PART of {len(rows)} rows"


class Psql(Sql):
    name = "`psql -1`"

    def arguments(self, key, case):
        subprocess.run(self.services.psql(f"create table {key} (x integer)"), check=True)
        return super().arguments(key, case)

    def run(self, key: str, database: str) -> str:
        # The script contains the placeholder TABLE.
        return (
            f"sed -u s/TABLE/{key}/ | psql -Xq1 -v ON_ERROR_STOP=1 -h 127.0.0.1 -p {self.services.postgres_port} "
            f"-U postgres -d {database}"
        )

    def command(self, key):
        return self.run(key, "postgres")

    def failing(self, key):
        return self.run(key, "no_such_database")

    def rows(self, key):
        query = self.services.psql(f"select x from {key} order by x")
        return [int(line) for line in subprocess.check_output(query, text=True).split()]


class Sqlite(Sql):
    name = "`sqlite3`, in a transaction"

    def arguments(self, key, case):
        with sqlite3.connect(self.directory / key) as database:
            database.execute("create table t (x integer)")
        database.close()
        return super().arguments(key, case)

    def run(self, path: str) -> str:
        return f"{{ echo 'begin;'; sed s/TABLE/t/ && echo 'commit;'; }} | sqlite3 -bail {shlex.quote(path)}"

    def command(self, key):
        return self.run(str(self.directory / key))

    def failing(self, key):
        return self.run("/no/such/directory/db")

    def rows(self, key):
        with sqlite3.connect(self.directory / key) as database:
            rows = [row[0] for row in database.execute("select x from t order by x")]
        database.close()
        return rows


class Tar(Destination):
    name = "`tar -x && mv`"
    kind = "tar"
    # Empty input is no archive.
    differs = {"empty output": (74, "nothing")}

    def command(self, key, option=""):
        path = shlex.quote(str(self.directory / key))
        return f"mkdir {path}.t && tar -x -C {path}.t {option} && mv {path}.t {path}"

    def failing(self, key):
        return "tar -x -C /no/such/directory"

    def arguments(self, key, case):
        if case == "CMD ends early":
            # tar stops reading at the first member.
            return f"|{self.command(key, '--occurrence=1 first')}", {}
        if case == "CMD is a pipeline":
            path = shlex.quote(str(self.directory / key))
            return f"|mkdir {path}.t && cat | tar -x -C {path}.t && mv {path}.t {path}", {}
        return super().arguments(key, case)

    def state(self, key, data):
        path = self.directory / key
        if not path.exists():
            return "nothing"
        names = sorted(file.name for file in path.iterdir())
        if names == ["first", "second"]:
            return "whole" if all((path / name).stat().st_size == 8 << 20 for name in names) else "PART"
        return {(): "empty", ("first",): "first part"}.get(tuple(names), f"PART: {names}")


class Curl(Destination):
    name = "`curl -T -`"

    def run(self, port: int, key: str) -> str:
        return f"curl -sSf --noproxy '*' -T - http://127.0.0.1:{port}/{key}"

    def command(self, key):
        return self.run(self.services.web_port, key)

    def failing(self, key):
        return self.run(1, key)

    def content(self, key):
        path = self.services.files / key
        return path.read_bytes() if path.exists() else None


class Ssh(Destination):
    name = "`ssh://…`"
    # It is a file, so patches reach it. And the other side has no reason to end early.
    differs = {"rewritten after delivery": (0, "patched"), "CMD ends early": (74, "nothing")}

    def arguments(self, key, case):
        ssh = self.services.ssh
        remote = {
            "CMD is slow": "sleep 3; {}",
            "CMD ends early": "head -c 1000000 | {}",
            "CMD is a pipeline": "cat | {}",
        }.get(case, "{}")  # fmt: skip
        fifofs = shlex.quote(str(self.fifofs))
        environment = {"FIFOFS_SSH": f"ssh -F {ssh}/config", "FIFOFS_REMOTE": remote.format(fifofs)}
        directory = "/no/such/directory" if case == "CMD fails" else self.directory
        return f"ssh://127.0.0.1:{self.services.ssh_port}{directory}/{key}", environment

    def content(self, key):
        path = self.directory / key
        return path.read_bytes() if path.exists() else None

    def unfinished(self):
        return [path.name for path in self.directory.glob(".fifofs-*")]

    def forget(self):
        for name in self.unfinished():
            (self.directory / name).unlink()


ALL = [Shell, Aws, Rclone, Psql, Sqlite, Tar, Curl, Ssh]

