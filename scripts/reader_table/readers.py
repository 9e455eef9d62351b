"""The readers: their commands, what they read, and what they make of it.

A reader is a shell command with the path as `$1`, and a file for what it reads as `$2`.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tables.services import Services

PROGRAMS = Path(__file__).with_name("programs")
# Programs and their packages in Debian.
PACKAGES = {
    "cat": "coreutils", "tar": "tar", "rsync": "rsync", "curl": "curl", "rclone": "rclone", "gzip": "gzip", "less": "less",
    "grep": "grep", "go": "golang-go", "node": "nodejs", "javac": "default-jdk-headless", "java": "default-jre-headless",
    "sftp": "openssh-client", "sshd": "openssh-server", "coreutils": "rust-coreutils",
    "busybox": "busybox-static",
}  # fmt: skip
MODULES = ("pandas==3.1.1", "pyarrow==26.0.1")
LINES = 100_000
ROWS = 200_000


def text() -> bytes:
    return "".join(f"line {number}\n" for number in range(LINES)).encode()


def table() -> bytes:
    """What `pandas.read_parquet` makes of `parquet`."""
    return "".join(f"{number}\n" for number in ["row", *range(ROWS)]).encode()


def first_lines(content: bytes) -> bytes:
    return b"".join(content.splitlines(keepends=True)[:5])


@dataclass(frozen=True)
class Reader:
    name: str
    command: str
    # Asks for the size first, and reads no more than that.
    sized: bool = False
    # Asks for the size once it has the file open, and reads to the end if that is 0.
    sized_by_fstat: bool = False
    # Reads by splice(2), which since Linux 6.5 ends at the size, without an error. `pipe/` recognizes it by its name.
    splices: bool = False
    # Opens with O_NONBLOCK, and treats EAGAIN as an error.
    nonblocking: bool = False
    # Needs to seek, or a mapping.
    positions: bool = False
    # Does not end by itself.
    endless: bool = False
    # Tries again if there is no file.
    retries: bool = False
    # Needs only the first lines.
    content: bool = False
    # Succeeds whatever happens, and reports errors in its output.
    says: bool = False
    # Reads the directory of the file, if that can be listed.
    directory: bool = False
    # The content of the file, and its extension if it follows.
    kind: str = "text"
    # Where its upload is, relative to the servers' directories.
    sent: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def expected(self) -> bytes:
        if self.kind == "parquet":
            return table()
        return first_lines(text()) if self.content else text()

    def result(self, services: Services, got: Path, key: str) -> bytes | None:
        """What it has read."""
        places = {"web": services.files / key, "s3": services.s3 / "bucket" / key} if self.sent else {}
        path = places.get(self.sent, got)
        return path.read_bytes() if path.exists() else None


def all_readers(services: Services, tools: Path) -> list[Reader]:
    aws_environment, aws = services.aws()
    python = tools / "aws/bin/python"
    web = f"http://127.0.0.1:{services.web_port}"
    ssh = services.ssh
    mapped = "import mmap, sys; f = open(sys.argv[1], 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)"
    parquet = "import pandas, sys; pandas.read_parquet(sys.argv[1]).to_csv(sys.argv[2], index=False)"
    return [
        Reader("cat", 'cat "$1" > "$2"'),
        Reader("cat of uutils", 'coreutils cat "$1" | cat > "$2"; exit ${PIPESTATUS[0]}', splices=True),
        Reader("cat of busybox", 'busybox cat "$1" | cat > "$2"; exit ${PIPESTATUS[0]}', splices=True),
        Reader("cp", 'cp "$1" "$2"'),
        # (GNU tar opens files with O_NONBLOCK.)
        Reader("tar", 'cd "${1%/*}" && tar -cf "$2.tar" "${1##*/}" && tar -xOf "$2.tar" > "$2"', sized=True, nonblocking=True),
        Reader("rsync", 'rsync -a "$1" "$2"', sized=True),
        Reader("curl -T", f'curl -sSf --noproxy "*" -T "$1" {web}/$KEY', sized=True, sent="web"),
        Reader("rclone copyto", 'rclone copyto -q --retries 1 --low-level-retries 1 "$1" s:bucket/$KEY', sized=True, sent="s3",
               environment=services.rclone()),
        Reader("aws s3 cp", f'{aws} s3 cp --quiet "$1" s3://bucket/$KEY', sized=True, sent="s3", environment=aws_environment),
        Reader("gzip", 'gzip -c "$1" > "$2.gz" && gzip -dc "$2.gz" > "$2"'),
        Reader("head", 'head -n 5 "$1" > "$2"', content=True),
        Reader("tail -f", 'exec tail -n +1 -f "$1" > "$2"', endless=True),
        Reader("tail -F", 'exec tail -n +1 -F "$1" > "$2"', endless=True, retries=True),
        Reader("less", 'less "$1" > "$2"', says=True),
        # (It opens files that it finds with O_NONBLOCK.)
        Reader("grep -r", 'grep -rh "" "$1" > "$2"', directory=True, nonblocking=True),
        Reader("Python, read", f"""{python} -c 'import sys; open(sys.argv[2], "wb").write(open(sys.argv[1], "rb").read())' "$@" """),
        Reader("Python, mmap", f"""{python} -c "{mapped}; open(sys.argv[2], 'wb').write(m)" "$@" """, sized=True, positions=True),
        Reader("pandas.read_parquet", f'{python} -c "{parquet}" "$@"', sized=True, positions=True, kind="parquet"),
        Reader("Go, io.Copy", f'{tools}/copy-go "$@"'),
        Reader("Node, fs.readFile × 8", f'node {PROGRAMS}/copy.js "$@"', sized_by_fstat=True),
        Reader("Java, Files.copy", f'java -Xshare:auto -cp {tools} Copy "$@"'),
        Reader("tokio, io::copy", f'{tools}/tokio/release/tokio-copy "$@"'),
        Reader("sftp", f'sftp -q -F {ssh}/config -P {services.ssh_port} 127.0.0.1:"$1" "$2"', sized=True),
    ]  # fmt: skip


def build(tools: Path) -> None:
    """Builds our own readers."""
    subprocess.run(["go", "build", "-o", tools / "copy-go", PROGRAMS / "copy.go"], check=True)
    subprocess.run(["javac", "-d", tools, PROGRAMS / "Copy.java"], check=True)
    source = tools / "tokio-copy"
    shutil.copytree(PROGRAMS / "tokio", source, dirs_exist_ok=True)
    environment = os.environ | {"CARGO_TARGET_DIR": str(tools / "tokio")}
    subprocess.run(["cargo", "build", "--quiet", "--release"], cwd=source, env=environment, check=True)


def contents(directory: Path, python: Path) -> dict[str, Path]:
    """The writers' content, by kind."""
    paths = {"text": directory / "text", "parquet": directory / "parquet"}
    paths["text"].write_bytes(text())
    script = "import pandas, sys; pandas.DataFrame({'row': range(int(sys.argv[2]))}).to_parquet(sys.argv[1])"
    subprocess.run([python, "-c", script, paths["parquet"], str(ROWS)], check=True)
    return paths
