"""The inputs of the cases: files that are always the same, and a web server that serves them.

Knows no case and no fifofs. The files are in one directory, which is the working directory of every case and is only
read there.
"""

import http.server
import re
import subprocess
import threading
import time
from pathlib import Path

SCRIPT = Path(__file__).with_name("make-inputs")


def make(directory: Path, environment: dict[str, str]) -> None:
    """Makes the files in `directory`, which is empty."""
    made = subprocess.run(
        [SCRIPT], cwd=directory, env=environment, timeout=300, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if made.returncode:
        raise SystemExit(f"programs: cannot make the inputs: {made.stdout}")


class Web(http.server.ThreadingHTTPServer):
    """Serves the files of one directory at `url/NAME`, slowly at `url/slow/NAME`, and any range of them."""

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.directory = directory
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, name="web", daemon=True).start()


class Request(http.server.BaseHTTPRequestHandler):
    """One connection to the web server."""

    protocol_version = "HTTP/1.1"
    server: Web

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        """Sends the file, or the requested range of it."""
        *slow, name = self.path.strip("/").split("/")
        data = (self.server.directory / name).read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1 if asked and asked[2] else len(data), len(data))
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", "Sun, 02 Feb 2020 02:02:02 GMT")
        self.end_headers()
        if not body:
            return
        step = 1 << 19 if slow else len(data)
        try:
            for at in range(start, end, step):
                self.wfile.write(data[at : min(at + step, end)])
                if slow:
                    time.sleep(0.05)
        except OSError:
            self.close_connection = True

    def log_message(self, *_) -> None:
        """Prints nothing: programs close connections as they like."""
