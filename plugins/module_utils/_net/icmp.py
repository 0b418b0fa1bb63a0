# SPDX-License-Identifier: GPL-3.0-or-later
"""One raw ICMP socket per address family for all echo requests of a process (raw(7), ip(7), ipv6(7), RFC 3542).

IPv6 has a second one, which only sends. The kernel sends a packet from a given source along the best route, also by another link than the given one,
unless the socket is bound to that link. A socket that receives for all links cannot be bound to one.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable
from queue import Empty, SimpleQueue

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import CommandFailed
from ansible_collections.holdfast.ha.plugins.module_utils._core.poll import readable
from ansible_collections.holdfast.ha.plugins.module_utils._net.echo import COOKIE, REPLY, UNREACHABLE, Pending, Received, Request, decode, encode
from ansible_collections.holdfast.ha.plugins.module_utils._net.frames import ICMP6_FILTER, all_but, raw_socket

#: Of linux/in.h, linux/icmp.h and asm-generic/socket.h; Python's `socket` does not have them.
_IP_PKTINFO, _SOL_RAW, _ICMP_FILTER = 8, 255, 1
_SO_ATTACH_FILTER, _SO_SNDBUFFORCE, _SO_RCVBUFFORCE, _SO_BINDTOIFINDEX = 26, 32, 33, 62
#: struct in_pktinfo (index, source, destination) and in6_pktinfo (address, index).
_PKTINFO4, _PKTINFO6 = struct.Struct("=i4s4s"), struct.Struct("=16sI")
#: struct sock_filter: code, where to continue if true and if false, value.
_FILTER = struct.Struct("=HBBI")
_LDB, _LDH, _LDB_X, _LDH_X, _LDX_HEADER, _JUMP, _EQUAL, _RETURN = 0x30, 0x28, 0x50, 0x48, 0xB1, 0x05, 0x15, 0x06
#: Bytes that may wait in each direction. Requests to a host that answers no ARP wait in the kernel for three seconds.
_BUFFER = 8 << 20
#: Bytes of a packet that are read: an IP header, an ICMP header, and the same of the packet that an error report quotes.
_READ = 256
#: Packets that are read before others have their turn.
_BATCH = 256
#: Seconds for which the reader waits for a packet before it waits again.
_LONG = 3600.0


class EchoSocket:
    """Sends echo requests and receives their replies. Never waits, and is not safe for threads: the owner keeps the deadlines.

    The socket receives nothing but replies to its own identifier and reports about its own requests. Raises `CommandFailed` without the right to a
    raw socket.
    """

    def __init__(self, version: int) -> None:
        self._version, self._pending = version, Pending()
        self._identifier = int.from_bytes(os.urandom(2), "big")
        kind = (socket.AF_INET, socket.IPPROTO_ICMP) if version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        self._raw = raw_socket(*kind)
        self._out, self._bound = (self._raw if version == 4 else raw_socket(*kind)), 0
        try:
            self._prepare()
        except OSError as error:
            self.close()
            raise CommandFailed(f"cannot prepare a socket for echo requests: {error.strerror}") from None

    def fileno(self) -> int:
        """For poll(2)."""
        return self._raw.fileno()

    def close(self) -> None:
        """Requests that still wait for a reply remain without one."""
        self._raw.close()
        self._out.close()

    def send(self, source: bytes, index: int, target: bytes) -> Request:
        """Send a request from an address of this host, by the link with this index, along the route that applies to both. Raises `OSError`."""
        request = self._pending.add(source, index, target, os.urandom(COOKIE))
        try:
            packet = encode(self._version, self._identifier, request)
            if self._version == 4:
                information = (socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO4.pack(index, source, bytes(4)))
                self._out.sendmsg([packet], [information], 0, (socket.inet_ntop(socket.AF_INET, target), 0))
            else:
                if self._bound != index:
                    self._out.setsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, index)
                    self._bound = index
                information = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO6.pack(source, index))
                self._out.sendmsg([packet], [information], 0, (socket.inet_ntop(socket.AF_INET6, target), 0, 0, index))
        except OSError:
            self._pending.remove(request)
            raise
        return request

    def receive(self) -> list[tuple[Request, Received]]:
        """What has come in for the requests that are not yet forgotten; a request may occur again in a later call."""
        found = []
        for _turn in range(_BATCH):
            try:
                packet, ancillary, _flags, _sender = self._raw.recvmsg(_READ, 64)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # of a packet that was sent earlier; the call has cleared it
                continue
            received = decode(self._version, self._identifier, packet, *_arrival(ancillary))
            request = self._pending.match(received) if received is not None else None
            if received is not None and request is not None:
                found.append((request, received))
        return found

    def forget(self, request: Request) -> None:
        """No longer wait for its reply. Safe to repeat."""
        self._pending.remove(request)

    def _prepare(self) -> None:
        raw, out, kinds = self._raw, self._out, (REPLY[self._version], UNREACHABLE[self._version])
        raw.setblocking(False)
        out.setblocking(False)
        for one, forced, plain in ((raw, _SO_RCVBUFFORCE, socket.SO_RCVBUF), (out, _SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                one.setsockopt(socket.SOL_SOCKET, forced, _BUFFER)
            except PermissionError:  # without CAP_NET_ADMIN: as much as the host allows
                one.setsockopt(socket.SOL_SOCKET, plain, _BUFFER)
        if self._version == 4:
            raw.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", ~(1 << kinds[0] | 1 << kinds[1]) & 0xFFFFFFFF))
            raw.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        else:
            raw.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, all_but(*kinds))
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            out.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, all_but())
            out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)  # else this host answers its own question
        program = array.array("B", _program(self._version, self._identifier))
        raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program) // _FILTER.size, program.buffer_info()[0]))


def _program(version: int, identifier: int) -> bytes:
    """A classic BPF program: only packets with this identifier, in the message itself or in the request that a report quotes.

    Replies to other programs of this host neither wake this one nor fill its buffer.
    """
    if version == 4:
        load = [(_LDX_HEADER, 0, 0, 0), (_LDB_X, 0, 0, 0), (_EQUAL, 0, 2, REPLY[4]), (_LDH_X, 0, 0, 4), (_JUMP, 0, 0, 1), (_LDH_X, 0, 0, 32)]
    else:
        load = [(_LDB, 0, 0, 0), (_EQUAL, 0, 2, REPLY[6]), (_LDH, 0, 0, 4), (_JUMP, 0, 0, 1), (_LDH, 0, 0, 52)]
    return b"".join(_FILTER.pack(*line) for line in (*load, (_EQUAL, 0, 1, identifier), (_RETURN, 0, 0, _READ), (_RETURN, 0, 0, 0)))


def _arrival(ancillary: Iterable[tuple[int, int, bytes]]) -> tuple[bytes, int]:
    """Where a packet was sent to, and the index of the link that it came in by."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            index, _local, destination = _PKTINFO4.unpack_from(data)
            return destination, index
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            destination, index = _PKTINFO6.unpack_from(data)
            return destination, index
    return b"", 0


