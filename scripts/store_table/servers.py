"""Servers of stores on loopback, and a proxy before each that makes requests fail."""

import http.client
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import boto3
from botocore.config import Config
from tables.services import free_port

BUCKET = "bucket"


class Server:
    """A server, and its bucket. `url` is that of the proxy."""

    name = ""
    # The scheme of addresses.
    scheme = "s3"

    def __init__(self, directory: Path, tools: Path):
        self.directory, self.tools = directory / self.name, tools
        self.directory.mkdir()
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        self.proxy = Proxy(self.port)
        self.start()
        self.make_bucket()

    def url(self, key: str, bucket: str = BUCKET) -> str:
        return f"{self.scheme}://{bucket}/{key}"

    def command(self) -> list:
        raise NotImplementedError

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        for _ in range(3000):
            try:
                http.client.HTTPConnection("127.0.0.1", self.port, timeout=1).connect()
                return
            except OSError:
                time.sleep(0.05)
        self.kill()
        sys.exit(f"stores: {self.name} does not answer: {(self.directory / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def client(self):
        return boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{self.port}", region_name="us-east-1", aws_access_key_id="key",
            aws_secret_access_key="secret", config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip

    def make_bucket(self) -> None:
        self.client().create_bucket(Bucket=BUCKET)

    def environment(self, port: int | None = None, secret: str | None = None) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": secret or "secret", "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.proxy.port}",
        }  # fmt: skip

    def put(self, key: str, content: bytes) -> None:
        self.client().put_object(Bucket=BUCKET, Key=key, Body=content)

    def content(self, key: str) -> bytes | None:
        client = self.client()
        try:
            return client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        except client.exceptions.NoSuchKey:
            return None
        except client.exceptions.ClientError:
            # The bucket was lost with the server.
            return None

    def delete(self, key: str) -> None:
        self.client().delete_object(Bucket=BUCKET, Key=key)

    def uploads(self) -> list:
        """Uploads that are neither completed nor aborted."""
        raise NotImplementedError

    def unfinished(self) -> list[str]:
        """The same, and parts that belong to no upload."""
        raise NotImplementedError

    def forget(self) -> None:
        """Removes unfinished uploads, so that they do not count again."""
        raise NotImplementedError

    def close(self) -> None:
        self.proxy.close()
        self.process.terminate()
        self.process.wait()


class S3sFs(Server):
    name = "s3s-fs"
    # It stores everything on disk.
    remembers = True

    def command(self) -> list:
        (self.directory / "data").mkdir(exist_ok=True)
        return [
            self.tools / "bin/s3s-fs", "--host", "127.0.0.1", "--port", str(self.port), "--access-key", "key",
            "--secret-key", "secret", self.directory / "data",
        ]  # fmt: skip

    def uploads(self):
        return [name for name in self.unfinished() if name.startswith(".upload-")]

    def unfinished(self):
        # (Those of whole objects, which it numbers, too, have another name.)
        return [path.name for path in (self.directory / "data").iterdir() if path.name.startswith(".upload")]

    def forget(self):
        for name in self.unfinished():
            (self.directory / "data" / name).unlink()


class Moto(Server):
    name = "moto"
    # It stores everything in memory.
    remembers = False

    def command(self) -> list:
        return [self.tools / "aws/bin/moto_server", "-H", "127.0.0.1", "-p", str(self.port)]

    def uploads(self) -> list[dict]:
        try:
            return self.client().list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        except self.client().exceptions.ClientError:
            return []

    def unfinished(self):
        return [upload["Key"] for upload in self.uploads()]

    def forget(self):
        for upload in self.uploads():
            self.client().abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])


class MotoAsGoogle(Moto):
    """The Google client, with a server that speaks the same XML."""

    name = "moto (gs)"
    scheme = "gs"

    def environment(self, port=None, secret=None):
        account = {
            "private_key": secret or "", "private_key_id": "", "client_email": "", "disable_oauth": True,
            "gcs_base_url": f"http://127.0.0.1:{port or self.proxy.port}",
        }  # fmt: skip
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account), "GOOGLE_ALLOW_HTTP": "true"}

    def put(self, key, content):
        # For the client, which is anonymous.
        self.client().put_object(Bucket=BUCKET, Key=key, Body=content, ACL="public-read")


