# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP connections with one time limit for a request: name resolution, TCP and TLS where they are needed, the request and the reply."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.poll import readable

#: One result of `socket.getaddrinfo`: family, type, protocol, canonical name, address.
AddressInfo = tuple[int, int, int, str, Any]
#: The share of the time limit that a name server gets if an earlier answer of it is known.
_SHARE = 0.25


class Resolver:
    """Resolves names in time. It keeps the last addresses of each name for the time when no name server answers, or one that answers wrongly.

    No timeout of `socket.getaddrinfo` exists, so each lookup runs in a thread of its own. A lookup that hangs is not started again.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], Sequence[AddressInfo]] = {}
        self._proven: dict[tuple[str, int], AddressInfo] = {}
        self._failed: dict[tuple[str, int], set[Any]] = {}
        self._running: dict[tuple[str, int], _Lookup] = {}
        self._lock = threading.Lock()

    def addresses(self, host: str, port: int, seconds: float) -> Sequence[AddressInfo]:
        """The addresses of a host, the preferred one first: also the one that was `proven` last. Those that `failed` last come last.

        :param seconds: The longest wait for a name that was not resolved before. A name with known addresses waits a quarter of it.
        :raises OSError: If no name server answers in time or the name does not exist, and no earlier address is known.
        """
        try:
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            pass  # a name
        name = (host, port)
        found = self._found(name, seconds)
        with self._lock:
            proven, failed = self._proven.get(name), self._failed.setdefault(name, set())
            known = [*found, *([proven] if proven is not None and proven not in found else [])]
            failed.intersection_update(address for *_kind, address in known)
            return sorted(known, key=lambda one: one[-1] in failed)

    def proven(self, host: str, port: int, place: AddressInfo) -> None:
        """The wanted server has answered at this address."""
        with self._lock:
            self._proven[host, port] = place
            self._failed.get((host, port), set()).discard(place[-1])

    def failed(self, host: str, port: int, place: AddressInfo) -> None:
        """The wanted server has not answered at this address."""
        with self._lock:
            self._failed.setdefault((host, port), set()).add(place[-1])

    def _found(self, name: tuple[str, int], seconds: float) -> Sequence[AddressInfo]:
        """What a name server has answered last. Raises `OSError`."""
        with self._lock:
            lookup, known = self._running.get(name), self._known.get(name)
            share = _SHARE if known else 1.0
            if lookup is None:
                lookup = self._running[name] = _Lookup(name)
                lookup.start()
            elif known:
                share = 0.0  # an earlier call has waited for it
        in_time = lookup.done.wait(seconds * share)
        with self._lock:
            if in_time and self._running.get(name) is lookup:
                del self._running[name]
            if lookup.found:
                self._known[name] = lookup.found
        if lookup.found:
            return lookup.found
        if known:
            return known
        raise lookup.error if in_time else socket.gaierror(socket.EAI_AGAIN, f"no name server answers for {name[0]}")


class _Lookup(threading.Thread):
    """One lookup. ``done`` is set once ``found`` or ``error`` is final."""

    def __init__(self, name: tuple[str, int]) -> None:
        super().__init__(name="resolver", daemon=True)
        self._host, self._port = name
        self.done = threading.Event()
        self.found: Sequence[AddressInfo] = ()
        self.error = OSError("the name could not be resolved")

    def run(self) -> None:
        try:
            self.found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            self.error = error
        except UnicodeError:  # a label that is empty or too long
            self.error = socket.gaierror(socket.EAI_NONAME, "this is not a host name")
        finally:
            self.done.set()


class BoundedConnection(http.client.HTTPConnection):
    """A connection for one request after another. After ``seconds`` it is cut, whatever it does: what then reads or writes fails.

    :param seconds: The limit of the first request; `reuse` sets that of another one.
    :param tls: The context for HTTPS; ``None`` for HTTP.
    """

    def __init__(self, host: str, port: int, seconds: float, resolver: Resolver, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self._resolver, self._tls = resolver, tls
        self._deadline = time.monotonic() + seconds
        self._limit: threading.Timer | None = None
        self._line: Any = None
        self._place: AddressInfo | None = None
        #: Whether a request before this one was answered on it.
        self.is_kept = False

    def is_late(self) -> bool:
        """Whether the time limit has passed."""
        return time.monotonic() >= self._deadline

    def connect(self) -> None:
        """Connect to the first address that answers. Raises `OSError`, of which `ssl.SSLError` is one."""
        addresses = self._resolver.addresses(self.host, self.port, self._left())
        self.sock = self._reached(addresses)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(self._left())
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self._line = self.sock
        self._start_limit()
        if self._tls is not None:
            self._line.do_handshake()

    def keep(self) -> None:
        """The reply was read to its end, and another request may follow."""
        self.is_kept = True
        if self._limit is not None:
            self._limit.cancel()

    def reuse(self, seconds: float) -> bool:
        """Whether it is still open for another request, which has so many seconds. A server that has closed it has sent that already."""
        if self.sock is None or readable([self.sock], 0):
            return False
        self._deadline = time.monotonic() + seconds
        self.sock.settimeout(seconds)
        self._start_limit()
        return True

    def _start_limit(self) -> None:
        self._limit = threading.Timer(self._left(), self._cut)
        self._limit.daemon = True
        self._limit.start()

    def end(self) -> None:
        """Close it and end its limit. `close` alone does not: `http.client` calls it before the reply is read, if the server closes too."""
        if self._limit is not None:
            self._limit.cancel()
        self.close()

    def judge(self, answered: bool) -> None:
        """Whether the wanted server was reached. The next connections use that."""
        if self._place is not None:
            (self._resolver.proven if answered else self._resolver.failed)(self.host, self.port, self._place)

    def _reached(self, addresses: Sequence[AddressInfo]) -> socket.socket:
        """A connected socket. Each address gets its share of the time that is left."""
        failure: OSError = TimeoutError("timed out")
        for left, place in zip(range(len(addresses), 0, -1), addresses):
            family, kind, protocol, _name, address = place
            try:
                made = socket.socket(family, kind, protocol)
            except OSError as error:  # such as IPv6 where the kernel has none
                failure = error
                continue
            try:
                made.settimeout(self._left() / left)
                made.connect(address)
                self._place = place
                return made
            except OSError as error:
                made.close()
                self._resolver.failed(self.host, self.port, place)
                failure = error
        raise failure

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def _cut(self) -> None:
        try:
            socket.socket.shutdown(self._line, socket.SHUT_RDWR)  # that of `ssl.SSLSocket` would disturb the thread that reads
        except OSError:
            pass  # it is closed already
