"""A server that speaks the Hub's routes for models, from files in memory; it can be told to misbehave."""

import contextlib
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """repos: id -> file -> bytes.  served: bytes that are sent instead.  cut: after so many bytes the line breaks.
    refuse: (status, error code) for every question.  rate: bytes a second, 0 for at once.  asked, ranges: what was
    asked for."""

    def __init__(self, repos):
        self.repos, self.served, self.cut, self.refuse = repos, {}, {}, None
        self.asked, self.ranges, self.rate = [], [], 0
        self.revision = "0123456789abcdef0123456789abcdef01234567"
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_error):
        self.server.shutdown()
        self.server.server_close()

    def entry(self, name, data):
        entry = {"rfilename": name, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
        if name.endswith((".safetensors", ".bin")):
            entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return entry

    def about(self, id):
        files = self.repos[id]
        card = {"license": "apache-2.0", "language": ["zh", "en"]}
        return {
            "_id": "1", "id": id, "modelId": id, "sha": self.revision, "private": False, "gated": False, "tags": [],
            "cardData": card, "config": {"model_type": "llama"},
            "siblings": [self.entry(name, data) for name, data in files.items()],
        }  # fmt: skip

    def _handler(hub):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.asked.append(self.path.partition("?")[0])
                if hub.refuse:
                    status, code = hub.refuse
                    return self._send(status, b"{}", {"X-Error-Code": code} if code else {})
                parts = self.path.partition("?")[0].strip("/").split("/")
                if parts[:2] == ["api", "models"]:
                    id = "/".join(parts[2:4])
                    if id not in hub.repos:
                        return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
                    return self._send(200, json.dumps(hub.about(id)).encode())
                id, name = "/".join(parts[:2]), parts[-1]
                data = hub.served.get(name, hub.repos.get(id, {}).get(name))
                if data is None:
                    return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                return self._file(name, data)

            def _file(self, name, data):
                start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
                hub.ranges.append((name, start))
                rest = data[start:]
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(rest)))
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.end_headers()
                end = hub.cut.get(name)
                self._slowly(rest if end is None else rest[: max(end - start, 0)])
                if end is not None:
                    self.close_connection = True

            def _slowly(self, data):
                piece = max(hub.rate // 10, 1) if hub.rate else max(len(data), 1)
                for place in range(0, len(data), piece):
                    with contextlib.suppress(OSError):  # it has hung up
                        self.wfile.write(data[place : place + piece])
                    time.sleep(0.1 if hub.rate else 0)

            def _send(self, status, data, headers=()):
                self.send_response(status)
                for key, value in dict(headers).items():
                    self.send_header(key, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_anything):
                pass

        return Handler
