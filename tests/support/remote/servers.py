"""Servers of this machine that artifacts are read from: S3 (moto), a web server with faults, a Hub."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ckptdoctor import storage

if TYPE_CHECKING:
    from typing_extensions import Self


class Asked(NamedTuple):
    """A request that came; names of headers are in small letters."""

    method: str
    path: str
    headers: dict[str, str]


def _headers(request: BaseHTTPRequestHandler) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


class Web:
    """A web server of files in memory, which answers ranges, and whatever faults are wanted.

    Attributes:
        files: Path (`/a.pt`) → its bytes.
        asked: What was asked for.
        faults: Path → what happens there, each once, in this order: a status, `cut`, `changed`; or, each time, `whole`
            (no ranges).
        moved: Path → the address of another server that it is moved to.
        tags: Whether it tells of a file which version it is, and when it was written.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.faults: dict[str, list[int | str]] = {}
        self.moved: dict[str, str] = {}
        self.tags = True
        self._versions: dict[str, int] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # header and body together, or the second waits for an acknowledgement

            def do_GET(self) -> None:
                web.asked.append(Asked("GET", self.path, _headers(self)))
                web.answer(self)

            def do_HEAD(self) -> None:
                web.asked.append(Asked("HEAD", self.path, _headers(self)))
                web.answer(self)

            do_PUT = do_POST = do_DELETE = do_HEAD  # noqa: N815 - as its kind is called

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its signature
                pass

        return Handler

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answers a request."""
        path = unquote(urlsplit(request.path).path)
        if request.path in self.files:  # a query may choose
            path = request.path
        if path in self.moved:
            self._say(request, 302, b"", {"Location": self.moved[path]})
            return
        data = self.files.get(path)
        waiting = self.faults.get(path, [])
        fault = waiting[0] if waiting and waiting[0] == "whole" else waiting.pop(0) if waiting else None
        if data is None or isinstance(fault, int):
            self._say(request, fault if isinstance(fault, int) else 404, b"")
            return
        if fault == "changed":
            self._versions[path] = self._versions.get(path, 0) + 1
        asked = request.headers.get("Range")
        headers = {"ETag": f'"{self._versions.get(path, 0)}"', "Last-Modified": "Wed, 21 Oct 2026 07:28:00 GMT"}
        headers = headers if self.tags else {}
        if asked is None or fault == "whole":
            self._say(request, 200, data, headers)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        if int(first) >= len(data):
            self._say(request, 416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        part = data[int(first) : int(last) + 1]
        headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        self._say(request, 206, part, headers, cut=fault == "cut")

    @staticmethod
    def _say(
        request: BaseHTTPRequestHandler,
        code: int,
        data: bytes,
        headers: dict[str, str] | None = None,
        *,
        cut: bool = False,
    ) -> None:
        request.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            request.close_connection = True


class Losing(Web):
    """A server that hands all on to another one, and loses the answers to what is put at some paths.

    Attributes:
        lost: How often the answer of a path is lost still.
    """

    def __init__(self, behind: str) -> None:
        super().__init__()
        self.lost: dict[str, int] = {}
        self._behind = urlsplit(behind).netloc

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Hands a request on."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        onward = HTTPConnection(self._behind)
        onward.request(request.command, request.path, body, dict(request.headers.items()))
        answer = onward.getresponse()
        data = answer.read()
        if request.command == "PUT" and self.lost.get(request.path, 0):
            self.lost[request.path] -= 1
            request.close_connection = True
            return
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _BY_HOP}
        self._say(request, answer.status, data, {**headers, "Content-Length": str(len(data))})


_BY_HOP = frozenset({"connection", "transfer-encoding", "content-length", "server", "date"})


def hub(web: Web, name: str, files: dict[str, bytes], *, elsewhere: Web | None = None) -> None:
    """Makes a web server a Hub with one repository.

    Args:
        web: The server.
        name: OWNER/NAME.
        files: Path in the repository → bytes.
        elsewhere: Another server, that has the files; this one says where.
    """
    tree = [{"type": "file", "path": path, "size": len(data), "oid": f"{len(data):x}"} for path, data in files.items()]
    web.files[f"/api/models/{name}/tree/main"] = json.dumps(tree).encode()
    for path, data in files.items():
        place = f"/{name}/resolve/main/{path}"
        if elsewhere is None:
            web.files[place] = data
        else:
            elsewhere.files[f"/cdn/{path}"] = data
            web.moved[place] = f"{elsewhere.url}/cdn/{path}"


class Bucket(NamedTuple):
    """A bucket of a server of S3.

    Attributes:
        url: `s3://NAME`.
        environment: The variables by which it is found.
    """

    url: str
    environment: dict[str, str]

    def put(self, local: Path, key: str) -> str:
        """Uploads a file or a directory; answers its URL."""
        import obstore

        files = [each for each in local.rglob("*") if each.is_file()] if local.is_dir() else [local]
        store = self.store()
        for each in files:
            inside = each.relative_to(local).as_posix() if local.is_dir() else ""
            obstore.put(store, f"{key}/{inside}".rstrip("/"), each.read_bytes())
        storage.use(None)  # as if it had been there for long
        return f"{self.url}/{key}"

    def keys(self, folder: str = "") -> set[str]:
        """What is there."""
        import obstore

        return {each["path"] for page in obstore.list(self.store(), folder or None) for each in page}

    def store(self) -> Any:
        """Obstore's client."""
        from obstore.store import S3Store

        return S3Store(
            self.url.removeprefix("s3://"), endpoint=self.environment["AWS_ENDPOINT_URL"], region="us-east-1",
            access_key_id="test", secret_access_key="test", client_options={"allow_http": True},
        )  # fmt: skip


@contextmanager
def s3(name: str) -> Iterator[Bucket]:
    """A server of S3 with a bucket, in this process."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "NO_PROXY": "127.0.0.1",
    }
    client = boto3.client(
        "s3", endpoint_url=environment["AWS_ENDPOINT_URL"], region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    client.create_bucket(Bucket=name)
    try:
        yield Bucket(f"s3://{name}", environment)
    finally:
        server.stop()
