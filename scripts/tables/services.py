"""Servers for destinations and readers: installed if missing, and run on loopback as long as the script runs."""

import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

S3S_FS = "0.14.1"
AWS_CLI = "1.45.11"
SEARCH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def install(tools: Path, packages: dict[str, str], modules: tuple[str, ...] = ()) -> None:
    """Installs what is missing: packages of Debian, for these programs; into `tools` a server of S3, and a Python
    with the AWS CLI and these modules."""
    missing = [package for program, package in packages.items() if not shutil.which(program, path=SEARCH)]
    if missing:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "-qq", "update"], check=True, stdout=subprocess.DEVNULL)
        command = ["apt-get", "-qq", "-y", "--no-install-recommends", "install", *missing]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    if not (tools / "bin/s3s-fs").exists():
        command = ["cargo", "install", "--quiet", "--locked", "--root", tools, f"s3s-fs@{S3S_FS}", "--features", "binary"]
        subprocess.run(command, check=True, env=os.environ | {"CARGO_TARGET_DIR": str(tools / "build")})
        shutil.rmtree(tools / "build")
    if not (tools / "aws/bin/pip").exists():
        subprocess.run([sys.executable, "-m", "venv", tools / "aws"], check=True)
    # (Does not ask the index about newer versions.)
    wanted = [f"awscli=={AWS_CLI}", *modules]
    subprocess.run([tools / "aws/bin/pip", "install", "--quiet", "--disable-pip-version-check", *wanted], check=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Services:
    """The wanted ones of s3, postgres, sshd and web, in a directory of their own. Call `close` at the end."""

    def __init__(self, directory: Path, tools: Path, wanted: tuple[str, ...]):
        self.directory, self.tools = directory, tools
        self.running: list[subprocess.Popen] = []
        self.web = None
        try:
            for name in wanted:
                getattr(self, f"start_{name}")()
        except BaseException:
            self.close()
            raise

    def start(self, name: str, port: int, command: list) -> None:
        log = (self.directory / f"{name}.log").open("wb")
        self.running.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        sys.exit(f"{name} does not answer: {Path(log.name).read_text()}")

    def start_s3(self) -> None:
        self.s3 = self.directory / "s3"
        (self.s3 / "bucket").mkdir(parents=True)
        self.s3_port = free_port()
        self.start("s3s-fs", self.s3_port, [
            self.tools / "bin/s3s-fs", "--host", "127.0.0.1", "--port", str(self.s3_port), "--access-key", "key",
            "--secret-key", "secret", self.s3,
        ])  # fmt: skip

    def start_postgres(self) -> None:
        self.postgres = self.directory / "postgres"
        self.postgres.mkdir()
        shutil.chown(self.postgres, "postgres", "postgres")
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        command = [*as_postgres, binaries / "initdb", "-A", "trust", "-E", "UTF8", "--no-sync", "-D", self.postgres / "data"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
        self.postgres_port = free_port()
        self.start("postgres", self.postgres_port, [
            *as_postgres, binaries / "postgres", "-D", self.postgres / "data", "-h", "127.0.0.1", "-p",
            str(self.postgres_port), "-k", self.postgres, "-F",
        ])  # fmt: skip
        for _ in range(600):
            if subprocess.run(self.psql("select 1"), capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        sys.exit("postgres does not answer")

    def psql(self, statement: str) -> list:
        return ["psql", "-XAtq", "-h", "127.0.0.1", "-p", str(self.postgres_port), "-U", "postgres", "-c", statement]

    def start_sshd(self) -> None:
        self.ssh = self.directory / "ssh"
        self.ssh.mkdir()
        for name in "host", "key":
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.ssh / name], check=True)
        self.ssh_port = free_port()
        (self.ssh / "sshd_config").write_text(
            f"Port {self.ssh_port}\nListenAddress 127.0.0.1\nHostKey {self.ssh}/host\nPidFile none\nStrictModes no\n"
            f"AuthorizedKeysFile {self.ssh}/key.pub\nUsePAM no\nPermitRootLogin yes\n"
            "Subsystem sftp internal-sftp\nMaxStartups 100\n"
        )
        (self.ssh / "config").write_text(
            f"Host *\nIdentityFile {self.ssh}/key\nUserKnownHostsFile {self.ssh}/known\nStrictHostKeyChecking no\n"
            "LogLevel ERROR\nBatchMode yes\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        self.start("sshd", self.ssh_port, ["/usr/sbin/sshd", "-D", "-e", "-f", self.ssh / "sshd_config"])

    def rclone(self, secret: str = "secret") -> dict[str, str]:
        """The environment in which rclone knows the S3 server as `s:`."""
        settings = {
            "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": f"http://127.0.0.1:{self.s3_port}", "ACCESS_KEY_ID": "key",
            "SECRET_ACCESS_KEY": secret, "NO_CHECK_BUCKET": "true",
        }  # fmt: skip
        return {"RCLONE_CONFIG": "/dev/null"} | {f"RCLONE_CONFIG_S_{name}": value for name, value in settings.items()}

    def aws(self, secret: str = "secret") -> tuple[dict[str, str], str]:
        """The AWS CLI for the S3 server: its environment, and its command."""
        environment = {
            "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }  # fmt: skip
        return environment, f"{self.tools}/aws/bin/aws --endpoint-url http://127.0.0.1:{self.s3_port}"

    def start_web(self) -> None:
        self.files = self.directory / "web"
        self.files.mkdir()
        files = self.files

        class Handler(http.server.BaseHTTPRequestHandler):
            """Keeps an upload once all of it has come."""

            protocol_version = "HTTP/1.1"

            def do_PUT(self):
                body = bytearray()
                if length := self.headers.get("Content-Length"):
                    body += self.rfile.read(int(length))
                    if len(body) < int(length):
                        return
                    return self.keep(body)
                while size := int(self.rfile.readline() or b"x", 16):
                    body += self.rfile.read(size)
                    if len(body) == 0 or self.rfile.readline() != b"\r\n":
                        return
                self.rfile.readline()
                self.keep(body)

            def keep(self, body):
                (files / self.path.strip("/")).write_bytes(body)
                self.send_response(201)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def handle(self):
                try:
                    super().handle()
                except (ValueError, OSError):
                    # The connection ended within a body: nothing is kept.
                    pass

            def log_message(self, *_):
                pass

        self.web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.web.serve_forever, daemon=True).start()
        self.web_port = self.web.server_address[1]

    def close(self) -> None:
        if self.web:
            self.web.shutdown()
        for service in self.running:
            service.terminate()
        for service in self.running:
            service.wait()
