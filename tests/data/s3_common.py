"""An S3-speaking server in this process, and what was asked of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.request import Request, urlopen

SECRET = "a-secret-that-no-log-tells"


@dataclass
class Server:
    url: str
    lines: list[str] = field(default_factory=list)

    def requests(self, method: str, name: str) -> list[str]:
        return [line for line in self.lines if re.search(rf'"{method} /\S*{re.escape(name)}', line)]


class _Lines(logging.Handler):
    def __init__(self, server: Server):
        super().__init__()
        self.server = server

    def emit(self, record: logging.LogRecord) -> None:
        self.server.lines.append(re.sub(r"\x1b\[[0-9;]*m", "", record.getMessage()))


@contextmanager
def s3_server(monkeypatch) -> Iterator[Server]:
    """Runs a server with a bucket "scans"; the environment leads s3fs to it, also in processes that are started."""
    import fsspec
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=True)
    moto.start()
    host, port = moto.get_host_and_port()
    server = Server(f"http://{host}:{port}")
    werkzeug, handler = logging.getLogger("werkzeug"), _Lines(server)
    werkzeug.addHandler(handler)
    werkzeug.setLevel(logging.INFO)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    fsspec.filesystem("s3", skip_instance_cache=True).clear_instance_cache()
    try:
        fsspec.filesystem("s3").mkdir("scans")
        yield server
    finally:
        werkzeug.removeHandler(handler)
        urlopen(Request(f"{server.url}/moto-api/reset", method="POST")).close()
        fsspec.filesystem("s3").clear_instance_cache()
        moto.stop()
