# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves the metrics over HTTP in one thread, with bounds.

Every user of the node can connect, and the process that serves is the one that renews the leases. So the server has few connections at a time, each
for few seconds, accepts few in a second, and makes the page at most once a second. A connection beyond that number takes the place of the oldest one:
idle connections do not keep a scraper out.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Connections at a time, and how many are accepted in one turn.
_MOST = 8
#: Connections that the kernel keeps for the next turns. What does not fit is tried again by the client's kernel, a second later.
_BACKLOG = 128
#: Seconds: for one connection, from one full turn to the next (so 400 connections a second at most), and after an error of accept(2).
_PATIENCE, _PAUSE, _REST = 5.0, 0.02, 1.0
#: Seconds for which a page is served again.
_FRESH = 1.0
_LONGEST_REQUEST, _CHUNK = 8192, 65536
_PATHS = (b"/", b"/metrics")


@dataclass(eq=False)
class _Connection:
    """``until``: when it is closed, done or not. ``request``: what has arrived. ``reply``: what has still to be sent."""

    line: socket.socket
    until: float
    request: bytes = b""
    reply: bytes = b""


class MetricsServer(threading.Thread):
    """Listens once it is made, and answers once it is started.

    :param page: Makes the page. It must not raise.
    :param content_type: Of the page.
    Raises `OSError` where the port cannot be used.
    """

    def __init__(self, host: str, port: int, page: Callable[[], bytes], content_type: str) -> None:
        super().__init__(name="metrics http", daemon=True)
        self._listener = listen(host, port)
        self._page, self._content_type = page, content_type
        self._kept, self._kept_until = b"", float("-inf")
        self._connections: dict[socket.socket, _Connection] = {}
        self._accept_at = float("-inf")
        self._bell, self._rope = socket.socketpair()
        self._selector = selectors.DefaultSelector()

    def stop(self) -> None:
        """End, and free the port."""
        self._rope.close()
        self.join(_PATIENCE)

    def run(self) -> None:
        """Until `stop`."""
        with self._listener, self._bell, self._selector:
            self._selector.register(self._bell, selectors.EVENT_READ)
            while self._turn():
                pass
            for line in tuple(self._connections):
                self._close(line)

    def _turn(self) -> bool:
        """Wait for something and do it; false at the end."""
        now = time.monotonic()
        for one in tuple(self._connections.values()):
            if one.until <= now:
                self._close(one.line)
        listening = self._listener in self._selector.get_map()
        if not listening and now >= self._accept_at:
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif listening and now < self._accept_at:
            self._selector.unregister(self._listener)
        ends = [one.until for one in self._connections.values()] + ([self._accept_at] if now < self._accept_at else [])
        for key, _events in self._selector.select(max(0.0, min(ends) - now) if ends else None):
            if key.fileobj is self._bell:
                return False
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.data, _Connection) and key.data.line in self._connections:
                self._serve(key.data)
        return True

    def _accept(self) -> None:
        for _number in range(_MOST):
            try:
                line, _address = self._listener.accept()
            except BlockingIOError:
                return  # none is left
            except OSError:
                self._accept_at = time.monotonic() + _REST  # such as no descriptor left
                return
            line.setblocking(False)
            if len(self._connections) >= _MOST:
                self._close(next(iter(self._connections)))
            self._connections[line] = one = _Connection(line, time.monotonic() + _PATIENCE)
            self._selector.register(line, selectors.EVENT_READ, one)
        self._accept_at = time.monotonic() + _PAUSE

    def _serve(self, one: _Connection) -> None:
        try:
            if not one.reply:
                self._read(one)
            if one.reply:
                one.reply = one.reply[one.line.send(one.reply) :]
                if one.reply:
                    self._selector.modify(one.line, selectors.EVENT_WRITE, one)
                else:
                    self._close(one.line)
        except BlockingIOError:
            self._selector.modify(one.line, selectors.EVENT_WRITE, one)
        except OSError:
            self._close(one.line)

    def _read(self, one: _Connection) -> None:
        chunk = one.line.recv(_CHUNK)
        one.request += chunk
        head, end, _rest = one.request.partition(b"\r\n\r\n")
        if end:
            one.reply = self._reply(head)
        elif not chunk or len(one.request) > _LONGEST_REQUEST:
            self._close(one.line)

    def _close(self, line: socket.socket) -> None:
        self._selector.unregister(line)
        del self._connections[line]
        line.close()

    def _reply(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _reply("400 Bad Request", b"This is not an HTTP/1 request.\n")
        if words[0] not in (b"GET", b"HEAD"):
            return _reply("405 Method Not Allowed", b"GET and HEAD are allowed.\n")
        if words[1].partition(b"?")[0] not in _PATHS:
            return _reply("404 Not Found", b"The metrics are at /metrics.\n")
        now = time.monotonic()
        if now >= self._kept_until:
            self._kept = self._page()
            self._kept_until = time.monotonic() + _FRESH
        if not self._kept:
            return _reply("500 Internal Server Error", b"The metrics cannot be made. See the event `defect` in the checker's log.\n")
        return _reply("200 OK", self._kept, self._content_type, with_body=words[0] == b"GET")


def _reply(status: str, body: bytes, content_type: str = "text/plain; charset=utf-8", *, with_body: bool = True) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode("ascii") + (body if with_body else b"")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that does not block. Raises `OSError`."""
    family, kind, protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    line = socket.socket(family, kind, protocol)
    try:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        line.setblocking(False)
        line.bind(address)
        line.listen(_BACKLOG)
    except OSError:
        line.close()
        raise
    return line
