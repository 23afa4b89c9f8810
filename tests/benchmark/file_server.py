"""A file server on loopback, whose answers may break off, and archives of made-up folders."""

import hashlib
import io
import tarfile
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmark.data.clip import Source


class Server(ThreadingHTTPServer):
    """Serves `files` with ranges and ETags; breaks each answer off after `breaks.pop(0)` bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.breaks: list[int] = []
        self.busy = 0
        self.asked: list[tuple[str, str | None]] = []
        self.served = 0
        self.tags = True

    def source(self, name: str, checksum: str = "", **more) -> Source:
        return Source(f"http://127.0.0.1:{self.server_port}/{name}", checksum, **more)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        content = self.server.files.get(self.path[1:])
        wanted = self.headers["Range"]
        self.server.asked.append((self.path[1:], wanted))
        if content is None or self.server.busy:
            self.send_error(503 if self.server.busy else 404)
            self.server.busy -= self.server.busy > 0
            return
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if self.headers["If-Range"] not in (None, tag):
            start = 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if self.server.tags:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if self.server.breaks:
            body = body[: self.server.breaks.pop(0)]
            self.close_connection = True
        self.server.served += len(body)  # before the client can have it all and ask
        self.wfile.write(body)


def md5(content: bytes) -> str:
    return "md5:" + hashlib.md5(content).hexdigest()


def zip_of(folder: Path) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return memory.getvalue()


def tar_of(folder: Path) -> bytes:
    """As the official tars of Speech Commands: members named ./..."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        archive.add(folder, ".")
    return memory.getvalue()