class SharedEcho:
    """One `EchoSocket` for many threads. A thread of its own reads it and gives each reply to the thread that waits for it."""

    def __init__(self, version: int) -> None:
        self._socket = EchoSocket(version)
        self._lock = threading.Lock()
        self._inboxes: dict[Request, SimpleQueue[tuple[Request, Received]]] = {}
        self._reader: threading.Thread | None = None

    def ask(self, source: bytes, index: int, targets: Iterable[bytes], timeout: float) -> dict[bytes, OSError | str]:
        """Send a request to each target, and wait until all have answered, for at most ``timeout`` seconds. Errors of sending do not shorten that.

        Returns the targets that did not answer: each with the error of sending, with a router's report, or with an empty text.
        """
        inbox: SimpleQueue[tuple[Request, Received]] = SimpleQueue()
        silent: dict[bytes, OSError | str] = {}
        waiting: set[Request] = set()
        try:
            with self._lock:
                self._start()
                for target in targets:
                    try:
                        request = self._socket.send(source, index, target)
                    except OSError as error:
                        silent[target] = error
                    else:
                        self._inboxes[request] = inbox
                        waiting.add(request)
                        silent[target] = ""
            deadline = time.monotonic() + timeout
            answered: set[Request] = set()
            while len(answered) < len(silent):
                try:
                    request, received = inbox.get(timeout=max(0.0, deadline - time.monotonic()))
                except Empty:
                    break
                if received.error:
                    silent[request.target] = received.error
                else:
                    answered.add(request)
            for request in answered:
                del silent[request.target]
        finally:
            with self._lock:
                for request in waiting:
                    self._socket.forget(request)
                    self._inboxes.pop(request, None)
        return silent

    def _start(self) -> None:
        """Start the reader at the first use, and again should it ever have ended."""
        if self._reader is None or not self._reader.is_alive():
            self._reader = threading.Thread(target=self._read, name="echo replies", daemon=True)
            self._reader.start()

    def _read(self) -> None:
        while True:
            readable([self._socket], _LONG)
            with self._lock:
                for request, received in self._socket.receive():
                    inbox = self._inboxes.get(request)
                    if inbox is not None:
                        inbox.put((request, received))


_SHARED: dict[int, SharedEcho] = {}
_OPENING = threading.Lock()


def shared_echo(version: int) -> SharedEcho:
    """The one of this process for an address family, opened at its first use. Raises `CommandFailed` without the right to a raw socket."""
    with _OPENING:
        if version not in _SHARED:
            _SHARED[version] = SharedEcho(version)
        return _SHARED[version]
