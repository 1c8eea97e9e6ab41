"""A server on this machine that speaks the hub's protocol, with the faults that a network has."""

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "5b" * 20


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(ThreadingHTTPServer):
    """One repository. Large files (.pth) are redirected to a "CDN": the same server under another name.

    Attributes:
        sizes, hashes: what the listing says instead of the truth.
        cut: after so many bytes of a file the connection ends, `cuts` times.
        gone: files that the listing has and the server has not.
        refuse: the CDN answers 503 to requests with a Range.
        ranges: False: the CDN ignores Range.
        hold: the CDN waits for this event after `cut` bytes.
    """

    daemon_threads = True

    def __init__(self, repository, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repository, self.files = repository, files
        self.sizes, self.hashes, self.gone = {}, {}, set()
        self.cut, self.cuts, self.refuse, self.ranges, self.hold = None, 1, False, True, None
        self.seen = []  # (method, path, range)
        self.senders = []  # (token, user agent)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def downloads(self):
        return [seen for seen in self.seen if seen[0] == "GET" and not seen[1].startswith("/api/")]

    def sibling(self, name):
        data = self.files[name]
        size, lfs = self.sizes.get(name, len(data)), name.endswith(".pth")
        entry = {"rfilename": name, "size": size, "blobId": self.hashes.get(name, git_sha1(data))}
        if lfs:
            entry["lfs"] = {"size": size, "sha256": self.hashes.get(name, sha256(data)), "pointerSize": 134}
        return entry


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        hub, path = self.server, self.path.partition("?")[0]
        hub.seen.append((self.command, path, self.headers.get("Range")))
        hub.senders.append((self.headers.get("Authorization"), self.headers.get("User-Agent")))
        api = f"/api/models/{hub.repository}/revision/"
        resolve = f"/{hub.repository}/resolve/{COMMIT}/"
        if path.startswith("/api/models/") and not path.startswith(api):
            self.fail(404, "RepoNotFound")
        elif path.startswith(api):
            if path.removeprefix(api) in ("main", COMMIT):
                self.listing()
            else:
                self.fail(404, "RevisionNotFound")
        elif path.startswith("/cdn/"):
            self.body(hub.files[path.removeprefix("/cdn/")])
        elif path.startswith(resolve):
            self.resolve(path.removeprefix(resolve))
        else:
            self.fail(404, "RepoNotFound")

    def listing(self):
        hub = self.server
        text = {"id": hub.repository, "sha": COMMIT, "siblings": [hub.sibling(name) for name in hub.files]}
        self.reply(200, {"Content-Type": "application/json"}, json.dumps(text).encode())

    def resolve(self, name):
        hub = self.server
        if name not in hub.files or name in hub.gone:
            self.fail(404, "EntryNotFound")
            return
        data, entry = hub.files[name], hub.sibling(name)
        if "lfs" not in entry:
            self.body(data, {"X-Repo-Commit": COMMIT, "ETag": f'"{entry["blobId"]}"'})
            return
        headers = {
            "X-Repo-Commit": COMMIT, "X-Linked-Size": str(entry["size"]),
            "X-Linked-Etag": f'"{entry["lfs"]["sha256"]}"', "Location": f"http://localhost:{hub.server_port}/cdn/{name}",
        }  # fmt: skip
        self.reply(302, headers, b"")

    def body(self, data, headers=None):
        hub, wanted = self.server, self.headers.get("Range")
        if wanted and hub.refuse:
            self.fail(503)
            return
        status, headers = 200, dict(headers or {})
        if wanted and hub.ranges:
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            status, data = 206, data[first:]
        self.reply(status, headers, data)

    def reply(self, status, headers, data):
        hub = self.server
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if hub.cut is not None and len(data) > hub.cut and hub.cuts:
            hub.cuts -= 1
            self.wfile.write(data[: hub.cut])
            self.wfile.flush()
            if hub.hold is not None:
                hub.hold.wait(60)
            self.close_connection = True
        else:
            self.wfile.write(data)

    def fail(self, status, code=""):
        self.reply(status, {"X-Error-Code": code} if code else {}, b"")