class Azurite(Server):
    name = "azurite (az)"
    scheme = "az"
    remembers = False
    # The same in every Azurite.
    ACCOUNT = "devstoreaccount1"
    KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def command(self):
        program = self.tools / "azurite/node_modules/.bin/azurite-blob"
        return [
            program, "--silent", "--skipApiVersionCheck", "--inMemoryPersistence", "--blobHost", "127.0.0.1",
            "--blobPort", str(self.port),
        ]  # fmt: skip

    def client(self):
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(f"http://127.0.0.1:{self.port}/{self.ACCOUNT}", credential=self.KEY)

    def make_bucket(self):
        self.client().create_container(BUCKET)

    def environment(self, port=None, secret=None):
        return {
            "AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{port or self.proxy.port}",
            "AZURE_STORAGE_ACCOUNT_KEY": secret or self.KEY,
        }  # fmt: skip

    def put(self, key, content):
        self.client().get_blob_client(BUCKET, key).upload_blob(content)

    def content(self, key):
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return self.client().get_blob_client(BUCKET, key).download_blob().readall()
        except ResourceNotFoundError:
            return None

    def delete(self, key):
        from azure.core.exceptions import ResourceNotFoundError

        try:
            self.client().get_blob_client(BUCKET, key).delete_blob()
        except ResourceNotFoundError:
            pass

    # Blocks that belong to no blob cannot be removed: they expire after a week.
    def uploads(self):
        return []

    def unfinished(self):
        return []

    def forget(self):
        pass


ALL = [S3sFs, Moto, MotoAsGoogle, Azurite]

# What a proxy answers instead of the server: the status, and the error code of S3.
EXPIRED = (400, "ExpiredToken")
DENIED = (403, "AccessDenied")
BUSY = (503, "SlowDown")


class Proxy:
    """Passes requests on, except those that `fault` has an answer for; with a `rate`, at most at that rate (bytes a
    second)."""

    def __init__(self, backend: int):
        proxy = self
        self.fault = None
        # Called when the server has answered: returns whether the client gets the answer.
        self.answered = None
        self.rate = None
        self.requests = 0
        self.parts = 0
        self.due = 0.0
        self.lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def serve(self):
                body = self.read_body()
                with proxy.lock:
                    proxy.requests += 1
                    proxy.parts += is_part(self.command, self.path)
                fault = proxy.fault(self.command, self.path) if proxy.fault else None
                if fault:
                    status, code = fault
                    text = f"<Error><Code>{code}</Code><Message>{code}, says the proxy</Message></Error>".encode()
                    return self.answer(status, {"Content-Type": "application/xml"}, text)
                try:
                    connection = http.client.HTTPConnection("127.0.0.1", backend, timeout=60)
                    headers = {name: value for name, value in self.headers.items() if value.strip() != "Bearer"}
                    # (Google's client sends no credentials so, which an S3 server does not understand.)
                    connection.request(self.command, self.path, body, headers)
                    response = connection.getresponse()
                    text = response.read()
                except (OSError, http.client.HTTPException):
                    # As without a proxy.
                    self.close_connection = True
                    return None
                if proxy.answered and not proxy.answered(self.command, self.path):
                    self.close_connection = True
                    return None
                dropped = ("transfer-encoding", "connection")
                headers = {name: value for name, value in response.getheaders() if name.lower() not in dropped}
                return self.answer(response.status, headers, text)

            def read_body(self) -> bytes:
                left = int(self.headers.get("Content-Length", 0))
                body = bytearray()
                while left:
                    piece = self.rfile.read(min(left, 256 << 10))
                    if not piece:
                        raise ConnectionError
                    left -= len(piece)
                    body += piece
                    proxy.wait(len(piece))
                return bytes(body)

            def answer(self, status, headers, text):
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() != "content-length":
                        self.send_header(name, value)
                length = headers.get("Content-Length", headers.get("content-length")) if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

            def log_message(self, *_):
                pass

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.listener = Listener(("127.0.0.1", 0), Handler)
        self.port = self.listener.server_address[1]
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()

    def wait(self, size: int) -> None:
        if not self.rate:
            return
        with self.lock:
            self.due = max(self.due, time.monotonic()) + size / self.rate
            due = self.due
        time.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        self.listener.shutdown()
        self.listener.server_close()


def is_part(method: str, path: str) -> bool:
    return method == "PUT" and bool(re.search(r"partNumber=|comp=block&", path))


def is_completion(method: str, path: str) -> bool:
    return method == "POST" and "uploadId=" in path or method == "PUT" and "comp=blocklist" in path


def clean_environment(directory: Path) -> dict[str, str]:
    """The environment without this machine's settings for stores and proxies."""
    search = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return {"PATH": search, "HOME": str(directory), "TMPDIR": str(directory), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def find(program: str) -> str:
    return shutil.which(program) or sys.exit(f"stores: there is no {program}")
