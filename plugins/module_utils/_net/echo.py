# SPDX-License-Identifier: GPL-3.0-or-later
"""ICMP echo requests and what comes back: encoding, decoding and matching, for IPv4 (RFC 792) and IPv6 (RFC 4443). Pure."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

#: Type, code, checksum, identifier, sequence number.
_HEADER = struct.Struct("!BBHHH")
_PROTOCOL = {4: 1, 6: 58}
REQUEST = {4: 8, 6: 128}
REPLY = {4: 0, 6: 129}
UNREACHABLE = {4: 3, 6: 1}
#: Bytes of the IP header of a packet that an error report quotes, where they state the protocol, the source and the destination.
_QUOTED = {4: (20, 9, 12, 16), 6: (40, 6, 8, 24)}
#: Bytes of the cookie. Nobody who has not received the request can answer it.
COOKIE = 8
_SEQUENCES = 1 << 16
#: Codes of "destination unreachable": RFC 792, RFC 1812 section 5.2.7.1, RFC 4443 section 3.1.
_NETWORK = "network unreachable: a router has no route there"
_HOST = "host unreachable: nothing on its link has that address"
_PROHIBITED = "a router or a firewall on the way prohibits it"
_CODES = {
    4: {0: _NETWORK, 1: _HOST, 6: _NETWORK, 7: _HOST, 9: _PROHIBITED, 10: _PROHIBITED, 13: _PROHIBITED},
    6: {0: _NETWORK, 1: _PROHIBITED, 3: _HOST, 5: _PROHIBITED, 6: _PROHIBITED},
}


@dataclass(frozen=True)
class Request:
    """One echo request.

    :param source: The packed address that it is sent from.
    :param index: The index of the link that it leaves by.
    :param target: The packed address that it is sent to, also a broadcast address or a group.
    """

    source: bytes
    index: int
    target: bytes
    sequence: int
    cookie: bytes


@dataclass(frozen=True)
class Received:
    """An echo reply, or the report that a request did not reach its target.

    :param destination: Where it was sent to. Of a report: the source of the request.
    :param index: The index of the link that it came in by.
    :param error: Why the target was not reached; empty for a reply.
    :param target: Of a report: the destination of the request.
    """

    sequence: int
    cookie: bytes
    destination: bytes
    index: int
    error: str = ""
    target: bytes = b""


class Pending:
    """The requests of one socket that wait for a reply. Not safe for threads."""

    def __init__(self) -> None:
        self._requests: dict[int, Request] = {}
        self._last = 0

    def add(self, source: bytes, index: int, target: bytes, cookie: bytes) -> Request:
        """A new request with a sequence number that no other one has. Raises `OSError` when all numbers are in use."""
        if len(self._requests) >= _SEQUENCES:
            raise OSError(errno.ENOBUFS, "too many echo requests wait for a reply")
        while True:
            self._last = (self._last + 1) % _SEQUENCES
            if self._last not in self._requests:
                break
        request = self._requests[self._last] = Request(source, index, target, self._last, cookie)
        return request

    def remove(self, request: Request) -> None:
        """Nothing that comes in from now on belongs to this request. Safe to repeat."""
        if self._requests.get(request.sequence) == request:
            del self._requests[request.sequence]

    def match(self, received: Received) -> Request | None:
        """The request that this belongs to; ``None`` for what belongs to none.

        A reply has to arrive at the request's source, on the link that the request left by, from whichever host: a broadcast is answered by many,
        an anycast address by one with another name. A router reports an error on any link, and may quote too little to include the cookie.
        """
        request = self._requests.get(received.sequence)
        if request is None or received.destination != request.source:
            return None
        if received.error:
            return request if received.target == request.target and request.cookie.startswith(received.cookie) else None
        return request if received.cookie == request.cookie and received.index == request.index else None


def encode(version: int, identifier: int, request: Request) -> bytes:
    """The ICMP message. The kernel fills in the checksum of IPv6."""
    message = _HEADER.pack(REQUEST[version], 0, 0, identifier, request.sequence) + request.cookie
    if version == 6:
        return message
    return _HEADER.pack(REQUEST[4], 0, checksum(message), identifier, request.sequence) + request.cookie


def decode(version: int, identifier: int, packet: bytes, destination: bytes, index: int) -> Received | None:
    """A received packet; ``None`` for one that is neither a reply to this identifier nor a report about one of its requests.

    :param packet: As a raw socket returns it: with the IP header for IPv4, without it for IPv6.
    :param destination: The packed address that it was sent to.
    """
    start = (packet[0] & 15) * 4 if version == 4 and packet else 0
    if len(packet) < start + _HEADER.size:
        return None
    kind, code, _sum, named, sequence = _HEADER.unpack_from(packet, start)
    end = start + _HEADER.size
    if kind == REPLY[version]:
        return Received(sequence, packet[end:], destination, index) if named == identifier else None
    return _report(version, identifier, packet[end:], code, index) if kind == UNREACHABLE[version] else None


def _report(version: int, identifier: int, quoted: bytes, code: int, index: int) -> Received | None:
    """What a report says of the request that it quotes."""
    size, protocol, source, target = _QUOTED[version]
    start = (quoted[0] & 15) * 4 if version == 4 and quoted else size
    if start < size or len(quoted) < start + _HEADER.size or quoted[protocol] != _PROTOCOL[version]:
        return None
    kind, _code, _sum, named, sequence = _HEADER.unpack_from(quoted, start)
    if kind != REQUEST[version] or named != identifier:
        return None
    end, width = start + _HEADER.size, 4 if version == 4 else 16
    cause = _CODES[version].get(code, f"unreachable, with code {code}")
    return Received(sequence, quoted[end : end + COOKIE], quoted[source : source + width], index, cause, quoted[target : target + width])


def checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
