# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP/1.1 server over sockets that others made: keep-alive, one thread per connection, replies that may never come."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer


@dataclass(frozen=True)
class HttpRequest:
    """One request. Header names in lower case; ``connection`` for those that need to see the client leave."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    source: str
    connection: socket.socket


@dataclass(frozen=True)
class HttpReply:
    """One reply. ``cut`` closes the connection instead, without a byte."""

    status: int
    body: bytes = b""
    content_type: str = "text/xml;charset=UTF-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


CUT = HttpReply(0, cut=True)
App = Callable[[HttpRequest], HttpReply]


class HttpServer:
    """Serves ``app`` on any number of listening sockets until `stop`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._listeners: list[socket.socket] = []
        self._connections: set[socket.socket] = set()
        self._stopped = False

    def listen(self, listener: socket.socket) -> None:
        """Accept connections on a bound, listening socket, which is closed by `stop`."""
        with self._lock:
            if self._stopped:
                raise RuntimeError("this control plane has been stopped; make a new one")
            self._listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener,), name="control-accept", daemon=True).start()

    def stop(self) -> None:
        """Close all listeners and connections. Safe to repeat."""
        with self._lock:
            self._stopped = True
            sockets = [*self._listeners, *self._connections]
            self._listeners = []
        for one in sockets:
            _shut(one)
            if one not in self._connections:  # a connection is closed by the thread that reads it
                one.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, source = listener.accept()
            except OSError:  # shut by stop()
                return
            with self._lock:
                if self._stopped:
                    connection.close()
                    return
                self._connections.add(connection)
            threading.Thread(target=self._talk, args=(connection, source), name="control-connection", daemon=True).start()

    def _talk(self, connection: socket.socket, source: tuple[str, int]) -> None:
        try:
            _Handler(connection, source, self._app)
        except OSError:  # the client, or stop(), hung up
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)
            _shut(connection)
            connection.close()


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in accept or recv
    except OSError:
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, connection: socket.socket, source: tuple[str, int], app: App) -> None:
        self._app = app
        super().__init__(connection, source, BaseServer(source, BaseHTTPRequestHandler))  # required; this one opens no socket

    def _any(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.close_connection = True
            self.send_error(411)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _mark, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self._app(HttpRequest(self.command, path, query, headers, body, self.client_address[0], self.connection))
        if reply.cut:
            self.close_connection = True
            return
        self._answer(reply)

    def _answer(self, reply: HttpReply) -> None:
        lines = [f"HTTP/1.1 {reply.status} {self.responses.get(reply.status, ('',))[0]}", f"Content-Type: {reply.content_type}"]
        lines += [f"Content-Length: {len(reply.body)}", f"Date: {self.date_time_string()}", "Server: AmazonEC2"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        head = "\r\n".join(lines) + "\r\n\r\n"
        self.wfile.write(head.encode("latin-1") + (b"" if self.command == "HEAD" else reply.body))

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _any

    def log_message(self, format: str, *args: object) -> None:
        """The call log says more than a line per request on standard error would."""
