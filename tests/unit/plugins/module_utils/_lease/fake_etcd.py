# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HTTP server on loopback in place of etcd, whose replies the test words."""

from __future__ import annotations

import http.server
import json
import threading
from types import TracebackType

CLUSTER = "14841639068965178418"
HEADER = {"cluster_id": CLUSTER, "member_id": "1", "revision": "7", "raft_term": "2"}


class FakeEtcd:
    """``replies``: of each path's last word the status and the body. ``asked``: the last words of the paths, in order."""

    def __init__(self) -> None:
        self.replies: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        self.headers: list[str] = []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                word = self.path.rpartition("/")[2]
                fake.asked.append(word)
                fake.headers.append(str(self.headers.get("Authorization")))
                status, body = fake.replies.get(word, (404, "{}"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def answer(self, path: str, content: object, status: int = 200) -> None:
        """``content``: the body as text, or what becomes JSON."""
        self.replies[path] = (status, content if isinstance(content, str) else json.dumps(content))

    def __enter__(self) -> FakeEtcd:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()
