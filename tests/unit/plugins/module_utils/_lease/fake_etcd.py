# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HTTP server on loopback in place of etcd, whose replies the test words."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType

CLUSTER = "14841639068965178418"
HEADER = {"cluster_id": CLUSTER, "member_id": "1", "revision": "7", "raft_term": "2"}


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # many leases connect at the same time


class FakeEtcd:
    """``replies``: of each path's last word the status and the body. ``asked``: the last words of the paths, in order.

    :param keeps: It keeps connections open, as etcd does. ``connections``: how many there were. ``mute``: so many requests are taken without a reply.
        ``slow``: seconds that it takes to check a password.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        self.connections = self.mute = 0
        self.slow = 0.0
        self._open: list[socket.socket] = []
        self.replies: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        self.headers: list[str] = []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1" if keeps else "HTTP/1.0"

            def setup(self) -> None:
                super().setup()
                fake.connections += 1
                fake._open.append(self.connection)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                word = self.path.rpartition("/")[2]
                fake.asked.append(word)
                fake.headers.append(str(self.headers.get("Authorization")))
                if fake.mute:
                    fake.mute -= 1
                    self.close_connection = True
                    return
                if word == "authenticate":
                    time.sleep(fake.slow)
                status, body = fake.replies.get(word, (404, "{}"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def answer(self, path: str, content: object, status: int = 200) -> None:
        """``content``: the body as text, or what becomes JSON."""
        self.replies[path] = (status, content if isinstance(content, str) else json.dumps(content))

    def hang_up(self) -> None:
        """Close every connection, as a restart does."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> FakeEtcd:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.hang_up()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()
