"""A local server that speaks the Hub's routes for data sets: enough to ask, look into and fetch."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """repositories: id -> {path: bytes}; gated: ids that ask for a token; broken: paths that answer 500."""

    repositories: dict = {}
    gated: set = set()
    broken: set = set()
    asked: list = []
    protocol_version = "HTTP/1.1"

    def log_message(self, *_parts):
        pass

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self._answer(self.rfile.read(int(self.headers.get("content-length") or 0)))

    def _answer(self, body=b""):
        place = urlsplit(self.path)
        parts = [unquote(part) for part in place.path.strip("/").split("/")]
        self.asked.append((self.command, self.path))
        if parts[:2] == ["api", "datasets"]:
            return self._api("/".join(parts[2:4]), parts[4:], body, parse_qs(place.query))
        if parts[0] == "datasets" and "resolve" in parts:
            return self._file("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        return self._send(404, {"error": "not here"})

    def _refused(self, id, revision="main"):
        if id not in self.repositories:
            return self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if id in self.gated and not self.headers.get("authorization"):
            return self._send(401, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
        if revision not in ("main", COMMIT):
            return self._send(404, {"error": "no such revision"}, {"X-Error-Code": "RevisionNotFound"})
        return False

    def _api(self, id, rest, body, query):
        if rest[:1] == ["auth-check"]:
            return self._refused(id) or self._send(200, {})
        revision = rest[1] if len(rest) > 1 else "main"
        if id not in self.repositories or revision not in ("main", COMMIT):
            return self._refused(id, revision)
        files = self.repositories[id]
        if not rest or rest[0] == "revision":
            info = {
                "_id": "1", "id": id, "author": id.split("/")[0], "sha": COMMIT, "private": False, "gated": "auto" if id in self.gated else False,
                "disabled": False, "downloads": 7, "likes": 1, "tags": [], "lastModified": "2026-01-01T00:00:00.000Z",
                "createdAt": "2026-01-01T00:00:00.000Z", "siblings": [{"rfilename": name} for name in files],
                "cardData": {"license": "cc0-1.0"}, "description": "Made for a test.",
            }  # fmt: skip
            return self._send(200, info)
        if rest[0] == "tree":
            return self._tree(files, "/".join(rest[2:]), query.get("recursive") == ["true"])
        if rest[0] == "paths-info":
            form = json.loads(body) if body[:1] == b"{" else parse_qs(body.decode())
            return self._send(200, [_entry(name, files[name]) for name in form.get("paths", []) if name in files])
        return self._send(404, {"error": "not here"})

    def _tree(self, files, folder, recursive):
        """What lies in a folder: files, and folders as such where nobody asks for what is in them."""
        prefix = f"{folder}/" if folder else ""
        inside = {name: data for name, data in files.items() if name.startswith(prefix)}
        if folder and not inside:
            return self._send(404, {"error": "no such entry"}, {"X-Error-Code": "EntryNotFound"})
        found, folders = [], set()
        for name, data in inside.items():
            first, slash, _rest = name[len(prefix) :].partition("/")
            if not slash or recursive:
                found.append(_entry(name, data))
            if slash:
                folders.add(prefix + first)
        found += [{"type": "directory", "path": name, "size": 0, "oid": "0" * 40} for name in sorted(folders)]
        return self._send(200, found)

    def _file(self, id, revision, name):
        refused = self._refused(id, revision)
        if refused is not False:
            return refused
        data = self.repositories[id].get(name)
        if data is None:
            return self._send(404, {"error": "no such file"}, {"X-Error-Code": "EntryNotFound"})
        if name in self.broken:
            return self._send(500, {"error": "broken"})
        first, status = 0, 200
        if self.headers.get("range"):
            begin, _dash, end = self.headers["range"].removeprefix("bytes=").partition("-")
            first, status = int(begin), 206
            data_part = data[first : int(end) + 1 if end else None]
        else:
            data_part = data
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if status == 206:
            headers["Content-Range"] = f"bytes {first}-{first + len(data_part) - 1}/{len(data)}"
        return self._send(status, data_part, headers)

    def _send(self, status, content, headers=None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _entry(name, data):
    return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


@contextmanager
def hub(repositories, gated=(), broken=()):
    """(address, what was asked of it)."""
    kind = type("Hub", (Hub,), {"repositories": repositories, "gated": set(gated), "broken": set(broken), "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", kind.asked
    finally:
        server.shutdown()
        server.server_close()
